"""MNIST and similar data sets, with toy files and their MD5 digests instead of the real ones."""

import gzip
import hashlib
import http.server
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets

from ablation.data.characters import DataError
from ablation.raw import mnist
from ablation.raw.mnist import TORCHVISION, UNPACKED, load_mnist

NOBODY = "http://127.0.0.1:9/"
Toys = dict[str, dict[str, bytes]]


def idx(array: np.ndarray) -> bytes:
    """An IDX file with upright images, as MNIST stores them."""
    shape = b"".join(size.to_bytes(4) for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def toy(seed: int) -> dict[str, bytes]:
    """Unpacked files of 60 and 20 images, with balanced classes."""
    generator = np.random.default_rng(seed)
    made = {}
    for part, count in (("train", 60), ("t10k", 20)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = generator.permutation(np.resize(np.arange(10, dtype=np.uint8), count))
        made[f"{part}-images-idx3-ubyte"] = idx(images)
        made[f"{part}-labels-idx1-ubyte"] = idx(labels)
    return made


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Toys:
    """The four files of each data set; the mirrors are unreachable."""
    made = {name: toy(seed) for seed, name in enumerate(TORCHVISION)}
    for name, unpacked in made.items():
        known = getattr(torchvision.datasets, TORCHVISION[name])
        resources = [(f"{file}.gz", md5(packed(content))) for file, content in unpacked.items()]
        monkeypatch.setattr(known, "resources", resources)
        monkeypatch.setattr(known, "mirrors", [NOBODY])
        if UNPACKED[name]:
            digests = {file: md5(content) for file, content in unpacked.items()}
            monkeypatch.setitem(mnist.UNPACKED, name, digests)
    monkeypatch.setattr(mnist, "COUNTS", {"train": 60, "t10k": 20})
    return made


def write_packed(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.gz").write_bytes(packed(content))


def write_unpacked(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def write_archive(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"data/{name}.gz", packed(content))


def images_in(files: dict[str, bytes], part: str) -> np.ndarray:
    return np.frombuffer(files[f"{part}-images-idx3-ubyte"][16:], np.uint8).reshape(-1, 28, 28)


@pytest.mark.parametrize("write", [write_packed, write_unpacked, write_archive])
@pytest.mark.parametrize("dataset", TORCHVISION)
def test_finds_its_own_files_among_others_of_the_same_names(
    dataset: str, write: Callable[[Path, dict[str, bytes]], None], toys: Toys, tmp_path: Path
) -> None:
    for place, name in enumerate(sorted(TORCHVISION, key=lambda name: name == dataset)):
        write(tmp_path / f"downloads {place}", toys[name])
    train, test = load_mnist(dataset, tmp_path)
    assert np.array_equal(train.images, images_in(toys[dataset], "train"))
    assert np.array_equal(test.images, images_in(toys[dataset], "t10k"))
    assert set(train.counts()) == {6}
    assert set(test.counts()) == {2}


@pytest.mark.parametrize("dataset", TORCHVISION)
def test_the_images_equal_those_of_torchvision(dataset: str, toys: Toys, tmp_path: Path) -> None:
    write_unpacked(tmp_path / TORCHVISION[dataset] / "raw", toys[dataset])
    for ours, is_train in zip(load_mnist(dataset, tmp_path), (True, False), strict=True):
        theirs = getattr(torchvision.datasets, TORCHVISION[dataset])(tmp_path, train=is_train)
        assert np.array_equal(ours.images, theirs.data.numpy())
        assert np.array_equal(ours.labels, theirs.targets.numpy())


def test_classes_have_names(toys: Toys, tmp_path: Path) -> None:
    for dataset, files in toys.items():
        write_packed(tmp_path / dataset, files)
    classes = {dataset: load_mnist(dataset, tmp_path)[0].classes for dataset in TORCHVISION}
    assert classes["mnist"] == tuple("0123456789")
    assert classes["fashion-mnist"][0] == "T-shirt/top"
    assert classes["fashion-mnist"][9] == "Ankle boot"
    assert classes["kmnist"] == ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


def test_the_checksums_distinguish_the_data_sets() -> None:
    digests = [digest for files in UNPACKED.values() for digest in files.values()]
    assert len(set(digests)) == len(digests) == 8


def test_a_format_without_a_checksum_is_counted_and_reported(
    toys: Toys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_unpacked(tmp_path, toys["kmnist"])
    load_mnist("kmnist", tmp_path)
    assert (
        capsys.readouterr().out.count("no checksum is published for this format; the counts are")
        == 4
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "t10k-labels-idx1-ubyte",
            idx(np.zeros(20, np.uint8)),
            "it does not have 2 labels for each of",
        ),
        ("t10k-labels-idx1-ubyte", idx(np.zeros(19, np.uint8)), "19 entries, expected 20"),
        ("t10k-images-idx3-ubyte", b"<html>", "starts with the bytes 3c 68 74 6d"),
    ],
)
def test_invalid_files_are_named_and_not_used(
    name: str,
    content: bytes,
    said: str,
    toys: Toys,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_unpacked(tmp_path, toys["kmnist"] | {name: content})
    with pytest.raises(
        DataError, match=f"raw files of kmnist are missing .*\n(.*\n)*  {name}, with"
    ):
        load_mnist("kmnist", tmp_path)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "not used" in line]
    assert f"{tmp_path / name}" in line
    assert said in line


def test_a_file_of_another_data_set_is_named_as_such(
    toys: Toys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_packed(tmp_path / "KMNIST/raw", toys["mnist"])
    with pytest.raises(DataError, match="raw files of kmnist are missing"):
        load_mnist("kmnist", tmp_path)
    said = capsys.readouterr().out
    for name in toys["mnist"]:
        assert f"{tmp_path}/KMNIST/raw/{name}.gz is not used: it belongs to mnist\n" in said


def test_a_corrupt_file_is_named(
    toys: Toys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_packed(tmp_path, toys["mnist"])
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="raw files of mnist are missing"):
        load_mnist("mnist", tmp_path)
    assert f"not used: {path} (" in capsys.readouterr().out


def test_a_decompression_bomb_is_not_unpacked(
    toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist, "MAX_BYTES", 2**20)
    write_packed(tmp_path, toys["mnist"] | {"t10k-images-idx3-ubyte": bytes(2**30)})
    with pytest.raises(DataError, match="raw files of mnist are missing"):
        load_mnist("mnist", tmp_path)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server with Fashion-MNIST's files."""
    write_packed(tmp_path / "served", toy(1))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_missing_files_are_downloaded_to_torchvisions_folder(
    mirror: str, toys: Toys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [NOBODY, mirror])
    raw = tmp_path / "raw"
    files = {**toys["fashion-mnist"]}
    del files["train-images-idx3-ubyte"]
    write_packed(raw, files)
    train, _ = load_mnist("fashion-mnist", raw)
    assert np.array_equal(train.images, images_in(toys["fashion-mnist"], "train"))
    below = [path.name for path in (raw / "FashionMNIST/raw").iterdir()]
    assert below == ["train-images-idx3-ubyte.gz"]


def test_a_download_with_the_wrong_checksum_is_deleted(
    mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.KMNIST, "mirrors", [mirror])
    with pytest.raises(DataError, match=r"gz: the downloaded file has the MD5 .*, expected"):
        load_mnist("kmnist", tmp_path / "raw")
    assert [path for path in (tmp_path / "raw").rglob("*") if path.is_file()] == []


def test_without_files_and_network_the_error_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_mnist("kmnist", tmp_path)
    said = str(caught.value).splitlines()
    assert said[0] == "raw files of kmnist are missing and could not be downloaded."
    assert f"or download them from {NOBODY} into {tmp_path}/ and run `dvc repro` ag" in said[-1]
    assert "make demo" in said[-2]
