"""Benchmark of bf16 on this processor."""

import time
from statistics import median

import torch
import torch.nn.functional as F

ROUNDS = 9


def bf16_speedup() -> float:
    """Speedup of bf16 over float32, for a convolution and a matrix product with gradients."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(ROUNDS):
        for dtype, spent in times.items():
            spent.append(_small_step(dtype))
    torch.set_num_threads(threads)
    return median(times[torch.float32]) / median(times[torch.bfloat16])


def _small_step(dtype: torch.dtype) -> float:
    images, kernel = (
        torch.ones(shape, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
        for shape in ((64, 32, 14, 14), (32, 32, 3, 3))
    )
    rows, matrix = (
        torch.ones(shape, dtype=dtype, requires_grad=True) for shape in ((128, 784), (512, 784))
    )
    started = time.perf_counter()
    (F.conv2d(images, kernel, padding=1).sum() + F.linear(rows, matrix).sum()).backward()
    return time.perf_counter() - started
