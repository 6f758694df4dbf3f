import math

import pytest

from ablation.base.errors import UserError
from ablation.params import Params
from ablation.run.runner import TrialRunner
from ablation.search.draws import Account, Found, search
from tests.search.conftest import AN_EPOCH, cost


def test_draws_spend_their_share_and_finalists_the_rest(found: Found) -> None:
    draws = found.draws[-1].spent
    assert 0.7 - 11 * AN_EPOCH < draws <= 0.7
    assert draws < found.spent <= 1.0
    assert found.spent == pytest.approx(sum(map(cost, found.results)))


def test_a_draw_without_hope_is_given_up_after_its_first_look(found: Found) -> None:
    failed = [each for each in found.draws if each.diverged or each.collapsed]
    assert failed
    for draw in failed:
        if math.isnan(draw.score):
            assert draw.cost == pytest.approx(AN_EPOCH)
            assert draw.outcome == draw.first_look


def test_finalists_are_the_best_draws_on_all_repeats(found: Found) -> None:
    able = [each for each in found.draws if not (each.diverged or each.collapsed)]
    scores = sorted((each.score for each in able if each.score == each.score), reverse=True)
    assert [each.results[0].score for each in found.finalists] == scores[: len(found.finalists)]
    assert {len(each.results) for each in found.finalists} == {2}
    assert found.winner.accuracy == max(each.accuracy for each in found.finalists)


def test_a_second_run_trains_nothing_and_finds_the_same(
    found: Found, runner: TrialRunner, params: Params
) -> None:
    before = {trial for trial in found.results if not runner.is_cached(trial)}
    again = search(runner, params, "mlp", "random", cost)
    assert before == set()
    assert again == found


def test_a_budget_that_pays_for_no_draw_is_a_one_line_error(
    runner: TrialRunner, params: Params
) -> None:
    said = r"^params.yaml: search.budget.mlp: 1 pays for no draw: one takes 11, and 0.3"
    with pytest.raises(UserError, match=said):
        search(runner, params, "mlp", "random", lambda trial: trial.spec.epochs)


def test_a_trial_is_charged_once(found: Found) -> None:
    one, other, *_ = found.results
    account = Account(cost, limit=1.0)
    assert account.charge([one, one]) == cost(one)
    assert account.charge([one]) == 0
    assert account.cost_of([one, other]) == cost(other)
