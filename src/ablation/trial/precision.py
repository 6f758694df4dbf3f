"""Whether bf16 is the faster arithmetic on this processor: measured, not guessed."""

import time
from statistics import median

import torch
import torch.nn.functional as F

ROUNDS = 9


def bf16_speedup() -> float:
    """Time of a small convolution and matrix product in float32 over that in bf16, medians."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(ROUNDS):
        for dtype, spent in times.items():
            spent.append(_small_step(dtype))
    torch.set_num_threads(threads)
    return median(times[torch.float32]) / median(times[torch.bfloat16])


def _small_step(dtype: torch.dtype) -> float:
    images = torch.ones(64, 32, 14, 14, dtype=dtype).to(memory_format=torch.channels_last)
    kernel = torch.ones(32, 32, 3, 3, dtype=dtype, requires_grad=True)
    rows = torch.ones(128, 784, dtype=dtype)
    matrix = torch.ones(512, 784, dtype=dtype, requires_grad=True)
    started = time.perf_counter()
    (F.conv2d(images, kernel, padding=1).sum() + F.linear(rows, matrix).sum()).backward()
    return time.perf_counter() - started
