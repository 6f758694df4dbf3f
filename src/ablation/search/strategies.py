"""How recipes are drawn: each strategy is a function, and an entry in `STRATEGIES`.

A strategy is a Python generator. It yields one generation of choices at a time, and is sent their
scores, in the same order. As neither depends on when a training ends, the draws are the same for
any number of workers, and after a kill: finished trials are cached.
"""

import zlib
from collections.abc import Callable, Generator
from types import ModuleType

import numpy as np
from scipy.stats import qmc

from ablation.base.checked import ParamsError, one_of
from ablation.base.errors import UserError
from ablation.params import PARAMS
from ablation.search.space import Choice, Space

# Scores are accuracies as fractions; those of diverged draws are 0.
Strategy = Generator[list[Choice], list[float], None]


def random(space: Space, seed: int, generation: int) -> Strategy:
    """Uniform draws, of a scrambled Halton sequence: every setting is drawn about equally often.

    Source:
        Bergstra & Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012.
    """
    sizes = np.array(space.sizes)
    points = qmc.Halton(len(sizes), rng=np.random.default_rng(seed))
    while True:
        places = (points.random(generation) * sizes).astype(int)
        yield [tuple(map(int, choice)) for choice in places]


def tpe(space: Space, seed: int, generation: int) -> Strategy:
    """Draws that resemble the best ones so far, by Optuna's tree-structured Parzen estimator.

    Raises:
        UserError: Optuna is not installed.

    Source:
        Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NIPS 2011; multivariate:
        Falkner et al., "BOHB", ICML 2018.
    """
    optuna = _optuna()
    sampler = optuna.samplers.TPESampler(multivariate=True, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    choices = {
        name: optuna.distributions.CategoricalDistribution(range(size))
        for name, size in zip(space.dimensions, space.sizes, strict=True)
    }
    while True:
        draws = [study.ask(choices) for _ in range(generation)]
        scores = yield [tuple(each.params[name] for name in choices) for each in draws]
        for each, score in zip(draws, scores, strict=True):
            study.tell(each, score)


STRATEGIES: dict[str, Callable[[Space, int, int], Strategy]] = {
    "random": random,
    "tpe": tpe,
}


def check_strategy(strategy: str, listed: tuple[str, ...]) -> None:
    """Check that params.yaml lists a strategy, and no unknown one.

    listed: `search.strategies`.

    Raises:
        ParamsError: it does not.
    """
    for place, name in enumerate(listed):
        if name not in STRATEGIES:
            said = one_of(name, STRATEGIES)
            raise ParamsError(f"{PARAMS}: search.strategies[{place}]: {said}")
    if strategy not in listed:
        raise ParamsError(
            f"{PARAMS}: search.strategies: {strategy} is missing; add it, or remove its stage from "
            "search/dvc.yaml"
        )


def seed_of(seed: int, model: str, strategy: str) -> int:
    """The seed of one strategy for one family, in [0, 2**32).

    seed: the study's.
    """
    purpose = zlib.crc32(f"search/{model}/{strategy}".encode())
    return int(np.random.SeedSequence(seed, spawn_key=(purpose,)).generate_state(1)[0])


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError:
        raise UserError(
            "the strategy tpe needs Optuna, which is not installed: pip install '.[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
