"""The digest of the code that computes a trial's number: the same in every Python that reads it.

Imports nothing of this project, so that any Python can be asked for it.
"""

import ast
import hashlib
import sys
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# What computes a trial's number. What is hashed itself is not here: characters, recipes, sizes.
CODE = ("trial/[!.]*.py", "data/splits.py")


@cache
def code_digest() -> str:
    """Hash of the code a trial runs, as Python reads it, without what it says of itself.

    Comments, docstrings and errors do not count.
    """
    digest = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in PACKAGE.glob(pattern)):
        digest.update(f"{path.relative_to(PACKAGE)}\n{as_read(path.read_bytes())}\n".encode())
    return digest.hexdigest()


def as_read(source: bytes) -> str:
    """The syntax tree of a module as Python 3.11 writes it, whichever Python reads it here.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
        if isinstance(node, ast.Raise):
            node.exc = node.cause = None
        if isinstance(node, ast.Constant):
            node.kind = None  # the u of u"text", which 3.11 forgets within f-strings
        if not getattr(node, "type_params", True):  # since 3.12; empty in code that 3.11 can read
            del node.type_params  # type: ignore[attr-defined]
    if sys.version_info >= (3, 13):  # which leaves empty lists out, unless it is told not to
        return ast.dump(tree, show_empty=True)
    return ast.dump(tree)
