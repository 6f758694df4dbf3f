"""Runs a job in a worker process, and returns the bytes to be cached."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ablation.base.errors import UserError
from ablation.data.characters import Characters
from ablation.run import result_cache
from ablation.run.job import TrainingJob
from ablation.run.no_compiler import leave_compiler_out
from ablation.trial import scoring
from ablation.trial.training import Part, prepare_process

# The last job's characters and number of classes, by digest and device.
_kept: dict[tuple[str, str], tuple[Part, int]] = {}


def run(job: TrainingJob, cache: Path | None, load: Callable[[], Characters]) -> bytes:
    """Train, or return a result that another study has cached in the meantime.

    Args:
        cache: folder of cached results; None to disable caching.
        load: loads the characters; called when they change.

    Returns:
        A serialised `Result`; for a fit, followed by a line feed and the serialised `Learnt`.

    Raises:
        SplitError: a class is too small for the split.
        UserError: the loaded characters do not match the job's digest.
    """
    payload = result_cache.get(job.key, cache) if cache else None
    if payload is None:
        payload = _train(job, load)
        if cache:
            result_cache.put(job.key, payload, cache)
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
    # torch requires writable arrays; those received over a network are read-only.
    images, labels = (
        torch.from_numpy(np.require(array, requirements="W")).to(device)
        for array in (characters.images, characters.labels)
    )
    _kept[digest, device] = Part(images, labels.long()), len(characters.classes)
