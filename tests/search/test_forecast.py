import pytest

from ablation.base.errors import UserError
from ablation.params import Params
from ablation.run.runner import TrialRunner
from ablation.search.draws import SearchResult
from ablation.search.forecast import forecast
from ablation.search.strategies import STRATEGIES
from tests.search.conftest import cost

REPEATS = FINALISTS = 2


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_new_search_trains_as_many_draws_as_its_budget_pays_for(
    strategy: str, params: Params
) -> None:
    if strategy == "tpe":
        pytest.importorskip("optuna", reason="the extra `search` is not installed")
    expected = forecast(params, "mlp", strategy, cost, None, 4)
    # 0.7 of the budget is for draws, which take 0.01 and then perhaps 0.1. There are 32 recipes.
    others = FINALISTS * (REPEATS - 1)
    assert 2 * 6 + others <= len(expected.least) <= 2 * 6 + 1 + others
    assert 30 <= len(expected.most) <= 32 + FINALISTS + others
    assert 0.6 < sum(map(cost, expected.least)) <= 1
    assert sum(map(cost, expected.most)) <= 1
    assert (expected.cached, expected.winner) == (0, None)


def test_a_cached_search_trains_nothing_and_its_winner_is_known(
    found: SearchResult, runner: TrialRunner, params: Params
) -> None:
    expected = forecast(params, "mlp", "random", cost, runner, 4)
    assert expected.least == expected.most == ()
    assert expected.cached == len(found.results)
    assert expected.winner == found.winner.recipe


def test_a_search_without_its_last_trials_trains_only_these(
    found: SearchResult, runner: TrialRunner, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    finalists = [each for each in found.results if each.repeat != next(iter(found.results)).repeat]
    load = TrialRunner.cached_result
    monkeypatch.setattr(
        TrialRunner,
        "cached_result",
        lambda it, trial: None if trial in finalists else load(it, trial),
    )
    expected = forecast(params, "mlp", "random", cost, runner, 4)
    assert {*expected.least} == {*expected.most} == {*finalists}
    assert expected.winner is None


def test_a_budget_that_does_not_pay_for_a_draw_is_a_one_line_error(params: Params) -> None:
    with pytest.raises(UserError, match=r"^params.yaml: search.budget.mlp: 1 does not pay"):
        forecast(params, "mlp", "random", lambda trial: trial.spec.epochs, None, 4)


def test_a_forecast_ends_where_the_budget_does_not(params: Params) -> None:
    expected = forecast(params, "mlp", "random", lambda trial: 1e-9, None, 4)
    assert len(expected.least) <= 2 * 32 + FINALISTS * (REPEATS - 1)
