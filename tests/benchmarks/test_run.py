import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
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


def commands_of(session: int) -> list[str]:
    """What the processes of a session run; one may end while it is looked at."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="no /dev/shm to look into")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_benchmark_that_is_stopped_leaves_nothing(stop: int, tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/run.py", "--only", "throughput-cpu"]
    env = os.environ | {"PYTHONPATH": "src", "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        (part,) = wait_for(psutil.Process(running.pid).children)
        wait_for(lambda: any("spawn_main" in command for command in commands_of(part.pid)))
    finally:
        running.send_signal(stop)
        running.wait()
    wait_for(lambda: not commands_of(part.pid))
    assert not list(SHARED_MEMORY.glob(f"*{part.pid}*"))
