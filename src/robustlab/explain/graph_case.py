"""Maps as differentiable functions of the input: any method, on a case whose gradients keep their graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from robustlab.core import Logits, Twin
from robustlab.explain.case import Case, class_score
from robustlab.explain.registry import Method

_LABEL, _NEAR = 0x6D61, 0.1


class GraphCase:
    """A case whose inputs require a gradient, and whose scores and gradients lead back to them.

    A method that works by ``case.scores`` and ``case.gradient`` makes maps with a derivative here: all that are of this
    library and do not look into layers.

    Args:
        case: of the examples, with the smooth twin.
        x: points (N, ...) with a graph.
        logits: of these points (N, K), with a graph.
    """

    def __init__(self, case: Case, x: Tensor, logits: Logits) -> None:
        self.case, self.logits = replace(case, x=x), logits
        self.used = self.moves = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever a case has
        return getattr(self.case, name)

    def __len__(self) -> int:
        return len(self.case)

    def scores(self, points: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scores of points (M,), as of a case, with a graph."""
        self.used = True
        score = self._scores(points, rows)
        self.moves |= score.requires_grad
        return score

    def gradient(self, points: Tensor, rows: Tensor | None = None) -> Tensor:
        """Gradient of the score at each point (M, ...), as of a case, with a graph.

        Raises: ValueError for a model without gradients.
        """
        self.used = True
        with torch.enable_grad():
            points = points if points.requires_grad else points.detach().requires_grad_()
            score = self._scores(points, rows)
            grad = None
            if score.requires_grad:
                (grad,) = torch.autograd.grad(score.sum(), points, create_graph=True, allow_unused=True)
        if grad is None:
            raise ValueError(
                "the model gives no gradient by its inputs (it works under no_grad, detaches them or leaves torch): an "
                "attack on maps needs the torch model itself"
            )
        self.moves |= grad.requires_grad
        return grad

    def _scores(self, points: Tensor, rows: Tensor | None) -> Tensor:
        target = self.case.target if rows is None else self.case.target[rows]
        own = points is self.case.x and rows is None
        logits = self.logits if own else self.case.twin.searched(points, backward=True)
        return class_score(logits, target, self.case.score)


def graph_map(method: Method, case: Case, x: Tensor, logits: Logits) -> Tensor:
    """Map of points (N, ...) that is a differentiable function of them.

    Args:
        method: that makes it.
        case: of the examples, with the smooth twin.
        x: the points, with a graph.
        logits: of the points (N, K), with a graph.

    Raises: ValueError for a method that keeps no graph.
    """
    graph = GraphCase(case, x, logits)
    with torch.enable_grad():
        maps = method(cast("Case", graph))
    if not graph.used or (graph.moves and not maps.requires_grad):
        raise ValueError(
            f"{getattr(method, '__name__', '') or repr(method)} makes maps without a derivative by the inputs (it does "
            "not work by the scores and gradients of the case, or detaches them): attack the maps of gradient, "
            "gradient-x-input, integrated-gradients or smoothgrad"
        )
    return maps


@dataclass(frozen=True)
class Climbed:
    """Distance of the map at a point from a reference, and of the prediction from the clean one.

    As a callable it is a model for the budgeted driver.

    Args:
        method: of the maps.
        case: of the examples, whose twin searches with smooth activations.
        distance: differentiable, of maps (N, ...) to (N,).
        reference: maps (N, ...).
        clean: probabilities of the smooth twin at the inputs (N, K).
    """

    method: Method
    case: Case
    distance: Callable[[Tensor, Tensor], Tensor]
    reference: Tensor
    clean: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Distance of the maps, and squared distance of the probabilities, of points (N, ...): (N, 2)."""
        logits = self.case.twin.searched(x)
        away = (probabilities(logits) - self.clean).square().sum(1)
        return torch.stack([self.distance(graph_map(self.method, self.case, x, logits), self.reference), away], 1)


def probabilities(logits: Logits) -> Tensor:
    """Softmax of logits (N, K), in float64."""
    return logits.double().softmax(1)


def smooth_map(method: Method, case: Case) -> tuple[Tensor, Tensor]:
    """Map and probabilities of the smooth twin at the inputs, without a graph: (N, ...) and (N, K).

    Raises: ValueError for a method or a model that keeps no graph.
    """
    _check_derivative(method, case[:2])
    _, maps, clean = _smooth_map(method, case)
    return maps.detach(), clean


def _check_derivative(method: Method, case: Case) -> None:
    """Refuses maps that change with the inputs, but have no derivative by them."""
    x, maps, _ = _smooth_map(method, case)
    if maps.requires_grad and torch.autograd.grad(maps.sum(), x, allow_unused=True)[0] is not None:
        return
    noise = case.streams.fork(_LABEL).uniform(case.x.shape[1:]).sub_(0.5).mul_(_NEAR).to(case.x.dtype)
    again, near = (_smooth_map(method, replace(case, x=x))[1].detach() for x in (case.x, case.x + noise))
    least = 1e-3 * maps.detach().abs().amax()  # by rounding; where another pass differs as much, the model is random
    if bool((near - maps).abs().amax() > least) and bool((again - maps).abs().amax() <= least):
        raise ValueError(
            "the maps change with the inputs, but have no derivative by them: the backward pass of a layer can be "
            "differentiated only once (a custom one), or all kinks are of maximum pooling"
        )


def _smooth_map(method: Method, case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Points, their maps with a graph to them, and the probabilities."""
    with torch.enable_grad():
        x = case.x.detach().clone().requires_grad_()
        logits = case.twin.searched(x)
        return x, graph_map(method, case, x, logits), probabilities(logits.detach())


def with_search(case: Case, search: Callable[[Tensor], Logits]) -> Case:
    """The case with another model for the gradients."""
    return replace(case, twin=Twin(case.model, search, None, case.twin.passes))
