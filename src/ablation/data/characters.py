"""Labelled character images, and the npz files that hold them."""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from ablation.base.errors import UserError
from ablation.base.files import whole_file
from ablation.base.formatting import counted

SIDE = 28
CLASSES = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")
MOST_CLASSES = 1000
LONGEST_NAME = 64  # characters in a class name
# Minimum standard deviation of pixels in 0..1; uniform images cannot be trained on.
LEAST_DEVIATION = 0.001
MERGED = "cijklmopsuvwxyz"  # lower-case letters that EMNIST's 47 classes merge with upper case


class DataError(UserError):
    """Missing or invalid characters; the message says what was found and what to do."""


@dataclass(frozen=True)
class Characters:
    """Labelled character images.

    Attributes:
        images: (n, 28, 28) uint8, upright, white on black.
        labels: (n,) indices into `classes`; uint8, or uint16 for more than 256 classes.
        classes: (k,) names of the classes: single characters or words.
        levels: the values mapped to black and white, for pictures of more than 8 bits; None if
            there were none.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    levels: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> np.ndarray:
        """(k,) int64 number of characters in each class."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def deviation(self) -> float:
        """Standard deviation of all pixels in 0..1; 0 if there are none."""
        counts = np.zeros(256)
        for image in self.images:  # one at a time, to save memory
            counts += np.bincount(image.ravel(), minlength=256)
        pixels, values = max(1, counts.sum()), np.arange(256) / 255
        return float(np.sqrt(counts @ (values - counts @ values / pixels) ** 2 / pixels))

    def digest(self) -> str:
        """SHA-256 of images, labels, class names and levels, in hexadecimal."""
        digest = hashlib.sha256(f"{self.images.shape} {self.classes}".encode())
        if self.levels:
            digest.update(str(self.levels).encode())
        for array in (self.images, self.labels):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write an npz file atomically. Equal characters give equal bytes on every machine.

        The file is not compressed, because the output of zlib depends on its version.
        """
        more = {"levels": np.array(self.levels, np.float64)} if self.levels else {}
        names = np.array(self.classes)
        with whole_file(path) as file:
            np.savez(file, images=self.images, labels=self.labels, classes=names, **more)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `save` wrote.

        Raises:
            DataError: names the file, what is wrong with it and what to do.
        """
        if not path.is_file():
            raise DataError(f"{path}: no such file (run `dvc repro prepare` to create it)")
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
        except (
            OSError,
            EOFError,
            ValueError,
            AttributeError,
            TypeError,
            zipfile.BadZipFile,
        ) as error:
            raise _wrong(path, f"it is not a readable npz archive ({error})") from error
        missing = {"images", "labels", "classes"} - arrays.keys()
        if missing:
            raise _wrong(path, f"missing {', '.join(sorted(missing))}")
        images, labels, classes = arrays["images"], arrays["labels"], arrays["classes"]
        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
            raise _wrong(path, f"images: {_kind(images)}, expected (n, {SIDE}, {SIDE}) uint8")
        if classes.dtype.kind != "U" or classes.ndim != 1 or len(set(classes)) != len(classes):
            raise _wrong(path, f"classes: {_kind(classes)}, expected distinct names, (k,) str")
        type_ = label_type(len(classes))
        if labels.dtype != type_ or labels.shape != images.shape[:1]:
            raise _wrong(path, f"labels: {_kind(labels)}, expected ({len(images)},) {type_}")
        if labels.size and labels.max() >= len(classes):
            has = counted(len(classes), "class", "classes")
            raise _wrong(path, f"label {labels.max()} found, but the file has {has}")
        levels = arrays.get("levels")
        if levels is not None and not _are_levels(levels):
            raise _wrong(path, f"levels: {_kind(levels)}, expected two numbers, the second larger")
        return cls(
            images,
            labels,
            tuple(str(name) for name in classes),
            None if levels is None else (float(levels[0]), float(levels[1])),
        )


def label_type(classes: int) -> np.dtype:
    """The dtype of labels for a number of classes."""
    return np.dtype(np.uint8 if classes <= 256 else np.uint16)


def _are_levels(levels: np.ndarray) -> bool:
    is_pair = levels.shape == (2,) and levels.dtype == np.float64
    return is_pair and bool(np.isfinite(levels).all() and levels[0] < levels[1])


def _kind(array: np.ndarray) -> str:
    return f"{array.shape} {array.dtype}"


def _wrong(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what} (delete it and run `dvc repro prepare` to recreate it)")
