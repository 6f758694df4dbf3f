"""Python processes that start with libraries imported, forked from one that has imported them.

A stage imports pandas, and its workers import torch and scikit-learn: seconds, in each of some
thirty stages. One fork server for each `dvc repro` imports them once. It imports libraries alone:
the project's own code is read anew by each process, so none runs older code than the files hold.

As a script, this file runs another one as a stage of dvc: `python fork_server.py stages/fit.py`.
It needs neither site-packages nor the project for that, so that it starts in a few milliseconds.

multiprocessing has a fork server too, but that one ends with the process that started it, which
would be the first stage. This one serves a process above it, its owner: a dvc and all its stages.

Lifetimes: the server ends with its owner, a forked process with its server and with the process
that asked for it, however these end. The server's address is an abstract socket, which leaves no
file behind, and only processes of the same user get an answer.
"""

import atexit
import contextlib
import ctypes
import importlib
import io
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

# In the order in which a study needs them.
LIBRARIES = (
    *("numpy", "pandas", "pydantic", "rich.progress", "ruamel.yaml"),
    *("torch", "safetensors.numpy", "sklearn.model_selection", "scipy.stats"),
    *("PIL.Image", "seaborn"),
)
# Libraries read them when they are imported. A process has one core, and a process with threads
# must not fork.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# Names the server to those that it has forked, and to the stages of a test.
SERVER_VARIABLE = "ABLATION_FORK_SERVER"
STAGE_VARIABLE = "DVC_STAGE"  # dvc gives it to what it starts, and does not have it itself
LARGEST_MESSAGE = 2**20
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # of prctl(2)
STANDARD_STREAMS = (0, 1, 2)


class Process(Protocol):
    """What `subprocess.Popen` and `ForkedProcess` have in common."""

    pid: int

    def wait(self) -> int:
        """Wait for its end; its exit status, or a signal's negative number."""

    def kill(self) -> None:
        """End it at once."""


class ForkedProcess:
    """A process that a fork server has forked for this one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = int(self._receive()["pid"])

    def wait(self) -> int:
        """Wait for its end; its exit status, or a signal's negative number."""
        try:
            return int(self._receive()["status"])
        except EOFError:  # the server was killed, and its children with it
            return -signal.SIGKILL

    def kill(self) -> None:
        """End it at once."""
        self._connection.close()

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(OSError):
            self._connection.send(str(number).encode())

    def _receive(self) -> dict[str, int]:
        message = self._connection.recv(LARGEST_MESSAGE)
        if not message:
            raise EOFError("the fork server has ended")
        content: dict[str, int] = json.loads(message)
        return content


def start_python(
    arguments: Sequence[str],
    streams: Sequence[int] = STANDARD_STREAMS,
    *,
    interruptible: bool = True,
    search_path: Sequence[str] = (),
) -> Process:
    """Start `python ARGUMENTS`, in this process's folder and environment.

    It ends with this process, and is forked from this process's fork server. Where the system has
    no means for one, it is a process of its own that imports everything again.

    Args:
        arguments: a script and its arguments, or `-m`, a module and its arguments.
        streams: file descriptors of its standard input, output and error.
        interruptible: whether Ctrl-C reaches it.
        search_path: where it looks for modules, instead of PYTHONPATH.
    """
    environment = dict(os.environ)
    if search_path:
        environment["PYTHONPATH"] = os.pathsep.join(search_path)
    request = {
        "arguments": list(arguments),
        "folder": str(Path.cwd()),
        "environment": environment,
        "interruptible": interruptible,
    }
    try:
        return _ask(_connect(), request, streams)
    except OSError:
        stdin, stdout, stderr = streams
        command = [sys.executable, *arguments]
        environment |= ONE_THREAD
        return subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=stderr)


