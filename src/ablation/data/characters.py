"""The one shape in which characters travel between stages: images, labels and class names."""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from ablation.base.errors import UserError
from ablation.base.files import whole_file

SIDE = 28
CLASSES = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")
MERGED = "cijklmopsuvwxyz"  # lower case that EMNIST's 47 classes file under their upper case


class DataError(UserError):
    """Characters that are missing or wrong; the message says what was found and what to do."""


@dataclass(frozen=True)
class Characters:
    """Labelled character images.

    Attributes:
        images: (n, 28, 28) uint8, upright, white on black.
        labels: (n,) uint8, indices into `classes`.
        classes: (k,) one character each.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self) -> np.ndarray:
        """(k,) int64, how many characters of each class there are."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def digest(self) -> str:
        """SHA-256 of the images, the labels and the names of the classes."""
        digest = hashlib.sha256(f"{self.images.shape} {self.classes}".encode())
        for array in (self.images, self.labels):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write an npz, whole or not at all; equal characters give equal bytes on any machine.

        It is not compressed: zlib's versions pack the same bytes differently.
        """
        with whole_file(path) as file:
            np.savez(file, images=self.images, labels=self.labels, classes=np.array(self.classes))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            DataError: naming the file and what is wrong with it.
        """
        if not path.is_file():
            raise DataError(f"{path}: there is no such file (run `dvc repro prepare` to make it)")
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
            raise _wrong(path, f"it lacks {', '.join(sorted(missing))}")
        images, labels, classes = arrays["images"], arrays["labels"], arrays["classes"]
        if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE):
            raise _wrong(path, f"images: {_kind(images)}, expected (n, {SIDE}, {SIDE}) uint8")
        if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise _wrong(path, f"labels: {_kind(labels)}, expected ({len(images)},) uint8")
        if classes.dtype.kind != "U" or classes.ndim != 1 or len(set(classes)) != len(classes):
            raise _wrong(path, f"classes: {_kind(classes)}, expected distinct characters, (k,) str")
        if labels.size and labels.max() >= len(classes):
            raise _wrong(path, f"label {labels.max()} found, but there are {len(classes)} classes")
        return cls(images, labels, tuple(str(name) for name in classes))


def _kind(array: np.ndarray) -> str:
    return f"{array.shape} {array.dtype}"


def _wrong(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what} (delete it and run `dvc repro prepare` to make it again)")
