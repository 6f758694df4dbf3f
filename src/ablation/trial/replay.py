"""On a GPU: what a batch asks for, recorded once and then asked for as a whole."""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # batches before the recording: in them, libraries choose their code and set it up


class Replayed:
    """Work on a batch as one CUDA graph: a launch for each of its hundred kernels cost far more.

    Each call does what the work does: the first ones do it kernel by kernel, and the recording
    itself does nothing. So all a graph needs is that the work's tensors stay where they lie, and
    that its batches are all of one size.

    work: of a batch's rows, (batch,) int64 on the GPU.
    dice: what the work draws from, beside torch's default generator.
    """

    def __init__(self, work: Callable[[Tensor], None], dice: torch.Generator) -> None:
        self._work = work
        self._dice = dice
        self._warm_up = WARM_UP
        self._graph: torch.cuda.CUDAGraph | None = None
        self._rows = torch.empty(0)

    def __call__(self, rows: Tensor) -> None:
        if self._warm_up:
            self._warm_up -= 1
            self._work(rows)
            return
        if self._graph is None:
            self._graph = self._recorded(rows)
        self._rows.copy_(rows)
        self._graph.replay()

    def _recorded(self, rows: Tensor) -> torch.cuda.CUDAGraph:
        self._rows = rows.clone()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._dice)
        with torch.cuda.graph(graph):
            self._work(self._rows)
        return graph
