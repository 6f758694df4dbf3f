"""A person's own pictures: a folder for each class, whose name is the name of the class.

What cannot be used is named, all of it, before anything starts.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ablation.base.errors import UserError
from ablation.base.progress import track
from ablation.base.text import harmless, steers
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
from ablation.pictures.seen import seen
from ablation.processes.cores import cores
from ablation.processes.pool import run_jobs
from ablation.raw.watched import no_file

PARTS = ("train", "test")
# How files are called that people take for pictures, whether they can be read or not.
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
SUFFIXES |= {".avif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".pbm", ".pdf", ".svg"}
# What Windows and macOS leave behind, in every folder and in what was zipped there.
LEFT_BEHIND = {"Thumbs.db", "desktop.ini", "__MACOSX"}
BATCH = 100  # pictures that a process converts at a time
FEW_SHADES = 32  # of 256 that a picture reaches over

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
        paths: (n,) the files.
        wide: by rows the least and the largest value of pictures of more than 8 bits.
        levels: the scale of these, once it is known which pictures are for training.
    """

    images: np.ndarray
    labels: np.ndarray
    order: np.ndarray
    classes: tuple[str, ...]
    paths: Sequence[Path]
    wide: Mapping[int, Levels]
    levels: Levels | None = None

    def some(self, mask: np.ndarray) -> Characters:
        """Those in a mask, (n,) bool, in the order of their hashes."""
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
    return _two_sets(whole, is_test, conversion, workers)


def count_folder(raw: Path, test_fraction: float | None) -> Size | None:
    """How many pictures there are to train on; none of them is read.

    Args:
        raw, test_fraction: as for `load_folder`.

    Returns:
        their number, or None where the folders are not as they should be.

    Raises:
        DataError: naming folders whose names no class can have.
    """
    folders = [raw] if test_fraction else [raw / part for part in PARTS]
    classes = [place for folder in folders if folder.is_dir() for place in _visible(folder)]
    _refuse(_wrong_name(place) for place in classes if place.is_dir())
    try:
        pictures, _ = _list(folders[0])
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
        found = f" (but {harmless(', '.join(there[:5]))})" if len(missing) == 1 and there else ""
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
        print(
            f"prepare: not used, beside train and test: {harmless(', '.join(beside))}", flush=True
        )
    pictures = {name: [*train[name], *test[name]] for name in train}
    whole = _read(pictures, conversion, seed, workers, wrong)
    is_test = np.concatenate(
        [np.repeat([False, True], [len(train[name]), len(test[name])]) for name in train]
    )
    return _two_sets(whole, is_test, conversion, workers)


def _two_sets(
    whole: Images, is_test: np.ndarray, conversion: str, workers: int | None
) -> tuple[Characters, Characters]:
    """The training and the test set, with what has to be said of them."""
    _say_what_is_in_both(whole, is_test)
    whole = _on_one_scale(whole, is_test, conversion, workers)
    _say_if_shades_are_few(whole, is_test)
    return whole.some(~is_test), whole.some(is_test)


def _on_one_scale(
    whole: Images, is_test: np.ndarray, conversion: str, workers: int | None
) -> Images:
    """Pictures of more than 8 bits read again, from black to white of all training pictures."""
    extents = np.array([each for row, each in whole.wide.items() if not is_test[row]])
    if not len(extents) or extents[:, 0].min() == extents[:, 1].max():
        return whole
    levels = float(extents[:, 0].min()), float(extents[:, 1].max())
    rows = [*whole.wide]
    images = whole.images.copy()
    paths = [whole.paths[row] for row in rows]
    images[rows], faults, _ = _convert_all(paths, conversion, workers, levels)
    _refuse(faults.values())
    return replace(whole, images=images, levels=levels)


