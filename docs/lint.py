"""Checks the length of pages and the order of the glossary; `make lint` runs it."""

import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
README_LINES = 120
# Of README and the pages for users, docs/*.md; generated tables and code do not count.
WORDS = 12_000
WORD = re.compile(r"\S*\w\S*")
NOT_PROSE = re.compile(r"<!-- table: .*?<!-- end -->|^```.*?^```$", re.DOTALL | re.MULTILINE)


def main() -> None:
    sys.exit("\n".join(complaints(ROOT)) or None)


def complaints(root: Path) -> Iterator[str]:
    """One line per problem with the pages of a project."""
    lines = len((root / "README.md").read_text().splitlines())
    if lines > README_LINES:
        yield f"README.md: {lines} lines, {README_LINES} at most; move some to docs/"
    pages = (root / "README.md", *(root / "docs").glob("*.md"))
    count = sum(len(WORD.findall(NOT_PROSE.sub("", page.read_text()))) for page in pages)
    if count > WORDS:
        yield (
            f"README.md and docs/: {count:,} words, {WORDS:,} at most; shorten them, or move what "
            "only maintainers need to docs/maintainers/"
        )
    glossary = (root / "docs/glossary.md").read_text()
    words = re.findall(r"^\| ([a-z -]+) \|", glossary, re.MULTILINE)[1:]  # after the table's head
    for word, following in pairwise(words):
        if following < word:
            yield f"docs/glossary.md: {following!r} comes after {word!r}; sort the words"


if __name__ == "__main__":
    main()
