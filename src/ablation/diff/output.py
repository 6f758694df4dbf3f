"""The differences between two revisions as text for a terminal, as Markdown and as JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ablation.base.console import narrow_table
from ablation.base.errors import UserError
from ablation.base.formatting import counted, markdown, percent, points
from ablation.diff.changes import (
    TEST,
    Candidate,
    Change,
    Outcome,
    list_candidates,
    list_changes,
)
from ablation.diff.revisions import Revision, revision_of

HEADS = ("family", "stage", "before", "after", "difference", "real?", "same conditions?")
CANDIDATE_HEADS = ("family", "stage", "candidate", "gain over the incumbent", "repeats", "finding")
DIGITS = 6


@dataclass(frozen=True)
class Difference:
    """All differences between the working tree and a revision.

    Attributes:
        revision: the revision that the working tree is compared with.
        changes: every stage of every family.
        new: settings that only the working tree tried.
        gone: settings that only the revision tried.
        mismatches: conditions under which the two sides' differing numbers were computed, such as
            `libraries`, each with its value in the revision and in the working tree.
    """

    revision: str
    changes: list[Change]
    new: list[Candidate]
    gone: list[Candidate]
    mismatches: dict[str, tuple[str, str]]

    @property
    def real(self) -> list[Change]:
        """The changes beyond the noise, of numbers computed under the same conditions."""
        return [change for change in self.changes if change.real]

    @property
    def models(self) -> list[str]:
        """The families, in the order of the changes."""
        return list(dict.fromkeys(change.model for change in self.changes))


def compare_with(revision: str) -> Difference:
    """Compare the study in the working tree with a revision; reads only files that are in git.

    Raises:
        UserError: there is no study here, no such revision, or no study in it.
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
            mismatches=_mismatches(before, after, changes),
        )


