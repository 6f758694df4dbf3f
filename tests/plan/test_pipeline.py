"""The plan of the tiny study, with real DVC."""

import json
import re
from pathlib import Path

import pytest

from ablation.plan.pipeline import read_stages
from tests.clones import Clone, warm_python

SHOWN = 80  # columns


@pytest.fixture(scope="module")
def done(study: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The finished tiny study. Read-only."""
    return study.duplicate(tmp_path_factory.mktemp("done") / "study")


def reasons(study: Clone, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    monkeypatch.chdir(study.path)
    return {stage.name: stage.reasons for stage in read_stages() if stage.reasons}


def plan(study: Clone) -> str:
    return study.run("env", "PYTHONPATH=src", *warm_python("-m", "ablation", "plan"))


def test_a_finished_study_is_up_to_date(done: Clone) -> None:
    *_, last = plan(done).splitlines()
    assert last == "everything is up to date: nothing runs"


def test_a_fresh_clone_trains_nothing(done: Clone, tmp_path: Path) -> None:
    clone = done.clone(tmp_path / "clone")
    *_, what, time = plan(clone).splitlines()
    said = r"2 of \d+ stages run: nothing is trained, unless the characters change"
    assert re.fullmatch(said, what)
    assert time.startswith("about ")


def test_each_edit_is_given_as_a_reason(
    done: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = done.duplicate(tmp_path / "study")
    assert reasons(study, monkeypatch) == {}
    study.edit("fit", "seeds", value=3)
    (study.path / "src/ablation/show/style.py").open("a").write("X = 1\n")
    (study.path / "metrics/mlp/dropout.json").unlink()
    (study.path / "data/recipes/cnn/dropout.yaml").write_text("other")
    pipeline = (study.path / "dvc.yaml").read_text()
    (study.path / "dvc.yaml").write_text(
        pipeline.replace("compare.py --last", "compare.py  --last")
    )
    assert reasons(study, monkeypatch) == {
        "code": ("code",),
        "check": ("parameters",),
        "dropout@mlp": ("outputs",),
        "dropout@cnn": ("outputs",),
        "augmentation@cnn": ("inputs",),
        "fit@mlp": ("parameters",),
        "fit@cnn": ("parameters",),
        "compare": ("command",),
        "report": ("inputs", "code"),
    }


def test_stages_are_listed_after_their_dependencies(
    done: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(done.path)
    seen: set[str] = set()
    for stage in read_stages():
        assert stage.before <= seen
        seen.add(stage.name)


def test_the_cost_of_a_candidate_is_printed_as_a_table_as_json_and_by_check(
    done: Clone, tmp_path: Path
) -> None:
    study = done.duplicate(tmp_path / "study")
    study.edit("techniques", "dropout", value=[0.5, 0.6, 0.7])
    shown = plan(study).splitlines()
    assert max(map(len, shown)) <= SHOWN
    assert any(line.split()[:3] == ["dropout@mlp", "runs:", "parameters"] for line in shown)

    said = json.loads(
        study.run("env", "PYTHONPATH=src", *warm_python("-m", "ablation", "plan", "--json"))
    )
    stages = {each["stage"]: each for each in said["stages"]}
    # The new candidate on two repeats; all other trials are remembered.
    assert stages["dropout@mlp"]["train"] == {"least": 2, "expected": 2, "most": 2}
    assert stages["augmentation@mlp"]["state"] == "may run"
    assert stages["augmentation@mlp"]["train"]["most"] == 0
    assert stages["batchnorm@mlp"]["state"] == "up to date"
    assert said["totals"]["train"]["most"] >= 2 * 2
    assert said["totals"]["seconds"] > 0

    # `check` can plan although DVC holds its locks while a stage runs.
    checked = study.run("dvc", "repro", "check").splitlines()
    assert shown[-2] in checked
    assert any(line.startswith("about ") for line in checked)
