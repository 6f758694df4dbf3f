"""Sanitises names of files and classes for display."""

import unicodedata

# Unicode categories of control characters, surrogates, and line and paragraph separators.
CONTROLS = ("Cc", "Cs", "Zl", "Zp")
# Values of Bidi_Class that also affect the direction of the text after a name.
BIDI_CONTROLS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def steers(sign: str) -> bool:
    """Whether a character controls the terminal or the direction of the text around it."""
    is_control = unicodedata.category(sign) in CONTROLS
    return is_control or unicodedata.bidirectional(sign) in BIDI_CONTROLS


def harmless(text: str) -> str:
    """Text that is safe to print on a terminal: control characters are replaced by `?`."""
    return "".join("?" if steers(sign) else sign for sign in text)
