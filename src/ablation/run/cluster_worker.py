"""What a worker of a cluster does: it checks what it computes with, and runs a job if that fits."""

import asyncio
import os
import platform
from dataclasses import dataclass
from enum import Enum
from functools import cache, partial
from pathlib import Path
from typing import Any

from ablation.base.files import collect_unfinished
from ablation.data.characters import Characters
from ablation.processes.pool import Outcome, outcome_of
from ablation.run import memory
from ablation.run.hardware import Computer, Hardware, libraries
from ablation.run.job import TrainingJob

NO_GPU = Computer("no GPU that torch finds", "none")


class _LacksCharacters(Exception):  # noqa: N818  no error: they are sent then
    pass


class Refusal(Enum):
    """Why a worker sends a job back."""

    UNFIT = "it would compute other numbers"
    LACKS_CHARACTERS = "it has not got the characters yet"


@dataclass(frozen=True)
class Environment:
    """What the numbers of a process depend on beside its jobs.

    code: `memory.code_digest`; threads: how many jobs it takes at once.
    """

    code: str
    libraries: dict[str, str]
    computer: Computer
    threads: int = 1

    @classmethod
    def wanted(cls, hardware: Hardware) -> "Environment":
        """That which every worker has to have for a study on this hardware."""
        return cls(memory.code_digest(), libraries(), hardware.computer)

    def mismatches(self, wanted: "Environment") -> list[str]:
        """What no parameter allows, in a few words each."""
        theirs = {**self.libraries, "the code": self.code[:8]}
        ours = {**wanted.libraries, "the code": wanted.code[:8]}
        found = [
            f"{name} is {theirs.get(name)}, here {version}"
            for name, version in ours.items()
            if theirs.get(name) != version
        ]
        if self.threads != wanted.threads:
            # The generator of dropout is the process's own.
            found.append(f"it has {self.threads} threads; start it with --nthreads 1")
        if self.computer == NO_GPU:
            found.append(f"it has {NO_GPU.name}")
        return found

    def computes_as(self, wanted: "Environment") -> bool:
        """Whether its processor or GPU gives the same numbers, to the last digit."""
        return self.computer.arithmetic == wanted.computer.arithmetic


async def introduce(device: str, dask_worker: Any) -> tuple[str, Environment]:
    """The name of this worker's machine, and what its numbers depend on.

    In a thread: to import torch may take long, and Dask has to hear of the worker meanwhile.
    """
    environment = await asyncio.to_thread(_environment, device, dask_worker.state.nthreads)
    return platform.node(), environment


def serve(job: TrainingJob, wanted: Environment, characters: Characters | None = None) -> Outcome:
    """Run a job.

    Returns:
        the bytes of its result or why it is sent back, and an error to raise where the study runs.
    """
    return outcome_of(partial(_serve, job, wanted, characters))


def _serve(job: TrainingJob, wanted: Environment, characters: Characters | None) -> bytes | Refusal:
    from distributed import get_worker

    from ablation.run import worker

    threads = get_worker().state.nthreads
    environment = _environment(job.hardware.device, threads)
    if environment.mismatches(wanted) or not environment.computes_as(wanted):
        return Refusal.UNFIT
    try:
        return worker.run(job, _place(), partial(_unless_lacking, characters))
    except _LacksCharacters:
        return Refusal.LACKS_CHARACTERS


def _unless_lacking(characters: Characters | None) -> Characters:
    if characters is None:
        raise _LacksCharacters
    return characters


@cache
def _place() -> Path | None:
    """A folder that several machines may see; without one, only the study remembers."""
    if not os.environ.get(memory.FOLDER_VARIABLE):
        return None
    collect_unfinished(memory.folder())
    return memory.folder()


@cache
def _environment(device: str, threads: int) -> Environment:
    from ablation.run import worker  # noqa: F401  first: the digest is of the code that is loaded

    try:
        computer = Computer.here(device)
    except (AssertionError, RuntimeError):  # as torch says it
        computer = NO_GPU
    return Environment(memory.code_digest(), libraries(), computer, threads)
