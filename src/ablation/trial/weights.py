"""What a network learns: kept in float32, also where it computes in bf16."""

from itertools import accumulate

import torch
from torch import Tensor, nn

from ablation.trial.models import compute_in, kernels, others


class MasterWeights:
    """A network's weights in float32, and their gradients, each in one flat tensor.

    The network's convolutions and linear layers compute in `dtype`: in bf16 with copies of these
    weights, which `spread` renews (Micikevicius et al. 2018, arXiv:1710.03740). Normalisation and
    all that is learnt stay in float32.

    Flat, because L1, L2, an optimizer's step and the copies are then one pass over one tensor, not
    calls for every layer: an MLP of 512-256-128 trained 1.09 times as fast as with autocast.

    kernels, kernel_gradients: (k,) float32, of kernels and weight matrices; others: (o,) float32,
    biases and normalisation. The gradients are what `collect` took over, and the tensors' `grad`.
    """

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        self._parameters = [*kernels(network), *others(network)]
        *starts, size = accumulate((p.numel() for p in self._parameters), initial=0)
        weights = torch.empty(size, device=self._parameters[0].device)
        gradients = torch.zeros_like(weights)
        places = [(p.shape, p.stride()) for p in self._parameters]
        self._weights = [weights.as_strided(*p, s) for p, s in zip(places, starts, strict=True)]
        self._gradients = [gradients.as_strided(*p, s) for p, s in zip(places, starts, strict=True)]
        torch._foreach_copy_(self._weights, [p.detach() for p in self._parameters])
        end = sum(kernel.numel() for kernel in kernels(network))
        self.kernels, self.others = weights[:end], weights[end:]
        self.kernel_gradients = gradients[:end]
        self.kernels.grad, self.others.grad = self.kernel_gradients, gradients[end:]

        compute_in(network, dtype)
        self._copies: list[tuple[Tensor, Tensor]] = []
        for parameter, weight in zip(self._parameters, self._weights, strict=True):
            if parameter.dtype == weight.dtype:
                parameter.data = weight  # no copy: the optimizer moves the network itself
            else:
                self._copies.append((parameter.detach(), weight))

    def collect(self) -> None:
        """Take the network's gradients over, so that the next backward starts from none."""
        gradients = [parameter.grad for parameter in self._parameters]
        torch._foreach_copy_(self._gradients, gradients)  # type: ignore[arg-type]
        for parameter in self._parameters:
            parameter.grad = None

    def spread(self) -> None:
        """Round the weights anew for the network to compute with."""
        if self._copies:
            copies, weights = zip(*self._copies, strict=True)
            torch._foreach_copy_(copies, weights)

    def release(self) -> None:
        """Leave the network in float32, with tensors of its own."""
        for parameter, weight in zip(self._parameters, self._weights, strict=True):
            parameter.data = weight.clone()
