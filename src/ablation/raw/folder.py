"""Your own pictures: one folder per class, named after the class.

All unusable files and folders are reported together, before training starts.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ablation.base.errors import UserError
from ablation.base.formatting import counted
from ablation.base.progress import track
from ablation.base.text import is_control, printable
from ablation.data.characters import (
    LONGEST_NAME,
    MOST_CLASSES,
    SIDE,
    Characters,
    DataError,
    label_type,
)
from ablation.data.datasets import Size
from ablation.pictures.picture import Levels, levels_of
from ablation.pictures.preprocessing import preprocess
from ablation.processes.cores import cores
from ablation.processes.pool import run_jobs
from ablation.raw.tracked import not_a_file

PARTS = ("train", "test")
# Suffixes of picture files, whether they can be read or not.
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
SUFFIXES |= {".avif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".pbm", ".pdf", ".svg"}
# Files that Windows and macOS create in folders and archives.
SYSTEM_FILES = {"Thumbs.db", "desktop.ini", "__MACOSX"}
BATCH = 100  # pictures that a process converts at a time
FEW_SHADES = 32  # of 256: a smaller range of values triggers a warning

# Class name to the pictures in its folder.
Pictures = Mapping[str, list[Path]]


@dataclass(frozen=True)
class Images:
    """Converted pictures.

    Attributes:
        images: (n, 28, 28) uint8.
        labels: (n,) indices into `classes`.
        order: (n,) uint64, a hash of each image and the seed, used as sort key. Equal images have
            equal hashes.
        classes: (k,) names.
        paths: (n,) the files.
        ranges: row to the smallest and largest value, for pictures of more than 8 bits.
        levels: the common scale of these pictures, set once the training pictures are known.
    """

    images: np.ndarray
    labels: np.ndarray
    order: np.ndarray
    classes: tuple[str, ...]
    paths: Sequence[Path]
    ranges: Mapping[int, Levels]
    levels: Levels | None = None

    def subset(self, mask: np.ndarray) -> Characters:
        """The images selected by a mask, (n,) bool, in the order of their hashes."""
        rows = np.flatnonzero(mask)
        shuffled = rows[np.argsort(self.order[rows], kind="stable")]
        return Characters(self.images[shuffled], self.labels[shuffled], self.classes, self.levels)


def load_folder(
    dataset: str,
    raw: Path,
    conversion: str,
    test_fraction: float | None,
    test_seed: int,
    workers: int | None = None,
) -> tuple[Characters, Characters]:
    """Load training and test sets from pictures in `train/CLASS` and `test/CLASS`, or in `CLASS`.

    Args:
        dataset: its name in params.yaml; not used.
        raw: the folder.
        conversion: one of `conversion.CONVERSIONS`.
        test_fraction: None if there are folders `train` and `test`; otherwise the fraction of each
            class to use as the test set, in (0, 1). The split depends only on the seed and each
            picture's content, not on names or on other pictures. Equal pictures stay together.
        test_seed: of this split, and of the order of both sets.
        workers: number of processes; None for one per core.

    Returns:
        (train, test), with the same classes in alphabetical order.

    Raises:
        DataError: names every unusable file and class, one per line.
    """
    if test_fraction is None:
        return _of_two_folders(raw, conversion, test_seed, workers)
    if all((raw / part).is_dir() for part in PARTS):
        raise DataError(
            f"params.yaml: data.test_fraction: {test_fraction}, but {raw} has the folders train "
            "and test; remove test_fraction, or set data.raw to the folder of the classes"
        )
    pictures, wrong = _list(raw)
    if number := _wrong_number(raw, pictures):
        _raise_if_any([*wrong, *number])
    whole = _read(pictures, conversion, test_seed, workers, wrong)
    is_test = np.zeros(len(whole.labels), bool)
    for label in range(len(whole.classes)):
        rows = np.flatnonzero(whole.labels == label)
        is_test[rows] = _select_test(whole.order[rows], test_fraction)
    _raise_if_any(
        f"{raw / name}: needs two different pictures, one for training and one for testing; add one"
        for label, name in enumerate(whole.classes)
        if not is_test[whole.labels == label].any()
    )
    return _train_and_test(whole, is_test, conversion, workers)


def count_folder(raw: Path, test_fraction: float | None) -> Size | None:
    """Count the training pictures without reading them.

    Args:
        raw, test_fraction: see `load_folder`.

    Returns:
        The size of the training set, or None if the folder structure is invalid.

    Raises:
        DataError: names folders whose names are not valid class names.
    """
    folders = [raw] if test_fraction else [raw / part for part in PARTS]
    classes = [path for folder in folders if folder.is_dir() for path in _visible(folder)]
    _raise_if_any(_wrong_name(path) for path in classes if path.is_dir())
    try:
        pictures, _ = _list(folders[0])
    except DataError:
        return None
    if not 2 <= len(pictures) <= MOST_CLASSES:
        return None
    counts = {name: len(some) for name, some in pictures.items()}
    total = sum(counts.values())
    at_most = {name: count - bool(test_fraction) for name, count in counts.items()}
    return Size(total - round(total * (test_fraction or 0)), len(counts), at_most)


def _of_two_folders(
    raw: Path, conversion: str, seed: int, workers: int | None
) -> tuple[Characters, Characters]:
    if missing := [part for part in PARTS if not (raw / part).is_dir()]:
        there = [each.name for each in _visible(raw) if each.is_dir() and each.name not in PARTS]
        found = f" (but {printable(', '.join(there[:5]))})" if len(missing) == 1 and there else ""
        raise DataError(
            f"{raw}: has no folder {' and no folder '.join(missing)}{found}; put the pictures "
            "into train/CLASS and test/CLASS, or set data.raw in params.yaml to a folder of "
            "classes and add `test_fraction: 0.2` to split it"
        )
    (train, wrong), (test, wrong_in_test) = (_list(raw / part) for part in PARTS)
    lacking = [
        f"{raw / part}: no folder {name!r}, but {other} has one; both need pictures of every class"
        for part, other, here, there in (
            ("train", "test", train, test),
            ("test", "train", test, train),
        )
        for name in there
        if name not in here
    ]
    wrong += wrong_in_test
    if classes := [*lacking, *_wrong_number(raw / "train", train)]:
        _raise_if_any([*wrong, *classes])
    others = [each.name for each in _visible(raw) if each.name not in PARTS]
    if others:
        print(
            f"prepare: not used, next to train and test: {printable(', '.join(others))}", flush=True
        )
    pictures = {name: [*train[name], *test[name]] for name in train}
    whole = _read(pictures, conversion, seed, workers, wrong)
    is_test = np.concatenate(
        [np.repeat([False, True], [len(train[name]), len(test[name])]) for name in train]
    )
    return _train_and_test(whole, is_test, conversion, workers)


def _train_and_test(
    whole: Images, is_test: np.ndarray, conversion: str, workers: int | None
) -> tuple[Characters, Characters]:
    """Split into training and test sets, and print warnings about them."""
    _warn_of_leakage(whole, is_test)
    whole = _on_common_scale(whole, is_test, conversion, workers)
    _warn_of_few_shades(whole, is_test)
    return whole.subset(~is_test), whole.subset(is_test)


def _on_common_scale(
    whole: Images, is_test: np.ndarray, conversion: str, workers: int | None
) -> Images:
    """Convert pictures of more than 8 bits again, with the levels of the training set."""
    ranges = np.array([each for row, each in whole.ranges.items() if not is_test[row]])
    if not len(ranges) or ranges[:, 0].min() == ranges[:, 1].max():
        return whole
    levels = float(ranges[:, 0].min()), float(ranges[:, 1].max())
    rows = [*whole.ranges]
    images = whole.images.copy()
    paths = [whole.paths[row] for row in rows]
    images[rows], errors, _ = _convert_all(paths, conversion, workers, levels)
    _raise_if_any(errors.values())
    return replace(whole, images=images, levels=levels)


def _warn_of_few_shades(whole: Images, is_test: np.ndarray) -> None:
    training = whole.images[~is_test]
    shades = np.median(np.ptp(training.reshape(len(training), -1), axis=1)) + 1
    if shades >= FEW_SHADES:
        return
    why = "use pictures with more light or contrast"
    if whole.levels:
        training_rows = (row for row in whole.ranges if not is_test[row])
        brightest = whole.paths[max(training_rows, key=lambda row: whole.ranges[row][1])]
        why = (
            f"white is the largest value of all pictures, {whole.levels[1]:g} in {brightest}; "
            "correct or remove pictures with much larger values than the others"
        )
    print(
        printable(
            "prepare: low contrast: half of the training pictures span at most "
            f"{shades:.0f} of 256 shades of grey; {why}"
        ),
        flush=True,
    )


def _warn_of_leakage(whole: Images, is_test: np.ndarray) -> None:
    if shared := np.isin(whole.order[is_test], whole.order[~is_test]).sum():
        are = "is" if shared == 1 else "are"
        print(
            f"prepare: {shared:,} of the {is_test.sum():,} test pictures {are} also in the "
            "training set, so test accuracy will be too high",
            flush=True,
        )


def _list(folder: Path) -> tuple[Pictures, list[str]]:
    """The pictures of each class, and errors about everything that should not be there."""
    found: dict[str, list[Path]] = {}
    wrong = []
    for path in _visible(folder):
        name = unicodedata.normalize("NFC", path.name)  # macOS decomposes accented characters
        if not path.is_dir():
            if path.suffix.lower() in SUFFIXES:
                wrong.append(f"{path}: a picture outside of a class folder; move it")
            continue
        inside = [each for each in _visible(path) if not _is_backup(each)]
        found.setdefault(name, []).extend(each for each in inside if each.is_file())
        wrong += [f"{each}: {not_a_file(each)}" for each in inside if not each.is_file()]
        if not inside:
            wrong.append(f"{path}: contains no pictures; add some, or delete the folder")
        wrong.append(_wrong_name(path))
    return {name: found[name] for name in sorted(found)}, wrong


def _wrong_name(folder: Path) -> str:
    """What is wrong with the name of a class folder, or ""."""
    name = unicodedata.normalize("NFC", folder.name)
    if len(name) <= LONGEST_NAME and not any(map(is_control, name)):
        return ""
    return (
        f"{folder}: class names may have at most {LONGEST_NAME} characters, without control "
        "characters or characters that change the text direction; rename the folder"
    )


def _is_backup(path: Path) -> bool:
    """Whether the file is an editor's backup or lock file."""
    return path.name.endswith("~") or (path.name[0] == path.name[-1] == "#")


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(
            each
            for each in folder.iterdir()
            if not each.name.startswith(".") and each.name not in SYSTEM_FILES
        )
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be read ({error.strerror}); check its permissions"
        ) from None


