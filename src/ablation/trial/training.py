"""The hot loop: from seeds, images and a recipe to a trained network and its curves."""

import ctypes
import math
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ablation.data.splits import Repeat
from ablation.trial.models import build, kernels
from ablation.trial.recipe import CnnSpec, MlpSpec, Recipe
from ablation.trial.techniques import make_optimizer, make_schedule
from ablation.trial.trials import Curves

EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Part:
    """Characters on the device, never copied: a part is a list of rows.

    images: (n, 28, 28) uint8; labels: (n,) int64; rows: (m,) int64.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor

    def of(self, rows: Tensor) -> "Part":
        """Other rows of the same characters."""
        return Part(self.images, self.labels, rows.to(self.rows.device))


@dataclass(frozen=True)
class Normalisation:
    """Pixels 0..255 become (pixel / 255 - mean) / deviation."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, part: Part) -> "Normalisation":
        """The statistics of one part; training parts only, so that nothing else leaks in."""
        counts = torch.bincount(part.images[part.rows].flatten(), minlength=256).double()
        values = torch.arange(256, dtype=torch.float64, device=counts.device) / 255
        mean = (counts @ values / counts.sum()).item()
        variance = (counts @ (values - mean) ** 2 / counts.sum()).item()
        return cls(mean, math.sqrt(variance))

    def __call__(self, images: Tensor) -> Tensor:
        """(n, 28, 28) uint8 -> (n, 1, 28, 28) float32."""
        scale, shift = 1 / (255 * self.deviation), self.mean / self.deviation
        return images.float().mul_(scale).sub_(shift).unsqueeze(1)


@dataclass(frozen=True)
class Trained:
    """What a training leaves behind."""

    network: nn.Sequential
    normalisation: Normalisation
    curves: Curves
    seconds: float
    diverged: bool


def train(
    spec: MlpSpec | CnnSpec,
    recipe: Recipe,
    repeat: Repeat,
    training: Part,
    validation: Part | None,
    *,
    classes: int,
    batch_size: int,
    bf16: bool,
) -> Trained:
    """Train a fresh network for `spec.epochs` epochs on the device where the parts are.

    The last, incomplete batch of an epoch is left out: batch statistics of a few images are noise.
    Dropout draws from torch's default generator, which is seeded here and which nothing else uses.
    """
    device = training.images.device
    started = time.perf_counter()
    normalise = Normalisation.of(training)
    network = build(spec, recipe, classes, repeat.init_seed).to(device)
    weights: list[Tensor] = list(kernels(network))
    others: list[Tensor] = [parameter for parameter in network.parameters() if parameter.ndim == 1]
    optimizer = make_optimizer(recipe.optimizer, weights, others)
    steps = max(1, len(training.rows) // batch_size)
    schedule = make_schedule(recipe.scheduler, optimizer, recipe.optimizer.lr, steps * spec.epochs)
    on_plateau = isinstance(schedule, ReduceLROnPlateau)
    l1, l2 = recipe.regularization.l1, recipe.regularization.l2
    order_dice = torch.Generator().manual_seed(repeat.order_seed)
    torch.manual_seed(repeat.dropout_seed)
    curves = Curves([], [], [], [])
    diverged = False

    for _ in range(spec.epochs):
        network.train()
        shuffled = torch.randperm(len(training.rows), generator=order_dice).to(device)
        batches = training.rows[shuffled].split(batch_size)[:steps]
        loss_sum = torch.zeros((), device=device)
        right = torch.zeros((), dtype=torch.int64, device=device)

        for rows in batches:
            labels = training.labels.index_select(0, rows)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                logits = network(normalise(training.images.index_select(0, rows)))
            loss = F.cross_entropy(logits.float(), labels)
            loss.backward()
            if l1 or l2:
                gradients = [weight.grad for weight in weights if weight.grad is not None]
                with torch.no_grad():
                    if l2:
                        torch._foreach_add_(gradients, weights, alpha=l2)
                    if l1:
                        torch._foreach_add_(gradients, torch._foreach_sign(weights), alpha=l1)
            optimizer.step()
            optimizer.zero_grad()
            if not on_plateau:
                schedule.step()
            loss_sum += loss.detach()
            right += (logits.argmax(1) == labels).sum()

        # The only reads are at the end of an epoch: up to here nothing has waited for the device.
        train_loss = loss_sum.item() / steps
        curves.train_loss.append(train_loss)
        curves.train_accuracy.append(right.item() / (steps * min(batch_size, len(training.rows))))
        diverged = not math.isfinite(train_loss)
        if diverged:
            break
        if isinstance(schedule, ReduceLROnPlateau):
            schedule.step(train_loss)
        if validation is not None:
            logits = predict(network, normalise, validation, bf16=bf16)
            labels = validation.labels[validation.rows]
            validation_loss = F.cross_entropy(logits, labels).item()
            diverged = not math.isfinite(validation_loss)
            curves.validation_loss.append(validation_loss)
            curves.validation_accuracy.append((logits.argmax(1) == labels).double().mean().item())
            if diverged:
                break

    if validation is None:
        # Nothing else has looked at the network since its last step.
        some = training.of(training.rows[:EVALUATION_BATCH])
        logits = predict(network, normalise, some, bf16=bf16)
        diverged = diverged or not bool(logits.isfinite().all())
    seconds = time.perf_counter() - started
    return Trained(network, normalise, curves, seconds, diverged)


@torch.no_grad()
def predict(network: nn.Module, normalise: Normalisation, part: Part, *, bf16: bool) -> Tensor:
    """(m, classes) float32 logits of a part; puts the network into evaluation mode."""
    network.eval()
    with torch.autocast(part.images.device.type, torch.bfloat16, enabled=bf16):
        return torch.cat(
            [
                network(normalise(part.images.index_select(0, rows))).float()
                for rows in part.rows.split(EVALUATION_BATCH)
            ]
        )


def prepare_process() -> None:
    """Set this process up for training: on one core, the same numbers every time on a GPU.

    glibc hands every freed activation back to the kernel, which zeroes the pages anew for the
    next batch: 3,000 page faults a step. Told to keep them, a CNN trained 1.17 times faster.
    """
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False  # else float32 convolutions would be rounded
    try:
        allocator = ctypes.CDLL("libc.so.6")
    except OSError:
        return  # not glibc: slower, not different
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    allocator.mallopt(mmap_threshold, 32 * 2**20)
    allocator.mallopt(trim_threshold, 2**30)
    allocator.mallopt(top_pad, 256 * 2**20)
