"""The training loop: from a recipe, seeds and images to a trained network and its curves."""

import ctypes
import math
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablation.data.splits import Repeat
from ablation.trial.augmentation import make_augment
from ablation.trial.families import Spec
from ablation.trial.models import build
from ablation.trial.recipe import Recipe
from ablation.trial.replay import graphed_on_cuda
from ablation.trial.techniques import make_optimizer, make_schedule
from ablation.trial.trials import Curves
from ablation.trial.weights import MasterWeights, make_average

PREDICTION_BATCH = 1024  # images
# The clock that times a training, by device: on a CPU, processor time, which does not depend on
# other processes; on a GPU, wall-clock time.
CLOCKS = {"cpu": time.process_time, "cuda": time.perf_counter}


@dataclass(frozen=True)
class Part:
    """Labelled images on the training device: one part of a split, or all of them.

    images: (n, 28, 28) uint8; labels: (n,) int64.
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Normalisation:
    """Maps pixels in 0..255 to (pixel / 255 - mean) / deviation."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, images: Tensor) -> "Normalisation":
        """Mean and standard deviation of all pixels of images, (n, 28, 28) uint8."""
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
    """A trained network, float32, with its normalisation and learning curves.

    logits: (n, classes) float32, of the validation part after the last epoch; None without such a
    part, or if the training loss was not finite.
    seconds: duration of the whole training, with evaluation, by `CLOCKS`.
    diverged: whether a loss or a logit was not finite.
    """

    network: nn.Module
    normalisation: Normalisation
    curves: Curves
    logits: Tensor | None
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
    """Train a new network for `spec.epochs` epochs on the device of the parts.

    Args:
        spec: the sizes of the network, and the number of epochs.
        recipe: the other settings.
        repeat: only its seeds are used, not the split.
        training: the images to train on.
        validation: evaluated after every epoch; None for a final fit.
        classes: number of classes.
        batch_size: images per step, at most all of them. An incomplete last batch is dropped,
            because batch statistics of a few images are noisy.
        bf16: whether linear and convolutional layers compute in bfloat16, not float32.

    Raises:
        NetworkError: the network has a layer or a parameter that this loop cannot train.
    """
    device = training.images.device
    clock = CLOCKS[device.type]
    started = clock()
    dtype = torch.bfloat16 if bf16 else torch.float32
    count = len(training.labels)
    batch_size = min(batch_size, count)
    steps = count // batch_size  # per epoch

    network = build(spec, recipe, classes, repeat.init_seed).to(device)
    weights = MasterWeights(network, dtype)
    optimizer = make_optimizer(recipe.optimizer, weights.kernels, weights.others)
    schedule = make_schedule(recipe.scheduler, optimizer, recipe.optimizer.lr, steps * spec.epochs)
    average = make_average(recipe.averaging, network, weights, steps)

    # One generator per purpose, so that one technique never changes another's random numbers.
    order_generator = torch.Generator().manual_seed(repeat.order_seed)
    augmentation_generator = torch.Generator(device).manual_seed(repeat.augmentation_seed)
    torch.manual_seed(repeat.dropout_seed)  # from here on, dropout alone uses torch's default one

    normalise = Normalisation.of(training.images)
    augment = make_augment(recipe.augmentation, augmentation_generator, training.images.shape[-1])
    loss_sum = torch.zeros((), device=device)
    correct = torch.zeros((), dtype=torch.int64, device=device)

    @graphed_on_cuda(augmentation_generator)
    def run_batch(rows: Tensor) -> None:
        # Images are stored as bytes. Normalised in advance, they would take four times the memory
        # in float32, and save 4 % of the time for an MLP in bf16 and nothing otherwise.
        images = augment(normalise(training.images.index_select(0, rows))).to(dtype)
        labels = training.labels.index_select(0, rows)
        logits, loss = compute_gradients(network, weights, images, labels, recipe)
        loss_sum.add_(loss)
        correct.add_((logits.argmax(1) == labels).sum())

    curves = Curves([], [], [], [])
    validation_logits = None
    for _ in range(spec.epochs):
        network.train()
        loss_sum.zero_()
        correct.zero_()
        order = torch.randperm(count, generator=order_generator).to(device)
        for rows in order.split(batch_size)[:steps]:
            run_batch(rows)
            optimizer.step()
            weights.copy_to_network()
            average.update()
            schedule.step_batch()

        # The only synchronisation of an epoch; no step waits for the device.
        curves.train_loss.append(loss_sum.item() / steps)
        curves.train_accuracy.append(correct.item() / (steps * batch_size))
        schedule.step_epoch(curves.train_loss[-1])
        if validation is not None and not curves.diverged:
            with average.swapped_in():
                validation_logits = predict(network, validation.images, normalise, dtype)
            loss, accuracy = evaluate(validation_logits, validation.labels)
            curves.validation_loss.append(loss)
            curves.validation_accuracy.append(accuracy)
        if curves.diverged:
            break

    average.swap()
    diverged = curves.diverged
    if validation is None:  # the network has not been evaluated since its last step
        logits = predict(network, training.images[:PREDICTION_BATCH], normalise, dtype)
        diverged = diverged or not bool(logits.isfinite().all())
    weights.detach()
    seconds = clock() - started
    return Trained(network, normalise, curves, validation_logits, seconds, diverged)


