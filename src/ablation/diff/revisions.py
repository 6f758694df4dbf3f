"""Files of a study at a git revision, and the conditions its numbers were computed under."""

import ast
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from ablation.base.checked import read_yaml
from ablation.base.errors import UserError
from ablation.base.files import read_csv
from ablation.params import PARAMS
from ablation.run.code import CODE
from ablation.run.hardware import LIBRARIES

# Columns of characters and labels, which stay text even if all of them look like numbers.
TEXT = ("character", "actual", "predicted", "candidate", "setting", "winner")
# Files that a comparison reads; matched against whole paths.
READ = re.compile(
    r"params\.yaml|requirements\.lock|plots/data/class_counts\.csv"
    r"|plots/[^/]+/([^/]+/){1,2}(trials|candidates|chain|gains)\.csv"
    r"|plots/[^/]+/test/(correct|predictions)\.csv"
    r"|data/(times|recipes)/[^/]+/([^/]+/)?[^/]+\.(csv|yaml)|metrics/[^/]+/([^/]+/)?[^/]+\.json"
    r"|src/ablation/(trial/[^/]+|data/splits)\.py"
)


class Revision:
    """One side of a comparison: a folder with the files of a study.

    Args:
        root: the folder.
        name: its name in messages.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        self._tables: dict[str, pd.DataFrame] = {}

    @cached_property
    def params(self) -> dict[str, Any]:
        """The content of params.yaml, unchecked, since another version of the code wrote it.

        Raises:
            UserError: there is none, or it lacks a section that the comparison needs.
        """
        path = self.root / PARAMS
        if not path.is_file():
            raise UserError(
                f"{self.name}: has no {PARAMS}, so it is not a study; name another revision"
            )
        content = read_yaml(path)
        needed = ("seed", "data", "validation", "selection", "models", "training")
        if missing := [key for key in needed if key not in content]:
            raise UserError(f"{self.name}: {PARAMS}: {', '.join(missing)}: missing")
        return dict(content)

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def table(self, name: str) -> pd.DataFrame:
        """A CSV file; an empty table if it does not exist."""
        if name not in self._tables:
            there = self.has(name)
            self._tables[name] = read_csv(self.root / name, text=TEXT) if there else pd.DataFrame()
        return self._tables[name]

    def stages(self, model: str) -> list[str]:
        """The contests of a family's chain that have results, in chain order.

        Those of backward elimination are listed one by one, `backward/dropout`.
        """
        paths = self.root.glob(f"plots/{model}/*/chain.csv")
        chains = [self.table(path.relative_to(self.root).as_posix()) for path in paths]
        longest = max(chains, key=len, default=pd.DataFrame())
        names = longest.get("stage", [])
        return [name for name in names if self.has(f"plots/{model}/{name}/candidates.csv")]

    def recipe(self, model: str, stage: str) -> tuple[str, str]:
        """The winning recipe of a stage, and the comment that names its training characters."""
        path = self.root / "data/recipes" / model / f"{stage}.yaml"
        lines = path.read_text().splitlines() if path.is_file() else []
        notes = [line for line in lines if line.startswith("#")]
        return "\n".join(line for line in lines if line not in notes), "\n".join(notes)

    def settings(self, model: str, stage: str) -> dict[str, Any]:
        """The recipe that a stage chose; another version of this code may have checked it."""
        path = self.root / "data/recipes" / model / f"{stage}.yaml"
        return dict(read_yaml(path)) if path.is_file() else {}

    @property
    def repeats(self) -> tuple[Any, ...]:
        """Everything that determines the repeats: equal if two studies ran the same repeats."""
        validation, data = self.params["validation"], self.params["data"]
        folds = validation["repeats"] if validation["scheme"] == "kfold" else None
        characters = {self.recipe(model, "baseline")[1] for model in self.params["models"]}
        return (
            self.params["seed"],
            *(validation["scheme"], validation.get("fraction"), folds),
            *(data["dataset"], frozenset(characters)),
        )

    @property
    def val_to_train(self) -> float:
        """Size of a repeat's validation part over its training part."""
        validation = self.params["validation"]
        if validation["scheme"] == "kfold":
            return 1 / (int(validation["repeats"]) - 1)
        return float(validation["fraction"] / (1 - validation["fraction"]))

    @property
    def validated(self) -> float:
        """Number of characters in a repeat's validation part; infinite if unknown."""
        counts = self.table("plots/data/class_counts.csv")
        share = self.val_to_train / (1 + self.val_to_train)
        return float("inf") if counts.empty else float(round(share * counts["train"].sum()))

    def conditions(self, model: str, stage: str) -> dict[str, str]:
        """What a stage's numbers depend on besides recipes, repeats and characters."""
        times = self.table(f"data/times/{model}/{stage}.csv")
        hardware = {
            name: " and ".join(times[column].astype(str).unique()) if column in times else ""
            for name, column in (("machine", "computer"), ("precision", "precision"))
        }
        return hardware | {"libraries": self.libraries, "code": self.code}

    @cached_property
    def libraries(self) -> str:
        """Versions in requirements.lock of the libraries that a trial's result depends on."""
        path = self.root / "requirements.lock"
        text = path.read_text() if path.is_file() else ""
        found = {name: re.search(rf"^{name}==([^\s;]+)", text, re.MULTILINE) for name in LIBRARIES}
        return ", ".join(f"{name} {version[1]}" for name, version in found.items() if version)

    @cached_property
    def code(self) -> str:
        """The code that computes a trial's result, without comments."""
        package = self.root / "src/ablation"
        files = sorted(path for pattern in CODE for path in package.glob(pattern))
        return "\n".join(f"{path.name}\n{_without_comments(path)}" for path in files)


@contextmanager
def revision_of(name: str, root: Path) -> Iterator[Revision]:
    """The study at a git revision, in a temporary folder.

    Args:
        name: anything that git accepts as a revision: a branch, a tag, a commit.
        root: the folder of the study in the working tree.

    Raises:
        UserError: git knows no such revision, or there is no repository.
    """
    listed = _git(root, "ls-tree", "-r", "-z", "--end-of-options", name, name=name)
    objects = {}
    for line in filter(None, listed.decode(errors="surrogateescape").split("\0")):
        about, _, path = line.partition("\t")
        if READ.fullmatch(path):
            objects[path] = about.split()[2]
    with TemporaryDirectory() as folder:
        stdin = "".join(f"{each}\n" for each in objects.values()).encode()
        content = _git(root, "cat-file", "--batch", name=name, stdin=stdin)
        at = 0
        for path in objects:
            head, _, _ = content[at:].partition(b"\n")
            start, size = at + len(head) + 1, int(head.split()[2])
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content[start : start + size])
            at = start + size + 1
        yield Revision(Path(folder), name)


def _git(root: Path, *command: str, name: str, stdin: bytes = b"") -> bytes:
    try:
        done = subprocess.run(
            ["git", *command], cwd=root, input=stdin, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise UserError("git: command not found; install it to read revisions") from None
    if done.returncode:
        why = (done.stderr.decode(errors="replace").splitlines() or ["no reason given"])[-1]
        raise UserError(
            f"{name}: not a revision that git can read ({why}); `git branch --all` lists branches"
        )
    return done.stdout


def _without_comments(path: Path) -> str:
    try:
        return ast.unparse(ast.parse(path.read_bytes()))
    except SyntaxError:
        return path.read_text(errors="replace")
