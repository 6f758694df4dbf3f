"""The trials left to train, for a chain of two techniques on the toy."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablation.base.checked import read_yaml
from ablation.params import Params
from ablation.plan.pipeline import Reason, Stage
from ablation.plan.work import Trainings, Work, list_work
from ablation.run.hardware import Hardware
from ablation.run.runner import TrialRunner
from ablation.study.entries import list_entries
from ablation.study.inputs import TRAINING_CHARACTERS, fit_repeats, make_trial, repeats_for
from ablation.study.race import run_entries
from ablation.trial.recipe import TECHNIQUES, Sgd, save_recipe

ROOT = Path(__file__).parents[2]
REPEATS = 4
# In the order of the chain; each starts from the recipe of the one before.
CHAIN = ("baseline", "dropout", "smoothing")
NAMES = ("prepare", *CHAIN, "leave_one_out", "fit")


def study(racing: bool = True, rates: bool = False, **techniques: list[object]) -> Params:
    content = read_yaml(ROOT / "params.yaml")
    content["data"]["dataset"] = "glyphs"
    content["validation"] = {"scheme": "shuffle", "fraction": 0.25, "repeats": REPEATS}
    content["selection"]["racing"] = racing
    content["worth"]["repeats"] = REPEATS
    content["learning_rate_multiples"] = {"dropout": [1.0, 100.0]} if rates else {}
    content["training"] |= {"batch_size": 25, "precision": "float32", "workers": 1}
    content["fit"]["seeds"] = 2
    content["models"] = {"mlp": {"hidden": [16, 12, 8], "epochs": 2}}
    content["baseline"]["optimizer"] = {"name": "sgd", "lr": 0.03}
    listed: dict[str, Any] = {"dropout": [0.2, 0.6, 0.9], "smoothing": [0.0, 0.1]}
    content["techniques"] = {name: [] for name in TECHNIQUES} | listed | techniques
    return Params.model_validate(content)


def pipeline(**reasons: tuple[Reason, ...]) -> list[Stage]:
    """The stages; the named ones have changed dependencies."""
    stages, before = [], ""
    for name in NAMES:
        recipe = f"data/recipes/mlp/{before}.yaml"
        commands = {
            "prepare": "stages/prepare.py",
            "leave_one_out": f"stages/leave_one_out.py --model mlp --recipe {recipe}",
            "fit": f"stages/fit.py --model mlp --recipe {recipe}",
        }
        technique = f"stages/technique.py --model mlp --stage {name} --incumbent {recipe}"
        command = tuple(commands.get(name, technique).split())
        after = frozenset({before} if before else ())
        stages.append(Stage(name, command, after, reasons.get(name, ())))
        before = name if name in ("prepare", *CHAIN) else before
    return stages


ALL_NEW = pipeline(**dict.fromkeys(NAMES, ("new",)))


@pytest.fixture
def runner(toy_study: Path) -> TrialRunner:
    return TrialRunner(TRAINING_CHARACTERS, 25, Hardware("cpu", False, 1))


def by_name(works: Iterable[Work]) -> dict[str, Work]:
    return {work.stage.name: work for work in works}


def train(params: Params, runner: TrialRunner, techniques: Iterable[str] = CHAIN[1:]) -> None:
    """Run the trials of a chain in which every incumbent wins, and write the recipes."""
    repeats, baseline = repeats_for(params), params.baseline
    for technique in techniques:
        contest = list_entries(params, "mlp", technique, baseline)
        racing = params.selection.racing
        run_entries(runner, params, "mlp", contest, repeats, racing=racing)
    for name in CHAIN:
        save_recipe(baseline, Path(f"data/recipes/mlp/{name}.yaml"), runner.digest)


def sizes(trainings: Trainings | None) -> tuple[int, int]:
    assert trainings
    return len(trainings.least), len(trainings.most)


def test_a_new_study_trains_everything_and_has_no_known_winner(runner: TrialRunner) -> None:
    works = by_name(list_work(ALL_NEW, study(), runner, False))
    assert {name: sizes(work.trainings) for name, work in works.items()} == {
        "prepare": (0, 0),
        "baseline": (4, 4),
        "dropout": (2 * 2, 2 * 4),
        "smoothing": (2, 4),
        "leave_one_out": (4, 2**2 * 4),  # the baseline alone, or all recipes of two techniques
        "fit": (2, 4),
    }
    unknown = {name for name, work in works.items() if work.start_unknown}
    assert unknown == {"smoothing", "leave_one_out", "fit"}


def test_a_later_round_with_unknown_start_trains_nothing_or_the_settings_of_a_changed_recipe(
    runner: TrialRunner,
) -> None:
    command = "stages/technique.py --model mlp --stage dropout_again --incumbent"
    words = (*command.split(), "data/recipes/mlp/smoothing.yaml")
    again = Stage("dropout_again", words, frozenset({"smoothing"}), ("new",))
    works = by_name(list_work([*ALL_NEW[:4], again], study(), runner, False))
    # If both techniques changed, dropout 0.9 with the other smoothing is new; 0.2 with it was run
    # by the stage `smoothing`.
    assert sizes(works["dropout_again"].trainings) == (0, 4)
    assert works["dropout_again"].start_unknown


def test_without_racing_every_trial_runs(runner: TrialRunner) -> None:
    works = by_name(list_work(ALL_NEW, study(racing=False), runner, False))
    assert sizes(works["dropout"].trainings) == (8, 8)


def test_nothing_is_trained_if_everything_is_cached(runner: TrialRunner) -> None:
    params = study(dropout=[0.2, 0.9])
    train(params, runner)
    edited = pipeline(baseline=("code",), dropout=("code",), smoothing=("code",))
    works = by_name(list_work(edited, params, runner, False))
    for name in CHAIN:
        assert works[name].state == "runs"
        assert sizes(works[name].trainings) == (0, 0)
        assert not works[name].start_unknown
    assert works["smoothing"].cached == 2 * REPEATS


def test_other_parameters_of_the_baseline_make_every_stage_of_its_family_run(
    runner: TrialRunner,
) -> None:
    """The later ones depend on them through the recipe that they start from."""
    params = study(dropout=[0.2, 0.9])
    train(params, runner)
    works = by_name(list_work(pipeline(baseline=("parameters",)), params, runner, False))
    assert works["prepare"].state == "up to date"
    assert {works[name].state for name in NAMES[1:]} == {"runs"}


def test_the_next_stage_starts_from_the_winner_of_cached_trials(
    runner: TrialRunner,
) -> None:
    """The baseline has far too much dropout, so another setting wins."""
    params = study(dropout=[0.0, 0.6])
    params = params.model_copy(update={"baseline": params.baseline.having("dropout", 0.6)})
    train(params, runner, ["dropout"])
    works = by_name(list_work(ALL_NEW, params, runner, False))
    assert {t.recipe.dropout for t in works["smoothing"].trainings.most} == {0.0}
    assert sizes(works["smoothing"].trainings) == (2, 4)  # the winner's own are cached
    assert not works["smoothing"].start_unknown


def test_a_new_candidate_costs_its_own_trials_and_possibly_later_ones(runner: TrialRunner) -> None:
    train(study(dropout=[0.2, 0.9]), runner)
    edited = pipeline(dropout=("parameters",))
    works = by_name(list_work(edited, study(dropout=[0.2, 0.3, 0.9]), runner, False))
    assert {t.recipe.dropout for t in works["dropout"].trainings.most} == {0.3}
    assert sizes(works["dropout"].trainings) == (2, 4)
    assert sizes(works["dropout"].if_changed) == (3, 7)  # if 0.9 is not stopped this time
    assert [works[name].state for name in ("baseline", "smoothing", "fit")] == [
        *("up to date", "may run", "may run")
    ]
    assert sizes(works["smoothing"].trainings) == (0, 0)
    assert sizes(works["smoothing"].if_changed) == (2, 4)


def test_entries_stopped_by_racing_are_not_trained_again(runner: TrialRunner) -> None:
    """A contender that learns nothing is stopped at the first look, even if trials are missing."""
    params = study(optimizer=[{"name": "sgd", "lr": [0.000001, 0.03]}])
    contest = list_entries(params, "mlp", "optimizer", params.baseline)
    results = run_entries(runner, params, "mlp", contest, repeats_for(params), racing=True)
    stopped = len(results["sgd lr=1e-06"])
    assert stopped < REPEATS
    stages = [
        replace(each, command=tuple(word.replace("dropout", "optimizer") for word in each.command))
        for each in pipeline(dropout=("code",))[:3]
    ]
    (*_, work) = list_work(stages, params, runner, False)
    assert sizes(work.trainings) == (0, 0)
    assert work.cached == REPEATS + stopped


def test_missing_outputs_do_not_affect_later_stages(runner: TrialRunner) -> None:
    params = study()
    train(params, runner, [])
    works = by_name(list_work(pipeline(prepare=("outputs",)), params, None, False))
    states = {name: work.state for name, work in works.items()}
    assert states == dict.fromkeys(NAMES, "up to date") | {"prepare": "runs"}


def test_raw_files_in_another_format_may_have_the_same_characters(runner: TrialRunner) -> None:
    params = study()
    train(params, runner, [])
    works = by_name(list_work(pipeline(prepare=("inputs",)), params, runner, False))
    assert works["baseline"].state == works["fit"].state == "may run"
    assert sizes(works["baseline"].trainings) == (0, 0)
    assert sizes(works["baseline"].if_changed) == (4, 4)


def test_nothing_is_cached_for_other_characters(runner: TrialRunner) -> None:
    params = study()
    train(params, runner)
    works = by_name(list_work(pipeline(prepare=("parameters",)), params, runner, True))
    assert works["baseline"].stage.reasons == ("inputs",)
    assert works["baseline"].cached == 0
    assert sizes(works["dropout"].trainings) == (4, 8)
    assert works["smoothing"].start_unknown


def test_recipes_of_other_characters_are_not_used_as_winners(
    runner: TrialRunner,
) -> None:
    params = study()
    train(params, runner, [])
    save_recipe(params.baseline, Path("data/recipes/mlp/dropout.yaml"), "of another study")
    edited = pipeline(dropout=("parameters",), smoothing=("parameters",))
    works = by_name(list_work(edited, params, runner, False))
    assert works["smoothing"].start_unknown


def test_the_learning_rates_of_leave_one_out_are_counted_and_then_known(
    runner: TrialRunner,
) -> None:
    """The baseline's rate is far too low."""
    params = study(rates=True)
    slow = params.baseline.having("optimizer", Sgd(name="sgd", lr=0.0003))
    params = params.model_copy(update={"baseline": slow})
    train(params, runner, [])
    final = slow.having("dropout", 0.6).having("smoothing", 0.1)
    save_recipe(final, Path("data/recipes/mlp/smoothing.yaml"), runner.digest)

    def trainings() -> Trainings:
        works = list_work(pipeline(leave_one_out=("code",)), params, runner, False)
        return by_name(works)["leave_one_out"].trainings

    every = trainings()
    # On one repeat two learning rates of the dropout that is reset, and the four recipes of two
    # techniques.
    assert len(every.most) == 2 + 2**2 * REPEATS
    list(runner.run(every.most))
    left = trainings()
    assert [trial.recipe.optimizer.lr for trial in left.most] == [0.03] * REPEATS
    list(runner.run(left.most))
    assert sizes(trainings()) == (0, 0)


def test_cached_fits_are_distinguished_from_trials(runner: TrialRunner) -> None:
    params = study()
    train(params, runner, [])
    trials = [make_trial(params, "mlp", params.baseline, each) for each in fit_repeats(params)]
    stages = pipeline(fit=("code",))
    list(runner.run(trials))
    assert sizes(by_name(list_work(stages, params, runner, False))["fit"].trainings) == (2, 2)
    list(runner.fit(trials))
    assert sizes(by_name(list_work(stages, params, runner, False))["fit"].trainings) == (0, 0)


def test_a_setting_equal_to_the_baseline_needs_no_trial(runner: TrialRunner) -> None:
    works = by_name(list_work(ALL_NEW, study(smoothing=[0.0]), runner, False))
    assert sizes(works["smoothing"].trainings) == (0, 0)
    assert works["smoothing"].if_changed is None
