"""The job that an executor runs."""

from dataclasses import dataclass
from typing import Literal

from ablation.run.hardware import Hardware
from ablation.trial.trials import Trial

JobKind = Literal["validate", "fit"]


@dataclass(frozen=True)
class TrainingJob:
    """A training run, with everything its result depends on except the code.

    work: `validate` on the trial's split, or `fit` on all characters; key: of the result in the
    cache; digest: SHA-256 of the characters.
    """

    work: JobKind
    trial: Trial
    key: str
    digest: str
    batch_size: int
    hardware: Hardware
