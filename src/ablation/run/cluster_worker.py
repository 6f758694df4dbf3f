"""Code that runs on a cluster's workers: checks the environment, then runs the job."""

import asyncio
import os
import platform
from dataclasses import dataclass
from enum import Enum
from functools import cache, partial
from pathlib import Path
from typing import Any

from ablation.base.files import delete_unfinished
from ablation.data.characters import Characters
from ablation.processes.pool import Outcome, outcome_of
from ablation.run import result_cache
from ablation.run.hardware import Computer, Hardware, libraries
from ablation.run.job import TrainingJob

NO_GPU = Computer("no GPU that torch finds", "none")


class _LacksCharacters(Exception):  # noqa: N818  not an error: they are sent on request
    pass


class Refusal(Enum):
    """Why a worker returns a job without running it."""

    UNFIT = "its results would not match"
    LACKS_CHARACTERS = "it does not have the characters yet"


@dataclass(frozen=True)
class Environment:
    """Everything besides the job that a worker's results depend on.

    code: `result_cache.trial_code_digest`; threads: number of concurrent jobs.
    """

    code: str
    libraries: dict[str, str]
    computer: Computer
    threads: int = 1

    @classmethod
    def wanted(cls, hardware: Hardware) -> "Environment":
        """The environment required for a study on this hardware."""
        return cls(result_cache.trial_code_digest(), libraries(), hardware.computer)

    def mismatches(self, wanted: "Environment") -> list[str]:
        """Short descriptions of all differences that no parameter permits."""
        theirs = {**self.libraries, "the code": self.code[:8]}
        ours = {**wanted.libraries, "the code": wanted.code[:8]}
        found = [
            f"{name} is {theirs.get(name)}, here {version}"
            for name, version in ours.items()
            if theirs.get(name) != version
        ]
        if self.threads != wanted.threads:
            # Dropout uses the process's global generator.
            found.append(f"it has {self.threads} threads; start it with --nthreads 1")
        if self.computer == NO_GPU:
            found.append(f"it has {NO_GPU.name}")
        return found

    def computes_as(self, wanted: "Environment") -> bool:
        """Whether its processor or GPU gives bit-identical results."""
        return self.computer.arithmetic == wanted.computer.arithmetic


async def describe_worker(device: str, dask_worker: Any) -> tuple[str, Environment]:
    """This worker's host name and environment.

    Runs in a thread, because importing torch takes long and would block Dask's heartbeats.
    """
    environment = await asyncio.to_thread(_environment, device, dask_worker.state.nthreads)
    return platform.node(), environment


def run_job(job: TrainingJob, wanted: Environment, characters: Characters | None = None) -> Outcome:
    """Run a job.

    Returns:
        The result's bytes or a `Refusal`, and an error to be raised by the study.
    """
    return outcome_of(partial(_run_job, job, wanted, characters))


def _run_job(
    job: TrainingJob, wanted: Environment, characters: Characters | None
) -> bytes | Refusal:
    from distributed import get_worker

    from ablation.run import worker

    threads = get_worker().state.nthreads
    environment = _environment(job.hardware.device, threads)
    if environment.mismatches(wanted) or not environment.computes_as(wanted):
        return Refusal.UNFIT
    try:
        return worker.run(job, _cache_folder(), partial(_unless_lacking, characters))
    except _LacksCharacters:
        return Refusal.LACKS_CHARACTERS


def _unless_lacking(characters: Characters | None) -> Characters:
    if characters is None:
        raise _LacksCharacters
    return characters


@cache
def _cache_folder() -> Path | None:
    """The cache folder, possibly shared by several machines; None if it is not configured."""
    if not os.environ.get(result_cache.FOLDER_VARIABLE):
        return None
    delete_unfinished(result_cache.folder())
    return result_cache.folder()


@cache
def _environment(device: str, threads: int) -> Environment:
    from ablation.run import worker  # noqa: F401  first, so that the digest is of the loaded code

    try:
        computer = Computer.here(device)
    except (AssertionError, RuntimeError):  # raised by torch without a GPU
        computer = NO_GPU
    return Environment(result_cache.trial_code_digest(), libraries(), computer, threads)
