"""Downloads from a real server on this machine, which can misbehave."""

import fcntl
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ablation.data.characters import DataError
from ablation.raw.download import download
from ablation.raw.emnist import NEEDED
from ablation.raw.formats import member_names, to_idx

CONTENT = np.random.default_rng(0).bytes(3 * 2**20 + 17)
MD5 = hashlib.md5(CONTENT).hexdigest()
MOST = 10**8
SOURCE = Path(__file__).parents[2] / "src"


@dataclass
class Server:
    """The content and the behaviour of the server, and the ranges requested from it."""

    content: bytes = CONTENT
    knows_ranges: bool = True
    cuts_after: int | None = None
    pause: float = 0.0
    states: int | None = None
    url: str = ""
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            state.asked.append(asked)
            start = int(asked[len("bytes=") : -1]) if asked and state.knows_ranges else 0
            if start >= len(state.content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                whole = len(state.content)
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            length = len(state.content) - start if state.states is None else state.states
            if length >= 0:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            end = len(state.content) if state.cuts_after is None else state.cuts_after
            with suppress(ConnectionError):  # the client has gone
                for at in range(start, end, 2**16):
                    self.wfile.write(state.content[at : min(at + 2**16, end)])
                    time.sleep(state.pause)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        state.url = f"http://127.0.0.1:{http.server_address[1]}/gzip.zip"
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield state
        http.shutdown()


def fetch(server: Server, folder: Path) -> None:
    download(server.url, folder / "gzip.zip", MD5, MOST)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_file_is_downloaded_completely(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path / "raw")
    assert (tmp_path / "raw/gzip.zip").read_bytes() == CONTENT
    assert names(tmp_path) == ["gzip.zip", "raw"]


def test_an_interrupted_download_is_resumed(server: Server, tmp_path: Path) -> None:
    server.cuts_after = 2 * 2**20
    with pytest.raises(OSError, match="IncompleteRead"):
        fetch(server, tmp_path)
    assert names(tmp_path) == ["gzip.zip.unfinished"]
    server.cuts_after = None
    fetch(server, tmp_path)
    assert server.asked == [None, f"bytes={2 * 2**20}-"]
    assert (tmp_path / "gzip.zip").read_bytes() == CONTENT
    assert names(tmp_path) == ["gzip.zip"]


def test_without_range_support_the_download_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "gzip.zip.unfinished").write_bytes(CONTENT[:1000])
    server.knows_ranges = False
    fetch(server, tmp_path)
    assert (tmp_path / "gzip.zip").read_bytes() == CONTENT


def test_a_partial_download_of_another_file_is_discarded(server: Server, tmp_path: Path) -> None:
    (tmp_path / "gzip.zip.unfinished").write_bytes(bytes(1000))
    fetch(server, tmp_path)
    assert server.asked == ["bytes=1000-", None]
    assert (tmp_path / "gzip.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("more", [b"", b"more"])
def test_a_complete_earlier_download_is_verified(
    server: Server, more: bytes, tmp_path: Path
) -> None:
    (tmp_path / "gzip.zip.unfinished").write_bytes(CONTENT + more)
    fetch(server, tmp_path)
    assert (tmp_path / "gzip.zip").read_bytes() == CONTENT
    assert len(server.asked) == (2 if more else 1)


def test_another_file_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    server.content = b"something else"
    with pytest.raises(DataError, match=r"gzip\.zip: the downloaded file has the MD5 .*, expected"):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_a_login_page_does_not_overwrite_a_partial_download(server: Server, tmp_path: Path) -> None:
    (tmp_path / "gzip.zip.unfinished").write_bytes(CONTENT[:1000])
    server.content, server.knows_ranges = b"<html>Please log in</html>", False
    with pytest.raises(
        DataError, match="sends 26 bytes, but 1,000 are already downloaded; open it"
    ):
        fetch(server, tmp_path)
    assert (tmp_path / "gzip.zip.unfinished").read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("states", [None, -1, 2 * MOST])  # -1: the server does not state it
def test_a_longer_response_is_refused(server: Server, states: int | None, tmp_path: Path) -> None:
    server.states = states
    with pytest.raises(
        DataError, match=r"sends more than .* bytes, so it is not the expected file"
    ):
        download(server.url, tmp_path / "gzip.zip", MD5, MOST if states == 2 * MOST else 2**20)
    assert names(tmp_path) == []


def test_a_full_disk_is_reported_before_the_first_byte(server: Server, tmp_path: Path) -> None:
    server.states = 10**16
    with pytest.raises(DataError, match=r"MB free, but the download needs 10,000,000,000 MB; free"):
        download(server.url, tmp_path / "gzip.zip", MD5, 10**17)
    assert names(tmp_path) == []


def test_two_programs_do_not_write_to_the_same_file(server: Server, tmp_path: Path) -> None:
    with (tmp_path / "gzip.zip.unfinished").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another program is downloading to this file; wait"):
            fetch(server, tmp_path)


PREPARE = """
import sys
from pathlib import Path
from ablation.raw import emnist
emnist.URL, emnist.MD5 = sys.argv[1:3]
emnist.load_emnist("emnist-mini", Path(sys.argv[3]))
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_download_is_resumed_and_its_partial_file_is_not_raw_data(
    how: signal.Signals, server: Server, tmp_path: Path
) -> None:
    server.content, server.pause = few_characters(), 0.05
    raw = tmp_path / "raw"
    md5 = hashlib.md5(server.content).hexdigest()
    command = [sys.executable, "-c", PREPARE, server.url, md5, str(raw)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(command, env=environment) as killed:
        unfinished = raw / "gzip.zip.unfinished"
        while not (unfinished.exists() and unfinished.stat().st_size):
            assert killed.poll() is None
            time.sleep(0.02)
        killed.send_signal(how)
    server.pause = 0
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "resuming after the first 1 MB" in again.stdout
    assert server.asked[-1] == f"bytes={2**20}-"
    assert f"{raw}/gzip.zip: gzip/emnist-bymerge-test-images-idx3-ubyte: 1,500 char" in again.stderr
    assert names(raw) == ["gzip.zip"]


def few_characters() -> bytes:
    """An archive like NIST's, with a small number of random images."""
    images = np.random.default_rng(0).integers(0, 256, (1500, 28, 28), dtype=np.uint8)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for partition in NEEDED["emnist-mini"]:
            for name, array in zip(member_names(partition), (images, images[:, 0, 0]), strict=True):
                archive.writestr(f"gzip/{name}", to_idx(array))
    return file.getvalue()
