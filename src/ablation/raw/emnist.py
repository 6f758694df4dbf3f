"""EMNIST: NIST's six splits, and EMNIST Mini, which is built from two of their test sets."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits
from urllib.parse import urlsplit

import numpy as np
import requests

from ablation.base.formatting import counted
from ablation.data.characters import CLASSES, MERGED, Characters, DataError
from ablation.raw.download import download
from ablation.raw.formats import (
    ARCHIVE,
    Member,
    Partition,
    combined_names,
    explain_unused,
    find_partition,
    member_names,
)
from ablation.raw.locations import MAX_DEPTH, REMEDY
from ablation.raw.orientation import describe_mismatch

MINI_TEST_PER_CLASS = 150
MINI_TRAIN_PER_CLASS = 600

# NIST's archive, under the name that torchvision gives it: 561,753,746 bytes.
URL = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
MD5 = "58c8d27c78d21e728a6bc7b3cc06412e"
MAX_BYTES = 600_000_000

BYCLASS = digits + ascii_uppercase + ascii_lowercase
# The characters written for each class. ByMerge merges 15 lower-case letters with the upper-case
# letters of the same shape; ByClass merges none; Letters merges the two cases of every letter.
FOLDED = tuple(name.upper() if name in MERGED else name for name in BYCLASS)
LETTERS = tuple(name if name.lower() in MERGED else name + name.lower() for name in ascii_uppercase)
DIGITS = tuple(digits)


@dataclass(frozen=True)
class Published:
    """Published facts about a partition.

    Counts are from Cohen et al. and NIST's page. The SHA-256 digests of the archive's members are
    those recorded by the public repository notwa/mnists; for bymerge-test and byclass-test, both
    digests were computed from the members themselves.

    Attributes:
        characters: number of characters.
        forms: for each class, the characters written for it, as in `describe_mismatch`.
        per_class: number of characters in each class, if the classes are balanced.
        packed: SHA-256 of the gzip members, images and labels.
        unpacked: SHA-256 of the unpacked members, if known.
        first: label of the first class.
        shorter: number of characters in Kaggle's version, if it has fewer.
    """

    characters: int
    forms: tuple[str, ...]
    per_class: int | None
    packed: tuple[str, str]
    unpacked: tuple[str, str] | None = None
    first: int = 0
    shorter: int | None = None


PARTITIONS = {
    "byclass-train": Published(
        characters=697_932,
        forms=FOLDED,
        per_class=None,
        packed=(
            "9e21987f03a6eb8b870187e785883ddad96947299587908f1a7ec2ca0f4be5f0",
            "f7ef403d48dc18a89dae0d83d11ee69cecb6e1c12c3a961d03712e495c02a8fa",
        ),
    ),
    "byclass-test": Published(
        characters=116_323,
        forms=FOLDED,
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
    "bymerge-train": Published(
        characters=697_932,
        forms=CLASSES,
        per_class=None,
        packed=(
            "39bf8c68037dad40db35348895f7e4e056e8c0a005ab78869c9fbc2c96e947be",
            "2c47293b9e62d6abf6ad05fbf67e40baa32adfd380b8d7b44dcc35534b64e1f1",
        ),
    ),
    "bymerge-test": Published(
        characters=116_323,
        forms=CLASSES,
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
    "balanced-train": Published(
        characters=112_800,
        forms=CLASSES,
        per_class=2_400,
        packed=(
            "74295e75e4e9fa2c102147460ee7eb763653d5132d883a84fb88932bfb8d2db4",
            "b46d41e5156a0a8aaaa4d18979fdd1588850fa8571018acffd5d93b325a7d6ed",
        ),
    ),
    "balanced-test": Published(
        characters=18_800,
        forms=CLASSES,
        per_class=400,
        packed=(
            "117fc12b015e37ea98bfb2cbba3f77c3782c056cdbd219b87abfc8661d7135db",
            "a67cac948379b67270b9a4d0a01c8ec661598accf2f2b1964340b7c83cb175cd",
        ),
    ),
    "letters-train": Published(
        characters=124_800,
        forms=LETTERS,
        per_class=4_800,
        packed=(
            "6288f418a917e007bf5fddb823a2dc7a5c6a35031401b93292a539cb12bd881f",
            "9759af91ea6bccdf07a6040fd085861f2ec88e37f7c3f5760f6feb57106fbe5c",
        ),
        first=1,
        shorter=88_800,
    ),
    "letters-test": Published(
        characters=20_800,
        forms=LETTERS,
        per_class=800,
        packed=(
            "50f0e93d75b99b463e9760b8345866f22587fa2c2fba472730a5ba09c693412d",
            "924955c31fe7fd809b7303b5c0141282955f4b8390c74cdfd5d80435e0f4b4cb",
        ),
        first=1,
        shorter=14_800,
    ),
    "digits-train": Published(
        characters=240_000,
        forms=DIGITS,
        per_class=24_000,
        packed=(
            "f7c95004d14d81af89522e67d8f0c781dfb3bd544181c81bfe1eb6b41c35b726",
            "6638a6ff5fe2eefd9cca2471995b46c82986b8e4b2a70d2f5ce8e05d7edb319e",
        ),
    ),
    "digits-test": Published(
        characters=40_000,
        forms=DIGITS,
        per_class=4_000,
        packed=(
            "20ebe43509264f7639d37c835a3f0b009e90b29e00a099a03101abe1644a3f63",
            "bad1834c45d5988e270b99d43b13edc3fd898f658ffbc2caf2846ef27f7b05b0",
        ),
    ),
    "mnist-train": Published(
        characters=60_000,
        forms=DIGITS,
        per_class=6_000,
        packed=(
            "5f9942f441031c0f1f2e4d162059fd6e19ea808b34c328b6d16cab0ed24c78f2",
            "00c6d3c2342fdffb1711e0b5656cac4ce5862d2826399d383a9bac07d612e9f8",
        ),
    ),
    "mnist-test": Published(
        characters=10_000,
        forms=DIGITS,
        per_class=1_000,
        packed=(
            "b25640fa9e356c618132f5df347c95ef5bae6d9c2596be1de40f7e0ae1c3eac6",
            "bcc5385d38f083dba046f5f756e99b32f5ea7fad122c6243c71c2239873065ca",
        ),
    ),
}
MINI = "emnist-mini"
# Class names of NIST's splits, in label order.
SPLITS = {
    "emnist-balanced": CLASSES,
    "emnist-byclass": tuple(BYCLASS),
    "emnist-bymerge": CLASSES,
    "emnist-letters": tuple(ascii_uppercase),
    "emnist-digits": DIGITS,
    "emnist-mnist": DIGITS,
}
# The partitions that each data set is read from: training and test set, or Mini's two sources.
NEEDED = {MINI: ("bymerge-test", "byclass-test")} | {
    name: (f"{name.removeprefix('emnist-')}-train", f"{name.removeprefix('emnist-')}-test")
    for name in SPLITS
}


def load_emnist(dataset: str, raw: Path) -> tuple[Characters, Characters]:
    """Load the training and test sets, downloading NIST's archive if raw files are missing.

    Args:
        dataset: `emnist-mini`, or a key of `SPLITS`.
        raw: folder of the raw files, in any supported format; also the download folder.

    Returns:
        (train, test): of the sizes in `PARTITIONS`, or 28,200 and 7,050 for emnist-mini.

    Raises:
        DataError: the files are missing and cannot be downloaded, or are not NIST's.
    """
    first, second = _read(dataset, raw)
    if dataset == MINI:
        return make_mini(first, second, MINI_TRAIN_PER_CLASS, MINI_TEST_PER_CLASS)
    return Characters(*first, SPLITS[dataset]), Characters(*second, SPLITS[dataset])


def load_left_over(raw: Path) -> Characters:
    """Load the 180,918 characters that EMNIST Mini does not use; classes are very unbalanced.

    Args:
        raw: see `load_emnist`.

    Raises:
        DataError: see `load_emnist`.
    """
    whole = join_tests(*_read(MINI, raw))
    return left_over(whole, MINI_TRAIN_PER_CLASS + MINI_TEST_PER_CLASS)


def verify(partition: Partition, name: str, published: Published) -> tuple[np.ndarray, np.ndarray]:
    """Verify a partition's count, label range, class sizes and SHA-256 against NIST's.

    If no SHA-256 is published for the file format, the class means are checked instead.

    Returns:
        (images, labels): (n, 28, 28) and (n,) uint8; the first class is 0.

    Raises:
        DataError: names the file, what was found, what was expected and what to do.
    """
    first, classes = published.first, len(published.forms)
    for member, dimensions in ((partition.images, 3), (partition.labels, 1)):
        if member.array.ndim != dimensions:
            raise _mismatch(member, f"shape {member.array.shape}", counted(dimensions, "dimension"))
        if len(member.array) not in (published.characters, published.shorter):
            found = counted(len(member.array), "character")
            if len(member.array) == published.characters - 1:
                found += " (was the first row dropped as a header?)"
            raise _mismatch(member, found, f"the {published.characters:,} of {name}")
    labels = partition.labels
    if len(labels.array) != len(partition.images.array):
        found = counted(len(labels.array), "character")
        expected = f"the {len(partition.images.array):,} of {partition.images.source}"
        raise _mismatch(labels, found, expected)
    low, high = labels.array.min(), labels.array.max()
    if low < first or high >= first + classes:
        found = f"label {low if low < first else high}"
        raise _mismatch(labels, found, f"{first} to {first + classes - 1}")
    counts = np.bincount(labels.array)[first:]
    whole = len(labels.array) == published.characters
    if published.per_class and whole and set(counts) != {published.per_class}:
        found = f"classes of {counts.min():,} to {counts.max():,} characters"
        raise _mismatch(labels, found, f"{published.per_class:,} in each class of {name}")
    verified = [
        _has_sha256(member, index, published)
        for index, member in enumerate((partition.images, labels))
    ]
    from_zero = labels.array - np.uint8(first) if first else labels.array
    if not all(verified):
        if wrong := describe_mismatch(partition.images.array, from_zero, published.forms):
            raise DataError(f"{partition.images.source}: {wrong}; {REMEDY}")
        unknown = "no SHA-256 is published for this format"
        if partition.images.packed_sha256 is not None:
            unknown = "SHA-256 differs from the published one (recompressed?)"
        print(
            f"prepare: {partition.images.source}: {unknown}; counts and class means match EMNIST's",
            flush=True,
        )
    return partition.images.array, from_zero


def make_mini(
    bymerge: tuple[np.ndarray, np.ndarray],
    byclass: tuple[np.ndarray, np.ndarray],
    train_per_class: int,
    test_per_class: int,
) -> tuple[Characters, Characters]:
    """Build EMNIST Mini deterministically: the same files always give the same bytes.

    Of byte-identical images only the first is kept. In file order, the first `test_per_class`
    images of each class form the test set, and the next `train_per_class` the training set.

    Args:
        bymerge: images (n, 28, 28) and labels (n,) of ByMerge's test partition, 47 classes.
        byclass: the same for ByClass, 62 classes; appended to ByMerge's.

    Raises:
        DataError: a class has too few characters.
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
            raise DataError(
                f"class {name}: {counted(counts.min(), 'character')}, expected {per_class}"
            )
    return train, test


