import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from ablation.base.errors import UserError
from ablation.processes.pool import Job, run_jobs
from tests.clones import in_a_namespace, processes_of, shared_memory_of, wait_for

SOURCE = Path(__file__).parents[2] / "src"
SLEEPERS = """
import time
from functools import partial
from ablation.processes.stage import stage_process
from ablation.processes.pool import run_jobs
with stage_process():
    list(run_jobs(iter([partial(time.sleep, 3600)] * 2), 2))
"""
LARGE = """
import sys
from functools import partial
from ablation.processes.stage import stage_process
from ablation.processes.pool import run_jobs
with stage_process():
    list(run_jobs(iter([partial(eval, "len(700_000_000 * b'.')")]), int(sys.argv[1])))
"""
PIDS = """
import os
from functools import partial
from ablation.processes.pool import run_jobs
print(len(list(run_jobs(iter([partial(os.getpid)] * 4), 2))))
"""


def start(script: str, *wrapped: str, arguments: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*wrapped, sys.executable, "-c", script, *arguments],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def both_workers(session: int) -> bool:
    return len(processes_of(session, "pool")) == 2


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_job_is_run(workers: int) -> None:
    jobs: list[Job] = [partial(pow, number, 2) for number in range(6)]
    assert sorted(run_jobs(iter(jobs), workers)) == [0, 1, 4, 9, 16, 25]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_next_job_is_requested_when_a_worker_is_idle(workers: int) -> None:
    seen: list[int] = []
    known = []

    def jobs() -> Iterator[Job]:
        for number in range(5):
            known.append(len(seen))
            yield partial(abs, number)

    for answer in run_jobs(jobs(), workers):
        seen.append(answer)
    assert known == ([0, 1, 2, 3, 4] if workers == 1 else [0, 0, 1, 2, 3])


def test_workers_are_reused_for_the_next_jobs() -> None:
    def pids() -> set[int]:
        return set(run_jobs(iter([partial(os.getpid)] * 4), 2))

    first = pids()
    assert os.getpid() not in first
    assert pids() <= first


def test_a_worker_killed_between_two_studies_is_replaced() -> None:
    for pid in set(run_jobs(iter([partial(os.getpid)] * 4), 2)):
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: not psutil.pid_exists(pid))  # type: ignore[misc]
    assert list(run_jobs(iter([partial(abs, -1)] * 2), 2)) == [1, 1]


def test_a_killed_worker_is_a_one_line_error_with_a_remedy() -> None:
    jobs: list[Job] = [partial(time.sleep, 3600), partial(signal.raise_signal, signal.SIGKILL)]
    with pytest.raises(UserError) as caught:
        list(run_jobs(iter(jobs), 2))
    assert str(caught.value) == (
        "a worker was killed, probably because memory ran out; lower training.workers in "
        "params.yaml and run `dvc repro` again; finished trials are kept"
    )


def test_a_failed_allocation_is_a_one_line_error_with_a_remedy() -> None:
    with pytest.raises(UserError, match=r"^out of memory \(.*\); .*training.workers.*kept$"):
        list(run_jobs(iter([partial(bytearray, 2**62), partial(abs, 1)]), 2))


def test_any_other_error_has_its_traceback() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)Traceback.*ValueError: invalid literal"):
        list(run_jobs(iter([partial(int, "x"), partial(abs, 1)]), 2))


def test_busy_workers_are_killed_when_a_study_stops() -> None:
    first, second = set(run_jobs(iter([partial(os.getpid)] * 8), 2))
    outcomes = run_jobs(iter([partial(abs, -1), partial(time.sleep, 3600)]), 2)
    assert next(outcomes) == 1
    outcomes.close()  # type: ignore[attr-defined]
    wait_for(lambda: psutil.pid_exists(first) != psutil.pid_exists(second))
    assert list(run_jobs(iter([partial(abs, -2)] * 2), 2)) == [2, 2]


def test_a_worker_ignores_ctrl_c() -> None:
    heard = partial(signal.getsignal, signal.SIGINT)
    assert list(run_jobs(iter([heard] * 2), 2)) == [signal.SIG_IGN] * 2


def test_a_worker_has_one_thread_regardless_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    # More workers than in any earlier test, so that some are new.
    ask = partial(os.getenv, "OMP_NUM_THREADS")
    assert set(run_jobs(iter([ask] * 8), 4)) == {"1"}


@pytest.mark.parametrize("killed", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_when_their_stage_is_killed(killed: signal.Signals) -> None:
    stage = start(SLEEPERS)
    wait_for(lambda: both_workers(stage.pid))
    stage.send_signal(killed)
    stage.communicate()
    wait_for(lambda: not processes_of(stage.pid))


def test_ctrl_c_prints_one_line_that_finished_trials_are_kept() -> None:
    stage = start(SLEEPERS)
    wait_for(lambda: both_workers(stage.pid))
    os.killpg(stage.pid, signal.SIGINT)  # as a terminal does
    output, _ = stage.communicate()
    assert output == "interrupted; finished trials are kept, and `dvc repro` resumes\n"
    assert stage.returncode == 130
    wait_for(lambda: not processes_of(stage.pid))


def test_works_without_shared_memory() -> None:
    for mount in (
        "mount -t tmpfs -o ro none /dev/shm",
        "mount -t tmpfs -o size=0,nr_inodes=1 none /dev/shm",
    ):
        output, _ = start(PIDS, *in_a_namespace(mount)).communicate()
        assert output == "4\n"


def test_no_shared_memory_is_allocated_that_a_kill_would_leak() -> None:
    stage = start(SLEEPERS)
    wait_for(lambda: both_workers(stage.pid))
    assert shared_memory_of(stage.pid) == set()
    os.killpg(stage.pid, signal.SIGKILL)
    stage.communicate()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stage_prints_the_peak_memory_of_its_largest_process(workers: str) -> None:
    said, _ = start(LARGE, arguments=(workers,)).communicate()
    assert re.fullmatch(r"peak memory: 0\.7\d GB in the largest process\n", said)
