"""The code that each kind of stage runs, as one small file that its stages depend on.

If stages depended on modules, a changed comment would make them stale, and dvc.lock, which DVC
rewrites after each stage, would be much longer.
"""

import hashlib
from functools import cache
from modulefinder import ModuleFinder
from pathlib import Path

from ablation.base.errors import UserError
from ablation.run.code import as_read

DIGESTS = Path("data/code")
SCRIPTS = Path("stages")
REQUIREMENTS = Path("requirements.lock")
# Runs every script; see `run` in dvc.yaml.
FORK_SERVER = Path("src/ablation/processes/fork_server.py")
# Imports the modules of its folder by their names in the table of data sets.
BY_NAME = Path("src/ablation/raw/loading.py")
TEMPLATES = {".css", ".html", ".jinja"}


def stage_digests() -> dict[Path, str]:
    """The files in data/code: for each script in stages/, the code that it runs.

    A file has a line, `path digest`, for each module that the script imports, directly or through
    others, for the templates beside these modules, and for the versions of the libraries. A
    module's digest ignores comments, docstrings and the messages of errors.

    Returns:
        The contents of the files by their paths; all paths are relative to the working folder.

    Raises:
        UserError: a module is not valid Python.
    """
    digest = cache(_digest)
    every_stage = {REQUIREMENTS} | modules_of(FORK_SERVER)
    contents = {}
    for script in SCRIPTS.glob("*.py"):
        files = modules_of(script) | every_stage
        if BY_NAME in files:
            files = files.union(*map(modules_of, BY_NAME.parent.glob("*.py")))
        beside = (each for folder in {path.parent for path in files} for each in folder.iterdir())
        files |= {path for path in beside if path.suffix in TEMPLATES}
        lines = (f"{path} {digest(path)}\n" for path in sorted(files))
        contents[DIGESTS / f"{script.stem}.txt"] = "".join(lines)
    return contents


def modules_of(script: Path) -> set[Path]:
    """A script and the modules of this project that it imports, directly or through others.

    Args:
        script: relative to the repository, which is the working folder.

    Raises:
        UserError: one of them is not valid Python.
    """
    finder = ModuleFinder(path=["src"])
    try:
        finder.run_script(str(script))
        for name in finder.badmodules:  # other libraries, and what is not valid Python
            _compile(Path("src", *name.split(".")).with_suffix(".py"))
    except SyntaxError as error:
        raise UserError(f"{error.filename}:{error.lineno}: {error.msg}; correct it") from None
    files = [module.__file__ for module in finder.modules.values()]  # type: ignore[attr-defined]
    return {Path(file).absolute().relative_to(Path.cwd()) for file in files if file}


def _compile(path: Path) -> None:
    if path.is_file():
        compile(path.read_bytes(), path, "exec")


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".py":
        content = as_read(content).encode()
    return hashlib.sha256(content).hexdigest()[:16]
