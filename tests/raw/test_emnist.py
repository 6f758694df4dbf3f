import gzip
import hashlib
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ablation.data.characters import CLASSES, MERGED, Characters, DataError
from ablation.raw.emnist import (
    BYCLASS,
    MD5,
    NEEDED,
    PARTITIONS,
    SPLITS,
    URL,
    Published,
    join_tests,
    left_over,
    load_emnist,
    load_left_over,
    make_mini,
    verify,
)
from ablation.raw.formats import (
    Member,
    Partition,
    combined_names,
    find_partition,
    member_names,
    to_idx,
)

SHARED = Path(__file__).parents[3] / "shared" / "emnist"
real = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real characters are not in {SHARED}")


def image_of(number: int) -> np.ndarray:
    return np.full((28, 28), number, np.uint8)


def make_partition() -> tuple[Partition, Published]:
    images = np.stack([image_of(number) for number in range(6)])
    labels = np.array([0, 1, 2, 0, 1, 2], np.uint8)
    partition = Partition(
        Member("images.gz", images, "packed images", "images"),
        Member("labels.gz", labels, "packed labels", "labels"),
    )
    published = Published(
        6, ("0", "1", "2"), 2, ("packed images", "packed labels"), unpacked=("images", "labels")
    )
    return partition, published


def test_accepts_published_files() -> None:
    partition, published = make_partition()
    images, labels = verify(partition, "few", published)
    assert images is partition.images.array
    assert labels is partition.labels.array


@pytest.mark.parametrize("which", ["images", "labels"])
def test_a_wrong_count_is_an_error(which: str) -> None:
    partition, published = make_partition()
    member = getattr(partition, which)
    short = replace(partition, **{which: replace(member, array=member.array[:-2])})
    with pytest.raises(DataError, match=rf"{which}\.gz: 4 characters, expected the 6 of few"):
        verify(short, "few", published)


def test_a_row_dropped_as_a_header_is_recognised() -> None:
    partition, published = make_partition()
    error = r"6 characters \(was the first row dropped as a header\?\), expected the 7 of few"
    with pytest.raises(DataError, match=error):
        verify(partition, "few", replace(published, characters=7))


def test_swapped_members_are_an_error() -> None:
    partition, published = make_partition()
    exchanged = Partition(partition.labels, partition.images)
    with pytest.raises(DataError, match=r"labels\.gz: shape \(6,\), expected 3 dimensions"):
        verify(exchanged, "few", published)


def test_a_label_out_of_range_is_an_error() -> None:
    partition, published = make_partition()
    with pytest.raises(DataError, match=r"labels\.gz: label 2, expected 0 to 1"):
        verify(partition, "few", replace(published, forms=("0", "1")))


def test_uneven_classes_are_an_error() -> None:
    partition, published = make_partition()
    uneven = replace(partition.labels, array=np.array([0, 0, 0, 1, 2, 2], np.uint8))
    with pytest.raises(DataError, match="classes of 1 to 3 characters, expected 2 in each class"):
        verify(replace(partition, labels=uneven), "few", published)


@pytest.mark.parametrize("which", ["images", "labels"])
@pytest.mark.parametrize("packed_sha256", ["other", None])
def test_a_wrong_checksum_is_an_error(which: str, packed_sha256: str | None) -> None:
    partition, published = make_partition()
    other = replace(getattr(partition, which), packed_sha256=packed_sha256, sha256="other")
    error = rf"{which}\.gz: SHA-256 other, expected {which}; replace it with the original"
    with pytest.raises(DataError, match=error):
        verify(replace(partition, **{which: other}), "few", published)


def test_a_recompressed_member_is_accepted() -> None:
    partition, published = make_partition()
    again = Partition(
        replace(partition.images, packed_sha256="other"),
        replace(partition.labels, packed_sha256="another"),
    )
    assert verify(again, "few", published)


def test_labels_that_start_at_one_are_shifted_to_zero() -> None:
    partition, published = make_partition()
    from_one = replace(partition.labels, array=np.array([1, 2, 3, 1, 2, 3], np.uint8))
    labels = verify(replace(partition, labels=from_one), "few", replace(published, first=1))[1]
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(DataError, match=r"labels\.gz: label 0, expected 1 to 3"):
        verify(partition, "few", replace(published, first=1))


