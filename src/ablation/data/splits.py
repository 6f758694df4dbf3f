"""Repeats: the seeds that paired trials share, and the stratified split of each repeat.

A repeat identifies its split by a seed, not by indices, so it is small enough to be hashed, sent to
a worker and included in a trial's key.
"""

import zlib
from dataclasses import dataclass

import numpy as np

from ablation.base.errors import UserError

SCHEMES = ("shuffle", "kfold")


class SplitError(UserError):
    """The characters cannot be split as params.yaml specifies."""


@dataclass(frozen=True)
class Repeat:
    """The seeds of a trial, and the parameters of its split.

    Attributes:
        index: from 0; for `kfold` also the index of the validation fold.
        scheme: `shuffle` or `kfold`.
        fraction: share of the characters used for validation; 1 / folds for `kfold`.
        folds: number of folds for `kfold`, 0 for `shuffle`.
        split_seed, init_seed, order_seed, dropout_seed, augmentation_seed: each in [0, 2**32).
    """

    index: int
    scheme: str
    fraction: float
    folds: int
    split_seed: int
    init_seed: int
    order_seed: int
    dropout_seed: int
    augmentation_seed: int


def make_repeats(
    seed: int, scheme: str, fraction: float, count: int, purpose: str = "selection"
) -> list[Repeat]:
    """Make the repeats that all candidates of a stage run on.

    For `shuffle`, repeat i does not depend on `count`: a larger count only adds repeats. For
    `kfold`, the repeats are the folds of one partition, and `fraction` is ignored.

    Args:
        seed: the study's seed, 0 or more.
        scheme: `shuffle` (repeated stratified splits) or `kfold` (stratified cross-validation).
        fraction: share of the characters used for validation with `shuffle`, in (0, 1).
        count: number of repeats, or of folds.
        purpose: what the repeats are used for; each purpose has independent seeds.

    Raises:
        ValueError: names the value in params.yaml that is out of range.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"validation.scheme: {scheme!r} is not one of {', '.join(SCHEMES)}")
    least = 2 if scheme == "kfold" else 1
    if count < least:
        raise ValueError(f"validation.repeats: {count} is too few; {scheme} needs at least {least}")
    if scheme == "shuffle" and not 0 < fraction < 1:
        raise ValueError(f"validation.fraction: {fraction} is not between 0 and 1")
    return [_repeat(seed, scheme, fraction, count, purpose, index) for index in range(count)]


def split(labels: np.ndarray, repeat: Repeat) -> tuple[np.ndarray, np.ndarray]:
    """Split the characters into training and validation parts, stratified by class.

    Args:
        labels: (n,) class index of each character.

    Returns:
        (training, validation): sorted, disjoint int64 indices; together 0..n-1.

    Raises:
        SplitError: a class is too small to be in both parts.
    """
    # Imported on use: the import takes longer than reading all cached trials of a stage.
    from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

    _check_enough(labels, repeat)
    unused = np.zeros((len(labels), 1))
    if repeat.scheme == "kfold":
        folds = StratifiedKFold(repeat.folds, shuffle=True, random_state=repeat.split_seed)
        train, validation = list(folds.split(unused, labels))[repeat.index]
    else:
        shuffle = StratifiedShuffleSplit(
            n_splits=1, test_size=repeat.fraction, random_state=repeat.split_seed
        )
        train, validation = next(shuffle.split(unused, labels))
    return np.sort(train).astype(np.int64), np.sort(validation).astype(np.int64)


def val_to_train(repeat: Repeat) -> float:
    """Ratio of the validation part's size to the training part's, before rounding."""
    if repeat.scheme == "kfold":
        return 1 / (repeat.folds - 1)
    return repeat.fraction / (1 - repeat.fraction)


def _repeat(
    seed: int, scheme: str, fraction: float, count: int, purpose: str, index: int
) -> Repeat:
    family = (zlib.crc32(purpose.encode()),)
    split_seed, *others = _seeds(seed, (*family, index))
    if scheme == "shuffle":
        return Repeat(index, scheme, fraction, 0, split_seed, *others)
    shared_split_seed = _seeds(seed, family)[0]  # all folds are of one partition
    return Repeat(index, scheme, 1 / count, count, shared_split_seed, *others)


def _seeds(seed: int, key: tuple[int, ...]) -> list[int]:
    return [int(word) for word in np.random.SeedSequence(seed, spawn_key=key).generate_state(5)]


def _check_enough(labels: np.ndarray, repeat: Repeat) -> None:
    counts = np.unique(labels, return_counts=True)[1]
    smallest = int(counts.min(initial=len(labels)))
    if repeat.scheme == "kfold" and smallest < repeat.folds:
        raise SplitError(
            f"params.yaml: validation.repeats: {repeat.folds} folds, but the smallest class has "
            f"{smallest} image{'s' if smallest != 1 else ''}; "
            + (f"use at most {smallest} folds, or " if smallest > 1 else "")
            + "add images to that class"
        )
    part = min(repeat.fraction, 1 - repeat.fraction)
    if repeat.scheme == "shuffle" and smallest * part < 1:
        raise SplitError(
            f"params.yaml: validation.fraction: {repeat.fraction} leaves the smallest class, of "
            f"{smallest} image{'s' if smallest != 1 else ''}, without an image in one part; "
            + ("use a fraction closer to 0.5, or " if smallest > 1 else "")
            + "add images to that class"
        )
