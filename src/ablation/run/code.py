"""A digest of the code that determines a trial's result, independent of the Python version.

Imports nothing from this project, so that any Python can compute it.
"""

import ast
import hashlib
import sys
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# The code that determines a trial's result. Its inputs (characters, recipes, sizes) are hashed too.
CODE = ("trial/[!.]*.py", "data/splits.py")


@cache
def trial_code_digest() -> str:
    """Hash of the syntax trees of the code a trial runs.

    Comments, docstrings and raised errors are ignored.
    """
    digest = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in PACKAGE.glob(pattern)):
        digest.update(f"{path.relative_to(PACKAGE)}\n{as_read(path.read_bytes())}\n".encode())
    return digest.hexdigest()


def as_read(source: bytes) -> str:
    """Dump the syntax tree of a module in the format of Python 3.11, on any later version.

    Raises:
        SyntaxError: the source is not valid Python.
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
            node.kind = None  # the u of u"text", which 3.11 drops inside f-strings
        if not getattr(node, "type_params", True):  # since 3.12; empty in code valid in 3.11
            del node.type_params  # type: ignore[attr-defined]
    if sys.version_info >= (3, 13):  # omits empty lists by default
        return ast.dump(tree, show_empty=True)
    return ast.dump(tree)
