"""Images changed before training: augmented at each step, or perturbed once."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM
from robustlab.core import Batch, Linf, ThreatModel
from robustlab.data import InMemory
from robustlab.training import AugMix, RandAugment, Settings, augmented, fit, free, perturbed_once, standard
from robustlab.training.recipes.augment import changed

MakeNet = Callable[..., nn.Sequential]
THREAT = ThreatModel(Linf(), 0.1)


@pytest.fixture
def batch(squares: InMemory) -> Batch:
    return squares.batch(torch.arange(10, 20))._replace(seed=7)


def noisy(image: Tensor) -> Tensor:
    """A change that draws from all three generators."""
    shift = int(torch.randint(50, ())) + random.randrange(50) + int(np.random.randint(50))  # noqa: NPY002
    return image.int().add(shift).clamp(0, 255).to(torch.uint8)


def named(change: Callable[[Tensor], Tensor]) -> str:
    """A name that is the same in every process: the repr of a function holds its address."""
    return getattr(change, "__name__", repr(change))


@pytest.mark.parametrize("change", [RandAugment(), AugMix(), AugMix(all_operations=True), noisy], ids=named)
@pytest.mark.parametrize("channels", [1, 3])
def test_changes_follow_the_image_and_the_step_alone(
    batch: Batch, change: Callable[[Tensor], Tensor], channels: int
) -> None:
    batch = batch._replace(x=batch.x.expand(-1, channels, -1, -1).contiguous(memory_format=torch.channels_last))
    state = torch.get_rng_state(), random.getstate()
    whole = changed(batch, change)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]
    assert whole.shape == batch.x.shape
    assert whole.stride() == batch.x.stride()
    assert 0 <= float(whole.min()) < float(whole.max()) <= 1
    assert (whole != batch.x).any(dim=3).any(dim=2).any(dim=1).sum() >= 5
    rows = torch.tensor([7, 2])
    part = changed(Batch(batch.x[rows], batch.y[rows], batch.ids[rows], batch.seed), change)
    assert torch.equal(part, whole[rows])
    assert not torch.equal(changed(batch._replace(seed=8), change), whole)


def test_a_change_that_does_nothing_leaves_images_and_training_as_they_are(
    squares: InMemory, make_net: MakeNet
) -> None:
    plain, other = make_net(), make_net()
    fit(plain, free(THREAT, replays=2), squares, Settings(2, batch_size=20))
    fit(other, augmented(free(THREAT, replays=2), lambda image: image), squares, Settings(2, batch_size=20))
    assert all(map(torch.equal, plain.state_dict().values(), other.state_dict().values()))


def test_what_cannot_be_augmented_is_refused(batch: Batch) -> None:
    with pytest.raises(ValueError, match=r"only images .* got inputs of shape \(10, 64\)"):
        changed(batch._replace(x=batch.x.flatten(1)), RandAugment())
    with pytest.raises(ValueError, match=r"changes the shape \(1, 8, 8\) of images: crop and pad back"):
        changed(batch, lambda image: image[:, 1:])


def test_augmentations_say_what_they_are() -> None:
    text = repr(augmented(standard(), RandAugment(magnitude=5)))
    assert "RandAugment(operations=2, magnitude=5)" in text


def test_a_data_set_perturbed_once_holds_the_attack_on_the_model_as_it_was(
    squares: InMemory, make_net: MakeNet
) -> None:
    model = make_net(dropout=0.5)
    outdated = perturbed_once(model, squares, FGSM(THREAT), batch_size=20)
    assert {part.training for part in model.modules()} == {True}
    model.eval()
    clean = squares.batch(torch.arange(50))
    leaf = clean.x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(nn.functional.cross_entropy(model(leaf), clean.y), leaf)
    expected = (clean.x + 0.1 * slope.sign()).clamp(0, 1)
    found = outdated.batch(torch.arange(50))
    torch.testing.assert_close(found.x, expected, rtol=0.0, atol=1e-6)
    assert torch.equal(found.y, clean.y)
    assert "FGSM" in outdated.source


def test_a_share_of_the_examples_stays_clean(squares: InMemory, make_net: MakeNet) -> None:
    clean = squares.batch(torch.arange(50)).x
    for fraction, count in ((0.0, 0), (0.3, 15), (1.0, 50)):
        outdated = perturbed_once(make_net(), squares, FGSM(THREAT), fraction=fraction)
        assert int((outdated.x != clean).flatten(1).any(dim=1).sum()) == count
    with pytest.raises(ValueError, match=r"fraction of the examples that are perturbed, in \[0, 1\], got 1\.5"):
        perturbed_once(make_net(), squares, FGSM(THREAT), fraction=1.5)


def test_training_on_stale_examples_learns_them_and_not_robustness(squares: InMemory, make_net: MakeNet) -> None:
    """Accuracy on the perturbed set is high, while the same attack made anew succeeds far more often."""
    attack = FGSM(ThreatModel(Linf(), 0.2))
    model = make_net(dropout=0.0)
    fit(model, standard(), squares, Settings(10, batch_size=25))
    outdated = perturbed_once(model, squares, attack)
    fit(model, standard(), outdated, Settings(20, batch_size=25))
    found = outdated.batch(torch.arange(50))
    fresh = attack(model, squares.batch(torch.arange(50)).x, found.y, stop="never")
    right = [(model(x).argmax(dim=1) == found.y).float().mean().item() for x in (found.x, fresh)]
    assert right[0] > 0.9
    assert right[1] < right[0] - 0.3
