"""The entries of a stage: learning rates, later rounds, and the resets of leave-one-out."""

from pathlib import Path
from typing import Any

import pytest

from ablation.base.checked import read_yaml
from ablation.params import Params
from ablation.study.entries import (
    Contest,
    Entry,
    changed_techniques,
    list_entries,
    rates_to_try,
    reset_to_baseline,
)
from ablation.trial.families import SIZES
from ablation.trial.recipe import TECHNIQUES, Adam, Affine, Constant, Cosine, Recipe, Sgd

ROOT = Path(__file__).parents[2]
BASELINE = {
    "scheduler": {"name": "constant"},
    "activation": "relu",
    "optimizer": {"name": "sgd", "lr": 0.1},
    "batchnorm": True,
    "regularization": {"l1": 0.0, "l2": 0.0},
    "dropout": 0.2,
}


def study(multiples: dict[str, list[float]] | None = None, **techniques: list[Any]) -> Params:
    content = read_yaml(ROOT / "params.yaml")
    content["models"] = {"mlp": {"hidden": [16, 12, 8], "epochs": 2}}
    content["baseline"] = BASELINE
    content["techniques"] = {name: [] for name in TECHNIQUES} | techniques
    content["learning_rate_multiples"] = multiples or {}
    return Params.model_validate(content)


def settings(contest: Contest) -> list[str]:
    return [entry.setting for entry in contest.entries]


SCHEDULERS = [{"name": "constant"}, {"name": "cosine"}]
AT_RATES = study({"scheduler": [0.3, 1.0, 3.0]}, scheduler=SCHEDULERS)


# --- longer trainings ----------------------------------------------------------------------------


def test_a_longer_training_may_come_with_an_augmentation() -> None:
    affine = Affine(name="affine", shift=1.0)
    together = {"times": 3, "augmentation": {"name": "affine", "shift": 1.0}}
    params = study(epochs=[1, 3, together])
    entries = list_entries(params, "mlp", "epochs", params.baseline).entries
    longer = params.baseline.having("epochs", 3)
    assert [(each.setting, each.recipe) for each in entries] == [
        ("1x", params.baseline),
        ("3x", longer),
        ("3x affine shift=1", longer.having("augmentation", affine)),
    ]
    changed = changed_techniques(["epochs"], entries[-1].recipe, params.baseline)
    assert changed == (["epochs", "augmentation"], ["epochs", "augmentation"])


# --- learning rates ------------------------------------------------------------------------------


def test_every_setting_is_tried_at_the_multiples_of_the_incumbents_rate() -> None:
    entries = list_entries(AT_RATES, "mlp", "scheduler", AT_RATES.baseline).entries
    tried = [(each.candidate, each.setting, each.learning_rate) for each in entries]
    assert tried == [
        ("constant", "constant lr=0.1", 0.1),  # the incumbent, which belongs to the grid
        ("constant", "constant lr=0.03", 0.03),
        ("constant", "constant lr=0.3", 0.3),
        ("cosine", "cosine lr=0.03", 0.03),
        ("cosine", "cosine lr=0.1", 0.1),
        ("cosine", "cosine lr=0.3", 0.3),
    ]
    assert entries[0].recipe == AT_RATES.baseline
    *_, last = entries
    assert last.recipe == AT_RATES.baseline.having("scheduler", Cosine(name="cosine")).having(
        "optimizer", Sgd(name="sgd", lr=0.3)
    )


def test_the_next_stage_starts_from_the_winners_rate() -> None:
    won = AT_RATES.baseline.having("optimizer", Sgd(name="sgd", lr=0.3))
    contest = list_entries(AT_RATES, "mlp", "scheduler", won)
    assert settings(contest)[:3] == ["constant lr=0.3", "constant lr=0.09", "constant lr=0.9"]


@pytest.mark.parametrize("multiples", [None, {"dropout": [0.5, 1.0]}, {"scheduler": [1.0]}])
def test_without_multiples_every_setting_has_the_incumbents_rate(multiples: Any) -> None:
    params = study(multiples, scheduler=SCHEDULERS)
    entries = list_entries(params, "mlp", "scheduler", params.baseline).entries
    assert [each.setting for each in entries] == ["constant", "cosine"]
    assert {each.recipe.optimizer.lr for each in entries} == {0.1}
    assert {each.learning_rate for each in entries} == {None}


def test_rates_above_the_maximum_are_not_tried() -> None:
    fast = AT_RATES.baseline.having("optimizer", Sgd(name="sgd", lr=50.0))
    contest = list_entries(AT_RATES, "mlp", "scheduler", fast)
    assert settings(contest)[:2] == ["constant lr=50", "constant lr=15"]
    assert not any("150" in setting for setting in settings(contest))


