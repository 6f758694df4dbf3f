from ablation.search.space import RATE_MULTIPLE, Space
from ablation.trial.recipe import Adam


def choice_of(space: Space, **places: int) -> tuple[int, ...]:
    return tuple(places.get(name, 0) for name in space.dimensions)


def test_a_space_has_all_settings_of_every_technique_but_epochs(space: Space) -> None:
    assert "epochs" not in space.dimensions
    assert space.dimensions["dropout"] == (0.2, 0.4)
    assert [each.lr for each in space.dimensions["optimizer"]] == [0.001, 0.1, 100.0]


def test_the_baselines_setting_is_added_where_it_is_not_listed(space: Space) -> None:
    assert space.dimensions["activation"] == ("relu", "tanh")
    assert space.dimensions["architecture"] == (space.baseline.architecture,)
    assert space.dimensions["scheduler"] == (space.baseline.scheduler,)


def test_multiples_of_the_rate_are_those_of_all_techniques(space: Space) -> None:
    assert space.dimensions[RATE_MULTIPLE] == (0.5, 1.0, 10.0)
    drawn = space.recipe(choice_of(space, rate_multiple=2))
    assert drawn.optimizer == Adam(name="adam", lr=0.01)


def test_no_rate_is_larger_than_a_recipe_may_have(space: Space) -> None:
    drawn = space.recipe(choice_of(space, optimizer=2, rate_multiple=2))
    assert drawn.optimizer.lr == 100.0


def test_every_draw_has_the_epochs_of_the_search(space: Space) -> None:
    """Ten, where the family has two."""
    assert space.recipe(choice_of(space)).epochs == 5
