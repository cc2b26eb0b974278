"""Training on corrupted images."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import L2, Batch, Metrics, RecipeState, ThreatModel
from robustlab.corruptions import corruption
from robustlab.data import InMemory
from robustlab.training import Settings, corrupted, fit, free, standard

MakeNet = Callable[..., nn.Sequential]
NAMES = ["gaussian_noise", "fog", "contrast"]


class Seen:
    """A recipe that records its batch."""

    replays = 3

    def __init__(self) -> None:
        self.batch = Batch(*(torch.empty(0),) * 3)

    def init(self, model: nn.Module) -> RecipeState:
        del model
        return {"memory": torch.ones(2)}

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Callable[[Tensor], None]) -> Metrics:
        del model, state, backward
        self.batch = batch
        return {"loss": 0.5}


@pytest.fixture
def batch(squares: InMemory) -> Batch:
    return squares.batch(torch.arange(40))._replace(seed=7)


def test_the_recipe_sees_corrupted_images_and_all_else_as_it_is(batch: Batch) -> None:
    inside, before = Seen(), batch.x.clone()
    recipe = corrupted(inside, NAMES, (4, 5))
    assert recipe.replays == 3
    assert torch.equal(recipe.init(nn.Identity())["memory"], torch.ones(2))
    assert recipe.step(nn.Identity(), batch, {}, Tensor.backward) == {"loss": 0.5}
    assert torch.equal(batch.x, before)
    assert (inside.batch.x != before).flatten(1).any(1).all()
    assert inside.batch._replace(x=batch.x) == batch  # the very same labels, ids, seed and progress


def test_each_image_has_one_corruption_at_one_severity_of_its_own(batch: Batch) -> None:
    out = corrupted(standard(), NAMES, (2, 5)).changed(batch)
    ways = [(name, severity) for name in NAMES for severity in (2, 5)]
    made = torch.stack([corruption(name)(batch.x, severity=s, seed=7, ids=batch.ids) for name, s in ways])
    fits = (made == out).flatten(2).all(2)
    assert (fits.sum(0) == 1).all()
    assert (fits.sum(1) >= 2).all()


def test_draws_follow_seed_and_ids_alone(batch: Batch) -> None:
    recipe = corrupted(standard(), NAMES)
    whole = recipe.changed(batch)
    rows = torch.tensor([17, 2, 30])
    part = Batch(batch.x[rows], batch.y[rows], batch.ids[rows], batch.seed)
    assert torch.equal(recipe.changed(part), whole[rows])
    other = recipe.changed(batch._replace(seed=8))
    assert (other != whole).flatten(1).any(1).sum() > 30


def test_values_and_one_name_are_taken_and_said(batch: Batch) -> None:
    small = corrupted(standard(), [corruption("fog", "cifar-c")], [1])
    assert torch.equal(small.changed(batch), corruption("fog", "cifar-c")(batch.x, severity=1, seed=7, ids=batch.ids))
    assert "Corrupt(name='fog', variant='cifar-c')" in repr(small)
    assert corrupted(standard(), "fog") == corrupted(standard(), ["fog"], [1, 2, 3])


@pytest.mark.parametrize("severity", [0, 6, 2.5])
def test_severities_are_whole_numbers_from_one_to_five(severity: int) -> None:
    with pytest.raises(ValueError, match=rf"severities (are|must be .*) whole number.*, got.* {severity!r}"):
        corrupted(standard(), NAMES, (1, severity))


def test_without_corruptions_or_severities_there_is_nothing_to_do() -> None:
    for names, severities in (([], (1,)), (NAMES, ())):
        with pytest.raises(ValueError, match="at least one corruption and one severity are needed"):
            corrupted(standard(), names, severities)
    with pytest.raises(ValueError, match="no corruption is called 'fogg'; did you mean fog"):
        corrupted(standard(), ["fogg"])


def test_any_recipe_trains_on_what_is_corrupted(squares: InMemory, make_net: MakeNet) -> None:
    plain, other = make_net(), make_net()
    inside = free(ThreatModel(L2(), 0.1), replays=2)
    for model, recipe in ((plain, inside), (other, corrupted(inside, NAMES))):
        fit(model, recipe, squares, Settings(2, batch_size=20))
    assert all(value.isfinite().all() for value in other.state_dict().values())
    assert not torch.equal(next(plain.parameters()), next(other.parameters()))
