"""dvc.yaml matches the code: nothing becomes stale, and the test set is not used early."""

import ast
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePath

import pytest
from dvc.dependency import ParamsDependency  # type: ignore[import-untyped]
from dvc.repo import Repo  # type: ignore[import-untyped]

from ablation.base.checked import read_yaml
from ablation.labels import ChainStage, stages_in
from ablation.params import load_params
from ablation.plan.code import DIGESTS
from ablation.search.strategies import STRATEGIES
from ablation.trial.recipe import BASELINE, TECHNIQUES

ROOT = Path(__file__).parents[1]
PIPELINE = read_yaml(ROOT / "dvc.yaml")
SEARCH = read_yaml(ROOT / "search/dvc.yaml")
OF_SEARCH = "search/dvc.yaml:"  # before the names of its stages
PARAMS = load_params(ROOT / "params.yaml")
MODELS = PARAMS.families
TEST_SET = "data/prepared/test.npz"
SEE_THE_TEST_SET = [f"evaluate@{model}" for model in MODELS]
SEE_ITS_RESULTS = ["compare", "report"]
OF_ALL_FAMILIES = ["compare", "report"]
AFTER_STRATEGIES = {
    "contest": {"search.strategies"},
    "leave_one_out": {"worth", "techniques.optimizer"},
    "fit": {"data", "fit"},
}
DRAWS = ROOT / "stages/search.py"
STAGES = [path.stem for path in sorted((ROOT / "stages").glob("*.py"))]


@dataclass(frozen=True)
class Stage:
    command: tuple[str, ...]
    deps: tuple[str, ...]
    params: tuple[str, ...]
    outs: tuple[str, ...]

    @property
    def script(self) -> Path:
        return ROOT / next(word for word in self.command if word.startswith("stages/"))

    def option(self, name: str) -> str:
        return self.command[self.command.index(name) + 1]

    def depends_on(self, path: str) -> bool:
        return any(overlap(dep, path) for dep in self.deps)


@pytest.fixture(scope="module")
def every_stage() -> dict[str, Stage]:
    """Every stage of both pipelines as resolved by DVC, with its matrix and variables."""
    read = {}
    for stage in Repo(str(ROOT)).index.stages:
        params = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
        read[stage.addressing] = Stage(
            command=tuple(shlex.split(stage.cmd)),
            deps=tuple(dep.def_path for dep in stage.deps if dep not in params),
            params=tuple(name for dep in params for name in dep.params),
            outs=tuple(out.def_path for out in stage.outs),
        )
    return read


@pytest.fixture(scope="module")
def stages(every_stage: dict[str, Stage]) -> dict[str, Stage]:
    """The stages of dvc.yaml."""
    return {name: each for name, each in every_stage.items() if ":" not in name}


@pytest.fixture(scope="module")
def searching(every_stage: dict[str, Stage]) -> dict[str, Stage]:
    """The stages of search/dvc.yaml."""
    return {
        name.removeprefix(OF_SEARCH): each
        for name, each in every_stage.items()
        if name.startswith(OF_SEARCH)
    }


def variables(name: str) -> list[dict[str, str]]:
    """The variables of dvc.yaml and its stages that include one of this name."""
    stages = PIPELINE["stages"].values()
    given = [*PIPELINE["vars"], *(each for stage in stages for each in stage.get("vars", []))]
    return [each for each in given if name in each]


def walk_chain() -> list[str]:
    """The chain, by following dvc.yaml's `after` while it is linear."""
    follows = {each["after"]: each["stage"] for each in variables("after")}
    chain = [BASELINE]
    for _ in follows:
        if chain[-1] in follows:
            chain.append(follows[chain[-1]])
    return chain


CHAIN = walk_chain()
# Those that a backward round explores are the ones before it.
ASKED = [
    stage
    for place, name in enumerate(CHAIN)
    for stage in stages_in(name, [each for each in CHAIN[1:place] if each in TECHNIQUES])
]


def overlap(one: str, other: str) -> bool:
    return PurePath(one).is_relative_to(other) or PurePath(other).is_relative_to(one)