def study_folder() -> Path:
    """The root folder of the study that contains the working folder.

    Raises:
        UserError: neither the working folder nor any parent has a dvc.yaml.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"{here}: no dvc.yaml here or in a parent folder; go to the folder of a study")


def summary(difference: Difference) -> list[str]:
    """Sentences: which changes are real, and which conditions differ."""
    shared = [change for change in difference.changes if change.before and change.after]
    if difference.real:
        real = "; ".join(
            f"{change.stage} of the {change.model.upper()} {_gain(change)}"
            for change in difference.real
        )
        sentences = [f"Real changes, in percentage points with 95 % intervals: {real}."]
    elif shared and all(change.finding == "unchanged" for change in shared):
        sentences = ["No changes: in every stage of both sides, the winner has the same scores."]
    else:
        sentences = ["No change was shown to be real."]
    for name, (before, after) in difference.mismatches.items():
        values = f" ({before or 'unknown'}, now {after or 'unknown'})" if name != "code" else ""
        sentences.append(f"Computed under different conditions: {name}{values}.")
    if difference.mismatches:
        sentences.append(
            "Different conditions alone can cause such a difference. To rule that out, run "
            "`dvc repro` on both sides on one machine, with the same libraries and code."
        )
    return sentences


def as_markdown(difference: Difference) -> str:
    """For a pull request."""
    rows = [
        [
            change.model.upper(),
            change.stage,
            *map(_outcome, (change.before, change.after)),
            _gain(change),
            _verdict(change),
            f"no: {', '.join(change.mismatches)}" if change.mismatches else "yes",
        ]
        for change in difference.changes
    ]
    parts = [
        f"### What changed since `{difference.revision}`",
        "\n".join(f"- {sentence}" for sentence in summary(difference)),
        markdown(HEADS, rows),
    ]
    for title, candidates in _candidates_by_title(difference):
        parts += [f"{title}:", markdown(CANDIDATE_HEADS, map(_candidate_cells, candidates))]
    return "\n\n".join(parts)


def as_json(difference: Difference) -> str:
    """For a program: fractions; unknown values are omitted."""
    content = {
        "revision": difference.revision,
        "mismatches": {name: list(sides) for name, sides in difference.mismatches.items()},
        "changes": [asdict(change) | {"real": change.real} for change in difference.changes],
        "new": [asdict(each) for each in difference.new],
        "gone": [asdict(each) for each in difference.gone],
    }
    return json.dumps(_known(content), indent=2)


def as_text(difference: Difference) -> list[Table | str]:
    """For a terminal of 80 columns: a table per family, then a line for each further fact."""
    parts: list[Table | str] = [f"Since {difference.revision}:\n"]
    for model in difference.models:
        changes = [change for change in difference.changes if change.model == model]
        parts += [_table(model, changes), *_other_winners(changes), ""]
    for title, candidates in _candidates_by_title(difference):
        parts += [f"{title}, with the gain over their incumbent:"]
        parts += [_candidate_line(each) for each in candidates]
        parts.append("")
    if any(change.mismatches and change.differs for change in difference.changes):
        parts.append("*: computed under different conditions")
    return [*parts, *summary(difference)]


def _table(model: str, changes: Sequence[Change]) -> Table:
    table = narrow_table(model.upper(), "before", "after", difference="left")
    table.add_column("real?")
    previous = ""
    for change in changes:
        explored, _, stage = change.stage.rpartition("/")  # `backward/dropout`: below `backward`
        if explored not in ("", previous):
            table.add_row(explored)
        previous = explored
        accuracies = [percent(side.accuracy) if side else "" for side in _sides(change)]
        mark = " *" if change.mismatches and change.differs else ""
        table.add_row(
            f"  {stage}" if explored else stage,
            *accuracies,
            _gain(change),
            f"{_verdict(change)}{mark}",
        )
    return table


def _other_winners(changes: Sequence[Change]) -> list[str]:
    """A line for each stage of both sides whose winners differ."""
    lines = [
        f"{change.stage}: {change.before.winner} -> {change.after.winner}"
        for change in changes
        if change.before and change.after and change.before.winner != change.after.winner
    ]
    return ["changed winners:", *lines] if lines else []


def _sides(change: Change) -> tuple[Outcome | None, Outcome | None]:
    return change.before, change.after


def _candidates_by_title(difference: Difference) -> list[tuple[str, list[Candidate]]]:
    titles = (("New candidates", difference.new), ("No longer tried", difference.gone))
    return [(title, candidates) for title, candidates in titles if candidates]


def _verdict(change: Change) -> str:
    if change.finding in ("better", "worse"):
        return f"{'yes' if change.real else 'unsure'}, {change.finding}"
    if change.finding in ("within the noise", "practically equal", "computed differently"):
        return f"no, {change.finding}"
    return change.finding


def _outcome(outcome: Outcome | None) -> str:
    return f"{outcome.winner}: {percent(outcome.accuracy)}" if outcome else ""


def _gain(each: Change | Candidate) -> str:
    if math.isnan(each.gain):
        return ""
    if math.isnan(each.low):
        return points(each.gain)
    return f"{points(each.gain)} ({points(each.low)} to {points(each.high)})"


def _candidate_finding(each: Candidate) -> str:
    return f"{each.finding}, winner" if each.wins else each.finding


def _candidate_cells(each: Candidate) -> list[str]:
    return [
        *(each.model.upper(), each.stage, each.setting),
        *(_gain(each), str(each.repeats), _candidate_finding(each)),
    ]


def _candidate_line(each: Candidate) -> str:
    facts = [_gain(each), counted(each.repeats, "repeat"), _candidate_finding(each)]
    return f"{each.model.upper()} {each.stage} {each.setting}: {', '.join(filter(None, facts))}"


def _mismatches(
    before: Revision, after: Revision, changes: Sequence[Change]
) -> dict[str, tuple[str, str]]:
    """The conditions that differ in any stage whose numbers differ, as in the first such stage."""
    mismatches: dict[str, tuple[str, str]] = {}
    for change in changes:
        stage = "fit" if change.stage == TEST else change.stage
        first, second = (side.conditions(change.model, stage) for side in (before, after))
        for name in change.mismatches if change.differs else ():
            mismatches.setdefault(name, ("", "") if name == "code" else (first[name], second[name]))
    return mismatches


def _known(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _known(each) for key, each in content.items() if not _is_missing(each)}
    if isinstance(content, list | tuple):
        return [_known(each) for each in content]
    return float(f"{content:.{DIGITS}g}") if isinstance(content, float) else content


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