def test_an_incumbent_that_is_not_a_candidate_is_tried_at_its_own_rate_only() -> None:
    params = study({"dropout": [0.5, 1.0]}, dropout=[0.4])
    contest = list_entries(params, "mlp", "dropout", params.baseline)
    assert settings(contest) == ["0.2 lr=0.1", "0.4 lr=0.05", "0.4 lr=0.1"]


def test_a_technique_is_reset_at_several_rates() -> None:
    contest = rates_to_try(
        AT_RATES, "scheduler", final_recipe(scheduler=Cosine(name="cosine")), AT_RATES.baseline
    )
    assert settings(contest) == ["constant lr=0.1", "constant lr=0.03", "constant lr=0.3"]


# --- later rounds --------------------------------------------------------------------------------


def dropouts(listed: list[float], stage: str, incumbent: float) -> Contest:
    params = study(dropout=listed)
    return list_entries(params, "mlp", stage, params.baseline.having("dropout", incumbent))


def test_a_first_stage_is_not_on_equal_terms() -> None:
    contest = dropouts([0.1, 0.4], "dropout", 0.4)
    assert (settings(contest), contest.simpler) == (["0.4", "0.1"], None)


@pytest.mark.parametrize(
    ("listed", "incumbent", "order", "simpler"),
    [
        # The baseline's setting, 0.2, is the simplest unless it is among the candidates.
        ([0.1, 0.4], 0.4, ["0.4", "0.2", "0.1"], 2),
        ([0.1, 0.2, 0.4], 0.2, ["0.2", "0.1", "0.4"], 1),
        # An incumbent that is no longer a candidate is the least simple.
        ([0.1, 0.4], 0.3, ["0.3", "0.2", "0.1", "0.4"], 3),
        ([0.1, 0.4], 0.2, ["0.2", "0.1", "0.4"], 0),
    ],
)
def test_again_compares_the_baselines_setting_the_incumbents_and_the_candidates(
    listed: list[float], incumbent: float, order: list[str], simpler: int
) -> None:
    contest = dropouts(listed, "dropout_again", incumbent)
    assert (settings(contest), contest.simpler) == (order, simpler)


@pytest.mark.parametrize("listed", [[0.1, 0.2, 0.4], [0.1, 0.4], [0.1]])
def test_backward_compares_the_baselines_setting_and_the_incumbents(listed: list[float]) -> None:
    contest = dropouts(listed, "backward/dropout", 0.4)
    assert (settings(contest), contest.simpler) == (["0.4", "0.2"], 1)


def test_backward_has_no_other_entry_for_an_unchanged_technique() -> None:
    assert settings(dropouts([0.1, 0.2, 0.4], "backward/dropout", 0.2)) == ["0.2"]


def test_a_technique_without_candidates_has_no_later_round() -> None:
    for stage in ("dropout_again", "backward/dropout"):
        assert settings(dropouts([], stage, 0.4)) == ["0.4"]


def test_later_rounds_try_several_learning_rates() -> None:
    cosine = AT_RATES.baseline.having("scheduler", Cosine(name="cosine"))
    contest = list_entries(AT_RATES, "mlp", "backward/scheduler", cosine)
    assert settings(contest) == [
        *("cosine lr=0.1", "constant lr=0.03", "constant lr=0.1", "constant lr=0.3"),
        *("cosine lr=0.03", "cosine lr=0.3"),
    ]
    assert contest.simpler == 4  # including a lower rate of the incumbent's own setting


def test_backward_includes_the_whole_grid_of_the_incumbent() -> None:
    params = study(regularization=[{"l1": 0.0, "l2": 0.0}, {"l1": 0.0, "l2": [1e-4, 1e-3]}])
    strong = params.baseline.model_copy(
        update={"regularization": params.candidates("regularization", "mlp")[1].settings[1]}
    )
    contest = list_entries(params, "mlp", "backward/regularization", strong)
    assert settings(contest) == ["l2=0.001", "none", "l2=0.0001"]


def test_removed_entries_are_not_counted_as_simpler() -> None:
    contest = dropouts([0.1, 0.2, 0.3, 0.4], "dropout_again", 0.4)
    first, tenth, second, _ = contest.entries
    assert settings(contest.without([tenth])) == ["0.4", "0.2", "0.3"]
    assert contest.without([tenth, second]).simpler == 1
    assert Contest((first, tenth)).without([tenth]).simpler is None


# --- resets of leave-one-out ---------------------------------------------------------------------


def final_recipe(**changes: object) -> Recipe:
    return AT_RATES.baseline.model_copy(update=changes)


FINAL = final_recipe(
    scheduler=Cosine(name="cosine"), optimizer=Adam(name="adam", lr=0.01), dropout=0.4
)
CHANGED = {"scheduler", "optimizer", "dropout"}


