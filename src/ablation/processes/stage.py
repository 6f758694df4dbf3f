"""What every stage's script runs in."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ablation.base.console import INTERRUPTED, console, plain_errors
from ablation.base.formatting import counted
from ablation.processes.pool import peak_memory


@contextmanager
def stage_process() -> Iterator[None]:
    """End without a traceback where a person can mend what is wrong; report the memory in use."""
    try:
        with plain_errors():
            yield
            console.print(f"peak memory: {peak_memory() / 1e9:.2f} GB in the largest process")
    except KeyboardInterrupt:
        print("interrupted; finished trials are kept, `dvc repro` goes on", file=sys.stderr)
        _say_what_git_misses()
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code:
            _say_what_git_misses()
        raise


def _say_what_git_misses() -> None:
    """DVC deletes what a stage writes before it runs, so that git shows it as deleted."""
    listed = ["git", "ls-files", "--deleted"]
    try:
        deleted = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return  # no git, or no repository
    if count := len(deleted.splitlines()):
        print(
            f"git shows {counted(count, 'file')} as deleted, since dvc takes away what a "
            "stage writes before it runs: `dvc repro` writes them again, and "
            "`git checkout -- $(git ls-files --deleted)` brings back what was committed",
            file=sys.stderr,
        )
