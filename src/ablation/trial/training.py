"""The hot loop: from seeds, images and a recipe to a trained network and its curves."""

import ctypes
import math
import time
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ablation.data.splits import Repeat
from ablation.trial.augmentation import make_augment
from ablation.trial.families import Spec
from ablation.trial.models import build
from ablation.trial.recipe import Ema, Recipe
from ablation.trial.replay import Replayed
from ablation.trial.techniques import make_optimizer, make_schedule
from ablation.trial.trials import Curves
from ablation.trial.weights import Average, MasterWeights

SLICE = 1024  # images that are predicted at a time


@dataclass(frozen=True)
class Part:
    """Characters on the device.

    images: (n, 28, 28) uint8; labels: (n,) int64.
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Normalisation:
    """Pixels 0..255 become (pixel / 255 - mean) / deviation."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, images: Tensor) -> "Normalisation":
        """The statistics of (n, 28, 28) uint8: of the training part, so that nothing leaks in."""
        counts = torch.bincount(images.flatten(), minlength=256).double()
        values = torch.arange(256, dtype=torch.float64, device=counts.device) / 255
        mean = (counts @ values / counts.sum()).item()
        variance = (counts @ (values - mean) ** 2 / counts.sum()).item()
        return cls(mean, math.sqrt(variance))

    def __call__(self, images: Tensor) -> Tensor:
        """(n, 28, 28) uint8 -> (n, 1, 28, 28) float32."""
        scale, shift = 1 / (255 * self.deviation), self.mean / self.deviation
        return images.unsqueeze(1).float().mul_(scale).sub_(shift)


@dataclass(frozen=True)
class Trained:
    """What a training leaves behind."""

    network: nn.Module
    normalisation: Normalisation
    curves: Curves
    seconds: float
    diverged: bool


def train(
    spec: Spec,
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
    dtype = torch.bfloat16 if bf16 else torch.float32
    started = time.perf_counter()
    normalise = Normalisation.of(training.images)
    network = build(spec, recipe, classes, repeat.init_seed).to(device)
    weights = MasterWeights(network, dtype)
    optimizer = make_optimizer(recipe.optimizer, weights.kernels, weights.others)
    count = len(training.labels)
    batch_size = min(batch_size, count)
    steps = count // batch_size
    schedule = make_schedule(recipe.scheduler, optimizer, recipe.optimizer.lr, steps * spec.epochs)
    on_plateau = isinstance(schedule, ReduceLROnPlateau)
    l1, l2 = recipe.regularization.l1, recipe.regularization.l2
    smoothing = recipe.smoothing
    average = None
    if isinstance(recipe.averaging, Ema):
        average = Average(network, weights, recipe.averaging.horizon * steps)
    side = training.images.shape[-1]
    augmentation_dice = torch.Generator(device).manual_seed(repeat.augmentation_seed)
    augment = make_augment(recipe.augmentation, augmentation_dice, side)
    order_dice = torch.Generator().manual_seed(repeat.order_seed)
    torch.manual_seed(repeat.dropout_seed)
    curves = Curves([], [], [], [])
    diverged = False
    loss_sum = torch.zeros((), device=device)
    right = torch.zeros((), dtype=torch.int64, device=device)

    def differentiate(rows: Tensor) -> None:
        """The gradients of a batch, its loss and how many it has right."""
        # A batch is a gather of bytes. To keep all images normalised instead took four times the
        # memory in float32; an MLP in bf16 trained 1.04 times as fast by that, all others did not.
        images = augment(normalise(training.images.index_select(0, rows)))
        labels = training.labels.index_select(0, rows)
        logits = network(images.to(dtype)).float()
        loss = F.cross_entropy(logits, labels)
        aim = F.cross_entropy(logits, labels, label_smoothing=smoothing) if smoothing else loss
        aim.backward()
        weights.collect()
        if l2:
            weights.kernel_gradients.add_(weights.kernels, alpha=l2)
        if l1:
            weights.kernel_gradients.add_(weights.kernels.sign(), alpha=l1)
        loss_sum.add_(loss.detach())
        right.add_((logits.argmax(1) == labels).sum())

    do = Replayed(differentiate, augmentation_dice) if device.type == "cuda" else differentiate

    for _ in range(spec.epochs):
        network.train()
        shuffled = torch.randperm(count, generator=order_dice).to(device)
        loss_sum.zero_()
        right.zero_()

        for rows in shuffled.split(batch_size)[:steps]:
            do(rows)
            optimizer.step()
            weights.spread()
            if average:
                average.update()
            if not on_plateau:
                schedule.step()

        # No step waits for the device: an epoch feeds it at its start and reads it at its end.
        train_loss = loss_sum.item() / steps
        curves.train_loss.append(train_loss)
        curves.train_accuracy.append(right.item() / (steps * batch_size))
        diverged = not math.isfinite(train_loss)
        if diverged:
            break
        if isinstance(schedule, ReduceLROnPlateau):
            schedule.step(train_loss)
        if validation is not None:
            with average.shown() if average else nullcontext():
                logits = predict(network, validation.images, normalise, dtype)
            validation_loss = F.cross_entropy(logits, validation.labels).item()
            diverged = not math.isfinite(validation_loss)
            curves.validation_loss.append(validation_loss)
            curves.validation_accuracy.append(
                (logits.argmax(1) == validation.labels).double().mean().item()
            )
            if diverged:
                break

    if average:
        average.swap()
    if validation is None:
        # Nothing else has looked at the network since its last step.
        logits = predict(network, training.images[:SLICE], normalise, dtype)
        diverged = diverged or not bool(logits.isfinite().all())
    weights.release()
    seconds = time.perf_counter() - started
    return Trained(network, normalise, curves, seconds, diverged)


@torch.no_grad()
def predict(
    network: nn.Module,
    images: Tensor,
    normalise: Normalisation,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """(n, classes) float32 logits; puts the network into evaluation mode.

    images: (n, 28, 28) uint8; dtype: the precision that the network's layers compute in.
    """
    network.eval()
    return torch.cat([network(normalise(some).to(dtype)).float() for some in images.split(SLICE)])


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
