"""The whole pipeline with real git and real dvc, on a study that is small in every direction."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ablation.recipe import CHAIN
from ablation.trial.families import FAMILIES

ROOT = Path(__file__).parents[1]
NOBODY = "http://127.0.0.1:9"  # no network: every connection is refused at once
PARAMS: dict[str, Any] = {
    "seed": 1729,
    "data": {"dataset": "glyphs", "raw": "data/raw"},
    "validation": {"scheme": "shuffle", "fraction": 0.25, "repeats": 2},
    "selection": {"standard_errors": 0.0, "racing": True},
    "training": {"batch_size": 64, "precision": "float32", "device": "cpu", "workers": 2},
    "fit": {"seeds": 2},
    "models": {
        "mlp": {"hidden": [32, 24, 16], "epochs": 2},
        "cnn": {"channels": [4, 6], "dense": [16], "epochs": 1},
    },
    "baseline": {
        "scheduler": {"name": "constant"},
        "activation": "relu",
        "optimizer": {"name": "adam", "lr": 0.003},
        "batchnorm": True,
        "regularization": {"l1": 0.0, "l2": 0.0001},
        "dropout": 0.5,
    },
    "techniques": {
        "scheduler": [{"name": "constant"}, {"name": "onecycle"}],
        "activation": ["relu", "elu"],
        "optimizer": [{"name": "sgd", "lr": 0.1}, {"name": "adam", "lr": [0.003, 0.01]}],
        "batchnorm": [False, True],
        "regularization": [{"l1": 0.0, "l2": 0.0}, {"l1": 0.0, "l2": [0.0001, 0.001]}],
        "dropout": [0.5, 0.6],
    },
}


@dataclass(frozen=True)
class Clone:
    """A clone of the project and the folder in which it remembers trials."""

    path: Path
    memory: Path

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ABLATION_CACHE": str(self.memory),
            "PYTHONDONTWRITEBYTECODE": "",  # Python leaves __pycache__ behind, as it usually does
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{f"GIT_{who}_NAME": "Test" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "test@example.org" for who in ("AUTHOR", "COMMITTER")},
            **{variable: NOBODY for variable in ("http_proxy", "https_proxy")},
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, fails: bool = False) -> str:
        """What the command prints, which has to end as expected."""
        process = self.start(*command)
        output, _ = process.communicate()
        assert (process.returncode != 0) == fails, output
        return output

    def edit(self, *place: str, value: object) -> None:
        """Change a parameter."""
        params = at = yaml.safe_load((self.path / "params.yaml").read_text())
        for step in place[:-1]:
            at = at[step]
        at[place[-1]] = value
        (self.path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def clone(self, folder: Path, revision: str = "main") -> "Clone":
        """A fresh clone: what is in git, and neither data nor remembered trials."""
        self.run("git", "clone", "--quiet", "--branch", revision, str(self.path), str(folder))
        return Clone(folder, folder / ".cache/trials")

    def duplicate(self, folder: Path) -> "Clone":
        """The folder as it is, with its data and trials."""
        shutil.copytree(self.path, folder)
        shutil.copytree(self.memory, folder / ".cache/trials")
        return Clone(folder, folder / ".cache/trials")

    def results(self) -> dict[str, Any]:
        """Recipes, metrics and what stands on test characters; without measured times."""
        files = [*self.path.glob("data/recipes/*/*.yaml"), *self.path.glob("plots/*/*/chain.csv")]
        files += self.path.glob("plots/*/test/*.csv")
        texts = {str(path.relative_to(self.path)): path.read_text() for path in sorted(files)}
        return texts | {name: timeless(text) for name, text in self.metrics().items()}

    def trained(self) -> dict[str, int]:
        """The remembered trainings, and when they were."""
        paths = [path for path in self.memory.glob("*") if len(path.name) == 64]
        return {path.name: path.stat().st_mtime_ns for path in paths}

    def metrics(self) -> dict[str, dict[str, Any]]:
        """All of them; what a fit cost is for `evaluate`, which tells it as a metric of its own."""
        paths = sorted(self.path.glob("metrics/**/*.json"))
        names = {str(path.relative_to(self.path)): path for path in paths if path.stem != "fit"}
        return {name: json.loads(path.read_text()) for name, path in names.items()}


def timeless(metrics: dict[str, Any]) -> str:
    kept = {name: value for name, value in metrics.items() if "seconds" not in name}
    return json.dumps(kept)


def defined(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if value is not None}


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage '(.+)'", output)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, Clone]:
    """One study twice: two workers and one, nothing shared. The first one's results are in git.

    Tag `before` is the project without results. What is not committed yet is tested as well.
    """
    folder = tmp_path_factory.mktemp("pipeline")
    two_workers = Clone(folder / "two", folder / "two-memory")
    git_clone = ["git", "clone", "--quiet", str(ROOT), str(two_workers.path)]
    subprocess.run(git_clone, check=True)
    take_working_tree(two_workers.path)
    (two_workers.path / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    commit(two_workers, "A tiny study")
    two_workers.run("git", "tag", "before")
    one_worker = replace(two_workers.clone(folder / "one"), memory=folder / "one-memory")
    one_worker.edit("training", "workers", value=1)

    runs = [study.start("dvc", "repro") for study in (two_workers, one_worker)]
    for run in runs:
        output, _ = run.communicate()
        assert run.returncode == 0, output
    commit(two_workers, "Its results")
    return two_workers, one_worker


def take_working_tree(target: Path) -> None:
    for path in target.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(listed, cwd=ROOT, text=True).split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def commit(study: Clone, message: str) -> None:
    study.run("git", "checkout", "--quiet", "-B", "main")
    study.run("git", "add", "--all")
    study.run("git", "commit", "--quiet", "--message", message)


@pytest.fixture(scope="module")
def study(studies: tuple[Clone, Clone]) -> Clone:
    """To look at; a test that changes something takes a clone or a duplicate."""
    return studies[0]


def test_every_output_is_there(study: Clone) -> None:
    lock = yaml.safe_load((study.path / "dvc.lock").read_text())
    assert len(lock["stages"]) == 4 + len(FAMILIES) * (len(CHAIN) + 3)
    outputs = [out["path"] for stage in lock["stages"].values() for out in stage["outs"]]
    assert all((study.path / output).exists() for output in outputs)


def test_what_people_look_at_is_in_git(study: Clone, tmp_path: Path) -> None:
    clone = study.clone(tmp_path / "clone").path
    for model in FAMILIES:
        assert len(list((clone / "metrics" / model).iterdir())) == len(CHAIN) + 3
        assert len(list((clone / "data/recipes" / model).iterdir())) == len(CHAIN)
        assert (clone / f"data/models/{model}.safetensors").stat().st_size < 2**20
    assert list((clone / "plots/pictures").glob("*.png"))
    assert not (clone / "data/prepared").exists()


def test_nothing_to_do_is_said_within_three_seconds(study: Clone) -> None:
    for left_behind in (".training.py.swp", "training.py~", "#training.py#", ".DS_Store"):
        (study.path / "src/ablation/trial" / left_behind).touch()
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        output = study.run("dvc", "repro")
        seconds.append(time.perf_counter() - started)
        assert "Data and pipelines are up to date." in output
        assert stages_run(output) == []
    assert min(seconds) < 3


def test_a_fresh_clone_shows_every_metric(study: Clone, tmp_path: Path) -> None:
    clone = study.clone(tmp_path / "clone")
    shown = json.loads(clone.run("dvc", "metrics", "show", "--json"))
    metrics = {name: file["data"] for name, file in shown[""]["data"].items()}
    assert metrics == {name: defined(numbers) for name, numbers in study.metrics().items()}


def test_a_fresh_clone_shows_its_plots(study: Clone, tmp_path: Path) -> None:
    clone = study.clone(tmp_path / "clone")
    output = clone.run("dvc", "plots", "show")
    page = (clone.path / "dvc_plots/index.html").read_text()
    assert str(clone.path / "dvc_plots/index.html") in output
    assert "Validation accuracy along the chain" in page
    assert all(picture.name in page for picture in clone.path.glob("plots/pictures/*.png"))


def test_results_do_not_depend_on_workers_or_on_chance(studies: tuple[Clone, Clone]) -> None:
    two_workers, one_worker = (study.results() for study in studies)
    recipes_chains_and_metrics, tests, rest = 3 * len(CHAIN), 4 + 1, 1
    assert len(two_workers) == 2 + len(FAMILIES) * (recipes_chains_and_metrics + tests + rest)
    assert one_worker == two_workers


def test_every_recipe_names_the_characters_it_was_chosen_on(study: Clone) -> None:
    digest = hashlib.sha256((study.path / "data/prepared/train.npz").read_bytes()).hexdigest()
    recipes = list((study.path / "data/recipes").glob("*/*.yaml"))
    assert len(recipes) == len(FAMILIES) * len(CHAIN)
    assert all(digest in recipe.read_text() for recipe in recipes)


def test_an_edit_reruns_what_depends_on_it_and_the_diff_names_what_changed(
    study: Clone, tmp_path: Path
) -> None:
    branch = study.duplicate(tmp_path / "branch")
    before = branch.metrics()
    branch.run("git", "checkout", "--quiet", "-b", "no-dropout")
    branch.edit("techniques", "dropout", value=[0.5, 0.0])
    branch.edit("training", "workers", value=1)
    output = branch.run("dvc", "repro")
    again = ("dropout", "leave_one_out", "fit", "evaluate")
    assert set(stages_run(output)) == {
        "check",
        "compare",
        "report",
        *(f"{stage}@{model}" for stage in again for model in FAMILIES),
    }

    diff = json.loads(branch.run("dvc", "metrics", "diff", "main", "--json"))
    rows = {(file, name) for file, names in diff.items() for name in names}
    assert rows == {
        (file, name)
        for file, metrics in branch.metrics().items()
        for name, value in metrics.items()
        if value != before[file][name]
    }
    assert ("metrics/mlp/dropout.json", "winner") in rows
    assert ("metrics/cnn/test.json", "accuracy") in rows
    assert not [file for file, _ in rows if "scheduler" in file or "regularization" in file]


@pytest.mark.parametrize("damage", ["all forgotten", "one file damaged"])
def test_a_lost_memory_changes_no_result(damage: str, study: Clone, tmp_path: Path) -> None:
    victim = study.duplicate(tmp_path / "victim")
    if damage == "all forgotten":
        shutil.rmtree(victim.memory)
    else:
        for path in victim.memory.iterdir():
            path.write_bytes(path.read_bytes()[:-1])
    output = victim.run("dvc", "repro", "--force", "--single-item", "scheduler@mlp")
    assert stages_run(output) == ["scheduler@mlp"]
    assert ("damaged, so it is not trusted" in output) == (damage == "one file damaged")
    assert victim.results() == study.results()


def test_a_killed_study_goes_on_where_it_stopped(study: Clone, tmp_path: Path) -> None:
    whole, victim = (study.duplicate(tmp_path / name) for name in ("whole", "victim"))
    for clone in (whole, victim):
        shutil.rmtree(clone.memory)
        clone.edit("models", "mlp", "epochs", value=10)
        clone.edit("validation", "repeats", value=6)
    command = ("dvc", "repro", "--single-item", "baseline@mlp")
    whole.run(*command)

    killed = victim.start(*command)
    while not victim.trained():
        assert killed.poll() is None
        time.sleep(0.005)
    os.killpg(killed.pid, signal.SIGKILL)  # dvc, the stage and its workers
    killed.communicate()
    before = victim.trained()
    assert 0 < len(before) < 6
    victim.run(*command)
    assert victim.results() == whole.results()
    assert before.items() < victim.trained().items()


def test_experiments_in_a_temporary_copy_share_the_memory(study: Clone, tmp_path: Path) -> None:
    owner = study.duplicate(tmp_path / "owner")
    known = owner.trained()
    as_people_have_it = ("env", "-u", "ABLATION_CACHE")
    experiment = ("dvc", "exp", "run", "--temp", "--set-param", "techniques.dropout=[0.5,0.6,0.7]")
    owner.run(*as_people_have_it, *experiment)
    added = owner.trained().keys() - known.keys()
    assert 0 < len(added) < len(known) / 2


def test_bad_parameters_stop_before_any_work(study: Clone, tmp_path: Path) -> None:
    clone = study.clone(tmp_path / "clone", "before")
    clone.edit("techniques", "dropout", value=[0.2, 1.5])
    output = clone.run("dvc", "repro", fails=True)
    assert "error: params.yaml: techniques.dropout[1]: 1.5: should be less than 1" in output
    assert stages_run(output) == ["check"]
    assert "Traceback" not in output
    assert not (clone.path / "data/prepared/train.npz").exists()


def test_missing_raw_data_names_the_ways_on(study: Clone, tmp_path: Path) -> None:
    clone = study.clone(tmp_path / "clone", "before")
    clone.edit("data", "dataset", value="emnist-mini")
    output = clone.run("dvc", "repro", fails=True)
    assert "error: the raw files of emnist-mini are missing" in output
    assert "make demo" in output
    assert "data/raw" in output
    assert "Traceback" not in output
