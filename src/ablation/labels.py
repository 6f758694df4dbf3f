"""Labels of settings, in messages, tables and figures."""

from collections.abc import Iterable
from typing import Any

from ablation.base.checked import Checked
from ablation.trial.recipe import Regularization


def label(setting: Any, without: Iterable[str] = ()) -> str:
    """The label of a setting: `cosine`, `sgd lr=0.1`, `l2=0.0001`, `on`, `0.2`, `2x`,
    `512-256-128`, `16-32-64+128 x2`.

    Fields equal to their default are omitted, and so are the fields in `without`.
    """
    if isinstance(setting, bool):
        return "on" if setting else "off"
    if isinstance(setting, Regularization):
        penalties = {"l1": setting.l1, "l2": setting.l2}
        said = [name if name in without else f"{name}={v:g}" for name, v in penalties.items() if v]
        return " ".join(said) or "none"
    if isinstance(setting, int):
        return f"{setting}x"
    if isinstance(setting, Checked):
        defaults = {name: field.default for name, field in type(setting).model_fields.items()}
        values = {name: v for name, v in setting if v != defaults[name] and name not in without}
        if "name" not in defaults:
            return _sizes_label(values, {name for name, v in defaults.items() if v == 1})
        said = [f"{name}={_short(value)}" for name, value in values.items() if name != "name"]
        return " ".join([setting.name, *said])  # type: ignore[attr-defined]
    if isinstance(setting, float):
        return f"{setting:g}" if setting else "none"
    return str(setting)


def _sizes_label(values: dict[str, Any], often: set[str]) -> str:
    """The widths of each part of a network, then its counts.

    often: the counts with the default 1; a single one needs no name: `x2`.
    """
    widths = ["-".join(map(str, v)) for v in values.values() if isinstance(v, tuple) and v]
    counts = {name: v for name, v in values.items() if not isinstance(v, tuple)}
    said = [f"x{v}" if often == {name} else f"{name}={v}" for name, v in counts.items()]
    return " ".join(["+".join(widths), *said])


def _short(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"
