"""Fault tolerance: real stages of a real study, which are killed."""

import os
import signal
import subprocess
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.clones import Clone, in_a_namespace, processes_of, shared_memory_of, wait_for

BASELINE = ("--model", "mlp", "--stage", "baseline")
STAGE = ("env", "PYTHONPATH=src", "python", "stages/technique.py", *BASELINE)
REPRO = ("dvc", "repro", "--single-item", "baseline@mlp")
KEPT = "run `dvc repro` again, finished trials are kept"
WORKER = "pool"
IN_TEN_YEARS = 315_360_000 * 10**9


@pytest.fixture
def victim(prepared: Clone, tmp_path: Path) -> Clone:
    return prepared.duplicate(tmp_path / "victim")


@pytest.fixture
def long_study(victim: Clone) -> Clone:
    """A study whose first stage takes minutes, with short trials."""
    victim.edit("models", "mlp", "epochs", value=4)
    victim.edit("validation", "repeats", value=200)
    return victim


def start_training(study: Clone, *command: str) -> subprocess.Popen[str]:
    """Start a command, and wait until its first trial is cached."""
    process = study.start(*command)
    wait_for(lambda: study.trained() or process.poll() is not None)
    assert process.poll() is None, process.communicate()[0]
    return process


def end_of(process: subprocess.Popen[str]) -> str:
    """The output of a process, after it and its descendants have ended."""
    output, _ = process.communicate()
    wait_for(lambda: not processes_of(process.pid))
    return output


def errors_in(output: str) -> list[str]:
    """The output of a stage except its headline and its note."""
    assert "Traceback" not in output, output
    return [line for line in output.splitlines() if line.startswith(("error:", "interrupted"))]


@pytest.mark.deep
def test_a_stage_ends_with_its_dvc_and_the_next_dvc_resumes(long_study: Clone) -> None:
    dvc = start_training(long_study, *REPRO)
    dvc.terminate()
    end_of(dvc)
    wait_for(lambda: not processes_of(dvc.pid))
    before = long_study.trained()
    again = start_training(long_study, *REPRO)
    wait_for(lambda: len(long_study.trained()) > len(before))
    os.killpg(again.pid, signal.SIGKILL)
    end_of(again)
    assert before.items() < long_study.trained().items()


@pytest.mark.deep
def test_a_second_dvc_names_the_process_that_holds_the_lock(long_study: Clone) -> None:
    first = start_training(long_study, *REPRO)
    said = long_study.run(*REPRO, fails=True)
    assert "is busy" in said
    assert f"(PID {first.pid})" in said
    assert "Running stage" not in said
    assert first.poll() is None
    os.killpg(first.pid, signal.SIGKILL)
    end_of(first)


def test_ctrl_c_prints_one_line(long_study: Clone) -> None:
    dvc = start_training(long_study, *REPRO)
    os.killpg(dvc.pid, signal.SIGINT)  # as a terminal does
    said = end_of(dvc)
    assert errors_in(said) == ["interrupted; finished trials are kept, `dvc repro` resumes"]
    assert "failed to reproduce 'baseline@mlp'" in said


def test_a_killed_worker_is_a_one_line_error(long_study: Clone) -> None:
    dvc = start_training(long_study, *REPRO)
    processes_of(dvc.pid, WORKER)[0].kill()
    (said,) = errors_in(end_of(dvc))
    assert said == (
        "error: a worker was killed, probably because memory ran out; lower training.workers in "
        f"params.yaml and {KEPT}"
    )


@pytest.mark.deep
def test_a_full_disk_is_a_one_line_error_and_finished_trials_are_kept(long_study: Clone) -> None:
    long_study.memory.mkdir(parents=True)
    # What the disk still held is looked at before it is gone.
    full = in_a_namespace(f"mount -t tmpfs -o size=24k none {long_study.memory}")
    look = ("sh", "-c", '"$@"; ls $ABLATION_CACHE', "sh")
    said = end_of(long_study.start(*full, *look, *STAGE))
    (error,) = errors_in(said)
    assert error.startswith(f"error: no space in {long_study.memory} for ")
    assert error.endswith(f" (No space left on device); free some and {KEPT}")
    names = [line for line in said.splitlines() if len(line) == 64]
    assert len(names) >= 2


@pytest.mark.deep
def test_a_failed_allocation_is_a_one_line_error(long_study: Clone) -> None:
    """The memory limit of the stage is too low to import torch."""
    limited = ("sh", "-c", 'ulimit -v 2000000; exec "$@"', "sh")
    (error,) = errors_in(end_of(long_study.start(*limited, *STAGE)))
    assert error.startswith("error: out of memory (")
    assert error.endswith(KEPT)


@pytest.mark.deep
@pytest.mark.parametrize("options", ["ro", "size=4k,nr_inodes=1"])
def test_no_shared_memory_is_needed(options: str, victim: Clone) -> None:
    wrapped = in_a_namespace(f"mount -t tmpfs -o {options} none /dev/shm")
    victim.run(*wrapped, *STAGE)
    assert len(victim.trained()) == 2


@pytest.mark.deep
def test_training_allocates_no_shared_memory(long_study: Clone) -> None:
    process = start_training(long_study, *STAGE)
    assert shared_memory_of(process.pid) == set()
    os.killpg(process.pid, signal.SIGKILL)
    end_of(process)