def _say_if_shades_are_few(whole: Images, is_test: np.ndarray) -> None:
    training = whole.images[~is_test]
    reach = np.median(np.ptp(training.reshape(len(training), -1), axis=1)) + 1
    if reach >= FEW_SHADES:
        return
    why = "they are nearly of one brightness; take others with more light or contrast"
    if whole.levels:
        training_rows = (row for row in whole.wide if not is_test[row])
        brightest = whole.paths[max(training_rows, key=lambda row: whole.wide[row][1])]
        why = (
            f"white is the largest value of all, {whole.levels[1]:g} in {brightest}, and most are "
            "far below it; mend or leave out what is far above the others"
        )
    said = (
        "prepare: hardly any shades of grey are left: half of the training pictures reach over "
        f"{reach:.0f} or fewer of 256; {why}"
    )
    print(harmless(said), flush=True)


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
        inside = [each for each in _visible(place) if not _is_backup(each)]
        found.setdefault(name, []).extend(each for each in inside if each.is_file())
        wrong += [f"{each}: {no_file(each)}" for each in inside if not each.is_file()]
        if not inside:
            wrong.append(f"{place}: without a picture; add some, or delete the folder")
        wrong.append(_wrong_name(place))
    return {name: found[name] for name in sorted(found)}, wrong


def _wrong_name(folder: Path) -> str:
    """What is wrong with the name of a class's folder, or ""."""
    name = unicodedata.normalize("NFC", folder.name)
    if len(name) <= LONGEST_NAME and not any(map(steers, name)):
        return ""
    return (
        f"{folder}: is a class's name, so it should be of {LONGEST_NAME} characters at most, none "
        "of which is a control character or turns the direction of writing; rename the folder"
    )


def _is_backup(path: Path) -> bool:
    """Whether an editor has left it beside the file that it changed."""
    return path.name.endswith("~") or (path.name[0] == path.name[-1] == "#")


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
    paths = [path for _, path in places]
    images, faults, wide = _convert_all(paths, conversion, workers)
    _refuse([*wrong, *(faults[row] for row in sorted(faults))])
    order = np.zeros(len(places), np.uint64)
    for row, image in enumerate(images):
        digest = hashlib.blake2b(image.data, digest_size=8, key=seed.to_bytes(8))
        order[row] = int.from_bytes(digest.digest())
    if images.min() == images.max():
        raise DataError(f"{paths[0]}, and all others: one and the same grey; nothing to learn")
    labels = np.array([label for label, _ in places], label_type(len(pictures)))
    return Images(images, labels, order, tuple(pictures), paths, wide)


def _convert_all(
    paths: Sequence[Path], conversion: str, workers: int | None, levels: Levels | None = None
) -> tuple[np.ndarray, dict[int, str], dict[int, Levels]]:
    """Their images, and by rows what is wrong and what `levels_of` finds.

    levels: as for `seen`.
    """
    images = np.zeros((len(paths), SIDE, SIDE), np.uint8)
    faults: dict[int, str] = {}
    wide: dict[int, Levels] = {}
    starts = range(0, len(paths), BATCH)
    jobs = (
        partial(_convert, start, paths[start : start + BATCH], conversion, levels)
        for start in starts
    )
    converted = run_jobs(jobs, min(workers or cores(), len(starts)))
    for start, some, wrong, extents in track(converted, len(starts), "hundreds of pictures"):
        images[start : start + BATCH] = some
        faults |= wrong
        wide |= extents
    return images, faults, wide


def _convert(
    start: int, paths: Sequence[Path], conversion: str, levels: Levels | None
) -> tuple[int, np.ndarray, dict[int, str], dict[int, Levels]]:
    """`_convert_all` of a batch whose first picture has the row `start`."""
    images = np.zeros((len(paths), SIDE, SIDE), np.uint8)
    faults = {}
    wide = {}
    for place, path in enumerate(paths):
        try:
            images[place] = seen(path, conversion, levels).images[0]
            if extent := levels_of(path):
                wide[start + place] = extent
        except UserError as error:
            faults[start + place] = f"{path}: {error}"
    return start, images, faults, wide


def _chosen(order: np.ndarray, fraction: float) -> np.ndarray:
    """Which pictures of a class are for the test, (n,) bool: one or more, but not all.

    None are where all are equal. The share is as near as equal pictures allow, which stay together.
    """
    contents, counts = np.unique(order, return_counts=True)
    fitting = (np.cumsum(counts) <= round(len(order) * fraction)).sum()
    return np.isin(order, contents[: min(max(fitting, 1), len(contents) - 1)])


def _refuse(lines: Iterable[str]) -> None:
    """Say all that is wrong."""
    if said := [harmless(line) for line in lines if line]:
        raise DataError("\n".join(said))
