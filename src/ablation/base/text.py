"""Sanitises names of files and classes for display."""

import unicodedata

# Unicode categories of control characters, surrogates, and line and paragraph separators.
CONTROLS = ("Cc", "Cs", "Zl", "Zp")
# Values of Bidi_Class that also affect the direction of the text after a name.
BIDI_CONTROLS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def is_control(character: str) -> bool:
    """Whether a character controls the terminal or the direction of the text around it."""
    if unicodedata.category(character) in CONTROLS:
        return True
    return unicodedata.bidirectional(character) in BIDI_CONTROLS


def printable(text: str) -> str:
    """Text that is safe to print on a terminal: control characters are replaced by `?`."""
    return "".join("?" if is_control(each) else each for each in text)
