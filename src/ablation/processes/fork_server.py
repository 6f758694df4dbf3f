"""Forks Python processes from a server that has already imported the libraries.

Importing pandas in a stage, and torch and scikit-learn in its workers, takes seconds in each of
some thirty stages. One fork server per `dvc repro` imports them once. It imports libraries only:
each process imports the project's own code itself, so none runs outdated code.

As a script, this file runs another one as a DVC stage: `python fork_server.py stages/fit.py`. It
needs neither site-packages nor the project for that, so it starts in a few milliseconds.

The fork server of multiprocessing ends with the process that started it, which would be the first
stage. This one ends with its owner, an ancestor process: dvc, for all of its stages.

Lifetimes: the server ends with its owner; a forked process ends with its server and with the
process that requested it, however these end. The server listens on an abstract socket, which leaves
no file behind, and only serves processes of the same user.
"""

import atexit
import contextlib
import ctypes
import gc
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

# In the order in which a study needs them. `import pydantic` loads its modules only on use.
LIBRARIES = (
    *("numpy", "pandas", "pydantic.main", "pydantic.types", "rich.progress", "ruamel.yaml"),
    *("torch", "safetensors.numpy", "sklearn.model_selection", "scipy.stats"),
    *("sklearn.calibration", "PIL.Image", "seaborn"),
)
# Read by libraries at import. Each process has one core, and a process with threads must not fork.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# Name of the server's socket, for forked processes and for the stages of tests.
SERVER_VARIABLE = "ABLATION_FORK_SERVER"
STAGE_VARIABLE = "DVC_STAGE"  # set by dvc for its child processes, but not for itself
LARGEST_MESSAGE = 2**20
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # of prctl(2)
STANDARD_STREAMS = (0, 1, 2)


class Process(Protocol):
    """The common interface of `subprocess.Popen` and `ForkedProcess`."""

    pid: int

    def wait(self) -> int:
        """Wait for it to end; returns its exit status, or the negative number of a signal."""

    def kill(self) -> None:
        """Kill it."""


class ForkedProcess:
    """A process forked by a fork server on request of this one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.pid = int(self._receive()["pid"])

    def wait(self) -> int:
        """Wait for it to end; returns its exit status, or the negative number of a signal."""
        try:
            return int(self._receive()["status"])
        except EOFError:  # the server was killed, and its children with it
            return -signal.SIGKILL

    def kill(self) -> None:
        """Kill it."""
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
    """Start `python ARGUMENTS` in this process's folder and environment.

    The process is forked from this process's fork server, and ends with this process. On systems
    without support for a fork server, a new interpreter is started instead.

    Args:
        arguments: a script and its arguments, or `-m`, a module and its arguments.
        streams: file descriptors of its standard input, output and error.
        interruptible: whether Ctrl-C reaches it.
        search_path: replaces PYTHONPATH.
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
        return _request_process(_connect(), request, streams)
    except OSError:
        stdin, stdout, stderr = streams
        command = [sys.executable, *arguments]
        environment |= ONE_THREAD
        return subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=stderr)


def start_server(owner: int, libraries: Iterable[str] = LIBRARIES) -> str:
    """Start a fork server that ends with its owner; returns the name of its socket.

    The socket accepts connections immediately. If the owner already has a server, its name is
    returned.

    Raises:
        OSError: the system lacks abstract sockets or process file descriptors, or the owner has
            ended.
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
        # In this process group, so that Ctrl-C reaches the forked processes.
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
    """Connect to this process's fork server, which is started if there is none.

    Raises:
        OSError: no server can be started.
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


def _request_process(
    connection: socket.socket, request: dict[str, Any], streams: Sequence[int]
) -> ForkedProcess:
    try:
        socket.send_fds(connection, [json.dumps(request).encode()], streams)
        return ForkedProcess(connection)
    except (OSError, EOFError) as error:
        connection.close()
        raise OSError(str(error)) from None