def test_a_stage_depends_on_the_code_of_its_script_alone(every_stage: dict[str, Stage]) -> None:
    for name in every_stage.keys() - {"code"}:
        deps, script = every_stage[name].deps, every_stage[name].script
        code = [dep for dep in deps if dep.startswith(("src", "stages", "data/code"))]
        assert code == [str(DIGESTS / f"{script.stem}.txt")], name


def test_only_the_stage_code_depends_on_the_sources(stages: dict[str, Stage]) -> None:
    assert stages["code"].deps == ("requirements.lock", "src/ablation", "stages")
    assert stages["code"].outs == (str(DIGESTS),)


def test_every_stage_script_is_in_a_pipeline(every_stage: dict[str, Stage]) -> None:
    assert {stage.script.stem for stage in every_stage.values()} == set(STAGES)


def test_packages_contain_only_a_docstring() -> None:
    """Except the top-level one, which checks for the project's environment."""
    for path in (ROOT / "src/ablation").glob("*/**/__init__.py"):
        (only,) = ast.parse(path.read_bytes()).body
        assert isinstance(only, ast.Expr), path
        assert isinstance(only.value, ast.Constant), path


def test_only_prepare_depends_on_the_raw_files(every_stage: dict[str, Stage]) -> None:
    raw = str(PARAMS.data.raw)
    assert [name for name, stage in every_stage.items() if stage.depends_on(raw)] == ["prepare"]
    assert "${data.raw}" in PIPELINE["stages"]["prepare"]["deps"]


def test_stages_without_an_incumbent_depend_on_the_precision_of_the_study(
    every_stage: dict[str, Stage],
) -> None:
    """Later stages depend on it through the recipes that they start from."""
    (record,) = (out for out in every_stage["check"].outs if "precision" in out)
    first = {f"{BASELINE}@{model}" for model in MODELS}
    first |= {f"{OF_SEARCH}{name}@{model}" for name in STRATEGIES for model in MODELS}
    assert {name for name, each in every_stage.items() if record in each.deps} == first


def test_only_evaluate_depends_on_the_test_set(every_stage: dict[str, Stage]) -> None:
    openers = [name for name, stage in every_stage.items() if stage.depends_on(TEST_SET)]
    assert sorted(openers) == sorted([*SEE_THE_TEST_SET, *of_search(*SEE_THE_TEST_SET)])


def test_nothing_before_evaluate_can_reach_the_test_set(every_stage: dict[str, Stage]) -> None:
    tainted, reached = {TEST_SET}, set[str]()
    while new := {
        name
        for name, stage in every_stage.items()
        if name not in reached and any(stage.depends_on(path) for path in tainted)
    }:
        reached |= new
        tainted.update(out for name in new for out in every_stage[name].outs)
    in_search = of_search(*SEE_THE_TEST_SET, "report")
    assert reached == {*SEE_THE_TEST_SET, *SEE_ITS_RESULTS, *in_search}


def of_search(*names: str) -> list[str]:
    return [f"{OF_SEARCH}{name}" for name in names]


def test_no_other_stage_names_the_test_set(
    every_stage: dict[str, Stage], import_closure: Callable[[Path], set[Path]]
) -> None:
    openers = ["prepare", *SEE_THE_TEST_SET, *of_search(*SEE_THE_TEST_SET)]
    for name, stage in every_stage.items():
        named = [path.name for path in import_closure(stage.script) if names_test_set(path)]
        assert not named or name in openers, (name, named)


@cache
def names_test_set(path: Path) -> bool:
    nodes = ast.walk(ast.parse(path.read_bytes()))
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return any(isinstance(text, str) and text.endswith("test.npz") for text in constants)


def test_the_chain_is_linear_and_has_every_technique() -> None:
    assert len(variables("after")) == len(CHAIN) - 1
    assert [each["last"] for each in variables("last")] == [CHAIN[-1]]
    first = [stage.name for stage in ASKED if stage.contest == "first"]
    assert sorted(first) == sorted([BASELINE, *TECHNIQUES])


