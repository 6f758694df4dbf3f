"""Checks that DVC can hash and track every entry of the folder of raw files."""

from pathlib import Path

from ablation.base.text import printable
from ablation.data.characters import DataError


def check_tracked(raw: Path) -> None:
    """Check that DVC can track all raw files.

    DVC fails on a broken link, blocks on a named pipe, and does not follow a link to a folder.

    Args:
        raw: the folder, or a link to it.

    Raises:
        DataError: names all such entries, one per line.
    """
    found = [(path, wrong) for path in sorted(raw.rglob("*")) if (wrong := _wrong(path, raw))]
    if found:
        raise DataError("\n".join(printable(f"{path}: {wrong}") for path, wrong in found))


def not_a_file(path: Path) -> str:
    """What a path that is not a regular file is, and what to do about it."""
    if path.is_dir():
        return "a folder inside a class folder; move it"
    if path.is_symlink():
        return "a broken link; repair or delete it"
    return "not a regular file; delete it"


def _wrong(path: Path, raw: Path) -> str:
    if path.is_dir():
        is_read = not any(part.startswith(".") for part in path.relative_to(raw).parts)
        if path.is_symlink() and is_read:
            return (
                "a link to a folder, which DVC does not track; move the folder here, or set "
                "data.raw in params.yaml to the folder that contains it"
            )
        return ""
    return "" if path.is_file() else not_a_file(path)
