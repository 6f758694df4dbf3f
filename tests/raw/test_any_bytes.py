"""Arbitrary bytes under any supported file name give characters or one clear error.

Never a traceback, a hang or unbounded memory use.
"""

import gzip
import io
import resource
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from ablation.data.characters import DataError
from ablation.raw.formats import Partition, explain_unused, find_partition, member_names, to_idx
from ablation.raw.orientation import describe_mismatch

MOST_MEMORY = 200 * 2**20

NAME = "bymerge-test"
IMAGES = np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28)
LABELS = np.array([3, 46], np.uint8)
ROWS = IMAGES.transpose(0, 2, 1).reshape(2, -1)
MEMBERS = dict(zip(member_names(NAME), (to_idx(IMAGES), to_idx(LABELS)), strict=True))
CSV = "".join(f"{k},{','.join(map(str, row))}\n" for k, row in zip(LABELS, ROWS, strict=True))


def mat(compressed: bool) -> bytes:
    part = {"images": ROWS, "labels": LABELS[:, None], "writers": np.ones((2, 1))}
    file = io.BytesIO()
    dataset = {"train": part, "test": part, "mapping": np.eye(2)}
    scipy.io.savemat(file, {"dataset": dataset}, do_compression=compressed)
    return file.getvalue()


def archive(method: int, **files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as written:
        for name, content in files.items():
            written.writestr(name, content)
    return file.getvalue()


IMAGES_NAME, LABELS_NAME = MEMBERS
PACKED = gzip.compress(MEMBERS[IMAGES_NAME], mtime=0)
FORMS = {
    "images": (IMAGES_NAME, MEMBERS[IMAGES_NAME]),
    "images.gz": (f"{IMAGES_NAME}.gz", PACKED),
    "labels": (LABELS_NAME, MEMBERS[LABELS_NAME]),
    "csv": (f"emnist-{NAME}.csv", CSV.encode()),
    "csv.gz": (f"emnist-{NAME}.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
    "mat": ("emnist-bymerge.mat", mat(compressed=False)),
    "packed mat": ("emnist-bymerge.mat", mat(compressed=True)),
    "stored zip": ("gzip.zip", archive(zipfile.ZIP_STORED, **MEMBERS)),
    "packed zip": ("gzip.zip", archive(zipfile.ZIP_DEFLATED, **MEMBERS, x=PACKED)),
    "zip of csv": ("a.zip", archive(zipfile.ZIP_LZMA, **{f"emnist-{NAME}.csv": CSV.encode()})),
}


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """A valid file with a few bytes changed, deleted or inserted, mostly near its ends."""
    changed = bytearray(content)
    size = len(content)
    places = st.integers(0, min(400, size)) | st.integers(max(0, size - 400), size)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(places | st.integers(0, size))
        new = draw(st.binary(max_size=9) | st.sampled_from([b"\xff" * 4, b"\0" * 8, b"\x7f"]))
        gone = draw(st.sampled_from([len(new), len(new), 0, 1, size]))
        changed[at : at + gone] = new
    return bytes(changed)


def most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10


def read(name: str, content: bytes) -> Partition | None:
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder)
        for other, whole in MEMBERS.items():
            if name in (*MEMBERS, f"{IMAGES_NAME}.gz") and not name.startswith(other):
                (raw / other).write_bytes(whole)
        (raw / name).write_bytes(content)
        explain_unused(raw, [], [NAME])
        before = most_memory()
        try:
            return find_partition(raw, NAME)
        except DataError as error:
            assert str(raw / name) in str(error)
            assert len(str(error)) < 1000
            return None
        finally:
            assert most_memory() - before < MOST_MEMORY


@pytest.mark.parametrize("form", FORMS)
def test_a_valid_file_is_read(form: str) -> None:
    partition = read(*FORMS[form])
    assert (partition is None) == (form == "zip of csv")  # LZMA is not read
    assert partition is None or np.array_equal(partition.images.array, IMAGES)


def test_a_mat_file_that_claims_a_huge_table_is_refused(tmp_path: Path) -> None:
    """Found by the test below: a byte changed in the dimensions of the struct `dataset`."""
    name, content = FORMS["mat"]
    dimensions = content.index(b"\1\0\0\0\1\0\0\0")
    huge = content[:dimensions] + b"\0\0\0\4" + content[dimensions + 4 :]
    (tmp_path / name).write_bytes(huge)
    with pytest.raises(DataError, match=r"mat \(.* bytes\) is truncated or corrupt \(.*allocate"):
        find_partition(tmp_path, NAME)


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_a_corrupted_file_is_read_or_refused(form: str, data: st.DataObject) -> None:
    name, content = FORMS[form]
    read(name, data.draw(damaged(content)))


@pytest.mark.parametrize("form", FORMS)
@given(content=st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(form: str, content: bytes) -> None:
    name, whole = FORMS[form]
    read(name, content)
    read(name, whole[:130] + content)  # past magic numbers and headers


@given(text=st.text("0123456789,.-+eE\"' \t\r\n\0;NaNx_\u0663", max_size=200))
def test_arbitrary_text_is_refused_as_csv(text: str) -> None:
    read(f"emnist-{NAME}.csv", text.encode())
    read(f"emnist-{NAME}.csv", CSV.encode() + text.encode())


@given(name=st.text(min_size=1, max_size=40).filter(lambda name: name.encode(errors="ignore")))
def test_arbitrary_names_in_an_archive_are_ignored(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder)
        try:
            (raw / "gzip.zip").write_bytes(archive(zipfile.ZIP_STORED, **{name: b"x"}))
        except UnicodeEncodeError:
            return
        assert find_partition(raw, NAME) is None
        assert [path.name for path in raw.rglob("*")] == ["gzip.zip"]


@given(seed=st.integers(0, 2**32 - 1))
def test_arbitrary_images_can_be_compared_with_emnist(seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (47, 28, 28), dtype=np.uint8)
    assert describe_mismatch(images, np.arange(47))