@pytest.mark.deep
def test_a_read_only_cache_is_named(victim: Clone) -> None:
    victim.memory.mkdir(parents=True)
    read_only = in_a_namespace(f"mount -t tmpfs -o ro none {victim.memory}")
    (error,) = errors_in(end_of(victim.start(*read_only, *STAGE)))
    assert error.startswith(f"error: {victim.memory}/")
    assert error.endswith(": Read-only file system; write to another disk")


@pytest.mark.deep
def test_a_read_only_checkout_is_reported(victim: Clone) -> None:
    read_only = in_a_namespace(
        f"mount --bind {victim.path} {victim.path}; "
        f"mount -o remount,bind,ro {victim.path}; cd {victim.path}"
    )
    memory = f"ABLATION_CACHE={victim.path.parent}/elsewhere"
    (error,) = errors_in(end_of(victim.start(*read_only, "env", memory, *STAGE[1:])))
    assert error.startswith("error: plots/mlp/baseline/trials.csv: Read-only file system; ")
    said = victim.run(*read_only, "dvc", "repro", fails=True)
    assert "Read-only file system" in said
    assert str(victim.path) in said
    assert "Traceback" not in said


@pytest.mark.deep
def test_two_processes_may_prepare_at_once(victim: Clone) -> None:
    prepare = ("env", "PYTHONPATH=src", "python", "stages/prepare.py")
    folder = victim.path / "data/prepared"
    before = {path.name: path.read_bytes() for path in folder.glob("*.npz")}
    both = [victim.start(*prepare) for _ in range(2)]
    for process in both:
        output = end_of(process)
        assert process.returncode == 0, output
    assert {path.name: path.read_bytes() for path in folder.glob("*.npz")} == before
    assert list(folder.glob("*.unfinished")) == []


@pytest.mark.deep
def test_unfinished_files_in_the_cache_are_deleted(victim: Clone) -> None:
    victim.memory.mkdir(parents=True)
    left = victim.memory / f"{'a' * 64}.0123.unfinished"
    left.touch()
    os.utime(left, ns=(IN_TEN_YEARS + left.stat().st_mtime_ns,) * 2)
    victim.run(*STAGE)
    assert not left.exists()


@pytest.mark.deep
def test_files_with_future_timestamps_are_valid(victim: Clone) -> None:
    """Setting the clock back leaves files that are newer than now."""
    victim.run(*REPRO)
    trained = victim.trained()
    for path in (*victim.memory.iterdir(), *victim.path.glob("data/**/*")):
        os.utime(path, ns=(path.stat().st_mtime_ns + IN_TEN_YEARS,) * 2)
    assert "Running stage" not in victim.run(*REPRO)
    victim.run(*REPRO, "--force")
    assert victim.trained().keys() == trained.keys()


# Who is killed, by words in the command; all are, where nobody has them.
KILLS = [
    ("", signal.SIGKILL),
    ("stages/", signal.SIGKILL),
    (WORKER, signal.SIGKILL),
    ("dvc repro", signal.SIGTERM),
]


@pytest.mark.faults
def test_twenty_kills_change_no_byte(study: Clone, victim: Clone) -> None:
    """A study with four workers, killed in twenty stages in four ways, and one with two workers."""
    victim.edit("training", "workers", value=4)
    known: set[str] = set()
    for words, how in KILLS * 5:
        dvc = start_next_stage(victim, known)
        (*_, stage) = wait_for(partial(processes_of, dvc.pid, "stages/"))
        if words == WORKER:
            wait_for(partial(worker_or_end, stage, dvc.pid))
        for process in processes_of(dvc.pid, words) or processes_of(dvc.pid):
            process.send_signal(how)
        assert "Traceback" not in end_of(dvc)
        mend_lock(victim)
    victim.repro()
    assert victim.results() == study.results()


def start_next_stage(study: Clone, known: set[str]) -> subprocess.Popen[str]:
    """Start `dvc repro`, and wait for the first stage that has not run yet."""
    dvc = study.start("dvc", "repro")
    assert dvc.stdout is not None
    for line in dvc.stdout:
        if line.startswith("Running stage") and line not in known:
            known.add(line)
            return dvc
    raise AssertionError(f"dvc ended, and had been killed in {len(known)} stages")


def mend_lock(study: Clone) -> None:
    """Repair dvc.lock as in docs/running.md: dvc truncates the file before rewriting it."""
    lock = study.path / ".dvc/tmp/rwlock"
    if lock.read_text() == "":
        lock.unlink()


def worker_or_end(stage: psutil.Process, session: int) -> bool:
    return bool(processes_of(session, WORKER)) or not stage.is_running()


@pytest.mark.faults
@pytest.mark.parametrize("how", ["--temp", "--queue"])
def test_an_experiment_gives_the_same_bytes(how: str, study: Clone, victim: Clone) -> None:
    """An experiment without changes, for one family, in a copy of the repository."""
    victim.run("dvc", "exp", "run", how, "--name", "a-copy", "evaluate@mlp", "leave_one_out@mlp")
    if how == "--queue":
        victim.run("dvc", "queue", "start")
        wait_for(lambda: "Success" in victim.run("dvc", "queue", "status"))
        victim.run("dvc", "queue", "stop")
    assert not (victim.path / "data/recipes/mlp").exists()
    victim.run("dvc", "exp", "apply", "a-copy")
    ours, others = victim.results(), study.results()
    names = [
        name for name in others if "mlp" in Path(name).parts or name.endswith("mlp.safetensors")
    ]
    assert len(names) > 50
    assert [name for name in names if ours[name] != others[name]] == []
