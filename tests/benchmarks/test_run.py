import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
SHARED_MEMORY = Path("/dev/shm")


def wait_for(found: Callable[[], Any]) -> Any:
    """What is found in the end; a machine that is busy takes its time."""
    for _ in range(2_000):
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("waited for minutes")


def processes_of(session: int) -> list[psutil.Process]:
    processes = [p for p in psutil.process_iter() if p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in processes if psutil.pid_exists(p.pid) and os.getsid(p.pid) == session]


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="no /dev/shm to look into")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_benchmark_that_is_stopped_leaves_nothing(stop: int, tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/run.py", "--only", "throughput-cpu"]
    env = os.environ | {"PYTHONPATH": "src", "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    (part,) = wait_for(psutil.Process(running.pid).children)
    wait_for(lambda: [p for p in processes_of(part.pid) if "popen_loky" in "".join(p.cmdline())])
    assert list(SHARED_MEMORY.glob(f"*loky-{part.pid}-*"))
    running.send_signal(stop)
    running.wait()
    wait_for(lambda: not processes_of(part.pid))
    assert not list(SHARED_MEMORY.glob(f"*{part.pid}*"))
