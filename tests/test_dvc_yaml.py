"""dvc.yaml is held to the code and to the strategy: nothing stale, and no peek at the test set."""

import ast
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

import pytest
from dvc.dependency import ParamsDependency  # type: ignore[import-untyped]
from dvc.repo import Repo  # type: ignore[import-untyped]

from ablation.recipe import TECHNIQUES
from ablation.trial.families import FAMILIES

ROOT = Path(__file__).parents[1]
CODE = (ROOT / "src", ROOT / "stages")
TEST_SET = "data/prepared/test.npz"
SEE_THE_TEST_SET = ["evaluate@mlp", "evaluate@cnn"]
SEE_ITS_RESULTS = ["compare", "report"]
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
def stages() -> dict[str, Stage]:
    """Every stage of dvc.yaml as DVC itself reads it, so `foreach` is expanded."""
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


def overlap(one: str, other: str) -> bool:
    return PurePath(one).is_relative_to(other) or PurePath(other).is_relative_to(one)


def code_of(script: Path, import_closure: Callable[[Path], set[Path]]) -> set[str]:
    """The files a script runs; packages' __init__.py hold a docstring alone, as a test checks."""
    files = (path for path in import_closure(script) if path.name != "__init__.py")
    return {str(path.relative_to(ROOT)) for path in files}


@pytest.mark.parametrize("script", STAGES)
def test_a_stage_depends_on_all_the_code_it_runs_and_on_no_other(
    script: str, stages: dict[str, Stage], import_closure: Callable[[Path], set[Path]]
) -> None:
    path = ROOT / "stages" / f"{script}.py"
    runs = code_of(path, import_closure)
    ours = {name: stage for name, stage in stages.items() if stage.script == path}
    assert ours
    for name, stage in ours.items():
        deps = [dep for dep in stage.deps if dep.startswith(("src", "stages"))]
        uncovered = {file for file in runs if not any(overlap(file, dep) for dep in deps)}
        idle = {dep for dep in deps if not any(overlap(file, dep) for file in runs)}
        assert (uncovered, idle) == (set(), set()), name


def test_every_stage_script_is_in_dvc_yaml(stages: dict[str, Stage]) -> None:
    assert {stage.script.stem for stage in stages.values()} == set(STAGES)


def test_packages_hold_a_docstring_alone() -> None:
    for path in (ROOT / "src").rglob("__init__.py"):
        (only,) = ast.parse(path.read_bytes()).body
        assert isinstance(only, ast.Expr), path
        assert isinstance(only.value, ast.Constant), path


def test_every_stage_but_prepare_makes_do_without_raw_files(stages: dict[str, Stage]) -> None:
    assert [name for name, stage in stages.items() if stage.depends_on("data/raw")] == ["prepare"]


def test_only_evaluate_depends_on_the_test_set(stages: dict[str, Stage]) -> None:
    openers = [name for name, stage in stages.items() if stage.depends_on(TEST_SET)]
    assert sorted(openers) == sorted(SEE_THE_TEST_SET)


def test_nothing_before_evaluate_can_reach_the_test_set(stages: dict[str, Stage]) -> None:
    tainted, reached = {TEST_SET}, set[str]()
    for _ in stages:  # as often as the longest chain could need
        for name, stage in stages.items():
            if any(stage.depends_on(path) for path in tainted):
                reached.add(name)
                tainted.update(stage.outs)
    assert reached == {*SEE_THE_TEST_SET, *SEE_ITS_RESULTS}


def test_no_other_stage_so_much_as_names_the_test_set(
    stages: dict[str, Stage], import_closure: Callable[[Path], set[Path]]
) -> None:
    for name, stage in stages.items():
        named = [path.name for path in import_closure(stage.script) if names_test_set(path)]
        assert not named or name in ["prepare", *SEE_THE_TEST_SET], (name, named)


def names_test_set(path: Path) -> bool:
    nodes = ast.walk(ast.parse(path.read_bytes()))
    constants = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return any(isinstance(text, str) and text.endswith("test.npz") for text in constants)


@pytest.mark.parametrize("model", FAMILIES)
def test_each_technique_starts_from_the_one_before(model: str, stages: dict[str, Stage]) -> None:
    assert "--incumbent" not in stages[f"baseline@{model}"].command
    for before, technique in zip(("baseline", *TECHNIQUES), TECHNIQUES, strict=False):
        stage, recipe = stages[f"{technique}@{model}"], f"data/recipes/{model}/{before}.yaml"
        assert stage.option("--technique") == technique
        assert stage.option("--model") == model
        assert stage.option("--incumbent") == recipe
        assert recipe in stage.deps
        assert recipe in stages[f"{before}@{model}"].outs


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("after", ["fit", "leave_one_out"])
def test_the_chain_ends_in_the_last_techniques_recipe(
    after: str, model: str, stages: dict[str, Stage]
) -> None:
    recipe = f"data/recipes/{model}/{TECHNIQUES[-1]}.yaml"
    assert stages[f"{after}@{model}"].option("--recipe") == recipe
    assert recipe in stages[f"{after}@{model}"].deps


def test_every_file_on_a_command_line_is_a_dependency(stages: dict[str, Stage]) -> None:
    for name, stage in stages.items():
        files = {word for word in stage.command if "/" in word}
        assert files <= set(stage.deps), name


@pytest.mark.parametrize("model", FAMILIES)
@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_technique_depends_on_its_own_candidates_alone(
    technique: str, model: str, stages: dict[str, Stage]
) -> None:
    params = stages[f"{technique}@{model}"].params
    mine = {f"techniques.{technique}", f"models.{model}"}
    assert {p for p in params if p.startswith(("techniques", "models", "baseline"))} == mine


def test_parameters_are_checked_before_anything_else(stages: dict[str, Stage]) -> None:
    assert [name for name, stage in stages.items() if "params.yaml" in stage.deps] == ["check"]
    (checked,) = stages["check"].outs
    assert [name for name, stage in stages.items() if checked in stage.deps] == ["prepare"]


def test_the_number_of_workers_invalidates_nothing(stages: dict[str, Stage]) -> None:
    params = {name for stage in stages.values() for name in stage.params}
    assert params.isdisjoint({"training", "training.workers"})