def test_a_stage_explores_the_technique_in_its_name() -> None:
    for each in variables("technique"):
        assert ChainStage.named(each["stage"]).technique == each["technique"]


def test_a_later_round_comes_after_the_first_stage_of_its_technique() -> None:
    for place, stage in enumerate(ASKED):
        if stage.contest != "first":
            assert stage.technique in [each.name for each in ASKED[:place]]


def test_the_backward_round_comes_before_the_longest_trainings() -> None:
    assert CHAIN.index("backward") == CHAIN.index("epochs") - 1


@pytest.mark.parametrize("model", MODELS)
def test_each_stage_starts_from_the_one_before(model: str, stages: dict[str, Stage]) -> None:
    assert "--incumbent" not in stages[f"baseline@{model}"].command
    for before, name in pairwise(CHAIN):
        stage, incumbent = stages[f"{name}@{model}"], stages[f"{before}@{model}"]
        assert stage.option("--stage") == name
        assert stage.option("--model") == model
        assert stage.option("--incumbent") == f"data/recipes/{model}/{before}.yaml"
        assert stage.option("--chain") == f"plots/{model}/{before}/chain.csv"
        for name in ("--incumbent", "--chain"):
            assert stage.option(name) in stage.deps
            assert any(overlap(out, stage.option(name)) for out in incumbent.outs)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("after", ["leave_one_out", "fit"])
def test_leave_one_out_and_fit_use_the_recipe_of_the_last_stage(
    after: str, model: str, stages: dict[str, Stage]
) -> None:
    recipe = f"data/recipes/{model}/{CHAIN[-1]}.yaml"
    assert stages[f"{after}@{model}"].option("--recipe") == recipe
    assert recipe in stages[f"{after}@{model}"].deps


@pytest.mark.parametrize("model", MODELS)
def test_fit_gets_the_trials_of_both_recipes(model: str, stages: dict[str, Stage]) -> None:
    stage = stages[f"fit@{model}"]
    last = Path(stage.option("--recipe")).stem
    assert stage.option("--trials") == f"plots/{model}/{last}"
    assert stage.option("--baseline-trials") == f"plots/{model}/{BASELINE}"


@pytest.mark.parametrize("model", MODELS)
def test_leave_one_out_gets_the_chain_of_its_recipe(model: str, stages: dict[str, Stage]) -> None:
    stage = stages[f"leave_one_out@{model}"]
    last = Path(stage.option("--recipe")).stem
    assert stage.option("--chain") == f"plots/{model}/{last}/chain.csv"
    assert stage.option("--chain") in stage.deps


@pytest.mark.parametrize("model", MODELS)
def test_the_comparison_includes_the_whole_chain(model: str, stages: dict[str, Stage]) -> None:
    assert stages["compare"].option("--last") == CHAIN[-1]
    assert f"plots/{model}/{CHAIN[-1]}" in stages["compare"].deps


@pytest.mark.parametrize("name", OF_ALL_FAMILIES)
def test_stages_that_compare_families_depend_on_the_same_files_of_each(
    name: str, stages: dict[str, Stage]
) -> None:
    def of(model: str) -> set[str]:
        parts = [dep.split("/") for dep in stages[name].deps]
        return {"/".join(each).replace(model, "*") for each in parts if model in each}

    first, *others = (of(model) for model in MODELS)
    assert len(first) >= 2
    assert all(other == first for other in others)


def test_every_file_on_a_command_line_is_a_dependency(every_stage: dict[str, Stage]) -> None:
    """Code is a dependency by its digests."""
    for name, stage in every_stage.items():
        files = {word for word in stage.command if "/" in word and not word.endswith(".py")}
        assert [file for file in files if not stage.depends_on(file)] == [], name


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", CHAIN[1:])
def test_a_stage_depends_only_on_its_own_candidates(
    name: str, model: str, stages: dict[str, Stage]
) -> None:
    """What else it depends on is in the recipe that it starts from."""
    own = "techniques" if name == "backward" else f"techniques.{ChainStage.named(name).technique}"
    params = stages[f"{name}@{model}"].params
    assert params == (own,)


