import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ablation.run import result_cache

SOURCE = Path(__file__).parents[2] / "src"
WRITE_OFTEN = """
from ablation.run import result_cache
for _ in range(200):
    result_cache.put("key", b"payload" * 10_000)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ABLATION_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_payload_is_returned(folder: Path) -> None:
    result_cache.put("key", b"line\nother \x00 bytes")
    assert result_cache.get("key") == b"line\nother \x00 bytes"
    assert [path.name for path in folder.iterdir()] == ["key"]


def test_a_new_payload_replaces_the_old_one() -> None:
    result_cache.put("key", b"old")
    result_cache.put("key", b"new")
    assert result_cache.get("key") == b"new"


def test_a_missing_payload_is_none_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert result_cache.get("key") is None
    assert not caplog.records


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:10],
        lambda content: content[:64],
        lambda content: content[:-1],
        lambda content: content + b"!",
        lambda content: content.replace(b"payload", b"paYload"),
        lambda content: b"0" + content[1:] if content[:1] != b"0" else b"1" + content[1:],
    ],
)
def test_a_corrupt_payload_is_logged_and_not_returned(
    damage: Callable[[bytes], bytes], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result_cache.put("key", b"the payload")
    (folder / "key").write_bytes(damage((folder / "key").read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert result_cache.get("key") is None
    assert f"{folder / 'key'}: corrupt" in caplog.text


def test_an_unreadable_payload_is_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "key").mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        assert result_cache.get("key") is None
    assert f"{folder / 'key'}: cannot be read" in caplog.text


def test_a_corrupt_payload_can_be_replaced(folder: Path) -> None:
    result_cache.put("key", b"payload")
    (folder / "key").write_bytes(b"")
    result_cache.put("key", b"payload")
    assert result_cache.get("key") == b"payload"


def test_two_processes_may_write_the_same_key_at_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    env = os.environ | {"PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", WRITE_OFTEN]
    writers = [subprocess.Popen(command, env=env) for _ in range(2)]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        seen.add(result_cache.get("key"))
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen == {None, b"payload" * 10_000}
    assert not caplog.records  # no reader saw half a file
    assert [path.name for path in folder.iterdir()] == ["key"]


def test_the_folder_is_set_by_the_variable_or_in_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert result_cache.folder() == folder
    monkeypatch.delenv("ABLATION_CACHE")
    assert result_cache.folder() == Path.cwd() / ".cache/trials"


def test_experiments_of_dvc_use_the_folder_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ABLATION_CACHE")
    workspace = tmp_path / ".dvc/tmp/exps/tmpabc"
    workspace.mkdir(parents=True)
    monkeypatch.chdir(workspace)
    assert result_cache.folder() == tmp_path / ".cache/trials"


def test_a_key_depends_on_all_determinants() -> None:
    assert result_cache.key(a=1, b=[2, "x"]) == result_cache.key(b=[2, "x"], a=1)
    assert (
        len(
            {
                result_cache.key(a=1),
                result_cache.key(a=2),
                result_cache.key(b=1),
                result_cache.key(a="1"),
            }
        )
        == 4
    )
