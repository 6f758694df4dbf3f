"""A person's own pictures: a folder for each class, whose name is the name of the class.

What cannot be used is named, all of it, before anything starts.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ablation.base.console import progress
from ablation.base.errors import UserError
from ablation.data.characters import (
    LONGEST_NAME,
    MOST_CLASSES,
    SIDE,
    Characters,
    DataError,
    label_type,
)
from ablation.data.datasets import Size
from ablation.pictures.seen import seen
from ablation.processes.pool import cores, work_off

PARTS = ("train", "test")
# How files are called that people take for pictures, whether they can be read or not.
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
SUFFIXES |= {".avif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".pbm", ".pdf", ".svg"}
# What Windows and macOS leave behind, in every folder and in what was zipped there.
LEFT_BEHIND = {"Thumbs.db", "desktop.ini", "__MACOSX"}
BATCH = 100  # pictures that a process converts at a time

# Of each class its pictures; of one folder.
Pictures = Mapping[str, list[Path]]


@dataclass(frozen=True)
class Images:
    """Pictures, converted.

    Attributes:
        images: (n, 28, 28) uint8.
        labels: (n,) places of the classes in `classes`.
        order: (n,) uint64, a hash of each image and the seed: equal images have the same one, and
            their order means nothing.
        classes: (k,) names.
    """

    images: np.ndarray
    labels: np.ndarray
    order: np.ndarray
    classes: tuple[str, ...]

    def some(self, mask: np.ndarray) -> Characters:
        """Those in a mask, (n,) bool, in the order of their hashes."""
        rows = np.flatnonzero(mask)
        shuffled = rows[np.argsort(self.order[rows], kind="stable")]
        return Characters(self.images[shuffled], self.labels[shuffled], self.classes)


def load_folder(
    dataset: str,
    raw: Path,
    conversion: str,
    test_fraction: float | None,
    test_seed: int,
    workers: int | None = None,
) -> tuple[Characters, Characters]:
    """Training and test set from pictures in `train/CLASS` and `test/CLASS`, or in `CLASS`.

    Args:
        dataset: its name in params.yaml; there is only one of folders.
        raw: the folder.
        conversion: one of `conversion.CONVERSIONS`.
        test_fraction: None where there are folders `train` and `test`; else the share of each
            class that becomes the test set, in (0, 1). Which pictures that is, their content and
            the seed decide: neither their names nor what else is there. Equal ones stay together.
        test_seed: of this split, and of the order of both sets.
        workers: processes that convert at a time; None for one on each core.

    Returns:
        (train, test), of the same classes in alphabetical order.

    Raises:
        DataError: naming every file and class that cannot be used, each in a line.
    """
    if test_fraction is None:
        return _of_two_folders(raw, conversion, test_seed, workers)
    if all((raw / part).is_dir() for part in PARTS):
        raise DataError(
            f"params.yaml: data.test_fraction: {test_fraction}, but {raw} has the folders train "
            "and test; take test_fraction out, or let data.raw name the folder of the classes"
        )
    pictures, wrong = _list(raw)
    if number := _wrong_number(raw, pictures):
        _refuse([*wrong, *number])
    whole = _read(pictures, conversion, test_seed, workers, wrong)
    is_test = np.zeros(len(whole.labels), bool)
    for label in range(len(whole.classes)):
        rows = np.flatnonzero(whole.labels == label)
        is_test[rows] = _chosen(whole.order[rows], test_fraction)
    _refuse(
        f"{raw / name}: needs two different pictures, one to train on and one for the test; add one"
        for label, name in enumerate(whole.classes)
        if not is_test[whole.labels == label].any()
    )
    _say_what_is_in_both(whole, is_test)
    return whole.some(~is_test), whole.some(is_test)


def count_folder(raw: Path, test_fraction: float | None) -> Size | None:
    """How many pictures there are to train on; none of them is read.

    Args:
        raw, test_fraction: as for `load_folder`.

    Returns:
        their number, or None where the folders are not as they should be.

    Raises:
        DataError: naming what DVC cannot read, which looks at every file before a stage does. It
            stops at a link to nowhere, and waits for ever at a pipe.
    """
    _refuse(
        f"{place}: {_no_file(place)}"
        for place in sorted(raw.rglob("*"))
        if not place.is_file() and not place.is_dir()
    )
    try:
        pictures, _ = _list(raw if test_fraction else raw / "train")
    except DataError:
        return None
    if not 2 <= len(pictures) <= MOST_CLASSES:
        return None
    counted = {name: len(some) for name, some in pictures.items()}
    total = sum(counted.values())
    at_most = {name: count - bool(test_fraction) for name, count in counted.items()}
    return Size(total - round(total * (test_fraction or 0)), len(counted), at_most)


def _of_two_folders(
    raw: Path, conversion: str, seed: int, workers: int | None
) -> tuple[Characters, Characters]:
    if missing := [part for part in PARTS if not (raw / part).is_dir()]:
        there = [each.name for each in _visible(raw) if each.is_dir() and each.name not in PARTS]
        found = f" (but {_clean(', '.join(there[:5]))})" if len(missing) == 1 and there else ""
        raise DataError(
            f"{raw}: no folder {' and no folder '.join(missing)} in it{found}; put the pictures "
            "into train/CLASS and test/CLASS, or let data.raw in params.yaml name a folder of "
            "classes and write `test_fraction: 0.2` beside it to split that one"
        )
    (train, wrong), (test, wrong_in_test) = (_list(raw / part) for part in PARTS)
    lacking = [
        f"{raw / part}: no folder {name!r}, which {other} has; both need pictures of every class"
        for part, other, here, there in (
            ("train", "test", train, test),
            ("test", "train", test, train),
        )
        for name in there
        if name not in here
    ]
    wrong += wrong_in_test
    if classes := [*lacking, *_wrong_number(raw / "train", train)]:
        _refuse([*wrong, *classes])
    beside = [each.name for each in _visible(raw) if each.name not in PARTS]
    if beside:
        print(f"prepare: not used, beside train and test: {_clean(', '.join(beside))}", flush=True)
    pictures = {name: [*train[name], *test[name]] for name in train}
    whole = _read(pictures, conversion, seed, workers, wrong)
    is_test = np.concatenate(
        [np.repeat([False, True], [len(train[name]), len(test[name])]) for name in train]
    )
    _say_what_is_in_both(whole, is_test)
    return whole.some(~is_test), whole.some(is_test)


def _say_what_is_in_both(whole: Images, is_test: np.ndarray) -> None:
    if twice := np.isin(whole.order[is_test], whole.order[~is_test]).sum():
        print(
            f"prepare: {twice:,} of the {is_test.sum():,} test pictures are in the training set as "
            "well, so the test will flatter the models",
            flush=True,
        )


def _list(folder: Path) -> tuple[Pictures, list[str]]:
    """The pictures of every class, and what is in the folder that should not be."""
    found: dict[str, list[Path]] = {}
    wrong = []
    for place in _visible(folder):
        name = unicodedata.normalize("NFC", place.name)  # macOS takes accents apart
        if not place.is_dir():
            if place.suffix.lower() in SUFFIXES:
                wrong.append(f"{place}: a picture outside of the classes' folders; move it")
            continue
        inside = _visible(place)
        found.setdefault(name, []).extend(each for each in inside if each.is_file())
        wrong += [f"{each}: {_no_file(each)}" for each in inside if not each.is_file()]
        if not inside:
            wrong.append(f"{place}: without a picture; add some, or delete the folder")
        if len(name) > LONGEST_NAME or not name.isprintable():
            wrong.append(
                f"{place}: is a class's name, so it should be of {LONGEST_NAME} printable "
                "characters at most; rename the folder"
            )
    return {name: found[name] for name in sorted(found)}, wrong


def _no_file(place: Path) -> str:
    if place.is_dir():
        return "a folder within a class; move it"
    if place.is_symlink():
        return "a link to a file that is not there; mend or delete it"
    return "no file; delete it"


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(
            each
            for each in folder.iterdir()
            if not each.name.startswith(".") and each.name not in LEFT_BEHIND
        )
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); mend that") from None


def _wrong_number(folder: Path, pictures: Pictures) -> list[str]:
    if 2 <= len(pictures) <= MOST_CLASSES:
        return []
    return [
        f"{folder}: {len(pictures):,} folders, expected 2 to {MOST_CLASSES:,}: one for each class, "
        "with its name and its pictures"
    ]


def _read(
    pictures: Pictures, conversion: str, seed: int, workers: int | None, wrong: Iterable[str]
) -> Images:
    """Convert all pictures.

    workers: as for `load_folder`.
    wrong: what is known to be wrong already, to be said with the rest.

    Raises:
        DataError: naming that and all that cannot be read; or all of them are one grey.
    """
    places = [(label, path) for label, paths in enumerate(pictures.values()) for path in paths]
    images = np.zeros((len(places), SIDE, SIDE), np.uint8)
    order = np.zeros(len(places), np.uint64)
    faults: dict[int, str] = {}
    starts = range(0, len(places), BATCH)
    jobs = (
        partial(_convert, start, [path for _, path in places[start : start + BATCH]], conversion)
        for start in starts
    )
    converted = work_off(jobs, min(workers or cores(), len(starts)))
    for start, some, found in progress(converted, len(starts), "hundreds of pictures"):
        images[start : start + BATCH] = some
        faults |= found
    _refuse([*wrong, *(faults[row] for row in sorted(faults))])
    for row, image in enumerate(images):
        digest = hashlib.blake2b(image.data, digest_size=8, key=seed.to_bytes(8))
        order[row] = int.from_bytes(digest.digest())
    if images.min() == images.max():
        raise DataError(f"{places[0][1]}, and all others: one and the same grey; nothing to learn")
    labels = np.array([label for label, _ in places], label_type(len(pictures)))
    return Images(images, labels, order, tuple(pictures))


def _convert(
    start: int, paths: Sequence[Path], conversion: str
) -> tuple[int, np.ndarray, dict[int, str]]:
    """A batch whose first picture has the row `start`: its images, and by rows what is wrong."""
    images = np.zeros((len(paths), SIDE, SIDE), np.uint8)
    faults = {}
    for place, path in enumerate(paths):
        try:
            images[place] = seen(path, conversion).images[0]
        except UserError as error:
            faults[start + place] = f"{path}: {error}"
    return start, images, faults


def _chosen(order: np.ndarray, fraction: float) -> np.ndarray:
    """Which pictures of a class are for the test, (n,) bool: one or more, but not all.

    None are where all are equal. The share is as near as equal pictures allow, which stay together.
    """
    contents, counts = np.unique(order, return_counts=True)
    fitting = (np.cumsum(counts) <= round(len(order) * fraction)).sum()
    return np.isin(order, contents[: min(max(fitting, 1), len(contents) - 1)])


def _refuse(lines: Iterable[str]) -> None:
    """Say all that is wrong."""
    if said := [_clean(line) for line in lines]:
        raise DataError("\n".join(said))


def _clean(line: str) -> str:
    """As it may be shown: a file's name cannot steer the terminal."""
    return "".join(c if c.isprintable() else "?" for c in line)
