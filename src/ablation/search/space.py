"""What a search draws from: the settings of all techniques at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ablation.base.checked import LARGEST_RATE
from ablation.labels import label
from ablation.params import Params
from ablation.trial.recipe import TECHNIQUES, Recipe

# The dimension that is not a technique: what the learning rate of the optimizer is multiplied by.
RATE_MULTIPLE = "rate_multiple"

# For each dimension the place of an option.
Choice = tuple[int, ...]


@dataclass(frozen=True)
class Space:
    """The options of each dimension, and the recipe that a choice of them makes.

    baseline: with explicit sizes, and the epochs of every draw.
    dimensions: technique to its settings, the simplest first; `RATE_MULTIPLE` to multiples.
    """

    baseline: Recipe
    dimensions: dict[str, tuple[Any, ...]]

    @classmethod
    def of(cls, params: Params, model: str) -> "Space":
        """The settings that params.yaml lists for a family, and those of the baseline.

        Every learning rate is tried at the multiples that it lists for any of the techniques.
        """
        baseline = params.full(model, params.baseline)
        dimensions: dict[str, tuple[Any, ...]] = {}
        for technique in TECHNIQUES:
            if technique == "epochs":
                continue
            listed = [s for each in params.candidates(technique, model) for s in each.settings]
            own = baseline.setting(technique)
            settings = listed if own in listed else [own, *listed]
            dimensions[technique] = tuple(dict.fromkeys(settings))
        multiples = {m for technique in TECHNIQUES for m in params.rate_multiples(technique)}
        dimensions[RATE_MULTIPLE] = tuple(sorted(multiples))
        return cls(baseline.having("epochs", params.search_epochs(model)), dimensions)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of options of each dimension."""
        return tuple(map(len, self.dimensions.values()))

    def recipe(self, choice: Choice) -> Recipe:
        """The recipe of a choice; its rate is at most the largest that a recipe may have."""
        options = self._options(choice)
        multiple = options.pop(RATE_MULTIPLE)
        recipe = self.baseline.model_copy(update=options)
        return recipe.at_rate(min(multiple, LARGEST_RATE / recipe.optimizer.lr))

    def labels(self, choice: Choice) -> dict[str, str]:
        """Technique to the label of its setting; of the optimizer without its rate."""
        options = self._options(choice)
        del options[RATE_MULTIPLE]
        without = {"optimizer": ["lr"]}
        return {name: label(each, without.get(name, ())) for name, each in options.items()}

    def _options(self, choice: Choice) -> dict[str, Any]:
        named: Sequence[tuple[str, tuple[Any, ...]]] = [*self.dimensions.items()]
        return {name: each[place] for (name, each), place in zip(named, choice, strict=True)}
