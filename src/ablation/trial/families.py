"""The model families: what each is called in params.yaml, and the sizes that it is told.

A family is a line of `FAMILIES` and a builder for its sizes in `models.py`, which is apart because
it imports torch: a stage that finds all its trials remembered does without.
"""

from typing import Annotated

from pydantic import Field

from ablation.base.checked import Checked, Count, Widths


class Spec(Checked):
    """What every family is told: for how many epochs it trains."""

    epochs: Count


class MlpSpec(Spec):
    """Widths of the hidden layers."""

    hidden: Annotated[Widths, Field(min_length=3)]


class CnnSpec(Spec):
    """Channels of the convolutions (each halves the image), and widths of the dense layers."""

    channels: Annotated[Widths, Field(min_length=2, max_length=4)]
    dense: Widths


FAMILIES: dict[str, type[Spec]] = {
    "mlp": MlpSpec,
    "cnn": CnnSpec,
}
