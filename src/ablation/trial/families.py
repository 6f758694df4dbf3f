"""Model families: their names and sizes in params.yaml.

A family is an entry in `FAMILIES` and a builder in `models.py`. Only the latter imports torch,
which takes seconds: a stage whose trials are all cached does not need it.
"""

from typing import Annotated, Any, Union

from pydantic import Field, create_model

from ablation.base.checked import Checked, Count, Widths


class Spec(Checked):
    """Training length, common to all families."""

    epochs: Count


class MlpSpec(Spec):
    """Multilayer perceptron: widths of the hidden layers."""

    hidden: Annotated[Widths, Field(min_length=3)]


class CnnSpec(Spec):
    """Convolutional network: channels of the blocks, convolutions in each block, and widths of the
    hidden dense layers. Each block halves the image."""

    channels: Annotated[Widths, Field(min_length=2, max_length=4)]
    dense: Widths
    convolutions: Count = 1


FAMILIES: dict[str, type[Spec]] = {
    "mlp": MlpSpec,
    "cnn": CnnSpec,
}

# The specs without `epochs`: settings of the technique `architecture`.
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
    """The sizes in a spec, without its epochs."""
    sizes = SIZES[model]
    return sizes(**{size: getattr(spec, size) for size in sizes.model_fields})
