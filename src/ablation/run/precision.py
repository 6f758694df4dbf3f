"""Resolves precision `auto` once per study, so that all stages use the same precision."""

from pathlib import Path
from typing import Literal

from ablation.base.checked import Checked, load, save
from ablation.run.hardware import Hardware, bf16_speedup

RECORD = Path("data/precision.yaml")
# Speedup of bf16 below which a processor is assumed to emulate it. Emulation was 9 times slower for
# a CNN.
EMULATED = 0.5
COMMENT = (
    "What training.precision in params.yaml stands for, decided once by the first machine.\n"
    "Delete this file to let the next one decide; everything then trains again."
)


class Record(Checked):
    """The requested precision, the chosen one, and the processor or GPU it was chosen on."""

    asked: Literal["auto", "bf16", "float32"]
    precision: Literal["bf16", "float32"]
    decided_on: str


def record_precision(requested: str, device: str) -> None:
    """Record the study's precision, unless it is already recorded for this setting.

    Args:
        requested: `training.precision` of params.yaml.
        device: `training.device`.

    Raises:
        HardwareError: this machine does not have the device.
    """
    hardware = Hardware.choose(device, requested, 1)
    if _recorded(requested) is None:
        record = {
            "asked": requested,
            "precision": hardware.precision,
            "decided_on": hardware.computer.name,
        }
        save(Record.model_validate(record), RECORD, COMMENT)


def hardware_for(requested: str, device: str, workers: str | int) -> tuple[Hardware, str]:
    """The hardware to run a stage on, in the precision recorded for the study.

    A machine that would have to emulate the recorded precision runs whole stages in its own
    instead, so comparisons within a stage stay valid. The times table lists each stage's precision.

    Args:
        requested, device, workers: `training.precision`, `.device` and `.workers` of params.yaml.

    Returns:
        The hardware, and a warning if this machine would have chosen another precision, or "".

    Raises:
        HardwareError: this machine does not have the device.
    """
    own = Hardware.choose(device, requested, workers)
    record = _recorded(requested)
    if record is None or record.precision == own.precision:
        return own, ""
    warning = (
        f"{RECORD}: this study uses {record.precision}, chosen on {record.decided_on}; "
        f"on this machine {own.precision} is faster"
    )
    if record.precision == "bf16" and _emulates_bf16(own):
        return own, f"{warning} by far, so this stage uses it"
    return own.computing_in(record.precision), (
        f"{warning}. To use it, set training.precision in params.yaml; all trials are then trained "
        "again"
    )


def recorded_precision(requested: str) -> str | None:
    """The precision of the study; None if it is not recorded for this setting."""
    record = _recorded(requested)
    return record.precision if record else None


def _emulates_bf16(hardware: Hardware) -> bool:
    """Whether bf16 is too slow to be used, because the hardware emulates it."""
    return hardware.device == "cuda" or bf16_speedup() < EMULATED


def _recorded(requested: str) -> Record | None:
    record = load(RECORD, Record) if RECORD.exists() else None
    return record if record and record.asked == requested else None
