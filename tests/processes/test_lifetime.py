"""What dvc started ends with dvc, whether or not a shell stands between."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ablation.processes.lifetime import DVC_HAS_ENDED
from tests.clones import processes_of, wait_for

SOURCE = Path(__file__).parents[2] / "src"
# A stage says when it is on its guard, then works without end.
STAGE = """
import os, time
from ablation.processes.lifetime import end_with, end_with_dvc
{before}
{guard}
print("at work", flush=True)
time.sleep(3600)
"""
UNTIL_ADOPTED = "while os.getppid() == {parent}: time.sleep(0.01)"

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux 5.3")


@contextmanager
def running(shell: str, before: str = "", guard: str = "end_with_dvc()") -> Iterator[psutil.Popen]:
    """A shell command that runs a stage as $STAGE, in a session of its own."""
    environment = os.environ | {
        "PYTHONPATH": str(SOURCE),
        "STAGE": STAGE.format(before=before, guard=guard),
        "PYTHON": sys.executable,
    }
    process = psutil.Popen(
        ["sh", "-c", shell],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for left in processes_of(process.pid):
            left.kill()
        process.wait()


@pytest.mark.parametrize(
    "started",
    [
        pytest.param('DVC_STAGE=s "$PYTHON" -c "$STAGE"; :', id="directly"),
        pytest.param('DVC_STAGE=s sh -c \'"$PYTHON" -c "$STAGE"; :\'; :', id="by a shell"),
    ],
)
@pytest.mark.parametrize("killed", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_ends_with_its_dvc(started: str, killed: signal.Signals) -> None:
    with running(started) as dvc:
        assert dvc.stdout.readline() == "at work\n"
        dvc.send_signal(killed)
        assert dvc.stdout.read() == f"{DVC_HAS_ENDED}\n"
        wait_for(lambda: not processes_of(dvc.pid))


def test_a_stage_ends_with_the_shell_that_dvc_waits_for() -> None:
    with running('DVC_STAGE=s sh -c \'"$PYTHON" -c "$STAGE"; :\'; echo over') as dvc:
        assert dvc.stdout.readline() == "at work\n"
        (shell,) = dvc.children()
        shell.kill()
        assert sorted(dvc.stdout.read().splitlines()) == sorted(["Killed", DVC_HAS_ENDED, "over"])


def test_a_stage_whose_dvc_has_ended_already_does_not_start() -> None:
    orphan = UNTIL_ADOPTED.format(parent="int(os.environ['DVC'])")
    with running('DVC=$$ DVC_STAGE=s "$PYTHON" -c "$STAGE" &', before=orphan) as dvc:
        assert dvc.stdout.read() == f"{DVC_HAS_ENDED}\n"


def test_what_a_person_started_outlives_the_shell() -> None:
    with running('"$PYTHON" -c "$STAGE"; :') as shell:
        assert shell.stdout.readline() == "at work\n"
        (stage,) = shell.children()
        shell.kill()
        shell.wait()
        assert stage.is_running()


def test_a_parent_that_has_ended_already_is_noticed() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    with running('"$PYTHON" -c "$STAGE"', guard=f"end_with({ended.pid}, os.getpid())") as worker:
        assert worker.stdout.read() == ""


def test_a_process_that_has_the_parents_number_is_not_taken_for_it() -> None:
    stranger = psutil.Popen(["sleep", "3600"])
    try:
        guard = f"end_with({stranger.pid}, os.getpid())"
        with running('"$PYTHON" -c "$STAGE"', guard=guard) as worker:
            assert worker.stdout.read() == ""
    finally:
        stranger.kill()
        stranger.wait()
