"""What a network learns: kept in float32, also where it computes in bf16."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from ablation.trial.models import NetworkError, compute_in, kernels


class MasterWeights:
    """A network's weights in float32, and their gradients, each in one flat tensor.

    The layers compute in `dtype`: in bf16 with rounded copies of these weights, which `spread`
    renews (Micikevicius et al. 2018, arXiv:1710.03740). Batch normalisation stays in float32.

    Flat, because a penalty or an optimizer's step is then a pass or two, not a call a layer. With
    this instead of autocast an MLP of 512-256-128 trained 1.05 to 1.14 times as fast.

    kernels, kernel_gradients: (k,) float32, of kernels and weight matrices; others: (o,) float32,
    biases and what normalisation learns; all: (k + o,), both. `collect` fills the gradients, which
    are also the `grad` of both.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        first = kernels(network)
        others = set(network.parameters()) - set(first)
        parameters = [*first, *(p for p in network.parameters() if p in others)]
        weights = torch.empty(sum(p.numel() for p in parameters), device=first[0].device)
        gradients = torch.empty_like(weights)
        end = sum(p.numel() for p in first)
        self.all, self.kernels, self.others = weights, weights[:end], weights[end:]
        self.kernel_gradients = gradients[:end]
        self.kernels.grad, self.others.grad = self.kernel_gradients, gradients[end:]

        weight_views = _views(weights, parameters)
        torch._foreach_copy_(weight_views, [p.detach() for p in parameters])
        compute_in(network, dtype)
        names = {parameter: name for name, parameter in network.named_parameters()}
        learnt = [
            _Learnt(names[parameter], parameter, weight, gradient)
            for parameter, weight, gradient in zip(
                parameters, weight_views, _views(gradients, parameters), strict=True
            )
        ]
        for each in learnt:
            if not each.rounded:
                each.parameter.data = each.weight  # the optimizer moves the network itself
        self._rounded = [each for each in learnt if each.rounded]
        self._shared = [each for each in learnt if not each.rounded]

    def collect(self) -> None:
        """Take the network's gradients over, so that the next backward starts from none.

        Raises:
            NetworkError: a parameter has no gradient, since nothing used it in this batch.
        """
        for group in (self._rounded, self._shared):  # of one precision: on a GPU, one launch
            if group:
                found = [each.found_gradient() for each in group]
                torch._foreach_copy_([each.gradient for each in group], found)
                for each in group:
                    each.parameter.grad = None

    @torch.no_grad()
    def spread(self) -> None:
        """Round the weights anew for the network to compute with."""
        if self._rounded:
            weights = [each.weight for each in self._rounded]
            torch._foreach_copy_([each.parameter for each in self._rounded], weights)

    def release(self) -> None:
        """Leave the network in float32, with tensors of its own."""
        for each in self._rounded + self._shared:
            each.parameter.data = each.weight.clone()


class Average:
    """An exponential moving average of a network's weights and statistics, step by step.

    Early steps average over what there is: step t, from 1, keeps (1 + t) / (10 + t) of the average
    where that is less than the decay.

    horizon: in steps; a weight of that age counts 1/e of the newest.

    Source:
        Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; the early
        steps as in TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, network: nn.Module, weights: MasterWeights, horizon: float) -> None:
        self._weights = weights
        self._decay = math.exp(-1 / horizon)
        self._steps = 0
        statistics = [each for each in network.buffers() if each.is_floating_point()]
        self._present = [weights.all, *statistics]
        self._averages = [each.clone() for each in self._present]

    @torch.no_grad()
    def update(self) -> None:
        """Take the network as it is after one more step into the average."""
        self._steps += 1
        kept = min(self._decay, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(self._averages, self._present, 1 - kept)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The network has the averages meanwhile."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange what the network has for the averages, or back."""
        for present, average in zip(self._present, self._averages, strict=True):
            kept = present.clone()
            present.copy_(average)
            average.copy_(kept)
        self._weights.spread()


@dataclass(frozen=True)
class _Learnt:
    """A parameter of the network, and its places in the flat tensors."""

    name: str
    parameter: nn.Parameter
    weight: Tensor
    gradient: Tensor

    @property
    def rounded(self) -> bool:
        return self.parameter.dtype != self.weight.dtype

    def found_gradient(self) -> Tensor:
        if self.parameter.grad is None:
            raise NetworkError(
                f"models.py: {self.name} got no gradient, so it would never be trained: let the "
                "network's forward use it in every batch, or leave it out"
            )
        return self.parameter.grad


def _views(flat: Tensor, like: list[nn.Parameter]) -> list[Tensor]:
    starts = accumulate((each.numel() for each in like), initial=0)
    return [
        flat.as_strided(each.shape, each.stride(), start)
        for each, start in zip(like, starts, strict=False)
    ]
