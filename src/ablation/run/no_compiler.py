"""Training without torch's compiler, which nothing here uses.

Torch's optimizers import it all the same, to keep it away from themselves. That takes two seconds
and 140 MB, in every worker of every stage.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

NAME = "torch._dynamo"


class _Absent(ModuleType):
    """What an optimizer asks of the compiler; whoever asks for more gets the real one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # who merely looks through all modules
            raise AttributeError(name)
        if sys.modules.get(NAME) is self:
            del sys.modules[NAME]
        return getattr(import_module(NAME), name)

    @staticmethod
    def disable(function: Any, *_: object, **__: object) -> Any:
        """The function itself: it is not compiled anyway."""
        return function

    @staticmethod
    def graph_break() -> None:
        """Nothing is compiled that would have to be broken off."""


def leave_compiler_out() -> None:
    """Spare this process the import, unless it has happened. No number changes."""
    sys.modules.setdefault(NAME, _Absent(NAME))
