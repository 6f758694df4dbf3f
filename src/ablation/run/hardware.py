"""The hardware that trials run on, and its arithmetic."""

import os
import platform
import re
import sys
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from ablation.base.errors import UserError
from ablation.processes.cores import cores
from ablation.run import memory

# Libraries whose versions affect a trial's result: those used for training and splitting.
LIBRARIES = ("torch", "numpy", "scikit-learn")
# CPU flags that affect the results of arithmetic.
ARITHMETIC = re.compile(r"avx|fma|f16c|amx|sse4|neon|asimd|sve|sme|bf16|fp16|fphp")
PROCESSOR_MODEL = ("vendor_id", "cpu family", "model", "CPU implementer", "CPU part")
# Device files of GPU drivers in /dev: Nvidia, Nvidia Jetson, WSL, AMD.
GPU_FILES = ("nvidia*", "nvhost*", "dxg", "kfd")


class HardwareError(UserError):
    """params.yaml requests a device that this machine does not have."""


@dataclass(frozen=True)
class Computer:
    """A processor or GPU: its name, and the features that its results depend on."""

    name: str
    arithmetic: str

    @classmethod
    def here(cls, device: str) -> Self:
        """The processor or GPU that this process runs on."""
        if device == "cuda":
            return cls(gpu_name(), gpu_name())
        return cls(processor_name(), processor_arithmetic())


@dataclass(frozen=True)
class Hardware:
    """What trials run on. `workers` affects only their speed; the rest also affects rounding.

    device: `cpu` or `cuda`; bf16: whether layers compute in bfloat16; elsewhere: the processor or
    GPU of a cluster's workers, if it differs from this machine's.
    """

    device: str
    bf16: bool
    workers: int
    elsewhere: Computer | None = None

    @classmethod
    def choose(cls, device: str, precision: str, workers: str | int) -> "Hardware":
        """Resolve `auto` in the training section of params.yaml.

        Raises:
            HardwareError: `cuda` is requested but not available.
        """
        if device == "cuda" and not has_gpu():
            raise HardwareError(
                "params.yaml: training.device: 'cuda', but torch finds no GPU; use auto or cpu"
            )
        if device == "auto":
            device = "cuda" if has_gpu() else "cpu"
        if device == "cuda":
            bf16 = _gpu_has_bf16() if precision == "auto" else precision == "bf16"
            return cls(device, bf16, processes_on_gpu() if workers == "auto" else int(workers))
        bf16 = bf16_speedup() > 1 if precision == "auto" else precision == "bf16"
        return cls(device, bf16, cores() if workers == "auto" else int(workers))

    @property
    def precision(self) -> str:
        """`bf16` or `float32`, as params.yaml calls it."""
        return "bf16" if self.bf16 else "float32"

    @property
    def computer(self) -> Computer:
        """The processor or GPU that trials run on."""
        return self.elsewhere or Computer.here(self.device)

    def computing_in(self, precision: str) -> Self:
        """The same hardware with another precision."""
        return replace(self, bf16=precision == "bf16")

    @property
    def arithmetic(self) -> dict[str, Any]:
        """Everything besides the trial that its result depends on.

        Libraries select kernels by the processor's model and instructions, or by the GPU.
        """
        computer = self.computer.arithmetic
        return {"device": self.device, "computer": computer, "bf16": self.bf16, **libraries()}


@cache
def libraries() -> dict[str, str]:
    """Versions of the libraries that a trial's result depends on; cached, because it is slow."""
    return {name: metadata.version(name) for name in LIBRARIES}


def has_gpu() -> bool:
    """Whether torch finds a GPU."""
    # Importing torch just to find none takes more than a second.
    if sys.platform == "linux" and not any(
        file for name in GPU_FILES for file in Path("/dev").glob(name)
    ):
        return False
    import torch

    return torch.cuda.is_available()


def _gpu_has_bf16() -> bool:
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def processes_on_gpu() -> int:
    """Number of processes that should share one GPU.

    Processes on a GPU are time-sliced, so several gain nothing unless Nvidia's Multi-Process
    Service (MPS) is running. With MPS on an H200, four processes had 2.8 times the throughput of
    one for MLPs and 2.4 times for CNNs.
    """
    pipe = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"), "control")
    return 4 if pipe.exists() else 1


def processor_name() -> str:
    """The processor's model name."""
    fields = _processor()
    return fields.get("model name") or platform.processor() or platform.machine()


def processor_arithmetic() -> str:
    """The processor's model and the instruction sets that its results depend on."""
    fields = _processor()
    instructions = fields.get("flags", fields.get("Features", "")).split()
    model = [fields[name] for name in PROCESSOR_MODEL if name in fields]
    return " ".join([platform.machine(), *model, *sorted(filter(ARITHMETIC.search, instructions))])


def gpu_name() -> str:
    """Name of the current GPU, according to torch."""
    import torch

    return torch.cuda.get_device_name()


@cache
def _processor() -> dict[str, str]:
    """The fields of the first processor in /proc/cpuinfo; empty on systems other than Linux."""
    information = Path("/proc/cpuinfo")
    first = information.read_text().partition("\n\n")[0] if information.exists() else ""
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def bf16_speedup() -> float:
    """Speedup of bf16 over float32 on this processor, measured once per machine.

    Below 1 on processors that have to emulate bf16.
    """
    machine = {"node": platform.node(), "torch": metadata.version("torch")}
    name = f"bf16-{memory.key(**machine, processor=processor_arithmetic())}"
    known = memory.recall(name)
    if known is None:
        from ablation.run import bf16_speed  # imports torch

        known = f"{bf16_speed.bf16_speedup():.3f}".encode()
        memory.remember(name, known)
    return float(known)