@pytest.mark.parametrize("model", MODELS)
def test_stages_after_the_strategies_depend_on_no_parameters_of_trials(
    model: str, searching: dict[str, Stage]
) -> None:
    """As in the chain, these are in the recipes that they start from."""
    params = {name: {*searching[f"{name}@{model}"].params} for name in AFTER_STRATEGIES}
    assert params == AFTER_STRATEGIES


def test_parameters_are_checked_first(stages: dict[str, Stage]) -> None:
    assert [name for name, stage in stages.items() if "params.yaml" in stage.deps] == ["check"]
    (checked,) = (out for out in stages["check"].outs if "prepared" in out)
    assert [name for name, stage in stages.items() if checked in stage.deps] == ["prepare"]


def test_the_number_of_workers_invalidates_nothing(every_stage: dict[str, Stage]) -> None:
    params = {name for stage in every_stage.values() for name in stage.params}
    assert params.isdisjoint({"training", "training.workers"})


def test_a_strategy_depends_on_nothing_that_the_chain_writes(
    stages: dict[str, Stage], searching: dict[str, Stage]
) -> None:
    before = {"code", "check", "prepare"}
    chain = {out for name, each in stages.items() if name not in before for out in each.outs}
    strategies = [f"{name}@{model}" for name in STRATEGIES for model in MODELS]
    for name in strategies:
        assert [out for out in chain if searching[name].depends_on(out)] == [], name
    assert any(searching[f"contest@{model}"].depends_on(out) for out in chain for model in MODELS)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_depends_on_what_it_draws_from_and_what_it_may_spend_alone(
    strategy: str, model: str, searching: dict[str, Stage]
) -> None:
    params = {*searching[f"{strategy}@{model}"].params}
    of_search = {name for name in params if name.startswith("search")}
    shared = {"first_look", "finalists", "finalists_share", "generation"}
    own = {f"epochs.{model}", f"budget.{model}"}
    assert of_search == {f"search.{key}" for key in shared | own}
    assert "selection" not in params


def test_a_strategy_depends_on_no_code_of_verdicts(
    import_closure: Callable[[Path], set[Path]],
) -> None:
    code = {path.relative_to(ROOT / "src/ablation") for path in import_closure(DRAWS) - {DRAWS}}
    rules = {*map(Path, ("judge/selection.py", "judge/noise.py", "study/entries.py"))}
    assert Path("judge/collapse.py") in code
    assert code & rules == set()


@pytest.mark.parametrize("model", MODELS)
def test_the_answer_is_the_winner_of_the_last_strategy(
    model: str, searching: dict[str, Stage]
) -> None:
    answer = PARAMS.search.strategies[-1]
    assert searching[f"contest@{model}"].option("--answer") == answer
    assert searching[f"fit@{model}"].option("--trials") == f"search/plots/{model}/{answer}"


@pytest.mark.parametrize("model", MODELS)
def test_the_contest_is_between_the_chain_and_every_strategy(
    model: str, searching: dict[str, Stage]
) -> None:
    contest = searching[f"contest@{model}"]
    assert contest.option("--chain-recipe") == f"data/recipes/{model}/{CHAIN[-1]}.yaml"
    assert contest.option("--chain") == f"plots/{model}/{CHAIN[-1]}/chain.csv"
    for strategy in STRATEGIES:
        assert searching[f"{strategy}@{model}"].option("--strategy") == strategy
        assert contest.depends_on(f"search/data/recipes/{model}/{strategy}.yaml")
        assert contest.depends_on(f"search/metrics/{model}/{strategy}.json")


def test_the_report_of_the_search_depends_on_the_same_files_of_each_family(
    searching: dict[str, Stage],
) -> None:
    first, *others = (
        {dep.replace(model, "*") for dep in searching["report"].deps if dep.endswith(f"/{model}")}
        for model in MODELS
    )
    assert len(first) >= 2
    assert all(other == first for other in others)


def test_both_pipelines_name_the_same_last_stage() -> None:
    last = [each["last"] for each in SEARCH["vars"] if "last" in each]
    assert last == [CHAIN[-1]]
