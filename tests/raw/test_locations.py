import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ablation.data.characters import DataError
from ablation.raw.formats import find_partition
from ablation.raw.locations import Location, files

SOURCE = Path(__file__).parents[2] / "src"
NAME = "emnist-bymerge-test.csv"
READ = """
import sys
from pathlib import Path
from ablation.base.console import plain_errors
from ablation.raw.formats import find_partition
with plain_errors():
    find_partition(Path(sys.argv[1]), "bymerge-test")
"""


@pytest.mark.parametrize(
    "hidden",
    [
        ".unfinished-x7",
        ".Trash-1000/files",
        ".ipynb_checkpoints",
        "$RECYCLE.BIN",
        "__MACOSX",
        "a/.b",
        "1/2/3/4",
    ],
)
def test_hidden_and_deep_folders_are_not_searched(hidden: str, tmp_path: Path) -> None:
    (tmp_path / hidden).mkdir(parents=True)
    for name in ("gzip.zip", NAME):
        (tmp_path / hidden / name).write_bytes(b"cut short")
    assert find_partition(tmp_path, "bymerge-test") is None


@pytest.mark.parametrize("name", [".emnist-bymerge-test.csv", f"{NAME}.unfinished"])
def test_hidden_and_unfinished_files_are_not_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"cut short")
    assert files(tmp_path) == []


def test_a_pipe_a_broken_link_and_a_link_to_itself_are_ignored(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    (tmp_path / "gzip.zip").symlink_to(tmp_path / "gone")
    (tmp_path / "round").symlink_to(tmp_path)
    assert files(tmp_path) == []


def test_a_file_precedes_its_copies(tmp_path: Path) -> None:
    copies = ["a/emnist-x.csv", "emnist-x (1).csv", "emnist-x.csv"]
    for name in copies:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(place.path.relative_to(tmp_path)) for place in files(tmp_path)]
    assert found == [copies[2], copies[1], copies[0]]


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("emnist-x-images.idx3-ubyte", "emnist-x-images-idx3-ubyte"),
        ("emnist-x-images-idx3-ubyte (1).gz", "emnist-x-images-idx3-ubyte"),
        ("EMNIST-X (12).CSV.gz", "emnist-x.csv"),
        ("emnist-x - Copy (2).csv", "emnist-x.csv"),
        ("emnist-x copy.mat", "emnist-x.mat"),
        ("emnist-copyright.csv", "emnist-copyright.csv"),
    ],
)
def test_copy_suffixes_are_removed_from_a_name(name: str, plain: str) -> None:
    assert Location(Path("raw") / name).name == plain


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            NAME,
            "{path}: cannot be read (Permission denied); run `chmod u+r '{path}'`",
        ),
        ("gzip.zip", "{path}: cannot be read (Permission denied); run `chmod u+r"),
        (
            "EMNIST/",
            "{path}: this folder cannot be read (Permission denied); run `chmod u",
        ),
    ],
)
def test_a_file_without_read_permission_is_reported(name: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.mkdir() if name.endswith("/") else path.touch()
    path.chmod(0)
    command = [sys.executable, "-c", READ, str(tmp_path)]
    if os.geteuid() == 0:  # root can read every file unless it drops that capability
        if not shutil.which("setpriv"):
            pytest.skip("root without setpriv may read every file")
        rights = "-dac_override,-dac_read_search"
        command = ["setpriv", "--bounding-set", rights, "--inh-caps", rights, *command]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    path.chmod(0o700)
    assert result.stderr.startswith(f"error: {said.format(path=path)}")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["gzip.zip", NAME])
def test_a_git_lfs_pointer_names_the_command_that_fetches_the_file(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0")
    with pytest.raises(DataError, match=rf"{name}: a Git LFS pointer .* `git lfs pull`"):
        find_partition(tmp_path, "bymerge-test")
