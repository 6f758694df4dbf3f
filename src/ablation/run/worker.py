"""What happens in a worker process: a training, from an errand to what is remembered of it."""

from collections.abc import Callable

import numpy as np
import torch

from ablation.base.errors import UserError
from ablation.data.characters import Characters
from ablation.run.job import Errand
from ablation.run.no_compiler import leave_compiler_out
from ablation.trial import scoring
from ablation.trial.training import Part, prepare_process

# The characters of the last errand and their number of classes, by their hash and the device.
_kept: dict[tuple[str, str], tuple[Part, int]] = {}


def has(digest: str, device: str) -> bool:
    """Whether this process still has the characters of an earlier errand."""
    return (digest, device) in _kept


def train(errand: Errand, find: Callable[[], Characters]) -> bytes:
    """Train on the training part of the trial's split and score on the other, or train on all.

    Args:
        find: asked for the characters if those of the last errand were others.

    Returns:
        a `Result`; of a fit, a line feed and what the network `Learnt` after it.

    Raises:
        SplitError: a class is too small for a part of its own in each half of the split.
        UserError: other characters were found than the errand is about.
    """
    device = errand.hardware.device
    if device == "cpu":
        leave_compiler_out()
    prepare_process()
    if not has(errand.digest, device):
        _keep(find(), errand.digest, device)
    whole, classes = _kept[errand.digest, device]
    sizes = {"classes": classes, "batch_size": errand.batch_size}
    if errand.work == "validate":
        return scoring.validate(errand.trial, whole, **sizes, bf16=errand.hardware.bf16).to_bytes()
    result, learnt = scoring.fit(errand.trial, whole, **sizes, bf16=errand.hardware.bf16)
    return result.to_bytes() + b"\n" + learnt.to_bytes()


def _keep(characters: Characters, digest: str, device: str) -> None:
    if characters.digest() != digest:
        raise UserError("the characters changed while a study ran; start `dvc repro` again")
    _kept.clear()
    # What came over a network cannot be written to, which torch asks for.
    images, labels = (
        torch.from_numpy(np.require(array, requirements="W")).to(device)
        for array in (characters.images, characters.labels)
    )
    _kept[digest, device] = Part(images, labels.long()), len(characters.classes)