def test_a_known_version_with_fewer_characters_is_accepted() -> None:
    partition, published = make_partition()
    assert verify(partition, "few", replace(published, characters=9, per_class=3, shorter=6))


def test_images_and_labels_of_two_versions_are_an_error() -> None:
    partition, published = make_partition()
    longer = replace(partition.labels, array=np.repeat(partition.labels.array, 2))
    with pytest.raises(DataError, match=r"labels\.gz: 12 characters, expected the 6 of images"):
        verify(replace(partition, labels=longer), "few", replace(published, shorter=12))


def test_the_classes_are_those_of_torchvision() -> None:
    from torchvision.datasets import EMNIST

    for name, classes in SPLITS.items():
        known = set(EMNIST.classes_split_dict[name.removeprefix("emnist-")]) - {"N/A"}
        assert {*classes} == ({c.upper() for c in known} if name == "emnist-letters" else known)
        for partition in NEEDED[name]:
            assert len(PARTITIONS[partition].forms) == len(classes)


def test_the_counts_are_those_of_the_paper() -> None:
    """Table II of Cohen et al., arXiv:1702.05373; NIST's archive has more of Letters."""
    table = {
        "byclass": (697_932, 116_323), "bymerge": (697_932, 116_323), "balanced": (112_800, 18_800),
        "letters": (88_800, 14_800), "digits": (240_000, 40_000), "mnist": (60_000, 10_000),
    }  # fmt: skip
    for name, counts in table.items():
        for part, count in zip(("train", "test"), counts, strict=True):
            published = PARTITIONS[f"{name}-{part}"]
            assert count == (published.shorter or published.characters)
            each = published.per_class
            assert each is None or each * len(published.forms) == published.characters


