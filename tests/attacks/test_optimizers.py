"""The optimizers as attackers against ``torch.optim``, and errors for those that cannot drive an attack."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from robustlab.attacks import SGD, Adagrad, Adam, Optimizer, OptimizerPGD, RMSprop, TorchOptimizer
from robustlab.core import Linf, ThreatModel

PAIRS: list[tuple[Optimizer, type[torch.optim.Optimizer], dict[str, float]]] = [
    (SGD(0.1), torch.optim.SGD, {"lr": 0.1}),
    (SGD(0.1, momentum=0.9), torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (Adam(0.1), torch.optim.Adam, {"lr": 0.1}),
    (RMSprop(0.1), torch.optim.RMSprop, {"lr": 0.1}),
    (Adagrad(0.1), torch.optim.Adagrad, {"lr": 0.1}),
]


def gradients(count: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 2, 4, generator=generator, dtype=torch.float64) for _ in range(count)]


def moves(optimizer: Optimizer, grads: Iterable[Tensor]) -> Tensor:
    """The sum of the moves that the rule makes of these gradients."""
    rule = optimizer.rule()
    total = torch.zeros(3, 2, 4, dtype=torch.float64)
    state = rule.init(total)
    for grad in grads:
        move, state = rule.update(grad.clone(), state)
        total = total + move
    return total


@pytest.mark.parametrize(("ours", "kind", "options"), PAIRS, ids=[repr(pair[0]) for pair in PAIRS])
def test_a_built_in_optimizer_moves_as_torch_does(
    ours: Optimizer, kind: Callable[..., torch.optim.Optimizer], options: dict[str, float]
) -> None:
    point = torch.zeros(3, 2, 4, dtype=torch.float64, requires_grad=True)
    theirs = kind([point], maximize=True, **options)
    for grad in gradients():
        point.grad = grad.clone()
        theirs.step()
    torch.testing.assert_close(moves(ours, gradients()), point.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("ours", "kind", "options"), PAIRS, ids=[repr(pair[0]) for pair in PAIRS])
def test_a_torch_optimizer_with_a_parameter_per_example_moves_alike(
    ours: Optimizer, kind: type[torch.optim.Optimizer], options: dict[str, float]
) -> None:
    torch.testing.assert_close(moves(TorchOptimizer(kind, options), gradients()), moves(ours, gradients()))


def test_an_optimizer_goes_on_with_its_memory_when_examples_are_dropped() -> None:
    rule = TorchOptimizer(torch.optim.Adam, {"lr": 0.1}).rule()
    grads, rows = gradients(), torch.tensor([0, 2])
    state = rule.init(grads[0])
    _, state = rule.update(grads[0], state)
    state = state.take(rows)
    _, state = rule.update(grads[1][rows], state)
    move, _ = rule.update(grads[2][rows], state)
    whole = rule.init(grads[0])
    for grad in grads[:2]:
        _, whole = rule.update(grad, whole)
    torch.testing.assert_close(move, rule.update(grads[2], whole)[0][rows])


class Coupling(torch.optim.SGD):
    """Scales every step by the size of all gradients together."""

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        points = [point for group in self.param_groups for point in group["params"]]
        torch.nn.utils.clip_grad_norm_(points, 1.0)
        super().step(closure)


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, torch.optim.SparseAdam, Coupling])
def test_what_cannot_be_sliced_is_refused_by_name(kind: type[torch.optim.Optimizer]) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__} cannot drive an attack"):
        TorchOptimizer(kind, {"lr": 0.1})


def test_an_optimizer_attack_reaches_the_optimum_of_a_linear_model() -> None:
    weight = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]], dtype=torch.float64)
    x = torch.full((1, 3), 0.5, dtype=torch.float64)
    attack = OptimizerPGD(ThreatModel(Linf(), 0.1), TorchOptimizer(torch.optim.NAdam, {"lr": 0.05}), steps=20)
    x_adv = attack(lambda z: z @ weight.T, x, torch.tensor([0]), stop="never")
    torch.testing.assert_close(x_adv, x - 0.1 * weight[:1].sign())
