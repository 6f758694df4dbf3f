"""One training as an executor is asked for it, wherever it runs."""

from dataclasses import dataclass
from typing import Literal

from ablation.run.hardware import Hardware
from ablation.trial.trials import Trial

Work = Literal["validate", "fit"]


@dataclass(frozen=True)
class TrainingJob:
    """A training, and all that its number depends on but the code.

    work: `validate` on the trial's split, or `fit` on all characters; key: the name under which the
    result is remembered; digest: SHA-256 of the characters.
    """

    work: Work
    trial: Trial
    key: str
    digest: str
    batch_size: int
    hardware: Hardware
