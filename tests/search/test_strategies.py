import sys
from itertools import islice

import pytest

from ablation.base.errors import UserError
from ablation.search.space import Choice, Space
from ablation.search.strategies import STRATEGIES, seed_of


def draws_of(name: str, space: Space, seed: int, generations: int = 4) -> list[Choice]:
    if name == "tpe":
        pytest.importorskip("optuna", reason="the extra `search` is not installed")
    strategy = STRATEGIES[name](space, seed, 8)
    drawn = next(strategy)
    for _ in range(generations - 1):
        drawn = drawn + strategy.send([-float(sum(choice)) for choice in drawn[-8:]])
    return drawn


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_same_seed_and_scores_give_the_same_draws(name: str, space: Space) -> None:
    assert draws_of(name, space, 1) == draws_of(name, space, 1)
    assert draws_of(name, space, 1) != draws_of(name, space, 2)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_draw_is_in_the_space(name: str, space: Space) -> None:
    for choice in draws_of(name, space, 1):
        assert all(0 <= place < size for place, size in zip(choice, space.sizes, strict=True))


def test_random_draws_each_setting_about_equally_often(space: Space) -> None:
    drawn = draws_of("random", space, 1, generations=6)
    for place, size in enumerate(space.sizes):
        counts = [sum(choice[place] == option for choice in drawn) for option in range(size)]
        assert max(counts) - min(counts) <= 4, (place, counts)


def test_tpe_comes_back_to_what_scored_well(space: Space) -> None:
    """The first options score best here."""
    drawn = draws_of("tpe", space, 1, generations=12)
    early, late = (sum(map(sum, part)) for part in (drawn[:24], drawn[-24:]))
    assert late < early / 2


def test_tpe_without_optuna_is_a_one_line_error(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"^the strategy tpe needs Optuna.*'\.\[search\]'$"):
        next(islice(STRATEGIES["tpe"](space, 1, 8), 1))


def test_families_and_strategies_have_seeds_of_their_own() -> None:
    seeds = {seed_of(7, model, name) for model in ("mlp", "cnn") for name in STRATEGIES}
    assert len(seeds) == 2 * len(STRATEGIES)
    assert all(0 <= seed < 2**32 for seed in seeds)
