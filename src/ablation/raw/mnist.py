"""MNIST, Fashion-MNIST and KMNIST, as listed in torchvision.

File names, MD5 digests, mirrors and class names are taken from torchvision's classes. Its loaders
are not used: they trust any file with the right name, and prefer a pickle that lies next to it.
"""

import hashlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from ablation.base.formatting import counted
from ablation.data.characters import Characters, DataError
from ablation.raw.download import download
from ablation.raw.formats import CHUNK, read_idx
from ablation.raw.locations import MAX_DEPTH, Location, entries, files

MAX_BYTES = 48 * 2**20  # of an unpacked file; the largest has 47,040,016
PARTS = ("train", "t10k")
COUNTS = {"train": 60_000, "t10k": 10_000}

# Name in params.yaml to torchvision's class.
TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}

# MD5 of the unpacked files, which torchvision does not list. Several public repositories agree on
# those of MNIST and Fashion-MNIST; none seem to be published for KMNIST.
UNPACKED = {
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    "kmnist": {},
}


def load_mnist(dataset: str, raw: Path) -> tuple[Characters, Characters]:
    """Load the training and test sets, downloading missing files.

    The three data sets use the same file names, so files are identified by their content.

    Args:
        dataset: a key of `TORCHVISION`.
        raw: folder of the raw files, searched as for EMNIST; missing files are downloaded into
            torchvision's subfolder.

    Returns:
        (train, test): 60,000 and 10,000 images of 10 classes, not transposed.

    Raises:
        DataError: files are missing and cannot be downloaded.
    """
    known = _torchvision_class(dataset)
    wanted = {name.removesuffix(".gz"): md5 for name, md5 in known.resources}
    found = _find(dataset, raw, wanted)
    if missing := [name for name in wanted if name not in found]:
        _download(dataset, known, missing, raw)
        found |= _find(dataset, raw, {name: wanted[name] for name in missing})
    classes = tuple(name.partition(" - ")[0] for name in known.classes)  # MNIST's: "0 - zero"
    train, test = (
        Characters(found[f"{part}-images-idx3-ubyte"], found[f"{part}-labels-idx1-ubyte"], classes)
        for part in PARTS
    )
    return train, test


def _torchvision_class(dataset: str) -> Any:
    import torchvision.datasets  # imported on use, because it imports torch

    return getattr(torchvision.datasets, TORCHVISION[dataset])


def _find(dataset: str, raw: Path, wanted: dict[str, str]) -> dict[str, np.ndarray]:
    """The files with the right content, by name; reports files that only have the right name.

    wanted: name of the unpacked file to the MD5 of the packed one.
    """
    near = files(raw)
    found: dict[str, np.ndarray] = {}
    unused = []
    for location in [*near, *entries(near)]:
        if location.name not in wanted or location.name in found:
            continue
        try:
            if reason := _reason_unused(dataset, location, wanted[location.name]):
                unused.append(f"{location} is not used: {reason}")
            else:
                found[location.name] = _read(location)
        except DataError as error:
            unused.append(f"not used: {error}")
    if len(found) < len(wanted):
        for line in unused:
            print(f"prepare: {line}", flush=True)
    return found


def _reason_unused(dataset: str, location: Location, md5: str) -> str | None:
    """Why a file with a matching name is not used; None if it is."""
    digests = _digests(location)
    if digests & {md5, UNPACKED[dataset].get(location.name)}:
        return None
    for other in TORCHVISION:
        packed = {
            name.removesuffix(".gz"): md5 for name, md5 in _torchvision_class(other).resources
        }
        if digests & {packed[location.name], UNPACKED[other].get(location.name)}:
            return f"it belongs to {other}"
    if UNPACKED[dataset]:
        return f"its MD5 matches no file of {dataset}"
    return _describe_mismatch(location)


def _describe_mismatch(location: Location) -> str | None:
    """Check a file without a published checksum by its counts; the classes are balanced."""
    array = _read(location)
    count = COUNTS[location.name.partition("-")[0]]
    if len(array) != count:
        return f"{counted(len(array), 'entry', 'entries')}, expected {count:,}"
    if array.ndim == 1 and set(np.bincount(array)) != {count // 10}:
        return f"it does not have {count // 10:,} labels for each of 10 classes"
    print(
        f"prepare: {location}: no checksum is published for this format; the counts are correct",
        flush=True,
    )
    return None


def _digests(location: Location) -> set[str]:
    """MD5 of the stored and of the unpacked bytes."""
    with location.stored() as stored, location.unpacked() as unpacked:
        return {_md5(stored), _md5(unpacked)}


def _md5(file: IO[bytes]) -> str:
    digest, left = hashlib.md5(usedforsecurity=False), MAX_BYTES
    while left > 0 and (chunk := file.read(CHUNK)):  # a longer file cannot match anyway
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()


def _read(location: Location) -> np.ndarray:
    with location.unpacked() as file:
        return read_idx(file, str(location), COUNTS["train"], transposed=False)[0]


def _download(dataset: str, known: Any, missing: list[str], raw: Path) -> None:
    """Download each missing file from the first of torchvision's mirrors that has it."""
    folder = raw / TORCHVISION[dataset] / "raw"
    md5s = dict(known.resources)
    for name in missing:
        errors = []
        for mirror in known.mirrors:
            url = f"{mirror}{name}.gz"
            print(f"prepare: downloading {url}", flush=True)
            try:
                download(url, folder / f"{name}.gz", md5s[f"{name}.gz"], MAX_BYTES)
                break
            except (OSError, DataError) as error:
                errors.append(str(error))
        else:
            raise DataError(_missing_message(dataset, known, missing, raw, errors))


def _missing_message(
    dataset: str, known: Any, missing: list[str], raw: Path, errors: list[str]
) -> str:
    return "\n".join(
        [
            f"raw files of {dataset} are missing and could not be downloaded.",
            *(f"  {error}" for error in errors),
            f"Searched {raw}, up to {MAX_DEPTH} folders deep and inside zip archives, for",
            *(f"  {name}, with or without .gz," for name in missing),
            f"with the content of {dataset}'s, whatever their folder is called.",
            "Either",
            "  run `make demo`, the whole study on characters drawn from fonts,",
            f"  or download them from {' or '.join(known.mirrors)} into {raw}/ and run "
            "`dvc repro` again.",
        ]
    )
