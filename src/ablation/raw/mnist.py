"""MNIST, Fashion-MNIST and KMNIST: the files that torchvision's classes name.

What is known of them, torchvision's classes say: the files with their MD5, the mirrors, the names
of the classes. Its loaders are not used: they trust any file of the right name, and a pickle that
lies beside them comes first.
"""

import hashlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from ablation.data.characters import Characters, DataError
from ablation.raw.download import download
from ablation.raw.formats import PIECE, read_idx
from ablation.raw.locations import FOLDERS_DOWN, Place, entries, files

MOST_OF_A_FILE = 48 * 2**20  # bytes, unpacked; the largest has 47,040,016
PARTS = ("train", "t10k")
COUNTS = {"train": 60_000, "t10k": 10_000}

# What params.yaml calls each, and torchvision's class of it.
TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}

# MD5 of the unpacked files, which torchvision does not have. Those of MNIST and of Fashion-MNIST
# stand in several public repositories alike; of KMNIST's nobody seems to have published any.
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
    """Training and test set, from files under a folder or else downloaded.

    The three data sets give their files the same names, so a file is told by its content.

    Args:
        dataset: one of `TORCHVISION`.
        raw: folder of the raw files, searched as for EMNIST; what is missing is downloaded into
            torchvision's folder below it.

    Returns:
        (train, test): 60,000 and 10,000 images of 10 classes, as they are stored.

    Raises:
        DataError: if files are missing and cannot be downloaded.
    """
    known = _torchvisions(dataset)
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


def _torchvisions(dataset: str) -> Any:
    import torchvision.datasets  # here: it imports torch, and every stage reads the table

    return getattr(torchvision.datasets, TORCHVISION[dataset])


def _find(dataset: str, raw: Path, wanted: dict[str, str]) -> dict[str, np.ndarray]:
    """The files that have the right content, by their names; the others of these names are told.

    wanted: name of the unpacked file to the MD5 of the packed one.
    """
    near = files(raw)
    found: dict[str, np.ndarray] = {}
    passed_over = []
    for place in [*near, *entries(near)]:
        if place.name not in wanted or place.name in found:
            continue
        try:
            if reason := _why_not(dataset, place, wanted[place.name]):
                passed_over.append(f"{place} is not used: {reason}")
            else:
                found[place.name] = _read(place)
        except DataError as error:
            passed_over.append(f"not used: {error}")
    if len(found) < len(wanted):
        for line in passed_over:
            print(f"prepare: {line}", flush=True)
    return found


def _why_not(dataset: str, place: Place, md5: str) -> str | None:
    """Why a file with the name of one is not used, or None."""
    digests = _digests(place)
    if digests & {md5, UNPACKED[dataset].get(place.name)}:
        return None
    for other in TORCHVISION:
        packed = {name.removesuffix(".gz"): md5 for name, md5 in _torchvisions(other).resources}
        if digests & {packed[place.name], UNPACKED[other].get(place.name)}:
            return f"it is {other}'s"
    if UNPACKED[dataset]:
        return f"its MD5 is that of no file of {dataset}"
    return _differs(place)


def _differs(place: Place) -> str | None:
    """How a file without a published checksum is not as it should be: equal classes are known."""
    array = _read(place)
    count = COUNTS[place.name.partition("-")[0]]
    if len(array) != count:
        return f"{len(array):,} entries, expected {count:,}"
    if array.ndim == 1 and set(np.bincount(array)) != {count // 10}:
        return f"its labels are not {count // 10:,} of each of 10 classes"
    print(
        f"prepare: {place}: no checksum of this form is published; what is counted is right",
        flush=True,
    )
    return None


def _digests(place: Place) -> set[str]:
    """MD5 of the bytes as they lie there, and of the unpacked ones."""
    with place.stored() as stored, place.unpacked() as unpacked:
        return {_md5(stored), _md5(unpacked)}


def _md5(file: IO[bytes]) -> str:
    digest, left = hashlib.md5(usedforsecurity=False), MOST_OF_A_FILE
    while left > 0 and (piece := file.read(PIECE)):  # of a longer one it is the digest of no file
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def _read(place: Place) -> np.ndarray:
    with place.unpacked() as file:
        return read_idx(file, str(place), COUNTS["train"], transposed=False)[0]


def _download(dataset: str, known: Any, missing: list[str], raw: Path) -> None:
    """Fetch what is missing from the first of torchvision's mirrors that has it."""
    folder = raw / TORCHVISION[dataset] / "raw"
    md5s = dict(known.resources)
    for name in missing:
        errors = []
        for mirror in known.mirrors:
            url = f"{mirror}{name}.gz"
            print(f"prepare: downloading {url}", flush=True)
            try:
                download(url, folder / f"{name}.gz", md5s[f"{name}.gz"], MOST_OF_A_FILE)
                break
            except (OSError, DataError) as error:
                errors.append(str(error))
        else:
            raise DataError(_ways_on(dataset, known, missing, raw, errors))


def _ways_on(dataset: str, known: Any, missing: list[str], raw: Path, errors: list[str]) -> str:
    return "\n".join(
        [
            f"raw files of {dataset} are missing and could not be downloaded.",
            *(f"  {error}" for error in errors),
            f"Looked in {raw} and up to {FOLDERS_DOWN} folders below it, also in zip archives, for",
            *(f"  {name}.gz, or without .gz," for name in missing),
            f"which are {dataset}'s by their content, whatever their folder is called.",
            "Two ways on:",
            "  make demo    runs the whole study on characters drawn from fonts",
            f"  or get them from {' or '.join(known.mirrors)}, put them into {raw}/ and run "
            "`dvc repro` again",
        ]
    )
