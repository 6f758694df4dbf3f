"""Real handwriting: EMNIST Balanced as NIST splits it, and EMNIST Mini made of its tests."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ablation.data.characters import CLASSES, MERGED, Characters, DataError
from ablation.data.download import download
from ablation.data.formats import (
    ARCHIVE,
    Member,
    Partition,
    find_partition,
    member_names,
    passed_over,
    whole_names,
)
from ablation.data.looks import what_is_wrong
from ablation.data.places import FOLDERS_DOWN, REMEDY

MINI_TEST_PER_CLASS = 150
MINI_TRAIN_PER_CLASS = 600

# NIST's archive, as torchvision names it: 561,753,746 bytes.
URL = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
MD5 = "58c8d27c78d21e728a6bc7b3cc06412e"
MOST_OF_URL = 600_000_000

BYCLASS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Published:
    """What NIST published of a partition.

    Attributes:
        characters: how many there are.
        classes: labels are below this.
        per_class: characters of every class where all have the same number.
        packed: SHA-256 of the gzip members, images and labels.
        unpacked: SHA-256 of the unpacked members, where known.
    """

    characters: int
    classes: int
    per_class: int | None
    packed: tuple[str, str]
    unpacked: tuple[str, str] | None


PARTITIONS = {
    "bymerge-test": Published(
        characters=116_323,
        classes=47,
        per_class=None,
        packed=(
            "5e5815ec1b522089134435f7c55e75a00960b58414793593ffff23efc0821683",
            "8bda1516255683ba9071e141947ca0c91a911176065cdd6259b0b4d8dc5b5f35",
        ),
        unpacked=(
            "68b2763a83f2661dace0df055282a50f4d4aea3dab401f2a04e2e7e2c5bc8590",
            "17b8bd69b4e584fa425d7268b1f58882ef4bf7f241a6116fa606bb6d36839b5a",
        ),
    ),
    "byclass-test": Published(
        characters=116_323,
        classes=62,
        per_class=None,
        packed=(
            "5ec835bd5d5b1a66378a132e727fef20fe994b3cc666899befcca5ac766f50cd",
            "501e305eeeacb093b162592d80e8a2632040872360fa6d85cfcb2200d91ca92a",
        ),
        unpacked=(
            "385559d7d5c96f49cd6b55b3e9e76d7ecbf568897b6067e8cac8f1ffc2f50f81",
            "842d01413932b3ce7afbc9990376a16f8880a212bb42d66fa2922b4218cf300a",
        ),
    ),
    "balanced-train": Published(
        characters=112_800,
        classes=47,
        per_class=2_400,
        packed=(
            "74295e75e4e9fa2c102147460ee7eb763653d5132d883a84fb88932bfb8d2db4",
            "b46d41e5156a0a8aaaa4d18979fdd1588850fa8571018acffd5d93b325a7d6ed",
        ),
        unpacked=None,
    ),
    "balanced-test": Published(
        characters=18_800,
        classes=47,
        per_class=400,
        packed=(
            "117fc12b015e37ea98bfb2cbba3f77c3782c056cdbd219b87abfc8661d7135db",
            "a67cac948379b67270b9a4d0a01c8ec661598accf2f2b1964340b7c83cb175cd",
        ),
        unpacked=None,
    ),
}
NEEDED = {
    "emnist-mini": ("bymerge-test", "byclass-test"),
    "emnist-balanced": ("balanced-train", "balanced-test"),
}


def load_emnist(
    dataset: Literal["emnist-balanced", "emnist-mini"], raw: Path
) -> tuple[Characters, Characters]:
    """Training and test set, from the raw files in any form or else downloaded.

    Args:
        dataset: `emnist-mini` or `emnist-balanced`.
        raw: folder of the raw files; NIST's archive is downloaded into it where they are missing.

    Returns:
        (train, test): 112,800 and 18,800 characters, or 28,200 and 7,050 for emnist-mini.

    Raises:
        DataError: if the files are missing and cannot be downloaded, or are not NIST's.
    """
    first, second = _read(dataset, raw)
    if dataset == "emnist-mini":
        return make_mini(first, second, MINI_TRAIN_PER_CLASS, MINI_TEST_PER_CLASS)
    return Characters(*first, CLASSES), Characters(*second, CLASSES)


def load_left_over(raw: Path) -> Characters:
    """The real characters that EMNIST Mini leaves: 180,918, of very unequal classes.

    Args:
        raw: as for `load_emnist`.

    Raises:
        DataError: as `load_emnist`.
    """
    whole = join_tests(*_read("emnist-mini", raw))
    return left_over(whole, MINI_TRAIN_PER_CLASS + MINI_TEST_PER_CLASS)


def verify(partition: Partition, name: str, published: Published) -> tuple[np.ndarray, np.ndarray]:
    """Hold what was read to what NIST published: count, label range, class sizes and SHA-256.

    Where no SHA-256 of the form was published, the class means have to be EMNIST's.

    Returns:
        (images, labels): (n, 28, 28) and (n,) uint8.

    Raises:
        DataError: naming the file, what was found, what was expected and what to do.
    """
    for member, dimensions in ((partition.images, 3), (partition.labels, 1)):
        if member.array.ndim != dimensions:
            raise _not_nists(member, f"shape {member.array.shape}", f"{dimensions} dimensions")
        if len(member.array) != published.characters:
            found = f"{len(member.array):,} characters"
            if len(member.array) == published.characters - 1:
                found += " (was the first row lost, taken for a header?)"
            raise _not_nists(member, found, f"the {published.characters:,} of {name}")
    labels = partition.labels
    counts = np.bincount(labels.array, minlength=published.classes)
    if len(counts) > published.classes:
        raise _not_nists(labels, f"label {len(counts) - 1}", f"0 to {published.classes - 1}")
    if published.per_class and set(counts) != {published.per_class}:
        found = f"classes of {counts.min():,} to {counts.max():,} characters"
        raise _not_nists(labels, found, f"{published.per_class:,} in each class of {name}")
    sure = [
        _has_sha256(member, index, published)
        for index, member in enumerate((partition.images, labels))
    ]
    if not all(sure):
        if wrong := what_is_wrong(partition.images.array, labels.array):
            raise DataError(f"{partition.images.source}: {wrong}; {REMEDY}")
        print(
            f"prepare: {partition.images.source}: no SHA-256 of this form is published; counts "
            "and class means are those of EMNIST",
            flush=True,
        )
    return partition.images.array, labels.array


def make_mini(
    bymerge: tuple[np.ndarray, np.ndarray],
    byclass: tuple[np.ndarray, np.ndarray],
    train_per_class: int,
    test_per_class: int,
) -> tuple[Characters, Characters]:
    """Build EMNIST Mini: no chance is in it, so the same files give the same bytes.

    Byte-identical images count once, at their first place in the files. Of each class the first
    `test_per_class` are the test set, the next `train_per_class` the training set, in file order.

    Args:
        bymerge: images (n, 28, 28) and labels (n,) of ByMerge's test partition, 47 classes.
        byclass: those of ByClass's, 62 classes; they follow ByMerge's.

    Raises:
        DataError: if a class has too few characters.
    """
    whole = join_tests(bymerge, byclass)
    ranks = _ranks_within_class(whole.labels)
    test = _rows(whole, ranks < test_per_class)
    after = ranks - test_per_class
    train = _rows(whole, (after >= 0) & (after < train_per_class))
    for part, per_class in ((train, train_per_class), (test, test_per_class)):
        counts = part.counts()
        if counts.min() < per_class:
            name = CLASSES[counts.argmin()]
            raise DataError(f"class {name}: {counts.min()} characters, expected {per_class}")
    return train, test


def join_tests(
    bymerge: tuple[np.ndarray, np.ndarray], byclass: tuple[np.ndarray, np.ndarray]
) -> Characters:
    """Both test partitions in file order and 47 classes, byte-identical images once.

    Args:
        bymerge, byclass: as for `make_mini`.
    """
    merged = [CLASSES.index(name.upper() if name in MERGED else name) for name in BYCLASS]
    images = np.concatenate([bymerge[0], byclass[0]])
    labels = np.concatenate([bymerge[1], np.array(merged, np.uint8)[byclass[1]]])
    first_places = _first_places(images)
    return Characters(images[first_places], labels[first_places], CLASSES)


def left_over(whole: Characters, per_class: int) -> Characters:
    """All characters but the first `per_class` of each class, in the same order."""
    return _rows(whole, _ranks_within_class(whole.labels) >= per_class)


def _read(dataset: str, raw: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    found = {name: find_partition(raw, name) for name in NEEDED[dataset]}
    if missing := [name for name, partition in found.items() if partition is None]:
        _download(dataset, missing, raw, [each for each in found.values() if each])
        found |= {name: find_partition(raw, name) for name in missing}
    return [
        verify(partition, name, PARTITIONS[name])
        for name, partition in found.items()
        if partition is not None
    ]


def _rows(characters: Characters, rows: np.ndarray) -> Characters:
    return Characters(characters.images[rows], characters.labels[rows], characters.classes)


def _first_places(images: np.ndarray) -> np.ndarray:
    first: dict[bytes, int] = {}  # of a digest: images themselves would take 180 MB more
    for place, image in enumerate(images):
        first.setdefault(hashlib.blake2b(image.data, digest_size=32).digest(), place)
    return np.fromiter(first.values(), np.int64, len(first))


def _ranks_within_class(labels: np.ndarray) -> np.ndarray:
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    ranks = np.empty(len(labels), np.int64)
    ranks[by_class] = np.arange(len(labels)) - starts
    return ranks


def _has_sha256(member: Member, index: int, published: Published) -> bool:
    """Whether the member has the published SHA-256; False where nobody published one."""
    if member.packed_sha256 == published.packed[index]:
        return True
    if published.unpacked is None:
        return False
    if member.sha256 != published.unpacked[index]:  # packed again, it may still be the same
        raise _not_nists(member, f"SHA-256 {member.sha256}", published.unpacked[index])
    return True


def _not_nists(member: Member, found: str, expected: str) -> DataError:
    return DataError(f"{member.source}: {found}, expected {expected}; {REMEDY}")


def _download(dataset: str, missing: list[str], raw: Path, found: list[Partition]) -> None:
    """Fetch NIST's archive, after naming what is here and cannot be used."""
    if (raw / ARCHIVE).exists():
        names = ", ".join(name for partition in missing for name in member_names(partition))
        raise DataError(f"{raw / ARCHIVE}: has no {names} inside; {REMEDY}")
    here = [f"{partition.images.source} is used" for partition in found]
    for line in [*here, *passed_over(raw, found, NEEDED[dataset])]:
        print(f"prepare: {line}", flush=True)
    print(
        f"prepare: no raw files of {' and '.join(missing)} in {raw}, downloading NIST's archive "
        "(561 MB)",
        flush=True,
    )
    try:
        download(URL, raw / ARCHIVE, MD5, MOST_OF_URL)
    except OSError as error:
        raise DataError(_ways_on(dataset, missing, raw, error)) from error


def _ways_on(dataset: str, missing: list[str], raw: Path, error: Exception) -> str:
    members = [name for partition in missing for name in member_names(partition)]
    whole = [name for partition in missing for name in whole_names(partition)]
    return "\n".join(
        [
            f"the raw files of {dataset} are missing and could not be downloaded ({error}).",
            f"Looked in {raw} and up to {FOLDERS_DOWN} folders below it, also in zip archives, for",
            *(f"  {name}.gz, or without .gz," for name in members),
            f"  or instead {', '.join(whole)}.",
            "Two ways on:",
            "  make demo    runs the whole study on characters drawn from fonts",
            f"  or get {URL} (561 MB), put it into {raw}/ and run `dvc repro` again",
            "What was downloaded so far is kept; `dvc repro` goes on from there.",
        ]
    )
