"""What the trials run on, and with which arithmetic."""

import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
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

    device: `cpu` or `cuda`; bf16: whether layers compute in bfloat16.
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
        if device == "cuda" and not has_gpu():
            raise HardwareError(
                "params.yaml: training.device: 'cuda', but torch finds no GPU; write auto or cpu"
            )
        if device == "auto":
            device = "cuda" if has_gpu() else "cpu"
        if device == "cuda":
            # One process, unless asked for more: what several gain on one GPU is not measured yet.
            bf16 = _gpu_has_bf16() if precision == "auto" else precision == "bf16"
            return cls(device, bf16, 1 if workers == "auto" else int(workers))
        bf16 = _bf16_is_faster() if precision == "auto" else precision == "bf16"
        return cls(device, bf16, cores() if workers == "auto" else int(workers))

    @property
    def arithmetic(self) -> dict[str, str | bool]:
        """What a trial's number depends on beside the trial: the device and who computes on it."""
        libraries = {name: metadata.version(name) for name in LIBRARIES}
        return {"device": self.device, "bf16": self.bf16, **libraries}


def has_gpu() -> bool:
    """Whether torch finds one."""
    # To be told by torch that there is none takes more than a second.
    if sys.platform == "linux" and not any(
        file for name in GPU_FILES for file in Path("/dev").glob(name)
    ):
        return False
    import torch

    return torch.cuda.is_available()


def _gpu_has_bf16() -> bool:
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> dict[str, str]:
    """Name and instruction set of the processor."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    fields = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    names = {"name": fields.get("model name", platform.processor())}
    return names | {"instructions": fields.get("flags", fields.get("Features", ""))}


def _bf16_is_faster() -> bool:
    """Measured once a machine: processors without bf16 instructions emulate them, slowly."""
    machine = {"node": platform.node(), "torch": metadata.version("torch"), **processor()}
    name = f"bf16-{memory.key(**machine)}"
    known = memory.recall(name)
    if known is None:
        from ablation.trial.precision import bf16_speedup  # imports torch

        known = f"{bf16_speedup():.3f}".encode()
        memory.remember(name, known)
    return float(known) > 1
