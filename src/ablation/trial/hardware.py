"""What the trials run on, and with which arithmetic."""

import json
import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ablation.base.errors import UserError
from ablation.trial import memory

# Versions that a trial's number depends on: what trains, and what splits.
LIBRARIES = ("torch", "numpy", "scikit-learn")
# In /dev, where a GPU's driver is: Nvidia's, its embedded boards', Windows', AMD's.
GPU_FILES = ("nvidia*", "nvhost*", "dxg", "kfd")


class HardwareError(UserError):
    """params.yaml asks for a device that this machine does not have."""


@dataclass(frozen=True)
class Hardware:
    """Where trials run: `workers` changes how long they take, the rest also their last digits.

    device: `cpu` or `cuda`; bf16: whether matrix products are computed in bfloat16.
    """

    device: str
    bf16: bool
    workers: int

    @classmethod
    def choose(cls, device: str, precision: str, workers: str | int) -> "Hardware":
        """Resolve `auto` in the training section of params.yaml.

        Raises:
            HardwareError: `cuda` is asked for where there is none.
        """
        if device == "cuda" and not _has_gpu():
            raise HardwareError(
                "params.yaml: training.device: 'cuda', but torch finds no GPU; write auto or cpu"
            )
        if device == "auto":
            device = "cuda" if _has_gpu() else "cpu"
        if device == "cuda":
            # One process: a GPU is shared better by one stream of work than by many processes.
            return cls(device, precision != "float32", 1)
        bf16 = _bf16_is_faster() if precision == "auto" else precision == "bf16"
        return cls(device, bf16, _cores() if workers == "auto" else int(workers))

    @property
    def arithmetic(self) -> dict[str, str | bool]:
        """What a trial's number depends on beside the trial: the device and who computes on it."""
        libraries = {name: version(name) for name in LIBRARIES}
        return {"device": self.device, "bf16": self.bf16, **libraries}


def _has_gpu() -> bool:
    # To be told by torch that there is none takes more than a second.
    if sys.platform == "linux" and not any(
        file for name in GPU_FILES for file in Path("/dev").glob(name)
    ):
        return False
    import torch

    return torch.cuda.is_available()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _bf16_is_faster() -> bool:
    """Measured once a machine: processors without bf16 instructions emulate them, slowly."""
    machine = [platform.node(), _processor(), version("torch")]
    path = memory.folder() / "bf16.json"
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    if known.get("machine") != machine:
        from ablation.trial.precision import bf16_speedup  # imports torch

        known = {"machine": machine, "speedup": bf16_speedup()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known))
    return bool(known["speedup"] > 1)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line for line in lines if line.startswith("model name")), platform.processor())
