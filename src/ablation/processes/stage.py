"""The context in which every stage runs."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ablation.base.console import INTERRUPTED, console, plain_errors
from ablation.base.formatting import counted
from ablation.processes.pool import peak_memory


@contextmanager
def stage_process() -> Iterator[None]:
    """Exit without traceback on errors that the user can fix; report peak memory."""
    try:
        with plain_errors():
            yield
            console.print(f"peak memory: {peak_memory() / 1e9:.2f} GB in the largest process")
    except KeyboardInterrupt:
        print("interrupted; finished trials are kept, and `dvc repro` resumes", file=sys.stderr)
        _explain_deleted_files()
        sys.exit(INTERRUPTED)
    except SystemExit as end:
        if end.code:
            _explain_deleted_files()
        raise


def _explain_deleted_files() -> None:
    """Explain why git shows outputs as deleted: DVC removes them before a stage runs."""
    listed = ["git", "ls-files", "--deleted"]
    try:
        deleted = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return  # no git, or no repository
    if count := len(deleted.splitlines()):
        print(
            f"git shows {counted(count, 'file')} as deleted, because DVC removes a stage's outputs "
            "before it runs: `dvc repro` recreates them, and `git checkout -- $(git ls-files "
            "--deleted)` restores the committed versions",
            file=sys.stderr,
        )
