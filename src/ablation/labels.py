"""Labels of settings, and names of the chain's stages."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ablation.base.checked import Checked, ParamsError, one_of
from ablation.trial.recipe import BASELINE, CHAIN, Regularization

Contesting = Literal["first", "again", "backward"]
CONTESTS: dict[str, Contesting] = {"": "first", "again": "again", "backward": "backward"}
STAGE = re.compile(r"(?P<technique>.+?)(?:_(?P<contest>again|backward)\d*)?")


@dataclass(frozen=True)
class ChainStage:
    """A stage of the chain.

    Attributes:
        name: `dropout` for a technique's first stage, `dropout_again` or `dropout_backward` in a
            later round, with a number appended in further rounds.
        technique: the technique that it explores, or `baseline`.
        contest: `first` compares the candidates in params.yaml with the incumbent, which is kept
            unless it is beaten. The others compare all settings on equal terms: the simplest within
            the noise of the best wins. `again` compares the baseline's setting, the incumbent's and
            the candidates; `backward` only the first two (backward elimination).
    """

    name: str
    technique: str
    contest: Contesting

    @classmethod
    def named(cls, name: str) -> "ChainStage":
        """Parse the name of a stage.

        Raises:
            ParamsError: it is not a technique with an optional suffix.
        """
        found = STAGE.fullmatch(name)
        technique, suffix = technique_of(name), found["contest"] if found else ""
        if technique not in CHAIN or (technique == BASELINE and suffix):
            raise ParamsError(
                f"{one_of(name, CHAIN)}; in later rounds, append _again or _backward, optionally "
                "with a number"
            )
        return cls(name, technique, CONTESTS[suffix or ""])


def technique_of(stage: str) -> str:
    """The technique in the name of a stage, even one that this version of the code lacks."""
    found = STAGE.fullmatch(stage)
    return found["technique"] if found else stage


def label(setting: Any, without: Iterable[str] = ()) -> str:
    """The label of a setting: `cosine`, `sgd lr=0.1`, `l2=0.0001`, `on`, `0.2`, `2x`,
    `512-256-128`, `16-32-64+128 x2`.

    Fields equal to their default are omitted.

    Args:
        setting: a value of a field of `Recipe`.
        without: names of further fields to omit.
    """
    if isinstance(setting, bool):
        return "on" if setting else "off"
    if isinstance(setting, Regularization):
        penalties = {"l1": setting.l1, "l2": setting.l2}
        parts = [name if name in without else f"{name}={v:g}" for name, v in penalties.items() if v]
        return " ".join(parts) or "none"
    if isinstance(setting, int):
        return f"{setting}x"
    if isinstance(setting, Checked):
        defaults = {name: field.default for name, field in type(setting).model_fields.items()}
        values = {name: v for name, v in setting if v != defaults[name] and name not in without}
        if "name" not in defaults:
            return _sizes_label(values, {name for name, v in defaults.items() if v == 1})
        parts = [f"{name}={_format(value)}" for name, value in values.items() if name != "name"]
        return " ".join([setting.name, *parts])  # type: ignore[attr-defined]
    if isinstance(setting, float):
        return f"{setting:g}" if setting else "none"
    return str(setting)


def _sizes_label(values: dict[str, Any], repetitions: set[str]) -> str:
    """The widths of each part of a network, then its counts.

    repetitions: names of the counts with the default 1; if there is only one, its name is omitted:
    `x2`.
    """
    widths = ["-".join(map(str, v)) for v in values.values() if isinstance(v, tuple) and v]
    counts = {name: v for name, v in values.items() if not isinstance(v, tuple)}
    parts = [f"x{v}" if repetitions == {name} else f"{name}={v}" for name, v in counts.items()]
    return " ".join(["+".join(widths), *parts])


def at_rate(setting: str, learning_rate: float) -> str:
    """The label of a setting at one of several learning rates: `cosine lr=0.003`."""
    return setting if " lr=" in setting else f"{setting} lr={learning_rate:g}"


def _format(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:g}"
