"""What changed between two revisions, as a terminal, a pull request and a program read it."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ablation.base.errors import UserError
from ablation.base.formatting import percent, points
from ablation.diff.changes import (
    TEST,
    Candidate,
    Change,
    Outcome,
    list_candidates,
    list_changes,
)
from ablation.diff.revisions import Revision, revision_of

HEADS = ("family", "stage", "before", "after", "difference", "real?", "computed alike?")
NEW_HEADS = ("family", "stage", "candidate", "gain over the incumbent", "repeats", "found")
DIGITS = 6


@dataclass(frozen=True)
class Difference:
    """All that there is to tell of two revisions.

    Attributes:
        revision: what the working tree is compared with.
        changes: every stage of every family.
        new: settings that only the working tree tried.
        gone: settings that only the revision tried.
        apart: what was not computed alike, such as `libraries`, with what both sides had.
    """

    revision: str
    changes: list[Change]
    new: list[Candidate]
    gone: list[Candidate]
    apart: dict[str, tuple[str, str]]

    @property
    def real(self) -> list[Change]:
        """The changes that were shown, of numbers that were computed alike."""
        return [change for change in self.changes if change.real]


def compare_with(revision: str) -> Difference:
    """The study worked in against one of its revisions, from files in git alone.

    Raises:
        UserError: there is no study here, no such revision, or no study there.
    """
    root = study_folder()
    after = Revision(root, str(root))
    with revision_of(revision, root) as before:
        changes = list_changes(before, after)
        return Difference(
            revision,
            changes,
            new=list_candidates(after, before),
            gone=list_candidates(before, after),
            apart=_what_was_apart(before, after, changes),
        )


def study_folder() -> Path:
    """The folder of the study worked in.

    Raises:
        UserError: there is none here or above.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"{here}: no dvc.yaml here or above; go to the folder of a study")


def sentences(found: Difference) -> list[str]:
    """What is real, and what was not computed alike."""
    if found.real:
        shown = "; ".join(
            f"{change.stage} of the {change.model.upper()} {_numbers(change)}"
            for change in found.real
        )
        said = [f"Real changes, in percentage points with 95 % intervals: {shown}."]
    elif all(change.word == "unchanged" for change in found.changes):
        said = ["Nothing changed: the winner of every stage has the same scores."]
    else:
        said = ["No change was shown to be real."]
    for what, (first, second) in found.apart.items():
        sides = f" ({first or 'not known'}, now {second or 'not known'})" if what != "code" else ""
        said.append(f"Not computed alike: {what}{sides}.")
    if found.apart:
        said.append(
            "Where numbers were not computed alike, a difference may be no more than that: run "
            "`dvc repro` for both on one machine, with the same libraries and code."
        )
    return said


def as_markdown(found: Difference) -> str:
    """For a pull request."""
    parts = [
        f"### What changed since `{found.revision}`",
        "\n".join(f"- {sentence}" for sentence in sentences(found)),
        _rows(HEADS, [_cells(change) for change in found.changes]),
    ]
    for title, candidates in _candidates_by_title(found):
        parts += [f"{title}:", _rows(NEW_HEADS, [_new_cells(each) for each in candidates])]
    return "\n\n".join(parts)


def as_json(found: Difference) -> str:
    """For a program: fractions, and nothing in place of what is not known."""
    content = {
        "revision": found.revision,
        "apart": {what: list(sides) for what, sides in found.apart.items()},
        "changes": [asdict(change) | {"real": change.real} for change in found.changes],
        "new": [asdict(each) for each in found.new],
        "gone": [asdict(each) for each in found.gone],
    }
    return json.dumps(_known(content), indent=2)


def as_tables(found: Difference) -> list[Table | str]:
    """For a terminal."""
    told: list[Table | str] = [
        _table(f"Since {found.revision}", HEADS, [_cells(change) for change in found.changes])
    ]
    for title, candidates in _candidates_by_title(found):
        told.append(_table(title, NEW_HEADS, [_new_cells(each) for each in candidates]))
    return [*told, *sentences(found)]


def _candidates_by_title(found: Difference) -> list[tuple[str, list[Candidate]]]:
    titles = (("New candidates", found.new), ("No longer tried", found.gone))
    return [(title, candidates) for title, candidates in titles if candidates]


def _cells(change: Change) -> list[str]:
    return [
        change.model.upper(),
        change.stage,
        *map(_told, (change.before, change.after)),
        _numbers(change),
        _verdict(change),
        f"no: {', '.join(change.apart)}" if change.apart else "yes",
    ]


def _verdict(change: Change) -> str:
    if change.real:
        return f"yes, {change.word}"
    if change.word in ("better", "worse"):
        return f"{change.word}, but not computed alike"
    if change.word in ("within the noise", "practically equal", "computed otherwise"):
        return f"no, {change.word}"
    return change.word


def _told(outcome: Outcome | None) -> str:
    return f"{outcome.winner}: {percent(outcome.accuracy)}" if outcome else ""


def _numbers(each: Change | Candidate) -> str:
    if math.isnan(each.gain):
        return ""
    if math.isnan(each.low):
        return points(each.gain)
    return f"{points(each.gain)} ({points(each.low)} to {points(each.high)})"


def _new_cells(each: Candidate) -> list[str]:
    found = f"{each.finding}, winner" if each.wins else each.finding
    return [
        *(each.model.upper(), each.stage, each.setting),
        *(_numbers(each), str(each.repeats), found),
    ]


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; a bar inside a cell would end it."""
    lines = [heads, ["---"] * len(heads), *rows]
    cells = ([cell.replace("|", "&#124;") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*heads, title=title, box=None, header_style="bold", title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table


def _what_was_apart(
    before: Revision, after: Revision, changes: Sequence[Change]
) -> dict[str, tuple[str, str]]:
    """What was not computed alike in any stage, with both sides' of the first such stage."""
    apart: dict[str, tuple[str, str]] = {}
    for change in changes:
        stage = "fit" if change.stage == TEST else change.stage
        first, second = (side.computed(change.model, stage) for side in (before, after))
        for what in change.apart if change.before and change.after else ():
            apart.setdefault(what, ("", "") if what == "code" else (first[what], second[what]))
    return apart


def _known(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _known(each) for key, each in content.items() if not _missing(each)}
    if isinstance(content, list | tuple):
        return [_known(each) for each in content]
    return float(f"{content:.{DIGITS}g}") if isinstance(content, float) else content


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
