"""What lies below the folder of raw files, as DVC sees it: it looks before any stage does."""

from pathlib import Path

from ablation.base.text import harmless
from ablation.data.characters import DataError


def refuse_unwatched(raw: Path) -> None:
    """DVC stops at a link to nowhere, waits for ever at a pipe, and passes by a link to a folder.

    Args:
        raw: the folder, or a link to it.

    Raises:
        DataError: naming all of these, each in a line.
    """
    found = [(place, wrong) for place in sorted(raw.rglob("*")) if (wrong := _wrong(place, raw))]
    if found:
        raise DataError("\n".join(harmless(f"{place}: {wrong}") for place, wrong in found))


def no_file(place: Path) -> str:
    """What stands there instead of a file, and what to do."""
    if place.is_dir():
        return "a folder within a class; move it"
    if place.is_symlink():
        return "a link to a file that is not there; mend or delete it"
    return "no file; delete it"


def _wrong(place: Path, raw: Path) -> str:
    if place.is_dir():
        is_read = not any(part.startswith(".") for part in place.relative_to(raw).parts)
        if place.is_symlink() and is_read:
            return (
                "a link to a folder, in which DVC sees no change; move the folder here, or let "
                "data.raw in params.yaml name the folder that holds it"
            )
        return ""
    return "" if place.is_file() else no_file(place)
