"""A Dask cluster on this machine: a scheduler and workers, real processes with logs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from distributed import Client

from tests.clones import wait_for, warm_python

SOURCE = Path(__file__).parents[1] / "src"
# Preloaded by a worker to simulate another machine.
ANOTHER_PROCESSOR = """
from ablation.run import hardware
hardware.processor_name, hardware.processor_arithmetic = (lambda: "Abacus"), (lambda: "beads")
"""


class Cluster:
    """A scheduler, and workers started on request; all of them end with the test."""

    def __init__(self, folder: Path, **environment: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start(
            *("scheduler", "--port", "0", "--scheduler-file", self.file),
            *("--dashboard-address", "127.0.0.1:0"),
            **environment,
        )

    @classmethod
    @contextmanager
    def running(cls, folder: Path, **environment: str) -> Iterator["Cluster"]:
        """Start the scheduler, with logs in a new folder."""
        cluster = cls(folder, **environment)
        try:
            yield cluster
        finally:
            cluster.end()

    @property
    def file(self) -> str:
        return str(self.folder / "scheduler.json")

    @cached_property
    def address(self) -> str:
        """The address of the scheduler, once it listens."""

        def written() -> str:
            with suppress(OSError, ValueError):  # missing or incomplete
                return str(json.loads(Path(self.file).read_text())["address"])
            return ""

        return wait_for(written)

    def start(self, kind: str, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a scheduler or a worker, in an environment without variables of the study."""
        # Dask reads variables when it is imported, and a nanny starts processes of its own.
        cold = environment.keys() - {"ABLATION_CACHE"} or "--nanny" in options
        python = (sys.executable,) if cold else warm_python()
        inherited = {name: v for name, v in os.environ.items() if name != "ABLATION_CACHE"}
        with (self.folder / f"{len(self.processes)}-{kind}.log").open("wb") as log:
            process = subprocess.Popen(
                [*python, "-m", "dask", kind, "--host", "127.0.0.1", *options],
                cwd=self.folder,
                env=inherited | {"PYTHONPATH": str(SOURCE)} | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def worker(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start another worker, with a nanny if `--nanny` is given, without waiting for it."""
        single = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", ".")
        where = ("--scheduler-file", self.file)
        return self.start("worker", *where, *single, *options, **environment)

    def has(self, count: int) -> None:
        """Wait until there are exactly this many workers."""
        with Client(self.address, set_as_default=False) as client:
            wait_for(lambda: len(client.scheduler_info()["workers"]) == count)

    def said(self) -> str:
        """The logs of all processes."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def end(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a nanny's worker with it
            process.wait()
