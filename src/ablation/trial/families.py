"""The model families: what each is called in params.yaml, and the sizes that it is told.

A family is a line of `FAMILIES` and a builder for its sizes in `models.py`, which is apart because
it imports torch: a stage that finds all its trials remembered does without.
"""

from typing import Annotated, Any, Union

from pydantic import Field, create_model

from ablation.base.checked import Checked, Count, Widths


class Spec(Checked):
    """What every family is told: for how many epochs it trains."""

    epochs: Count


class MlpSpec(Spec):
    """Widths of the hidden layers."""

    hidden: Annotated[Widths, Field(min_length=3)]


class CnnSpec(Spec):
    """Channels of the blocks (each halves the image), convolutions in each of them, and widths of
    the dense layers."""

    channels: Annotated[Widths, Field(min_length=2, max_length=4)]
    dense: Widths
    convolutions: Count = 1


FAMILIES: dict[str, type[Spec]] = {
    "mlp": MlpSpec,
    "cnn": CnnSpec,
}

# The sizes of each family's network alone, without how long it trains.
SIZES: dict[str, type[Checked]] = {
    name: create_model(  # type: ignore[call-overload]
        spec.__name__.replace("Spec", "Sizes"),
        __base__=Checked,
        __doc__=spec.__doc__,
        **{
            size: (field.rebuild_annotation(), field)
            for size, field in spec.model_fields.items()
            if size not in Spec.model_fields
        },
    )
    for name, spec in FAMILIES.items()
}
Sizes: Any = Union[tuple(SIZES.values())]  # noqa: UP007


def sizes_of(model: str, spec: Spec) -> Checked:
    """The sizes of a family's network, without how long it trains."""
    sizes = SIZES[model]
    return sizes(**{size: getattr(spec, size) for size in sizes.model_fields})
