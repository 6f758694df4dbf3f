import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ablation.base.errors import UserError
from ablation.base.files import delete_unfinished, read_csv, whole_file, write_bytes
from tests.clones import in_a_namespace

SOURCE = Path(__file__).parents[2] / "src"
WRITE = """
import os
from pathlib import Path
from ablation.base.console import plain_errors
from ablation.base.files import whole_file, write_bytes
with plain_errors():
"""
IN_TEN_YEARS = 315_360_000


def start(script: str, *wrapped: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*wrapped, sys.executable, "-c", f"{WRITE}    {script}"],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Limit the size of files, as `ulimit -f` or a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that is writing `file`, and its unfinished file."""
    name = str(tmp_path / "file")
    script = f"""
    with whole_file(Path({name!r})) as file:
        file.write(b"new")
        print("writing", flush=True)
        input()
    """
    process = start(script)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    (unfinished,) = tmp_path.glob("*.unfinished")
    yield process, unfinished
    process.kill()
    process.communicate()


def test_a_file_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    write_bytes(b"old", tmp_path / "folder/file")
    with whole_file(tmp_path / "folder/file") as file:
        file.write(b"new")
        file.flush()
        assert (tmp_path / "folder/file").read_bytes() == b"old"
    assert (tmp_path / "folder/file").read_bytes() == b"new"
    assert len(list((tmp_path / "folder").iterdir())) == 1


def test_a_full_disk_is_a_one_line_error_and_keeps_the_old_file(tmp_path: Path) -> None:
    write_bytes(b"old", tmp_path / "file")
    with no_file_larger_than(1000), pytest.raises(UserError) as caught:
        write_bytes(bytes(1001), tmp_path / "file")
    assert str(caught.value) == (
        f"no space in {tmp_path} for file (File too large); free some and run `dvc repro` again; "
        "finished trials are kept"
    )
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_full_disk_is_a_one_line_error(tmp_path: Path) -> None:
    full = in_a_namespace(f"mount -t tmpfs -o size=16k none {tmp_path}")
    output, _ = start(
        f"write_bytes(bytes(10**6), Path({str(tmp_path / 'f')!r}))", *full
    ).communicate()
    assert output == (
        f"error: no space in {tmp_path} for f (No space left on device); free some and run "
        "`dvc repro` again; finished trials are kept\n"
    )


def test_an_error_names_a_path_without_write_permission(tmp_path: Path) -> None:
    readable = in_a_namespace(f"mount -t tmpfs -o ro none {tmp_path}")
    output, _ = start(f"write_bytes(b'', Path({str(tmp_path / 'f')!r}))", *readable).communicate()
    assert output == (f"error: {tmp_path}/f: Read-only file system; write to another disk\n")


def test_an_error_names_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(UserError, match=r"file: Is a directory; name a file, or move the folder"):
        write_bytes(b"", tmp_path / "file")


def test_a_writer_deletes_the_unfinished_files_of_killed_ones(
    writing: tuple[subprocess.Popen[str], Path], tmp_path: Path
) -> None:
    writer, unfinished = writing
    writer.kill()
    writer.wait()
    assert unfinished.exists()
    write_bytes(b"newer", tmp_path / "file")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"newer"]


def test_a_file_being_written_is_not_deleted(
    writing: tuple[subprocess.Popen[str], Path], tmp_path: Path
) -> None:
    writer, unfinished = writing
    os.utime(unfinished, (0, 0))  # as if it were old: the clock may have been set
    write_bytes(b"newer", tmp_path / "file")
    delete_unfinished(tmp_path)
    assert unfinished.exists()
    writer.communicate("go on\n")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_unfinished_files_are_deleted_regardless_of_timestamps(tmp_path: Path) -> None:
    for name, age in (("a" * 64, 0), ("train.npz", IN_TEN_YEARS)):
        left = tmp_path / f"{name}.0123.unfinished"
        left.touch()
        os.utime(left, (left.stat().st_mtime + age,) * 2)
    (tmp_path / "kept").touch()
    delete_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_two_writers_may_write_the_same_file(tmp_path: Path) -> None:
    script = f"[write_bytes(b'x' * 10**5, Path({str(tmp_path / 'f')!r})) for _ in range(300)]"
    writers = [start(script) for _ in range(3)]
    assert [writer.communicate()[0] for writer in writers] == ["", "", ""]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"x" * 10**5]


def test_a_text_column_stays_text_even_if_all_values_look_like_numbers(tmp_path: Path) -> None:
    write_bytes(b"class,recall\n01,1\n", tmp_path / "table.csv")
    assert read_csv(tmp_path / "table.csv", text=["class"])["class"].tolist() == ["01"]
    assert read_csv(tmp_path / "table.csv")["class"].tolist() == [1]


def test_na_is_text_and_an_empty_cell_is_missing(tmp_path: Path) -> None:
    write_bytes(b"class,recall\nNA,\n", tmp_path / "table.csv")
    table = read_csv(tmp_path / "table.csv")
    assert table["class"].tolist() == ["NA"]
    assert table["recall"].isna().all()