def start_server(owner: int, libraries: Iterable[str] = LIBRARIES) -> str:
    """Start a fork server that lives as long as a process; the name of its socket.

    The socket can be connected to at once. If the process has a server already, that one is named.

    Raises:
        OSError: the system has no abstract sockets or no descriptors of processes, or the process
            has ended.
    """
    name = _name_of_server(owner)
    owned = os.pidfd_open(owner)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        try:
            listener.bind(f"\0{name}")
        except OSError:
            os.close(owned)
            return name
        listener.listen(128)
        given = (listener.fileno(), owned)
        # In the process group of its starter, so that Ctrl-C reaches what it forks.
        subprocess.Popen(
            [sys.executable, "-P", __file__, "--serve", *map(str, given), *libraries],
            env=_without_python_path() | ONE_THREAD,
            cwd="/",
            pass_fds=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    os.close(owned)
    return name


def _connect() -> socket.socket:
    """A connection to this process's fork server, which is started if there is none.

    Raises:
        OSError: there is none, and none can be started.
    """
    if name := os.environ.get(SERVER_VARIABLE):
        with contextlib.suppress(ConnectionRefusedError):
            return _connect_to(name)
    return _connect_to(start_server(os.getpid()))


def _connect_to(name: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(f"\0{name}")
        if _user_of_peer(connection) != os.getuid():
            raise PermissionError(f"{name}: another user's fork server")
    except OSError:
        connection.close()
        raise
    return connection


def _ask(
    connection: socket.socket, request: dict[str, Any], streams: Sequence[int]
) -> ForkedProcess:
    try:
        socket.send_fds(connection, [json.dumps(request).encode()], streams)
        return ForkedProcess(connection)
    except (OSError, EOFError) as error:
        connection.close()
        raise OSError(str(error)) from None


def _name_of_server(owner: int) -> str:
    """A name that no other process has: numbers of processes are given again, and containers may
    share a network, but nothing else."""
    started = _status_of(owner)[19]
    container = Path("/proc/self/ns/pid").readlink()
    return f"ablation-{os.getuid()}-{owner}-{started}-{container}-{sys.executable}"[:107]


def _user_of_peer(connection: socket.socket) -> int:
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    user: int = struct.unpack("3i", found)[1]
    return user


def _without_python_path() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


class _Server:
    """The server's own process. It has one thread, and never asks anything of a GPU."""

    def __init__(self, listener: socket.socket, owner: int, libraries: Iterable[str]) -> None:
        self._listener = listener
        self._owner = owner
        self._ahead = deque(libraries)
        self._children: dict[int, socket.socket] = {}
        self._wake, waker = socket.socketpair()
        self._waker = waker
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector = selectors.DefaultSelector()
        for waited_for in (listener, owner, self._wake):
            self._selector.register(waited_for, selectors.EVENT_READ)

    def serve(self) -> NoReturn:
        """Fork on request until the owner ends; import a library whenever nobody asks."""
        while True:
            for key, _ in self._selector.select(0 if self._ahead else None):
                if key.fileobj == self._owner:
                    os._exit(0)  # the kernel kills the children
                elif key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake:
                    self._wake.recv(LARGEST_MESSAGE)
                    self._reap()
                elif isinstance(key.fileobj, socket.socket):
                    self._hear(key.fileobj)
            if self._ahead and not _import(self._ahead.popleft()):
                # Where memory is refused, OpenBLAS would ask for it forever.
                self._ahead.clear()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        if _user_of_peer(connection) == os.getuid():
            self._selector.register(connection, selectors.EVENT_READ)
        else:
            connection.close()

    def _hear(self, connection: socket.socket) -> None:
        child = next((pid for pid, each in self._children.items() if each is connection), None)
        try:
            message, streams, *_ = socket.recv_fds(connection, LARGEST_MESSAGE, 3)
        except ConnectionError:
            message, streams = b"", []
        if not message:  # whoever asked has gone
            self._selector.unregister(connection)
            connection.close()
            if child:
                del self._children[child]
                os.kill(child, signal.SIGKILL)
        elif child:
            os.kill(child, int(message))
        else:
            self._fork(connection, json.loads(message), streams)
            for stream in streams:
                os.close(stream)

    def _fork(self, connection: socket.socket, request: dict[str, Any], streams: list[int]) -> None:
        server = os.getpid()
        if (child := os.fork()) == 0:
            try:
                self._close()
                _end_with_parent(server)
                _become(request, streams)
                status = _run(request["arguments"])
            except BaseException:
                traceback.print_exc()
                status = 1
            _leave(status)
        self._children[child] = connection
        self._tell(connection, {"pid": child})

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                child, status = os.waitpid(-1, os.WNOHANG)
                if not child:
                    return
                if connection := self._children.pop(child, None):
                    self._tell(connection, {"status": os.waitstatus_to_exitcode(status)})
                    self._selector.unregister(connection)
                    connection.close()

    def _tell(self, connection: socket.socket, message: dict[str, int]) -> None:
        with contextlib.suppress(OSError):  # that whoever asked has gone is heard next
            connection.send(json.dumps(message).encode())

    def _close(self) -> None:
        """In a child: nothing of the server's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ[SERVER_VARIABLE] = self._listener.getsockname()[1:].decode()
        self._selector.close()
        for each in (self._listener, self._wake, self._waker, *self._children.values()):
            each.close()
        os.close(self._owner)


def _import(library: str) -> bool:
    """Import a library if it is installed; whether it could be. Who needs it meets the error."""
    try:
        importlib.import_module(library)
    except ModuleNotFoundError:
        return True
    except BaseException:
        return False
    return True


def _end_with_parent(parent: int) -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _prctl(option: int, value: int | bytes) -> None:
    ctypes.CDLL(None).prctl(option, value)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Take over what a process that Python starts afresh would have from its parent."""
    if request["interruptible"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for standard, stream in zip(STANDARD_STREAMS, streams, strict=True):
        os.dup2(stream, standard)
        os.close(stream)
    name = os.environ[SERVER_VARIABLE]
    os.environ.clear()
    os.environ.update(request["environment"] | ONE_THREAD | {SERVER_VARIABLE: name})
    os.chdir(request["folder"])
    # What `top` and `ps -o comm` show: the script, or the last part of the module's name.
    script = next(each for each in request["arguments"] if each != "-m")
    _prctl(PR_SET_NAME, Path(script.removesuffix(".py").replace(".", "/")).name.encode())
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:0] = [str(Path(path).absolute()) for path in paths]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = io.TextIOWrapper(
        os.fdopen(1, "wb", closefd=False), encoding="utf-8", line_buffering=os.isatty(1)
    )
    sys.stderr = io.TextIOWrapper(
        os.fdopen(2, "wb", 0, closefd=False),
        encoding="utf-8",
        errors="backslashreplace",
        write_through=True,
    )


def _run(arguments: list[str]) -> int:
    """What `python ARGUMENTS` does, and its exit status."""
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            sys.path.insert(0, os.getcwd())  # noqa: PTH109
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            sys.path.insert(0, str(Path(arguments[0]).absolute().parent))
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


def _leave(status: int) -> NoReturn:
    """End, as Python does, but without taking everything apart first."""
    finishers = (
        *(threading._shutdown, atexit._run_exitfuncs),  # type: ignore[attr-defined]
        *(sys.stdout.flush, sys.stderr.flush),
    )
    for finish in finishers:
        with contextlib.suppress(BaseException):
            finish()
    os._exit(status & 0xFF)


def _dvc_above() -> int:
    """The process of the dvc that runs this one as a stage.

    A shell may stand between the two, which has dvc's variable as well.

    Raises:
        ProcessLookupError: dvc has ended.
    """
    process = os.getppid()
    while _is_part_of_a_stage(process):
        process = int(_status_of(process)[1])
    # dvc and its stages are of one session; the process that adopts orphans is of another.
    if process == 0 or os.getsid(process) != os.getsid(0):
        raise ProcessLookupError("dvc has ended")
    return process


def _status_of(process: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the third on. (psutil is in site-packages.)"""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def _is_part_of_a_stage(process: int) -> bool:
    try:
        environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(variable.startswith(f"{STAGE_VARIABLE}=".encode()) for variable in environment)


def _run_stage(arguments: list[str]) -> int:
    """Run a script as a stage of dvc, and return its exit status."""
    if SERVER_VARIABLE not in os.environ:
        if STAGE_VARIABLE not in os.environ:
            os.execv(sys.executable, [sys.executable, *arguments])
        try:
            os.environ[SERVER_VARIABLE] = start_server(_dvc_above())
        except ProcessLookupError:
            return 1
        except (OSError, AttributeError):  # an old kernel, or no Linux
            os.execv(sys.executable, [sys.executable, *arguments])
    process = start_python(arguments)

    def pass_on(number: int, _frame: object) -> None:
        # A terminal sends Ctrl-C to the whole group; what is in another one is told here.
        if isinstance(process, ForkedProcess) and os.getpgid(process.pid) != os.getpgrp():
            process.send_signal(number)

    signal.signal(signal.SIGINT, pass_on)
    status = process.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        listening = socket.socket(fileno=int(sys.argv[2]))
        _Server(listening, int(sys.argv[3]), sys.argv[4:]).serve()
    sys.exit(_run_stage(sys.argv[1:]))
