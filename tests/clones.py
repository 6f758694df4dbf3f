"""Copies of the project, with real git and dvc, and a study that takes seconds."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from ablation.base.checked import read_yaml, to_yaml
from ablation.processes import fork_server
from ablation.processes.fork_server import LIBRARIES, SERVER_VARIABLE, STAGE_VARIABLE
from ablation.trial.recipe import BASELINE, TECHNIQUES

ROOT = Path(__file__).parents[1]
# The stages of the chain, in the order of dvc.yaml.
CHAIN = (
    BASELINE,
    *(
        given["stage"]
        for stage in read_yaml(ROOT / "dvc.yaml")["stages"].values()
        for given in stage.get("vars", [])
    ),
)
# A tiny study explores only one technique again; the others take as long, and show nothing new.
TINY_CHAIN = tuple(name for name in CHAIN if "_again" not in name or name == CHAIN[-1])
LAUNCHER = (f"{STAGE_VARIABLE}=a test", sys.executable, "-S", fork_server.__file__)
# Modules that dvc and dask import when they run; the tests' fork server imports them too.
COMMANDS = (
    *("dvc.cli.parser", "dvc.output", "dvc.lock", "dvc.scm", "dvc.repo.index", "dvc.repo.graph"),
    *("dvc.repo.plots", "dvc.daemon", "dvc.repo.metrics.show", "dvc.repo.experiments.brancher"),
    *("distributed.cli.dask_scheduler", "distributed.cli.dask_worker"),
)
NOBODY = "http://127.0.0.1:9"  # no network: every connection is refused at once
# Outputs of stages in git that are reproducible byte for byte.
RESULTS = ("data/classes.csv", "data/evaluated", "data/models", "data/recipes", "metrics", "plots")
# These contain the times in data/times; a test checks that nothing else in them differs.
TELL_TIMES = ("plots/report.html", "plots/report.md")
# Other outputs of stages in git.
RECORDS = ("data/code", "data/precision.yaml", "data/times", "dvc.lock")

# What a tiny study changes in params.yaml. The baseline's dropout is far too high, so the winner of
# `dropout` is certain if the stage has candidates.
Changes = dict[str, dict[str, Any]]
TINY: Changes = {
    "data": {"dataset": "glyphs"},
    "validation": {"fraction": 0.25, "repeats": 2},
    "training": {"batch_size": 64, "precision": "float32", "device": "cpu", "workers": 2},
    "fit": {"seeds": 2},
    "worth": {"repeats": 2},
    "models": {
        "mlp": {"hidden": [32, 24, 16], "epochs": 2},
        "cnn": {"channels": [4, 6], "dense": [16], "epochs": 1},
    },
    "baseline": {"optimizer": {"name": "adam", "lr": 0.003}, "dropout": 0.5},
    "learning_rate_multiples": {
        **{technique: [1.0] for technique in TECHNIQUES if technique != "optimizer"},
        "batchnorm": [0.5, 1.0],
    },
    "techniques": {
        **{technique: [] for technique in TECHNIQUES},
        "optimizer": [{"name": "sgd", "lr": 0.1}, {"name": "adam", "lr": [0.003, 0.01]}],
        "batchnorm": [False, True],
        "dropout": [0.5, 0.6],
    },
}

Found = TypeVar("Found")
# The fixture `make_once`: takes a folder's name and the function that fills it; returns the folder.
MakeOnce = Callable[[str, Callable[[Path], object]], Path]


def warm_python(*arguments: str) -> tuple[str, ...]:
    """The command `python ARGUMENTS`, forked from the server of this pytest process.

    The server has imported the libraries of stages, dvc and dask. ARGUMENTS starts with a script,
    or with `-m` and a module.
    """
    return ("env", f"{SERVER_VARIABLE}={_server()}", *LAUNCHER, *arguments)


@cache
def _server() -> str:
    return fork_server.start_server(os.getpid(), (*LIBRARIES, *COMMANDS))


# Timeout of any command in seconds, far more than it takes even on a busy machine.
LONGEST_RUN = 1200


@dataclass(frozen=True)
class Clone:
    """A clone of the project, and its cache folder."""

    path: Path
    cache: Path

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: v for name, v in os.environ.items() if name != "PYTHONPATH"}
        return inherited | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ABLATION_CACHE": str(self.cache),
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
        """Run a command, check its exit status and return its output.

        dvc and its stages are forked from the tests' server, as stages are from that of dvc.
        """
        process = self.start(*(warm_python("-m") if command[0] == "dvc" else ()), *command)
        try:
            output, _ = process.communicate(timeout=LONGEST_RUN)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert (process.returncode != 0) == fails, output
        return output

    def repro(self) -> set[str]:
        """Run `dvc repro`; returns the stages that ran."""
        return stages_run(self.run("dvc", "repro"))

    def edit(self, *place: str, value: object) -> None:
        """Change a parameter."""
        params = at = read_yaml(self.path / "params.yaml")
        for step in place[:-1]:
            at = at[step]
        at[place[-1]] = value
        (self.path / "params.yaml").write_text(to_yaml(params))

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def changes(self) -> str:
        """The modified and untracked files, according to git."""
        return self.run("git", "status", "--porcelain")

    def clone(self, folder: Path, revision: str = "main") -> "Clone":
        """A fresh clone, without data and cached trials."""
        self.run("git", "clone", "--quiet", "--branch", revision, str(self.path), str(folder))
        return Clone(folder, folder / ".cache/trials")

    def duplicate(self, folder: Path) -> "Clone":
        """A copy of the folder, with its data and cached trials."""
        shutil.copytree(self.path, folder)
        if self.cache.exists():
            shutil.copytree(self.cache, folder / ".cache/trials", dirs_exist_ok=True)
        return Clone(folder, folder / ".cache/trials")

    def results(self) -> dict[str, bytes]:
        """The bytes of every result file, except those with times."""
        places = [self.path / name for name in RESULTS]
        files = [path for place in places for path in (place, *place.rglob("*")) if path.is_file()]
        names = {str(path.relative_to(self.path)): path for path in files}
        return {name: path.read_bytes() for name, path in names.items() if name not in TELL_TIMES}

    def metrics(self) -> dict[str, dict[str, Any]]:
        """The content of every metrics file."""
        paths = sorted(self.path.glob("metrics/**/*.json"))
        return {str(path.relative_to(self.path)): json.loads(path.read_text()) for path in paths}

    def trained(self) -> dict[str, int]:
        """The cached trials and their modification times."""
        paths = [path for path in self.cache.glob("*") if len(path.name) == 64]
        return {path.name: path.stat().st_mtime_ns for path in paths}


def copy_project(folder: Path) -> Clone:
    """Copy the working tree, including uncommitted files, into a new repository.

    It is committed on the branch `main`, without the outputs of stages.
    """
    project = Clone(folder, folder.with_name(f"{folder.name}-cache"))
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(listed, cwd=ROOT, text=True).split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file() and not name.startswith((*RECORDS, *RESULTS)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.commit("The project")
    return project


def make_tiny(project: Clone, changes: Changes = TINY, chain: tuple[str, ...] = TINY_CHAIN) -> None:
    """Reduce the study, so that it takes seconds: its parameters, and its chain."""
    pipeline = project.path / "dvc.yaml"
    pipeline.write_text(shorten_chain(pipeline.read_text(), chain))
    params = read_yaml(project.path / "params.yaml")
    for section, values in changes.items():
        params[section] |= values
    (project.path / "params.yaml").write_text(to_yaml(params))


def shorten_chain(pipeline: str, chain: tuple[str, ...]) -> str:
    """The text of dvc.yaml without the stages of the chain that are not in `chain`."""
    if chain == CHAIN:
        return pipeline
    for name in {*CHAIN} - {*chain}:
        pipeline = re.sub(rf"^  {name}: .*\n", "", pipeline, flags=re.MULTILINE)
    for before, name in pairwise(chain):
        link = rf"(stage: {name}, (?:technique: \w+, )?after: )\w+"
        pipeline, found = re.subn(link, rf"\g<1>{before}", pipeline)
        assert found == 1
    return pipeline


def stages_run(output: str) -> set[str]:
    """The stages that dvc ran, according to its output."""
    return set(re.findall(r"Running stage '(.+)'", output))


def wait_for(found: Callable[[], Found]) -> Found:
    """Poll until something is found, with a long timeout for busy machines."""
    for _ in range(60_000):
        if value := found():
            return value
        time.sleep(0.01)
    raise AssertionError("waited for ten minutes")


def processes_of(session: int, command: str = "") -> list[psutil.Process]:
    """The running processes of a session with these words in their name or command.

    Processes may end during the search.
    """
    running = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            runs = os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
            if runs and command in " ".join([process.name(), *process.cmdline()]):
                running.append(process)
    return running


def shared_memory_of(session: int) -> set[str]:
    """Shared memory of the processes of a session, which would be leaked by a kill."""
    held = set()
    for process in processes_of(session):
        with suppress(psutil.Error):
            held |= {place.path for place in process.memory_maps()}
            held |= {file.path for file in process.open_files()}
    return {path for path in held if path.startswith("/dev/shm")}


def in_a_namespace(mount: str) -> list[str]:
    """The prefix of a command that runs it in a mount namespace of its own.

    Skips the test if that is not allowed.
    """
    apart = ["unshare", "--mount", "--map-root-user", "sh", "-e", "-c"]
    if subprocess.run([*apart, "mount -t tmpfs none /mnt"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a folder of their own")
    return [*apart, f'{mount}; exec "$@"', "sh"]
