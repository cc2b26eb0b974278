"""Any optimizer class of ``torch.optim`` as a step rule: every example is one parameter of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustlab.attacks.steps import Step
from robustlab.core.kinds import typed


@typed
@dataclass(frozen=True)
class TorchOptimizer:
    """A ``torch.optim`` class that drives an attack.

    Each example is a parameter that is set to 0 before every step, so that its value after the step is the move, and
    weight decay does nothing.

    Args:
        optimizer: the class.
        options: its arguments besides the parameters, as pairs; a dict is taken too.

    Raises: ValueError, naming the optimizer, if its state couples examples or cannot be sliced.

    Example:
        >>> TorchOptimizer(torch.optim.NAdam, {"lr": 0.01}).options
        (('lr', 0.01),)
    """

    optimizer: type[torch.optim.Optimizer]
    options: tuple[tuple[str, object], ...] | Mapping[str, object] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(dict(self.options).items()))
        _check_independent(self.optimizer, dict(self.options))

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in dict(self.options).items())
        return f"TorchOptimizer({self.optimizer.__name__}{options})"

    def rule(self) -> Step[_PerExample]:
        """The step rule; its state is the optimizer."""
        return Step(
            lambda x: _PerExample.fresh(self.optimizer, dict(self.options), list(x)),
            lambda grad, state: (state.moves(grad), state),
        )


@dataclass(frozen=True)
class _PerExample:
    """An optimizer with one parameter per example."""

    optimizer: torch.optim.Optimizer
    options: dict[str, object]

    @staticmethod
    def fresh(kind: type[torch.optim.Optimizer], options: dict[str, object], like: list[Tensor]) -> _PerExample:
        points = [torch.zeros_like(x).requires_grad_() for x in like]
        make: Callable[..., torch.optim.Optimizer] = kind
        return _PerExample(make(points, **options), options)

    @property
    def points(self) -> list[Tensor]:
        points: list[Tensor] = self.optimizer.param_groups[0]["params"]
        return points

    def moves(self, grad: Tensor) -> Tensor:
        """Moves of points at 0 in one step with this gradient of the score."""
        with torch.no_grad():
            for point, slope in zip(self.points, grad, strict=True):
                point.zero_()
                point.grad = -slope
        with torch.enable_grad():
            self.optimizer.step()
        return torch.stack([point.detach() for point in self.points])

    def take(self, rows: Tensor) -> _PerExample:
        """The optimizer of the examples with these numbers (M,), with their memory."""
        kept = [self.points[row] for row in rows.tolist()]
        part = _PerExample.fresh(type(self.optimizer), self.options, kept)
        for old, new in zip(kept, part.points, strict=True):
            part.optimizer.state[new] = self.optimizer.state[old]
        return part


def _check_independent(kind: type[torch.optim.Optimizer], options: dict[str, object]) -> None:
    """Tries three steps on two examples, and on one of them alone with the other dropped after the first step."""
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(2, 3, 3, generator=generator) for _ in range(3)]
    try:
        both = _PerExample.fresh(kind, options, list(grads[0]))
        part = _PerExample.fresh(kind, options, list(grads[0]))
        in_batch = [both.moves(grad)[0] for grad in grads]
        first = torch.tensor([0])
        alone = [part.moves(grads[0])[0]]
        part = part.take(first)
        alone += [part.moves(grad[first])[0] for grad in grads[1:]]
    except (TypeError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise ValueError(f"{kind.__name__} cannot drive an attack one example at a time: {error}") from error
    if not all(torch.allclose(a, b) for a, b in zip(in_batch, alone, strict=True)):
        raise ValueError(
            f"{kind.__name__} cannot drive an attack: its step for one example depends on the other examples, "
            "so the answer would change with the batch"
        )
