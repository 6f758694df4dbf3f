"""Every benchmark of speed, one after the other; the numbers go to results.json.

    python benchmarks/run.py [--only PART ...]

Each part is a program with processes of its own, so that none inherits what another one has set.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch

PARTS = {
    "throughput-cpu": ("throughput.py", "cpu"),
    "throughput-cuda": ("throughput.py", "cuda"),
    "precision": ("precision.py",),
    "study-time": ("study_time.py",),
}


def available() -> list[str]:
    """The parts that this machine can run."""
    return [part for part in PARTS if part != "throughput-cuda" or torch.cuda.is_available()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", default=available())
    for part in parser.parse_args().only:
        script, *arguments = PARTS[part]
        subprocess.run([sys.executable, Path(__file__).with_name(script), *arguments], check=True)


if __name__ == "__main__":
    main()