def compute_gradients(
    network: nn.Module, weights: MasterWeights, images: Tensor, labels: Tensor, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """Forward and backward pass of a batch; leaves the gradients in `weights`.

    Args:
        images: (batch, 1, 28, 28), normalised, in the precision of the network's layers.
        labels: (batch,) int64.

    Returns:
        (batch, classes) float32 logits and their mean cross-entropy, a scalar; both detached.
    """
    logits = network(images).float()
    objective = loss = F.cross_entropy(logits, labels)
    if recipe.smoothing:
        objective = F.cross_entropy(logits, labels, label_smoothing=recipe.smoothing)
    objective.backward()
    weights.gather_gradients()
    # Penalties are added to the gradients: in the loss, autograd would keep a graph of all weights.
    if l2 := recipe.regularization.l2:
        weights.kernel_gradients.add_(weights.kernels, alpha=l2)
    if l1 := recipe.regularization.l1:
        weights.kernel_gradients.add_(weights.kernels.sign(), alpha=l1)
    return logits.detach(), loss.detach()


def evaluate(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy, in nats, and accuracy, a fraction.

    Args:
        logits: (n, classes) float32; labels: (n,) int64.
    """
    loss = F.cross_entropy(logits, labels)
    accuracy = (logits.argmax(1) == labels).double().mean()
    return loss.item(), accuracy.item()


@torch.no_grad()
def predict(
    network: nn.Module,
    images: Tensor,
    normalise: Normalisation,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Logits of images; leaves the network in evaluation mode.

    Args:
        images: (n, 28, 28) uint8 on the network's device.
        dtype: precision of the network's linear and convolutional layers.

    Returns:
        (n, classes) float32.
    """
    network.eval()
    batches = images.split(PREDICTION_BATCH)
    return torch.cat([network(normalise(batch).to(dtype)).float() for batch in batches])


def prepare_process() -> None:
    """Configure this process for training: one thread, and deterministic kernels on a GPU.

    By default glibc returns freed activations to the system, which zeroes their pages again for
    the next batch: 3,000 page faults per step. Keeping them made a CNN train 1.17 times as fast.
    """
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False  # would round float32 convolutions
    try:
        allocator = ctypes.CDLL("libc.so.6")
    except OSError:
        return  # not glibc: slower, but with the same results
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    allocator.mallopt(mmap_threshold, 32 * 2**20)
    allocator.mallopt(trim_threshold, 2**30)
    allocator.mallopt(top_pad, 256 * 2**20)
