import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.clones import processes_of, wait_for

ROOT = Path(__file__).parents[2]
SHARED_MEMORY = Path("/dev/shm")


@pytest.mark.deep
@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="no /dev/shm to look into")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_leaves_nothing_behind(stop: int, tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/run.py", "--only", "throughput-cpu"]
    env = os.environ | {"PYTHONPATH": "src", "TMPDIR": str(tmp_path)}
    running = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        (part,) = wait_for(psutil.Process(running.pid).children)
        wait_for(lambda: processes_of(part.pid, "pool"))
    finally:
        running.send_signal(stop)
        running.wait()
    wait_for(lambda: not processes_of(part.pid))
    assert not list(SHARED_MEMORY.glob(f"*{part.pid}*"))
