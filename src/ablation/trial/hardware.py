"""What the trials run on, and with which arithmetic."""

import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

from ablation.base.errors import UserError
from ablation.trial import memory

ROUNDS = 9


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
        if device == "cuda" and not torch.cuda.is_available():
            raise HardwareError(
                "params.yaml: training.device: 'cuda', but torch finds no GPU; write auto or cpu"
            )
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda":
            # One process: a GPU is shared better by one stream of work than by many processes.
            return cls(device, precision != "float32", 1)
        bf16 = _bf16_is_faster() if precision == "auto" else precision == "bf16"
        return cls(device, bf16, _cores() if workers == "auto" else int(workers))

    @property
    def arithmetic(self) -> dict[str, str | bool]:
        """The part of the hardware that a trial's number depends on."""
        return {"device": self.device, "bf16": self.bf16, "torch": torch.__version__}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _bf16_is_faster() -> bool:
    """Measured once a machine: processors without bf16 instructions emulate them, slowly."""
    machine = [platform.node(), _processor(), torch.__version__]
    path = memory.folder() / "bf16.json"
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    if known.get("machine") != machine:
        known = {"machine": machine, "speedup": _bf16_speedup()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known))
    return bool(known["speedup"] > 1)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line for line in lines if line.startswith("model name")), platform.processor())


def _bf16_speedup() -> float:
    """Time of a small convolution and matrix product in float32 over that in bf16, medians."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(ROUNDS):
        for bf16, spent in times.items():
            started = time.perf_counter()
            _small_step(bf16)
            spent.append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    return sorted(times[False])[ROUNDS // 2] / sorted(times[True])[ROUNDS // 2]


def _small_step(bf16: bool) -> None:
    images = torch.ones(64, 32, 14, 14).to(memory_format=torch.channels_last)
    kernel = torch.ones(32, 32, 3, 3, requires_grad=True)
    matrix = torch.ones(512, 784, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        total = (
            F.conv2d(images, kernel, padding=1).sum() + F.linear(torch.ones(128, 784), matrix).sum()
        )
    total.backward()
