"""Make a scratch copy of this project with the parameters of the small study.

    python demo/scratch.py FOLDER

Works in a clone, in a folder of another repository, and in an unpacked ZIP download.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PROJECT = Path(__file__).parents[1]
# Names to exclude if the project is not in a git repository.
EXCLUDED = {".cache", ".git", ".venv", "__pycache__", "dvc_plots", "prepared", "cache", "tmp"}


def main() -> None:
    (folder,) = sys.argv[1:] or [sys.exit(__doc__)]
    make_copy(Path(folder))


def make_copy(folder: Path) -> None:
    """Copy the project, including uncommitted files, into a new git repository."""
    names = list(own_files())
    shutil.rmtree(folder, ignore_errors=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, folder / name)
    study = merged(read("params.yaml"), read("demo/params.yaml"))
    YAML().dump(study, folder / "params.yaml")
    # The precision recorded for the committed study does not apply to this one.
    (folder / "data/precision.yaml").unlink(missing_ok=True)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def own_files() -> Iterator[Path]:
    """The project's files: those that git lists, or all that are not excluded."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    names = {Path(name) for name in listed.stdout.split("\0")} if not listed.returncode else set()
    if Path("dvc.yaml") not in names:
        names = {path.relative_to(PROJECT) for path in PROJECT.rglob("*")}
        names = {name for name in names if not EXCLUDED & set(name.parts)}
    return (name for name in sorted(names) if (PROJECT / name).is_file())


def merged(study: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The study with some keys of its sections replaced."""
    return study | {section: study[section] | changes[section] for section in changes}


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe").load(PROJECT / name)
    return content


if __name__ == "__main__":
    main()
