"""Whether bf16 is the faster arithmetic on this processor: measured, not guessed."""

import time

import torch
import torch.nn.functional as F

ROUNDS = 9


def bf16_speedup() -> float:
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