def test_only_the_kept_techniques_have_their_final_setting() -> None:
    recipe = reset_to_baseline(FINAL, CHANGED - {"dropout"}, AT_RATES.baseline, {})
    assert recipe == FINAL.having("dropout", 0.2)
    assert reset_to_baseline(FINAL, CHANGED, AT_RATES.baseline, {"scheduler": 3.0}) == FINAL


def test_without_kept_techniques_the_recipe_is_the_baseline() -> None:
    assert (
        reset_to_baseline(FINAL, set(), AT_RATES.baseline, {"scheduler": 3.0}) == AT_RATES.baseline
    )


def test_multiples_of_several_techniques_are_multiplied() -> None:
    rates = {"scheduler": 0.3, "dropout": 2.0}
    alone = reset_to_baseline(FINAL, CHANGED - {"scheduler"}, AT_RATES.baseline, rates)
    both = reset_to_baseline(FINAL, {"optimizer"}, AT_RATES.baseline, rates)
    assert alone.optimizer == Adam(name="adam", lr=0.003)
    assert both.optimizer == Adam(name="adam", lr=0.006)


def test_if_the_optimizer_is_reset_only_its_own_multiple_applies() -> None:
    rates = {"scheduler": 0.3, "optimizer": 2.0}
    alone = reset_to_baseline(FINAL, {"scheduler", "dropout"}, AT_RATES.baseline, rates)
    both = reset_to_baseline(FINAL, {"dropout"}, AT_RATES.baseline, rates)
    assert alone.optimizer == both.optimizer == Sgd(name="sgd", lr=0.2)


def test_an_unchanged_optimizer_has_the_multiples_of_the_reset_techniques() -> None:
    final = FINAL.having("optimizer", AT_RATES.baseline.optimizer)
    recipe = reset_to_baseline(final, {"dropout"}, AT_RATES.baseline, {"scheduler": 0.3})
    assert recipe.optimizer == Sgd(name="sgd", lr=0.03)
    assert recipe.scheduler == Constant(name="constant")


def test_a_technique_is_reset_at_its_multiples_of_the_final_rate() -> None:
    contest = rates_to_try(AT_RATES, "scheduler", FINAL, AT_RATES.baseline)
    assert settings(contest) == ["constant lr=0.01", "constant lr=0.003", "constant lr=0.03"]
    assert {entry.recipe.dropout for entry in contest.entries} == {0.4}


def test_rates_are_compared_on_equal_terms() -> None:
    """Otherwise racing would stop all rates that are not better than the first."""
    assert rates_to_try(AT_RATES, "scheduler", FINAL, AT_RATES.baseline).simpler == 0


def test_a_technique_without_multiples_is_reset_at_the_final_rate() -> None:
    assert settings(rates_to_try(AT_RATES, "dropout", FINAL, AT_RATES.baseline)) == ["0.2 lr=0.01"]


def test_an_optimizer_is_reset_at_the_rates_of_its_candidate() -> None:
    listed = [{"name": "adam", "lr": 0.01}, {"name": "sgd", "lr": [0.03, 0.1, 0.3]}]
    params = study(optimizer=listed)
    contest = rates_to_try(params, "optimizer", FINAL, params.baseline)
    assert settings(contest) == ["sgd lr=0.1", "sgd lr=0.03", "sgd lr=0.3"]
    unlisted = rates_to_try(study(optimizer=listed[:1]), "optimizer", FINAL, params.baseline)
    assert settings(unlisted) == ["sgd lr=0.1"]


def test_an_optimizer_that_differs_only_in_its_rate_is_reset_to_the_baselines_rate() -> None:
    params = study(optimizer=[{"name": "sgd", "lr": [0.03, 0.1, 0.3]}])
    final = params.baseline.having("optimizer", Sgd(name="sgd", lr=0.3))
    assert settings(rates_to_try(params, "optimizer", final, params.baseline)) == ["sgd lr=0.1"]


def test_a_rate_changed_by_another_stage_counts_as_a_changed_optimizer() -> None:
    """Otherwise no recipe of leave-one-out would equal the final one."""
    final = FINAL.having("dropout", 0.2).having(
        "architecture", SIZES["mlp"].model_validate({"hidden": [9, 8, 7]})
    )
    baseline = AT_RATES.full("mlp", AT_RATES.baseline)
    reported, changed = changed_techniques(
        ["scheduler", "dropout", "architecture"], final, baseline
    )
    assert reported == ["scheduler", "dropout", "architecture", "optimizer"]
    assert changed == ["scheduler", "architecture", "optimizer"]
    assert reset_to_baseline(final, changed, baseline, {}) == final


def test_the_baseline_stage_has_a_single_entry() -> None:
    (only,) = list_entries(AT_RATES, "mlp", "baseline", AT_RATES.baseline).entries
    assert only == Entry("baseline", "baseline", AT_RATES.baseline)
