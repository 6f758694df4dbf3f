"""Run all speed benchmarks, one after the other; results go to results.json.

    python benchmarks/run.py [--only PART ...]

Each part is a program of its own, so that none inherits the settings of another one. Three run only
on request: `racing`, which needs the cached trials of the committed study, and `coverage` and
`scenes`, which need the real characters and do not measure speed.
"""

import argparse
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from ablation.run.hardware import has_gpu

PARTS = {
    "throughput-cpu": ("throughput.py", "cpu"),
    "throughput-cuda": ("throughput.py", "cuda"),
    "additions-cpu": ("additions.py", "cpu"),
    "additions-cuda": ("additions.py", "cuda"),
    "precision": ("precision.py",),
    "start-up": ("start_up.py",),
    "study-time": ("study_time.py",),
    "growth": ("growth.py",),
    "racing": ("racing.py",),
    "coverage": ("coverage.py",),
    "scenes": ("scenes.py",),
}
WHEN_ASKED = {"racing", "coverage", "scenes"}


def available() -> list[str]:
    """The parts that this machine can run in minutes."""
    left_out = WHEN_ASKED if has_gpu() else {*WHEN_ASKED, "throughput-cuda", "additions-cuda"}
    return [part for part in PARTS if part not in left_out]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", default=available())
    only = parser.parse_args().only
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for part in only:
        run(*PARTS[part])


def run(script: str, *arguments: str) -> None:
    """Run a part; if this process is stopped, the processes of the part end with it."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    part = subprocess.Popen(command, start_new_session=True)
    try:
        if status := part.wait():
            sys.exit(status)
    finally:
        # The process that cleans up shared memory ignores this signal, and ends after all others.
        with suppress(ProcessLookupError):
            os.killpg(part.pid, signal.SIGTERM)


if __name__ == "__main__":
    main()
