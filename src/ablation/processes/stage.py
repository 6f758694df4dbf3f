"""What every stage's script runs in."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ablation.base.console import INTERRUPTED, console, plain_errors
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
        sys.exit(INTERRUPTED)
