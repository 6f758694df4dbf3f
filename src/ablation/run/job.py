"""One training as a worker is asked for it, wherever that works."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ablation.data.characters import Characters
from ablation.run import memory
from ablation.run.hardware import Hardware
from ablation.trial.trials import Trial

Work = Literal["validate", "fit"]


@dataclass(frozen=True)
class Errand:
    """A training, and all that its number depends on but the code.

    key: the name under which it is remembered; digest: SHA-256 of the characters.
    """

    work: Work
    trial: Trial
    key: str
    digest: str
    batch_size: int
    hardware: Hardware


def carry_out(errand: Errand, place: Path | None, find: Callable[[], Characters]) -> bytes:
    """Train, or recall what another study has trained by now.

    Args:
        place: where it is remembered; nowhere, if None.
        find: asked for the characters, once for many errands.

    Raises:
        UserError: what is found are other characters, or a worker's machine refused something.
    """
    payload = memory.recall(errand.key, place) if place else None
    if payload is None:
        from ablation.run import worker  # here, in the worker process: it imports torch

        payload = worker.train(errand, find)
        if place:
            memory.remember(errand.key, payload, place)
    return payload
