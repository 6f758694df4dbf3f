"""The trials that a search of the toy has left to train, and those of the stages after it."""

from dataclasses import replace
from pathlib import Path

import pytest

from ablation.base.checked import ParamsError, read_yaml
from ablation.data.datasets import Size
from ablation.params import Params
from ablation.plan.pipeline import Reason, Stage
from ablation.plan.work import Work, list_work
from ablation.run.hardware import Hardware
from ablation.run.runner import TrialRunner
from ablation.search.cost import Cost
from ablation.search.draws import search
from ablation.study.inputs import TRAINING_CHARACTERS, make_trial, repeats_for
from ablation.trial.recipe import TECHNIQUES, Recipe, save_recipe

ROOT = Path(__file__).parents[2]
REPEATS = SEEDS = 2
TOY = Size(400, 4)
CHAIN_RECIPE = "data/recipes/mlp/dropout.yaml"
COMMANDS = {
    "random@mlp": "stages/search.py --model mlp --strategy random",
    "contest@mlp": f"stages/contest.py --model mlp --chain-recipe {CHAIN_RECIPE}",
    "leave_one_out@mlp": "stages/leave_one_out.py --model mlp",
    "fit@mlp": "stages/fit.py --model mlp",
}
ANSWER = "--recipe search/data/recipes/mlp/answer.yaml"


@pytest.fixture
def params() -> Params:
    """Those of a budget that pays for a few draws of twice the epochs of the family."""
    content = read_yaml(ROOT / "params.yaml")
    content["data"]["dataset"] = "glyphs"
    content["validation"] = {"scheme": "shuffle", "fraction": 0.25, "repeats": REPEATS}
    content["worth"]["repeats"] = REPEATS
    content["learning_rate_multiples"] = {}
    content["training"] |= {"batch_size": 25, "precision": "float32", "workers": 1}
    content["fit"]["seeds"] = SEEDS
    content["models"] = {"mlp": {"hidden": [16, 12, 8], "epochs": 1}}
    listed = {"dropout": [0.2, 0.4], "smoothing": [0.0, 0.1]}
    content["techniques"] = {name: [] for name in TECHNIQUES} | listed
    content["search"] = {
        "strategies": ["random"], "epochs": {"mlp": 2}, "generation": 2, "finalists": 1,
        "budget": {"mlp": 2e-4}, "first_look": 0.1, "finalists_share": 0.3,
    }  # fmt: skip
    return Params.model_validate(content)


@pytest.fixture
def runner(toy_study: Path, params: Params) -> TrialRunner:
    runner = TrialRunner(TRAINING_CHARACTERS, 25, Hardware("cpu", False, 1))
    save_recipe(params.baseline, Path(CHAIN_RECIPE), runner.digest)
    return runner


def stages(*changed: str) -> list[Stage]:
    made, before = [], frozenset[str]()
    for name, command in COMMANDS.items():
        words = f"{command} {ANSWER}" if "strategy" not in command else command
        reasons: tuple[Reason, ...] = ("code",) if name in changed else ()
        made.append(Stage(name, tuple(words.split()), before, reasons))
        before |= {name}
    return made


NEW = [replace(stage, reasons=("new",)) for stage in stages()]


def by_name(works: list[Work]) -> dict[str, Work]:
    return {work.stage.script: work for work in works}


def drawn(runner: TrialRunner, params: Params) -> Recipe:
    """The winner of a search that ran."""
    cost = Cost(TOY.training, TOY.classes)
    winner = search(runner, params, "mlp", "random", cost).winner.recipe
    for name in ("random", "answer"):
        save_recipe(winner, Path(f"search/data/recipes/mlp/{name}.yaml"), runner.digest)
    return winner


def test_a_new_search_has_estimated_draws_and_an_unknown_answer(
    runner: TrialRunner, params: Params
) -> None:
    works = by_name(list_work(NEW, params, None, True, TOY))
    draws = works["search"].trainings
    assert 0 < len(draws.least) < len(draws.most)
    assert works["search"].drawn
    assert not works["search"].start_unknown
    # The baseline, which is also the chain's final recipe, and the winner.
    assert len(works["contest"].trainings.most) == 2 * REPEATS
    assert {name for name, work in works.items() if work.start_unknown} == {
        "contest", "leave_one_out", "fit",
    }  # fmt: skip
    # The baseline alone, at its own epochs and at those of the search.
    assert len(works["leave_one_out"].trainings.least) == 2 * REPEATS
    assert {trial.spec.epochs for trial in works["fit"].trainings.most} == {1, 2}


def test_a_cached_search_trains_nothing_and_its_answer_is_known(
    runner: TrialRunner, params: Params
) -> None:
    winner = drawn(runner, params)
    works = by_name(list_work(NEW, params, runner, False, TOY))
    assert works["search"].trainings.most == ()
    assert works["search"].cached
    fresh = repeats_for(params, "contest")
    assert {*works["contest"].trainings.least} == {
        make_trial(params, "mlp", recipe, repeat)
        for recipe in (winner, params.baseline)
        for repeat in fresh
    }
    assert not any(work.start_unknown for work in works.values())


def test_a_changed_chain_runs_the_contest_alone(runner: TrialRunner, params: Params) -> None:
    drawn(runner, params)
    works = by_name(list_work(stages("contest@mlp"), params, runner, False, TOY))
    states = {name: work.state for name, work in works.items()}
    assert states == {
        "search": "up to date", "contest": "runs", "leave_one_out": "may run", "fit": "may run",
    }  # fmt: skip
    assert len(works["contest"].trainings.most) == 2 * REPEATS


def test_a_strategy_that_is_not_listed_is_a_one_line_error(
    runner: TrialRunner, params: Params
) -> None:
    other = params.search.model_copy(update={"strategies": ("tpe",)})
    params = params.model_copy(update={"search": other})
    with pytest.raises(ParamsError, match=r"^params.yaml: search.strategies: random is missing"):
        list_work(NEW, params, runner, False, TOY)
