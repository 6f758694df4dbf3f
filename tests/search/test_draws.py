import importlib
import math
from dataclasses import replace

import pandas as pd
import pytest

from ablation.base.errors import UserError
from ablation.params import Params
from ablation.run.runner import TrialRunner
from ablation.search.draws import Account, SearchResult, search
from ablation.trial.trials import Trial
from tests.search.conftest import AN_EPOCH, cost


def test_draws_spend_their_share_and_finalists_the_rest(found: SearchResult) -> None:
    draws = found.draws[-1].spent
    assert 0.7 - 11 * AN_EPOCH < draws <= 0.7
    assert draws < found.spent <= 1.0
    assert found.spent == pytest.approx(sum(map(cost, found.results)))


def test_a_draw_without_hope_is_given_up_after_its_first_look(
    runner: TrialRunner, params: Params
) -> None:
    """Without batch normalisation, a rate of 100 is far too high."""
    baseline = params.baseline.having("batchnorm", False)
    found = search(runner, params.model_copy(update={"baseline": baseline}), "mlp", "random", cost)
    given_up = [each for each in found.draws if each.failed and math.isnan(each.score)]
    assert given_up
    for draw in given_up:
        assert draw.cost == pytest.approx(AN_EPOCH)
        assert draw.outcome == draw.first_look


def test_finalists_are_the_best_draws_on_all_repeats(found: SearchResult) -> None:
    able = [each for each in found.draws if not each.failed]
    scores = sorted((each.score for each in able if each.score == each.score), reverse=True)
    assert [each.results[0].score for each in found.finalists] == scores[: len(found.finalists)]
    assert {len(each.results) for each in found.finalists} == {2}
    assert found.winner.accuracy == max(each.accuracy for each in found.finalists)


def test_finalists_that_the_budget_does_not_pay_for_are_counted(
    runner: TrialRunner, params: Params
) -> None:
    """A draw takes 0.11 at most; of six finalists, each takes 0.1 on its second repeat."""
    edited = params.search.model_copy(update={"finalists": 6, "finalists_share": 0.15})
    found = search(runner, params.model_copy(update={"search": edited}), "mlp", "random", cost)
    assert 0 < found.paid < found.wanted
    assert len(found.finalists) == found.paid
    assert found.spent + 10 * AN_EPOCH > 1


def test_without_budget_for_finalists_the_best_draw_wins_on_one_repeat(
    runner: TrialRunner, params: Params
) -> None:

    def one_repeat(trial: Trial) -> float:
        return 10.0 if trial.repeat.index else 0.05

    found = search(runner, params, "mlp", "random", one_repeat)
    assert (found.paid, found.wanted) == (0, 2)
    scores = [each.score for each in found.draws if not each.failed]
    assert found.winner.accuracy == max(score for score in scores if not math.isnan(score))
    assert len(found.winner.results) == 1


def test_a_search_without_a_winner_says_whether_draws_or_finalists_failed(
    found: SearchResult,
) -> None:
    finalists = tuple(replace(each, failed=True) for each in found.finalists)
    with pytest.raises(UserError, match=r"^2 finalists: each diverged or collapsed on a repeat"):
        _ = replace(found, finalists=finalists).winner
    with pytest.raises(UserError, match=rf"^none of {len(found.draws)} draws trained to the end"):
        _ = replace(found, finalists=()).winner


def test_the_table_of_draws_has_a_row_a_draw(found: SearchResult) -> None:
    table: pd.DataFrame = importlib.import_module("stages.search").draws_table(found)
    assert table["draw"].tolist() == [*range(1, len(found.draws) + 1)]
    assert set(table["dropout"]) == {"0.2", "0.4"}
    assert table["spent"].tolist() == pytest.approx(table["cost"].cumsum().tolist())


def test_the_best_so_far_leaves_out_failed_and_unfinished_draws(found: SearchResult) -> None:
    best_so_far = importlib.import_module("stages.search").best_so_far
    able = replace(found.draws[0], diverged=False, collapsed=False)
    scores = [0.9, 0.8, math.nan, 0.7, 0.85]
    failed, *others = (replace(able, score=score) for score in scores)
    best = best_so_far((replace(failed, collapsed=True), *others))
    assert best.isna().tolist() == [True, False, False, False, False]
    assert best.dropna().tolist() == [0.8, 0.8, 0.8, 0.85]


def test_the_tables_of_finalists_are_those_of_a_stage(found: SearchResult) -> None:
    """As `fit` reads them."""
    stage = importlib.import_module("stages.search")
    trials, candidates = stage.trials_table(found), stage.candidates_table(found)
    assert len(trials) == 2 * len(found.finalists)
    (winner,) = candidates.loc[candidates["role"] == "winner", "setting"]
    scores = trials.loc[trials["setting"] == winner, "score"]
    assert scores.tolist() == [result.score for result in found.winner.results]


def test_a_second_run_trains_nothing_and_finds_the_same(
    found: SearchResult, runner: TrialRunner, params: Params
) -> None:
    before = {trial for trial in found.results if not runner.is_cached(trial)}
    again = search(runner, params, "mlp", "random", cost)
    assert before == set()
    assert again == found


def test_a_budget_that_does_not_pay_for_a_draw_is_a_one_line_error(
    runner: TrialRunner, params: Params
) -> None:
    said = r"^params.yaml: search.budget.mlp: 1 does not pay for the first draw, which takes 11, as"
    with pytest.raises(UserError, match=said):
        search(runner, params, "mlp", "random", lambda trial: trial.spec.epochs)


def test_a_trial_is_charged_once(found: SearchResult) -> None:
    one, other, *_ = found.results
    account = Account(cost, limit=1.0)
    assert account.charge([one, one]) == cost(one)
    assert account.charge([one]) == 0
    assert account.cost_of([one, other]) == cost(other)
