"""Avoids importing torch's compiler, which is not used here.

Torch's optimizers import it to exempt themselves from compilation, which takes two seconds and
140 MB in each worker of each stage.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

NAME = "torch._dynamo"


class _Absent(ModuleType):
    """The part of the compiler that optimizers use; other attributes import the real module."""

    def __getattr__(self, name: str) -> Any:
        if (
            name.startswith("__") and name != "__path__"
        ):  # inspection of all modules, as by `inspect`
            raise AttributeError(name)
        if sys.modules.get(NAME) is self:
            del sys.modules[NAME]
        return getattr(import_module(NAME), name)

    @staticmethod
    def disable(function: Any, *_: object, **__: object) -> Any:
        """Return the function, which is not compiled anyway."""
        return function

    @staticmethod
    def graph_break() -> None:
        """Do nothing: there is no graph."""


def leave_compiler_out() -> None:
    """Prevent the import in this process, unless it has happened. Results do not change."""
    sys.modules.setdefault(NAME, _Absent(NAME))