def join_tests(
    bymerge: tuple[np.ndarray, np.ndarray], byclass: tuple[np.ndarray, np.ndarray]
) -> Characters:
    """Concatenate both test partitions, in 47 classes and without byte-identical duplicates.

    Args:
        bymerge, byclass: see `make_mini`.
    """
    merged = [CLASSES.index(name) for name in FOLDED]
    images = np.concatenate([bymerge[0], byclass[0]])
    labels = np.concatenate([bymerge[1], np.array(merged, np.uint8)[byclass[1]]])
    unique = _first_occurrences(images)
    return Characters(images[unique], labels[unique], CLASSES)


def left_over(whole: Characters, per_class: int) -> Characters:
    """Drop the first `per_class` characters of each class; the order is preserved."""
    return _rows(whole, _ranks_within_class(whole.labels) >= per_class)


def _read(dataset: str, raw: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    found = {name: _find(raw, name) for name in NEEDED[dataset]}
    if missing := [name for name, partition in found.items() if partition is None]:
        _download(dataset, missing, raw, [each for each in found.values() if each])
        found |= {name: _find(raw, name) for name in missing}
    return [
        verify(partition, name, PARTITIONS[name])
        for name, partition in found.items()
        if partition is not None
    ]


def _find(raw: Path, name: str) -> Partition | None:
    return find_partition(raw, name, PARTITIONS[name].characters)


def _rows(characters: Characters, rows: np.ndarray) -> Characters:
    return Characters(characters.images[rows], characters.labels[rows], characters.classes)


def _first_occurrences(images: np.ndarray) -> np.ndarray:
    first: dict[bytes, int] = {}  # digest to index: the images as keys would take 180 MB more
    for index, image in enumerate(images):
        first.setdefault(hashlib.blake2b(image.data, digest_size=32).digest(), index)
    return np.fromiter(first.values(), np.int64, len(first))


def _ranks_within_class(labels: np.ndarray) -> np.ndarray:
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    ranks = np.empty(len(labels), np.int64)
    ranks[by_class] = np.arange(len(labels)) - starts
    return ranks


def _has_sha256(member: Member, index: int, published: Published) -> bool:
    """Whether the member has the published SHA-256; False if none is published."""
    if member.packed_sha256 == published.packed[index]:
        return True
    if published.unpacked is None:
        return False
    if member.sha256 != published.unpacked[index]:  # recompressed, the content may be the same
        raise _mismatch(member, f"SHA-256 {member.sha256}", published.unpacked[index])
    return True


def _mismatch(member: Member, found: str, expected: str) -> DataError:
    return DataError(f"{member.source}: {found}, expected {expected}; {REMEDY}")


def _download(dataset: str, missing: list[str], raw: Path, found: list[Partition]) -> None:
    """Download NIST's archive, after listing the local files that are and are not used."""
    if (raw / ARCHIVE).exists():
        names = ", ".join(name for partition in missing for name in member_names(partition))
        raise DataError(f"{raw / ARCHIVE}: does not contain {names}; {REMEDY}")
    used = [f"{partition.images.source} is used" for partition in found]
    for line in [*used, *explain_unused(raw, found, NEEDED[dataset])]:
        print(f"prepare: {line}", flush=True)
    print(
        f"prepare: no raw files for {' and '.join(missing)} in {raw}; downloading NIST's archive "
        "(561 MB)",
        flush=True,
    )
    try:
        download(URL, raw / ARCHIVE, MD5, MAX_BYTES)
    except requests.ConnectionError as error:
        no_connection = OSError(f"no connection to {urlsplit(URL).hostname}")
        raise DataError(_missing_message(dataset, missing, raw, no_connection)) from error
    except OSError as error:
        raise DataError(_missing_message(dataset, missing, raw, error)) from error


def _missing_message(dataset: str, missing: list[str], raw: Path, error: Exception) -> str:
    members = [name for partition in missing for name in member_names(partition)]
    combined = [name for partition in missing for name in combined_names(partition)]
    return "\n".join(
        [
            f"the raw files of {dataset} are missing and could not be downloaded ({error}).",
            f"Searched {raw}, up to {MAX_DEPTH} folders deep and inside zip archives, for",
            *(f"  {name}, with or without .gz," for name in members),
            f"  or {', '.join(combined)} instead.",
            "Either",
            "  run `make demo`, the whole study on characters drawn from fonts,",
            f"  or download {URL} (561 MB) into {raw}/ and run `dvc repro` again.",
            "`dvc repro` resumes an interrupted download.",
        ]
    )