def _wrong_number(folder: Path, pictures: Pictures) -> list[str]:
    if 2 <= len(pictures) <= MOST_CLASSES:
        return []
    return [
        f"{folder}: {counted(len(pictures), 'folder')}, expected 2 to {MOST_CLASSES:,}: one "
        "per class, named after it and containing its pictures"
    ]


def _read(
    pictures: Pictures, conversion: str, seed: int, workers: int | None, wrong: Iterable[str]
) -> Images:
    """Convert all pictures.

    workers: see `load_folder`.
    wrong: errors found so far, reported together with those of reading.

    Raises:
        DataError: names everything that is wrong or unreadable; or all pictures are the same grey.
    """
    labelled = [(label, path) for label, paths in enumerate(pictures.values()) for path in paths]
    paths = [path for _, path in labelled]
    images, errors, ranges = _convert_all(paths, conversion, workers)
    _raise_if_any([*wrong, *(errors[row] for row in sorted(errors))])
    order = np.zeros(len(labelled), np.uint64)
    for row, image in enumerate(images):
        digest = hashlib.blake2b(image.data, digest_size=8, key=seed.to_bytes(8))
        order[row] = int.from_bytes(digest.digest())
    if images.min() == images.max():
        raise DataError(
            f"{paths[0]} and all other pictures are the same uniform grey, so there is nothing to "
            "learn"
        )
    labels = np.array([label for label, _ in labelled], label_type(len(pictures)))
    return Images(images, labels, order, tuple(pictures), paths, ranges)


