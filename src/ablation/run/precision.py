"""Which precision `auto` stands for: decided once a study, so that its stages compute alike."""

from pathlib import Path
from typing import Literal

from ablation.base.checked import Checked, load, save
from ablation.run.hardware import Hardware, bf16_speedup

RECORD = Path("data/precision.yaml")
# Speed of bf16 over float32 below which a processor only emulates it. One without its instructions
# took 9 times as long for a CNN.
EMULATED = 0.5
COMMENT = (
    "What training.precision in params.yaml stands for, decided once by the first machine.\n"
    "Delete this file to let the next one decide; everything then trains again."
)


class Record(Checked):
    """What was asked for, what was decided, and the processor or GPU that decided it."""

    asked: Literal["auto", "bf16", "float32"]
    precision: Literal["bf16", "float32"]
    decided_on: str


def settle(asked: str, device: str) -> None:
    """Record the study's precision, unless it is recorded for this wish already.

    Args:
        asked: `training.precision` of params.yaml.
        device: `training.device`.

    Raises:
        HardwareError: this machine does not have the device.
    """
    hardware = Hardware.choose(device, asked, 1)
    if _recorded(asked) is None:
        record = {
            "asked": asked,
            "precision": hardware.precision,
            "decided_on": hardware.computer.name,
        }
        save(Record.model_validate(record), RECORD, COMMENT)


def hardware_for(asked: str, device: str, workers: str | int) -> tuple[Hardware, str]:
    """What this machine computes a stage with: in the precision that is recorded for the study.

    A machine that would have to emulate it computes whole stages in its own: all that a stage
    compares is then computed alike, and what each stage computed in stands beside its times.

    Args:
        asked, device, workers: `training.precision`, `.device` and `.workers` of params.yaml.

    Returns:
        the hardware, and a sentence where this machine would have decided otherwise, else "".

    Raises:
        HardwareError: this machine does not have the device.
    """
    own = Hardware.choose(device, asked, workers)
    record = _recorded(asked)
    if record is None or record.precision == own.precision:
        return own, ""
    said = (
        f"{RECORD}: this study computes in {record.precision}, decided on {record.decided_on}; "
        f"here {own.precision} is the faster"
    )
    if record.precision == "bf16" and _emulates_bf16(own):
        return own, f"{said} by far, so this stage computes in it"
    return own.computing_in(record.precision), (
        f"{said}. To change, write it as training.precision in params.yaml: everything then "
        "trains again"
    )


def _emulates_bf16(hardware: Hardware) -> bool:
    """Whether bf16 costs so much that a study should not wait for it."""
    return hardware.device == "cuda" or bf16_speedup() < EMULATED


def _recorded(asked: str) -> Record | None:
    record = load(RECORD, Record) if RECORD.exists() else None
    return record if record and record.asked == asked else None
