"""Stages forked from a process with libraries imported, run as dvc runs them."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ablation.processes.fork_server import SERVER_VARIABLE, start_python, start_server
from tests.clones import processes_of, wait_for

LAUNCHER = Path(__file__).parents[2] / "src/ablation/processes/fork_server.py"
WORKS_FOREVER = """
import time
print("at work", flush=True)
time.sleep(3600)
"""
REPORTS = """
import os, sys
print(sys.argv, os.getcwd(), os.environ["COLOUR"], sys.path[0], sys.path[1], __name__)
print(sys.stdin.read(), "torch" in sys.modules)
print("on stderr", file=sys.stderr)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux 5.3")


@contextmanager
def dvc(command: str, script: Path, **variables: str) -> Iterator[psutil.Popen]:
    """A shell in its own session that runs `$STAGE` as dvc does, with dvc's variable set."""
    environment = os.environ | variables | {"STAGE": f"{sys.executable} -S {LAUNCHER} {script}"}
    environment.pop(SERVER_VARIABLE, None)
    process = psutil.Popen(
        ["sh", "-c", command.replace("$STAGE", "DVC_STAGE=s $STAGE")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for left in processes_of(process.pid):
            left.kill()
        process.communicate()


@pytest.fixture
def works_forever(tmp_path: Path) -> Path:
    script = tmp_path / "stage.py"
    script.write_text(WORKS_FOREVER)
    return script


def run(script: str, folder: Path, command: str = "$STAGE", stdin: str = "") -> tuple[str, int]:
    """The output of a stage, and its exit status."""
    (folder / "stage.py").write_text(script)
    with dvc(command, folder / "stage.py", COLOUR="red") as shell:
        output, _ = shell.communicate(stdin)
        return output, shell.returncode


def test_a_forked_stage_has_the_environment_of_a_new_interpreter(tmp_path: Path) -> None:
    command = f"cd {tmp_path}; PYTHONPATH=some $STAGE one two"
    output, status = run(REPORTS, tmp_path, command, stdin="typed")
    assert status == 0
    assert sorted(output.splitlines()) == sorted(
        [
            f"['{tmp_path}/stage.py', 'one', 'two'] {tmp_path} red {tmp_path} {tmp_path}/some "
            "__main__",
            "typed False",
            "on stderr",
        ]
    )


def test_libraries_are_already_imported_in_the_next_stage(tmp_path: Path) -> None:
    script = "import sys, time; print('torch' in sys.modules); import torch"
    output, _ = run(script, tmp_path, "$STAGE; sleep 0.1; $STAGE; $STAGE")
    assert output.splitlines()[0] == "False"
    assert output.splitlines()[-1] == "True"


def test_imported_libraries_are_exempt_from_garbage_collection(tmp_path: Path) -> None:
    script = "import gc, sys; print('torch' in sys.modules, len(gc.get_objects())); import torch"
    output, _ = run(script, tmp_path, "$STAGE; $STAGE; $STAGE")
    imported, traversed = output.splitlines()[-1].split()
    assert imported == "True"
    assert int(traversed) < 10_000


def test_code_edited_between_two_stages_is_reloaded(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("VALUE = 1")
    edit = f"echo 'VALUE = 23' > {tmp_path}/module.py"
    output, _ = run("import module; print(module.VALUE)", tmp_path, f"$STAGE; {edit}; $STAGE")
    assert output == "1\n23\n"


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('error: a mistake')", 1, "error: a mistake\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137, ""),
        ("import atexit; atexit.register(print, 'tidied up')", 0, "tidied up\n"),
    ],
)
def test_dvc_gets_the_exit_status(script: str, status: int, said: str, tmp_path: Path) -> None:
    assert run(script, tmp_path) == (said, status)


def test_an_error_has_its_traceback(tmp_path: Path) -> None:
    output, status = run("1 / 0", tmp_path)
    assert status == 1
    assert output.startswith("Traceback")
    assert output.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.parametrize("command", ["$STAGE; :", "DVC_STAGE=s sh -c '$STAGE; :'; :"])
