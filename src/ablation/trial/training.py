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
from ablation.trial.models import build
from ablation.trial.recipe import CnnSpec, MlpSpec, Recipe
from ablation.trial.techniques import make_optimizer, make_schedule
from ablation.trial.trials import Curves
from ablation.trial.weights import MasterWeights

EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Part:
    """Characters on the device; a part is a list of rows.

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

    def __call__(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """(n, 28, 28) uint8 -> (n, 1, 28, 28), computed in float32 and then rounded to `dtype`."""
        scale, shift = 1 / (255 * self.deviation), self.mean / self.deviation
        parts = images.split(EVALUATION_BATCH)  # in float32 all of them would be large
        return torch.cat([part.float().mul_(scale).sub_(shift).to(dtype) for part in parts])[
            :, None
        ]


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

    Both parts are rows of the same images, which are normalised once, in the network's precision.
    The last, incomplete batch of an epoch is left out: batch statistics of a few images are noise.
    Dropout draws from torch's default generator, which is seeded here and which nothing else uses.
    """
    device = training.images.device
    dtype = torch.bfloat16 if bf16 else torch.float32
    started = time.perf_counter()
    normalise = Normalisation.of(training)
    pixels = normalise(training.images, dtype)
    network = build(spec, recipe, classes, repeat.init_seed).to(device)
    weights = MasterWeights(network, dtype)
    optimizer = make_optimizer(recipe.optimizer, weights.kernels, weights.others)
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
            logits = network(pixels.index_select(0, rows)).float()
            loss = F.cross_entropy(logits, labels)
            loss.backward()
            weights.collect()
            if l2:
                weights.kernel_gradients.add_(weights.kernels, alpha=l2)
            if l1:
                weights.kernel_gradients.add_(weights.kernels.sign(), alpha=l1)
            optimizer.step()
            weights.spread()
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
            logits = predict(network, pixels, validation.rows)
            labels = validation.labels[validation.rows]
            validation_loss = F.cross_entropy(logits, labels).item()
            diverged = not math.isfinite(validation_loss)
            curves.validation_loss.append(validation_loss)
            curves.validation_accuracy.append((logits.argmax(1) == labels).double().mean().item())
            if diverged:
                break

    if validation is None:
        # Nothing else has looked at the network since its last step.
        logits = predict(network, pixels, training.rows[:EVALUATION_BATCH])
        diverged = diverged or not bool(logits.isfinite().all())
    weights.release()
    seconds = time.perf_counter() - started
    return Trained(network, normalise, curves, seconds, diverged)


@torch.no_grad()
def predict(network: nn.Module, pixels: Tensor, rows: Tensor) -> Tensor:
    """(m, classes) float32 logits of m rows; puts the network into evaluation mode.

    pixels: (n, 1, 28, 28), normalised, in the precision of the network; rows: (m,) int64.
    """
    network.eval()
    batches = rows.split(EVALUATION_BATCH)
    return torch.cat([network(pixels.index_select(0, batch)).float() for batch in batches])


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