def mini_of(labels: list[int], numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([image_of(number) for number in numbers]), np.array(labels, np.uint8)


def every_class(rounds: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.tile(np.arange(47, dtype=np.uint8), rounds)
    images = np.zeros((len(labels), 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(len(labels)), 256)
    return images, labels


def test_mini_uses_the_first_of_each_class_for_testing_and_the_next_for_training() -> None:
    bymerge = every_class(rounds=4)
    train, test = make_mini(bymerge, mini_of([0], [9]), train_per_class=2, test_per_class=1)
    assert np.array_equal(test.images, bymerge[0][:47])
    assert np.array_equal(train.images, bymerge[0][47 : 3 * 47])
    assert train.counts().tolist() == [2] * 47
    assert train.classes == test.classes == CLASSES


def test_mini_keeps_the_first_of_identical_images() -> None:
    images, labels = every_class(rounds=3)
    images[47:94] = images[:47]
    train, test = make_mini((images, labels), mini_of([0], [9]), 1, 1)
    assert np.array_equal(test.images, images[:47])
    assert np.array_equal(train.images, images[94:])


def test_mini_merges_the_classes_of_byclass() -> None:
    bymerge = every_class(rounds=1)
    byclass = mini_of(list(range(62)), list(range(100, 162)))
    upper = make_mini(bymerge, byclass, train_per_class=1, test_per_class=1)[0]
    assert {CLASSES[k]: BYCLASS[n - 100] for k, n in number_of_class(upper)} == {
        name: name for name in CLASSES
    }
    without_upper = mini_of(list(range(10)) + list(range(36, 62)), list(range(100, 136)))
    every_but_lower = [CLASSES.index(c) for c in CLASSES if c.isupper() and c.lower() not in MERGED]
    rest = mini_of(every_but_lower, list(range(200, 200 + len(every_but_lower))))
    images, labels = (np.concatenate(pair) for pair in zip(bymerge, rest, strict=True))
    lower = make_mini((images, labels), without_upper, train_per_class=1, test_per_class=1)[0]
    filed = {CLASSES[k]: BYCLASS[26 + n - 100] for k, n in number_of_class(lower) if n < 200}
    assert all(filed[name.upper()] == name for name in MERGED)


def number_of_class(characters: Characters) -> list[tuple[int, int]]:
    return list(zip(characters.labels.tolist(), characters.images[:, 5, 5].tolist(), strict=True))


def test_too_few_characters_for_mini_are_an_error() -> None:
    with pytest.raises(DataError, match="class 0: 1 character, expected 2"):
        make_mini(every_class(rounds=2), mini_of([1], [9]), train_per_class=2, test_per_class=1)


def test_mini_and_the_left_over_characters_are_all_characters() -> None:
    whole = join_tests(every_class(rounds=4), mini_of([1], [9]))
    train, test = make_mini(every_class(rounds=4), mini_of([1], [9]), 2, 1)
    rest = left_over(whole, per_class=3)
    assert np.array_equal(rest.labels, [*range(47), 1])
    together = np.concatenate([part.images for part in (test, train, rest)])
    assert np.array_equal(np.unique(together, axis=0), np.unique(whole.images, axis=0))
    assert len(together) == len(whole)


@pytest.mark.parametrize("dataset", ["emnist-mini", "emnist-letters"])
@pytest.mark.parametrize("raw", ["raw", "there"])
def test_without_files_and_network_the_error_names_the_remedy(
    dataset: str, raw: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there: no network
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    (tmp_path / "there").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError) as caught:
        load_emnist(dataset, tmp_path / raw)
    message = str(caught.value)
    for partition in NEEDED[dataset]:
        assert all(name in message for name in member_names(partition))
        assert all(name in message for name in combined_names(partition))
    assert "gzip.zip" in message
    assert "make demo" in message
    assert f"into {tmp_path / raw}/ and run `dvc repro` again" in message
    assert sorted(tmp_path.rglob("*")) == before


def link_packed(raw: Path, name: str = "") -> None:
    raw.mkdir()
    for path in SHARED.glob(f"emnist-{name}*.gz"):
        (raw / path.name).symlink_to(path)


def write_archive(raw: Path, name: str = "") -> None:
    raw.mkdir()
    with zipfile.ZipFile(raw / "gzip.zip", "w") as archive:
        for path in SHARED.glob(f"emnist-{name}*.gz"):
            archive.write(path, f"gzip/{path.name}")


def write_torchvisions(raw: Path, name: str = "") -> None:
    folder = raw / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    for path in SHARED.glob(f"emnist-{name}*.gz"):
        with gzip.open(path) as packed, (folder / path.stem).open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)


def documented_checksums() -> list[str]:
    table = (SHARED / "README.md").read_text().partition("| array | shape")[2]
    return re.findall(r"[0-9a-f]{64}", table)


@real
@pytest.mark.real
def test_mini_has_the_documented_checksums(tmp_path: Path) -> None:
    link_packed(tmp_path / "raw")
    train, test = load_emnist("emnist-mini", tmp_path / "raw")
    arrays = (train.images, train.labels, test.images, test.labels)
    checksums = [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays]
    assert checksums == documented_checksums()


@real
@pytest.mark.real
def test_mini_leaves_the_documented_number_of_characters(tmp_path: Path) -> None:
    link_packed(tmp_path / "raw")
    rest = load_left_over(tmp_path / "raw")
    assert len(rest) == 216_168 - 47 * (600 + 150)
    assert rest.counts().min() == 9  # of `f`


@real
@pytest.mark.real
@pytest.mark.parametrize("write", [link_packed, write_archive, write_torchvisions])
@pytest.mark.parametrize("name", NEEDED["emnist-mini"])
def test_nists_members_are_verified_in_every_format(
    write: Callable[[Path, str], None], name: str, tmp_path: Path
) -> None:
    write(tmp_path / "raw", name)
    partition = find_partition(tmp_path / "raw", name)
    assert partition is not None
    images, _ = verify(partition, name, PARTITIONS[name])
    images[0, 14, 14] ^= 1
    changed = replace(partition.images, packed_sha256="other", sha256=sha256_of(images))
    with pytest.raises(DataError, match=r"images-idx3-ubyte.*: SHA-256 .*, expected "):
        verify(replace(partition, images=changed), name, PARTITIONS[name])


def sha256_of(array: np.ndarray) -> str:
    return hashlib.sha256(to_idx(array)).hexdigest()


@real
@pytest.mark.real
def test_the_table_holds_the_documented_checksums() -> None:
    documented = (SHARED / "README.md").read_text()
    found = re.findall(r"emnist-(\w+-\w+)-\w+-idx\d-ubyte\.gz .*([0-9a-f]{64})", documented)
    assert len(found) == 8
    for name, sha256 in found:
        assert sha256 in PARTITIONS[name].packed
        assert all(sha256 in documented for sha256 in PARTITIONS[name].unpacked or ())


def balanced_by_hand() -> tuple[np.ndarray, np.ndarray]:
    """400 real characters of each class, as many as in Balanced's test set."""
    bymerge = find_partition(SHARED, "bymerge-test")
    assert bymerge is not None
    labels = bymerge.labels.array
    rows = np.concatenate([np.flatnonzero(labels == label)[:400] for label in range(47)])
    return bymerge.images.array[rows], labels[rows]


def write_balanced(raw: Path, images: np.ndarray, labels: np.ndarray) -> None:
    raw.mkdir()
    for name, array in zip(member_names("balanced-test"), (images, labels), strict=True):
        (raw / name).write_bytes(to_idx(array))


def read_balanced(raw: Path) -> object:
    partition = find_partition(raw, "balanced-test")
    assert partition is not None
    return verify(partition, "balanced-test", PARTITIONS["balanced-test"])


@real
@pytest.mark.real
def test_balanced_without_a_checksum_is_verified_by_class_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = balanced_by_hand()
    write_balanced(tmp_path / "raw", images, labels)
    assert read_balanced(tmp_path / "raw")
    assert "no SHA-256 is published for this format; counts and class means" in (
        capsys.readouterr().out
    )
    changes: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "they look stored upright; NIST's are stored": (images.swapaxes(1, 2), labels),
        "they look black on white; NIST's are white": (255 - images, labels),
        "they look mirrored": (images[:, :, ::-1], labels),
        "they look upside down": (images[:, ::-1], labels),
        "they look rotated by 180 degrees": (images[:, ::-1, ::-1], labels),
        "they look rotated to the left": (np.rot90(images, 1, (1, 2)), labels),
        "they look rotated to the right": (np.rot90(images, -1, (1, 2)), labels),
        "other images, or labels in another order": (np.zeros_like(images), labels),
        r"other images, or labels .* order\)": (images, (labels + 1) % 47),
        "in class 7": (np.where((labels == 7)[:, None, None], 0, images), labels),
        r"44 grey levels, .* order\)": (images // 255, labels),  # scaled to 0..1
    }
    for number, (error, changed) in enumerate(changes.items()):
        raw = tmp_path / str(number)
        write_balanced(raw, *(array.astype(np.uint8) for array in changed))
        with pytest.raises(DataError, match=rf"images-idx3-ubyte: class means .*{error}"):
            read_balanced(raw)


@real
@pytest.mark.real
@pytest.mark.parametrize("dataset", ["emnist-letters", "emnist-mnist"])
def test_each_split_has_its_classes(dataset: str, tmp_path: Path) -> None:
    """As many real characters as the split has, with repetitions, in NIST's order of labels."""
    byclass = find_partition(SHARED, "byclass-test")
    assert byclass is not None
    for name in NEEDED[dataset]:
        published = PARTITIONS[name]
        assert published.per_class is not None
        rows = np.concatenate(
            [
                np.resize(np.flatnonzero(np.isin(byclass.labels.array, of)), published.per_class)
                for each in SPLITS[dataset]
                for of in [[BYCLASS.index(each), BYCLASS.index(each.lower())]]
            ]
        )
        labels = np.repeat(np.arange(len(SPLITS[dataset])), published.per_class) + published.first
        for member, array in zip(
            member_names(name), (byclass.images.array[rows], labels.astype(np.uint8)), strict=True
        ):
            (tmp_path / member).write_bytes(to_idx(array))
    train, test = load_emnist(dataset, tmp_path)
    for characters, name in zip((train, test), NEEDED[dataset], strict=True):
        assert set(characters.counts()) == {PARTITIONS[name].per_class}
        assert characters.classes == SPLITS[dataset]


@real
@pytest.mark.real
def test_a_real_recompressed_member_is_accepted(tmp_path: Path) -> None:
    for name in member_names("bymerge-test"):
        content = gzip.decompress((SHARED / f"{name}.gz").read_bytes())
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content, 1))
    partition = find_partition(tmp_path, "bymerge-test")
    assert partition is not None
    assert verify(partition, "bymerge-test", PARTITIONS["bymerge-test"])


def test_the_archive_is_the_one_that_torchvision_downloads() -> None:
    from torchvision.datasets import EMNIST

    assert (EMNIST.url, EMNIST.md5) == (URL, MD5)