@pytest.mark.parametrize("killed", [signal.SIGTERM, signal.SIGKILL])
def test_everything_ends_with_dvc(
    command: str, killed: signal.Signals, works_forever: Path
) -> None:
    with dvc(command, works_forever) as shell:
        assert shell.stdout.readline() == "at work\n"
        assert len(processes_of(shell.pid, "fork_server")) > 1
        shell.send_signal(killed)
        wait_for(lambda: not processes_of(shell.pid))


def test_a_stage_ends_with_the_process_that_dvc_waits_for(works_forever: Path) -> None:
    with dvc("$STAGE; sleep 3600", works_forever) as shell:
        assert shell.stdout.readline() == "at work\n"
        (launcher,) = (each for each in shell.children() if "-S" in each.cmdline())
        launcher.kill()
        wait_for(lambda: not [p for p in processes_of(shell.pid) if p.name() == "stage"])


def test_a_stage_ends_if_its_server_is_killed(works_forever: Path) -> None:
    with dvc("$STAGE", works_forever) as shell:
        assert shell.stdout.readline() == "at work\n"
        servers = processes_of(shell.pid, "--serve")
        min(servers, key=lambda process: process.create_time()).kill()
        assert shell.wait() == 137
        wait_for(lambda: not processes_of(shell.pid))


def test_a_stage_does_not_start_after_its_dvc_has_ended(works_forever: Path) -> None:
    adopted = 'while [ "$(cut -d" " -f4 /proc/$$/stat)" = "$DVC" ]; do sleep 0.01; done'
    inner = f"DVC=$$ DVC_STAGE=s sh -c '{adopted}; $STAGE' &"
    with dvc(inner, works_forever) as shell:
        output, _ = shell.communicate()
        assert output == ""


def test_ctrl_c_reaches_a_stage_once(tmp_path: Path) -> None:
    script = """
import time
try:
    print("at work", flush=True)
    time.sleep(3600)
except KeyboardInterrupt:
    time.sleep(0.1)
    print("tidied up")
"""
    (tmp_path / "stage.py").write_text(script)
    with dvc("trap '' INT; (trap - INT; $STAGE); echo $?", tmp_path / "stage.py") as shell:
        assert shell.stdout.readline() == "at work\n"
        os.killpg(shell.pid, signal.SIGINT)  # as a terminal does
        output, _ = shell.communicate()
        assert output == "tidied up\n0\n"


def test_each_dvc_process_has_its_own_server(works_forever: Path) -> None:
    with dvc("$STAGE; :", works_forever) as one, dvc("$STAGE; :", works_forever) as other:
        for shell in (one, other):
            assert shell.stdout.readline() == "at work\n"
        one.kill()
        wait_for(lambda: not processes_of(one.pid))
        assert [p for p in processes_of(other.pid) if p.name() == "stage"]


def test_a_server_leaves_no_file(works_forever: Path, tmp_path: Path) -> None:
    with dvc("$STAGE; :", works_forever, TMPDIR=str(tmp_path)) as shell:
        assert shell.stdout.readline() == "at work\n"
        assert [*tmp_path.iterdir()] == [works_forever]
        held = {file.path for p in processes_of(shell.pid) for file in p.open_files()}
        assert not [path for path in held if path.startswith("/dev/shm")]


def test_requests_of_other_users_are_refused() -> None:
    if os.getuid():
        pytest.skip("only root can become another user")
    name = start_server(os.getpid())
    ask = (
        "import os, socket; os.setuid(65534); s = socket.socket(socket.AF_UNIX, "
        f"socket.SOCK_SEQPACKET); s.connect('\\0' + {name!r}); s.send(b'{{}}'); print(s.recv(9))"
    )
    asked = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    assert asked.stdout in ("", "b''\n")
    assert "error" in asked.stderr.lower() or asked.stdout


def test_without_a_server_a_new_interpreter_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SERVER_VARIABLE, raising=False)
    monkeypatch.delattr(socket, "send_fds")
    monkeypatch.setattr(socket.socket, "connect", _refuse)
    (tmp_path / "script.py").write_text("import sys; sys.exit(3)")
    assert start_python([str(tmp_path / "script.py")]).wait() == 3


def _refuse(*_: object) -> None:
    raise ConnectionRefusedError
