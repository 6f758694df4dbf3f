"""Make a scratch copy of this project that holds the small study.

    python demo/scratch.py FOLDER

Works in a clone, in a folder inside another repository, and in what a ZIP download unpacks to.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PROJECT = Path(__file__).parents[1]
# What is not the project's own, for a folder of which git does not say so.
LEFT_OUT = {".cache", ".git", ".venv", "__pycache__", "dvc_plots", "prepared", "cache", "tmp"}


def main() -> None:
    (folder,) = sys.argv[1:] or [sys.exit(__doc__)]
    make_copy(Path(folder))


def make_copy(folder: Path) -> None:
    """Copy the project, what is not committed included, into a fresh git repository."""
    names = list(own_files())
    shutil.rmtree(folder, ignore_errors=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, folder / name)
    study = merged(read("params.yaml"), read("demo/params.yaml"))
    YAML().dump(study, folder / "params.yaml")
    # A record of the study in git says nothing of this one.
    (folder / "data/precision.yaml").unlink(missing_ok=True)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def own_files() -> Iterator[Path]:
    """The project's files: as git has them, or all that are not made, where it does not know."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    names = {Path(name) for name in listed.stdout.split("\0")} if not listed.returncode else set()
    if Path("dvc.yaml") not in names:
        names = {path.relative_to(PROJECT) for path in PROJECT.rglob("*")}
        names = {name for name in names if not LEFT_OUT & set(name.parts)}
    return (name for name in sorted(names) if (PROJECT / name).is_file())


def merged(study: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The study with what `changes` says of the keys in its sections."""
    return study | {section: study[section] | changes[section] for section in changes}


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe").load(PROJECT / name)
    return content


if __name__ == "__main__":
    main()