def _name_of_server(owner: int) -> str:
    """A unique name: process ids are reused, and containers may share a network namespace only."""
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
    """The server process. It has one thread and never uses a GPU, so that it can fork safely."""

    def __init__(self, listener: socket.socket, owner: int, libraries: Iterable[str]) -> None:
        self._listener = listener
        self._owner = owner
        self._unimported = deque(libraries)
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
        """Fork on request until the owner ends; import libraries while there are no requests."""
        while True:
            for key, _ in self._selector.select(0 if self._unimported else None):
                if key.fileobj == self._owner:
                    os._exit(0)  # the kernel kills the children
                elif key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake:
                    self._wake.recv(LARGEST_MESSAGE)
                    self._reap()
                elif isinstance(key.fileobj, socket.socket):
                    self._handle(key.fileobj)
            if self._unimported and not _import(self._unimported.popleft()):
                # After a failed allocation, OpenBLAS would retry forever.
                self._unimported.clear()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        if _user_of_peer(connection) == os.getuid():
            self._selector.register(connection, selectors.EVENT_READ)
        else:
            connection.close()

    def _handle(self, connection: socket.socket) -> None:
        child = next((pid for pid, each in self._children.items() if each is connection), None)
        try:
            message, streams, *_ = socket.recv_fds(connection, LARGEST_MESSAGE, 3)
        except ConnectionError:
            message, streams = b"", []
        if not message:  # the client has gone
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
        gc.freeze()  # else collections in the child traverse all libraries, and copy their pages
        if (child := os.fork()) == 0:
            try:
                self._close()
                _end_with_parent(server)
                _set_up(request, streams)
                status = _run(request["arguments"])
            except BaseException:
                traceback.print_exc()
                status = 1
            _leave(status)
        self._children[child] = connection
        self._reply(connection, {"pid": child})

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                child, status = os.waitpid(-1, os.WNOHANG)
                if not child:
                    return
                if connection := self._children.pop(child, None):
                    self._reply(connection, {"status": os.waitstatus_to_exitcode(status)})
                    self._selector.unregister(connection)
                    connection.close()

    def _reply(self, connection: socket.socket, message: dict[str, int]) -> None:
        with contextlib.suppress(OSError):  # the client has gone, which is noticed next
            connection.send(json.dumps(message).encode())

    def _close(self) -> None:
        """Release the server's resources, in a child."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ[SERVER_VARIABLE] = self._listener.getsockname()[1:].decode()
        self._selector.close()
        for each in (self._listener, self._wake, self._waker, *self._children.values()):
            each.close()
        os.close(self._owner)


def _import(library: str) -> bool:
    """Import a library if it is installed; returns False if the import failed."""
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


def _set_up(request: dict[str, Any], streams: list[int]) -> None:
    """Set up the state that a new interpreter would inherit from its parent."""
    if request["interruptible"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for standard, stream in zip(STANDARD_STREAMS, streams, strict=True):
        os.dup2(stream, standard)
        os.close(stream)
    name = os.environ[SERVER_VARIABLE]
    os.environ.clear()
    os.environ.update(request["environment"] | ONE_THREAD | {SERVER_VARIABLE: name})
    os.chdir(request["folder"])
    # The name shown by `top` and `ps -o comm`: the script, or the last part of the module's name.
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
    """Run `python ARGUMENTS`; returns its exit status."""
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
    """Exit like Python, but without destroying all objects first."""
    finishers = (
        *(threading._shutdown, atexit._run_exitfuncs),  # type: ignore[attr-defined]
        *(sys.stdout.flush, sys.stderr.flush),
    )
    for finish in finishers:
        with contextlib.suppress(BaseException):
            finish()
    os._exit(status & 0xFF)


def _dvc_ancestor() -> int:
    """The id of the dvc process that runs this one as a stage.

    There may be a shell between the two, which has dvc's variable as well.

    Raises:
        ProcessLookupError: dvc has ended.
    """
    process = os.getppid()
    while _is_part_of_a_stage(process):
        process = int(_status_of(process)[1])
    # dvc and its stages are in the same session; the process that adopts orphans is not.
    if process == 0 or os.getsid(process) != os.getsid(0):
        raise ProcessLookupError("dvc has ended")
    return process


def _status_of(process: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the third on (without psutil, to start quickly)."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def _is_part_of_a_stage(process: int) -> bool:
    try:
        environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(variable.startswith(f"{STAGE_VARIABLE}=".encode()) for variable in environment)


def _run_stage(arguments: list[str]) -> int:
    """Run a script as a DVC stage; returns its exit status."""
    if SERVER_VARIABLE not in os.environ:
        if STAGE_VARIABLE not in os.environ:
            os.execv(sys.executable, [sys.executable, *arguments])
        try:
            os.environ[SERVER_VARIABLE] = start_server(_dvc_ancestor())
        except ProcessLookupError:
            return 1
        except (OSError, AttributeError):  # an old kernel, or not Linux
            os.execv(sys.executable, [sys.executable, *arguments])
    process = start_python(arguments)

    def forward(number: int, _frame: object) -> None:
        # A terminal sends Ctrl-C to its process group only.
        if isinstance(process, ForkedProcess) and os.getpgid(process.pid) != os.getpgrp():
            process.send_signal(number)

    signal.signal(signal.SIGINT, forward)
    status = process.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        listening = socket.socket(fileno=int(sys.argv[2]))
        _Server(listening, int(sys.argv[3]), sys.argv[4:]).serve()
    sys.exit(_run_stage(sys.argv[1:]))
