"""What happens in a worker process: a training, from a job to the bytes that are remembered."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ablation.base.errors import UserError
from ablation.data.characters import Characters
from ablation.run import memory
from ablation.run.job import TrainingJob
from ablation.run.no_compiler import leave_compiler_out
from ablation.trial import scoring
from ablation.trial.training import Part, prepare_process

# The characters of the last job and their number of classes, by their hash and the device.
_kept: dict[tuple[str, str], tuple[Part, int]] = {}


def run(job: TrainingJob, place: Path | None, load: Callable[[], Characters]) -> bytes:
    """Train, or recall what another study has trained in the meantime.

    Args:
        place: the folder where results are remembered; None to remember nothing.
        load: called for the characters, once for many jobs.

    Returns:
        a `Result`; of a fit, a line feed and the `Learnt` network after it.

    Raises:
        SplitError: a class is too small to be in both parts of the split.
        UserError: other characters were loaded than the job is about.
    """
    payload = memory.recall(job.key, place) if place else None
    if payload is None:
        payload = _train(job, load)
        if place:
            memory.remember(job.key, payload, place)
    return payload


def _train(job: TrainingJob, load: Callable[[], Characters]) -> bytes:
    device = job.hardware.device
    if device == "cpu":
        leave_compiler_out()
    prepare_process()
    if (job.digest, device) not in _kept:
        _keep(load(), job.digest, device)
    whole, classes = _kept[job.digest, device]
    sizes = {"classes": classes, "batch_size": job.batch_size}
    if job.work == "validate":
        return scoring.validate(job.trial, whole, **sizes, bf16=job.hardware.bf16).to_bytes()
    result, learnt = scoring.fit(job.trial, whole, **sizes, bf16=job.hardware.bf16)
    return result.to_bytes() + b"\n" + learnt.to_bytes()


def _keep(characters: Characters, digest: str, device: str) -> None:
    if characters.digest() != digest:
        raise UserError("the characters changed during the study; start `dvc repro` again")
    _kept.clear()
    # What came over a network cannot be written to, which torch asks for.
    images, labels = (
        torch.from_numpy(np.require(array, requirements="W")).to(device)
        for array in (characters.images, characters.labels)
    )
    _kept[digest, device] = Part(images, labels.long()), len(characters.classes)
