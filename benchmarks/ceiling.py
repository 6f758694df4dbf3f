"""Upper bound of throughput: only the engine's forward and backward passes."""

import torch
import torch.nn.functional as F

from ablation.data.characters import SIDE
from ablation.run.hardware import Hardware
from ablation.trial.families import Spec
from ablation.trial.models import build, compute_in
from ablation.trial.recipe import Recipe
from ablation.trial.training import prepare_process


def forward_and_backward(
    spec: Spec,
    recipe: Recipe,
    classes: int,
    batch_size: int,
    steps: int,
    hardware: Hardware,
) -> None:
    """One worker's share: `steps` passes over one batch that is already on the device."""
    prepare_process()
    device = hardware.device
    dtype = torch.bfloat16 if hardware.bf16 else torch.float32
    network = build(spec, recipe, classes, seed=0).to(device).train()
    compute_in(network, dtype)
    images = torch.randn(batch_size, 1, SIDE, SIDE, device=device).to(dtype)
    labels = torch.randint(classes, (batch_size,), device=device)
    for _ in range(steps):
        network.zero_grad()
        F.cross_entropy(network(images).float(), labels).backward()
    if device == "cuda":
        torch.cuda.synchronize()