def _convert_all(
    paths: Sequence[Path], conversion: str, workers: int | None, levels: Levels | None = None
) -> tuple[np.ndarray, dict[int, str], dict[int, Levels]]:
    """The images; row to error message; row to the result of `levels_of`.

    levels: see `preprocess`.
    """
    images = np.zeros((len(paths), SIDE, SIDE), np.uint8)
    errors: dict[int, str] = {}
    ranges: dict[int, Levels] = {}
    starts = range(0, len(paths), BATCH)
    jobs = (
        partial(_convert, start, paths[start : start + BATCH], conversion, levels)
        for start in starts
    )
    converted = run_jobs(jobs, min(workers or cores(), len(starts)))
    for start, some, wrong, found in track(converted, len(starts), f"batches of {BATCH} pictures"):
        images[start : start + BATCH] = some
        errors |= wrong
        ranges |= found
    return images, errors, ranges


def _convert(
    start: int, paths: Sequence[Path], conversion: str, levels: Levels | None
) -> tuple[int, np.ndarray, dict[int, str], dict[int, Levels]]:
    """Convert one batch, as `_convert_all`; `start` is the row of its first picture."""
    images = np.zeros((len(paths), SIDE, SIDE), np.uint8)
    errors = {}
    ranges = {}
    for index, path in enumerate(paths):
        try:
            images[index] = preprocess(path, conversion, levels).images[0]
            if found := levels_of(path):
                ranges[start + index] = found
        except UserError as error:
            errors[start + index] = f"{path}: {error}"
    return start, images, errors, ranges


def _select_test(order: np.ndarray, fraction: float) -> np.ndarray:
    """Select the test pictures of a class, (n,) bool: at least one, but not all.

    None are selected if all pictures are equal. Equal pictures are never separated, so the
    fraction is approximate.
    """
    contents, counts = np.unique(order, return_counts=True)
    fitting = (np.cumsum(counts) <= round(len(order) * fraction)).sum()
    return np.isin(order, contents[: min(max(fitting, 1), len(contents) - 1)])


def _raise_if_any(errors: Iterable[str]) -> None:
    """Raise a DataError that lists all non-empty messages."""
    if lines := [printable(error) for error in errors if error]:
        raise DataError("\n".join(lines))
