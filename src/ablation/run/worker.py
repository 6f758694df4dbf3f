"""What happens in a worker process: one training, from a trial to the bytes that are remembered."""

from functools import lru_cache
from pathlib import Path

import torch

from ablation.base.errors import UserError
from ablation.data.characters import Characters
from ablation.run.hardware import Hardware
from ablation.run.no_compiler import leave_compiler_out
from ablation.trial import scoring
from ablation.trial.training import Part, prepare_process
from ablation.trial.trials import Trial


def validate(
    characters: Path, digest: str, batch_size: int, hardware: Hardware, trial: Trial
) -> bytes:
    """Train on the training part of the trial's split, score on the other: a `Result`.

    digest: of the characters, so that a file that has changed is read again.

    Raises:
        SplitError: a class is too small for a part of its own in each half of the split.
    """
    _prepare(hardware)
    whole, classes = _load(characters, digest, hardware.device)
    return scoring.validate(
        trial, whole, classes=classes, batch_size=batch_size, bf16=hardware.bf16
    ).to_bytes()


def fit(characters: Path, digest: str, batch_size: int, hardware: Hardware, trial: Trial) -> bytes:
    """Train on all characters: a `Result`, a line feed and what the network `Learnt`."""
    _prepare(hardware)
    whole, classes = _load(characters, digest, hardware.device)
    result, learnt = scoring.fit(
        trial, whole, classes=classes, batch_size=batch_size, bf16=hardware.bf16
    )
    return result.to_bytes() + b"\n" + learnt.to_bytes()


def _prepare(hardware: Hardware) -> None:
    if hardware.device == "cpu":
        leave_compiler_out()
    prepare_process()


@lru_cache(maxsize=1)
def _load(path: Path, digest: str, device: str) -> tuple[Part, int]:
    characters = Characters.load(path)
    if characters.digest() != digest:
        raise UserError(f"{path}: it changed while a study ran; start `dvc repro` again")
    images, labels = (
        torch.from_numpy(array).to(device) for array in (characters.images, characters.labels)
    )
    return Part(images, labels.long()), len(characters.classes)
