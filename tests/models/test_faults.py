from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustlab.models import faults


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 36, 16),
        nn.ReLU(),
        nn.Linear(16, 5),
    ).eval()


MODEL = network()
X = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(1)) / 255


def slope(model: nn.Module) -> Tensor:
    x = X.clone().requires_grad_()
    score = model(x)[:, 0].sum()
    (grad,) = torch.autograd.grad(score, x, allow_unused=True, materialize_grads=True)
    return grad


@pytest.mark.parametrize(
    "fault",
    [faults.divided, faults.scaled, faults.probabilities, faults.detector, faults.optimising],
    ids=lambda f: f.__name__,
)
def test_answers_on_images_are_those_of_the_sound_model(fault: Callable[[nn.Module], nn.Module]) -> None:
    with torch.no_grad():
        assert (fault(MODEL)(X).argmax(1) == MODEL(X).argmax(1)).float().mean() > 0.85


@pytest.mark.parametrize("fault", [faults.rounding, faults.fewer_bits, faults.jpeg], ids=lambda f: f.__name__)
def test_no_gradient_passes(fault: Callable[[nn.Module], nn.Module]) -> None:
    faulty = fault(MODEL)
    with torch.no_grad():
        assert (faulty(X).std(dim=0) > 0).all()
    if fault is faults.jpeg:
        assert not (faulty(X.clone().requires_grad_()) - MODEL(X)).eq(0).all()
        with torch.no_grad():
            again = faults.jpeg(nn.Identity())(X)
        assert 0 < float((again - X).abs().max()) < 0.5
    else:
        assert not slope(faulty).any()


def test_the_gradient_of_soft_jpeg_has_the_wrong_sign() -> None:
    def inner(x: Tensor) -> Tensor:
        return x.flatten(1) @ torch.ones(64, 2)

    faulty = faults.soft_jpeg(faults.Faulty(nn.Identity(), lambda model, x: inner(model(x))))
    assert bool((slope(faulty) < 0).all())


def test_optimisation_moves_towards_the_models_own_answer() -> None:
    with torch.no_grad():
        before, after = (model(X).softmax(1).amax(1) for model in (MODEL, faults.optimising(MODEL)))
    assert (after > before).float().mean() > 0.9


def test_a_detector_separates_images_from_changed_inputs() -> None:
    faulty = faults.detector(MODEL)
    changed = X.clone()
    changed[3, 0, 2, 2] = 0.5013
    with torch.no_grad():
        undefined = faulty(changed).isnan().all(dim=1)
    assert undefined.nonzero().flatten().tolist() == [3]


def test_noise_is_new_at_each_pass_and_rounding_is_not() -> None:
    noisy, steady = faults.stochastic(MODEL), faults.rounding(MODEL)
    with torch.no_grad():
        assert not torch.equal(noisy(X), noisy(X))
        assert torch.equal(steady(X), steady(X))


def test_batch_norm_stays_in_training_mode_in_a_copy() -> None:
    stuck = faults.training_mode(MODEL).eval()
    assert any(part.training for part in stuck.modules())
    assert not any(part.training for part in MODEL.modules())
    with torch.no_grad():
        assert not torch.allclose(stuck(X[:5]), stuck(X)[:5], atol=1e-4)


def test_neighbours_in_the_batch_have_a_say() -> None:
    faulty = faults.label_order(MODEL)
    order = torch.arange(39, -1, -1)
    with torch.no_grad():
        assert torch.allclose(faulty(X)[order], faulty(X[order]), atol=1e-5), "the same neighbours"
        assert not torch.allclose(faulty(X[:3]), faulty(X)[:3])
