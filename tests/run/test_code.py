"""The digest of the code that a trial runs, and its independence of the Python version."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ablation.run import code

# Syntax of Python 3.11 that this project's code may use one day.
EVERY_SYNTAX = r'''
"""A docstring."""

import os as system
from math import *

async def every(a, /, b: int = 1, *rest, c=2, **more) -> "list[int]":
    """Another."""
    global total
    async with a as b, c:
        await a
    async for x in a:
        yield x
    raise ValueError(f"{a}") from None

@decorated(1, *a, **b)
class Kind(Base, metaclass=Meta):
    x: int
    y: float = 1e-3
    def method(self): return lambda u, *v: (u, *v)

def odd(x, width=9):
    f"no docstring {x}"
    text = f"{x!r:>{width}.3f} {x=} {{}} {'a' 'b'}" "tail" f'{x:%Y}' u"unicode" + "é\u200d"
    numbers = 0x1F, 1_000.5, 2j, 1e308, ..., None, True, -1
    some = [y for y in x if y] + {**x, 1: 2}.get(0, {1, 2}) or x[1:, ::2, ...] @ x
    if (n := len(x)) > 1 < 2 is not None:
        del some
    elif not x:
        pass
    else:
        nonlocal_ = {k: v for k, v in x.items()}
    match x:
        case [1, *_] | {"a": Kind(y=2), **rest} if n: pass
        case None | -1 | "s" as name: pass
        case _: pass
    try:
        assert x, "message"
    except* (A, B) as error:
        pass
    try: import sys
    except OSError: ...
    else: ...
    finally: ...
    while x: break
    for i, (j, *k) in x: continue
    else: x: (yield) = yield from x
    with open(x) as a, b: x //= 3
    return x if x else (x,)
'''


def digest(source: Path) -> str:
    """The digest of a copy of the package, computed in a new process."""
    command = "from ablation.run.code import trial_code_digest; print(trial_code_digest())"
    env = os.environ | {"PYTHONPATH": str(source)}
    return subprocess.check_output([sys.executable, "-c", command], env=env, text=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of src/ for modification."""
    shutil.copytree(
        code.PACKAGE, tmp_path / "src/ablation", ignore=shutil.ignore_patterns("__pycache__")
    )
    return tmp_path / "src"


def test_backup_files_of_editors_do_not_change_the_key(source: Path) -> None:
    before = digest(source)
    (source / "ablation/trial/.#training.py").symlink_to("somebody@somewhere.1234")  # Emacs
    (source / "ablation/trial/._training.py").write_bytes(b"\x00\x05\x16\x07")  # macOS
    assert digest(source) == before


def test_comments_and_docstrings_do_not_change_the_key(source: Path) -> None:
    before = digest(source)
    for name in ("trial/training.py", "data/splits.py"):
        path = source / "ablation" / name
        path.write_text(
            re.sub('"""(?=[A-Z])', '"""In other words: ', path.read_text()) + "\n# More."
        )
    assert digest(source) == before


def test_error_messages_do_not_change_the_key(source: Path) -> None:
    before = digest(source)
    for name, text in (("trial/weights.py", "remove it"), ("data/splits.py", "use at most")):
        path = source / "ablation" / name
        assert text in path.read_text()
        path.write_text(path.read_text().replace(text, "mend it"))
    assert digest(source) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("trial/training.py", "alpha=l2", "alpha=2 * l2"),
        ("trial/models.py", "nn.init.kaiming_normal_", "nn.init.kaiming_uniform_"),
        ("trial/scoring.py", "validation_accuracy[-1]", "validation_accuracy[0]"),
        ("trial/techniques.py", "T_max=steps", "T_max=2 * steps"),
        ("data/splits.py", "shuffle=True", "shuffle=False"),
    ],
)
def test_code_changes_every_key(name: str, old: str, new: str, source: Path) -> None:
    before = digest(source)
    path = source / "ablation" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert digest(source) != before


@pytest.mark.parametrize(
    "name",
    [
        *("params.py", "study/race.py", "fitted/model_file.py", "judge/selection.py"),
        *("raw/emnist.py", "data/characters.py", "base/errors.py"),
        *("run/hardware.py", "run/runner.py", "run/worker.py", "run/code.py"),
    ],
)
def test_code_that_no_trial_runs_does_not_change_the_key(name: str, source: Path) -> None:
    before = digest(source)
    path = source / "ablation" / name
    path.write_text(path.read_text() + "\nMORE = 1\n")
    assert digest(source) == before


def test_the_digest_covers_all_code_that_a_trial_runs(
    import_closure: Callable[[Path], set[Path]],
) -> None:
    covered = {path for pattern in code.CODE for path in code.PACKAGE.glob(pattern)}
    runs = set().union(*(import_closure(path) for path in (code.PACKAGE / "trial").glob("*.py")))
    # The values that they check are part of the key; how they are checked changes no result.
    hashed_by_value = {code.PACKAGE / "recipe.py", *(code.PACKAGE / "base").glob("*.py")}
    missed = {path for path in runs - covered if path.name != "__init__.py"}
    assert missed <= hashed_by_value


def test_the_digest_does_not_depend_on_the_python_version() -> None:
    """The digest was the same in 3.11, 3.12 and 3.13."""
    read = code.as_read(EVERY_SYNTAX.encode())
    assert hashlib.sha256(read.encode()).hexdigest() == (
        "6340e7de63e670d915656472dd52865fa3ebb7a8dba6b57f760b96a208df43b2"
    )


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_every_python_of_this_machine_finds_the_same_digest(minor: int) -> None:
    command = "import runpy, sys; print(runpy.run_path(sys.argv[1])['trial_code_digest']())"
    python = shutil.which(f"python3.{minor}")
    asked = [python or "", "-c", command, str(code.PACKAGE / "run/code.py")]
    environment = os.environ | {"PYENV_VERSION": f"3.{minor}"}  # read by pyenv's launchers
    if not python or subprocess.run([python, "-V"], env=environment, check=False).returncode:
        pytest.skip(f"no Python 3.{minor} on this machine")
    said = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
    assert said.stdout.strip() == code.trial_code_digest(), said.stderr
