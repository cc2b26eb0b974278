"""Adversarial regularization: the loss on examples plus the loss on their adversarial neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn

from robustlab.core import Batch, Labels, Logits, Metrics, RecipeState, frozen
from robustlab.core.kinds import typed
from robustlab.core.losses import cross_entropy
from robustlab.core.metrics import measured
from robustlab.core.targets import check_classes
from robustlab.regularization.distance import finite_weights
from robustlab.regularization.features import FREE, Inputs, Limits, check_movable, leaf, named, rebuilt
from robustlab.regularization.neighbours import Neighbourhood, TargetMethod, gradient_of, target_labels

Loss: TypeAlias = Callable[[Logits, Tensor], Tensor]
"""From logits and labels to one number per example (N,), or to a scalar that weights cannot be brought into."""
BnMode: TypeAlias = Literal["train", "eval", "moving"]
"""Mode of BatchNorm in the passes over neighbours: see ``AdversarialRegularization``."""


class Losses(NamedTuple):
    """A regularised loss and its parts."""

    total: Tensor
    """base + multiplier * adversarial, a scalar to be differentiated."""
    base: Tensor
    """On the examples themselves."""
    adversarial: Tensor
    """On their neighbours, not multiplied."""
    logits: Tensor
    """Logits of the examples themselves (N, K)."""


@typed
@dataclass(frozen=True)
class AdversarialRegularization:
    """Training on examples and on their adversarial neighbours; a recipe for ``training.fit``.

        loss = loss(f(x), y) + multiplier * loss(f(neighbour of x), y),   the neighbour a constant

    A step costs one forward and backward pass over the examples and one over their neighbours: the direction to the
    neighbours comes from the same backward pass as the gradient of the weights. There are no second derivatives.

    Args:
        how: settings of the search for neighbours.
        multiplier: weight of the loss on them, >= 0; 0 gives exactly the plain loss.
        loss: per example.
        target: label of the neighbours: away from the true one, or towards another, which costs one more backward pass.
        bn_mode: mode of BatchNorm in passes over neighbours. "train": batch statistics, without a change of the
            running ones; "eval": the running ones; "moving": batch statistics that update the running ones, as in the
            original.
        limits: mask and bounds of the change.

    Raises: ValueError for a negative multiplier, or an unknown mode or method.
    Source: the objective and the defaults are those of Neural Structured Learning 1.4.0 (there step_size 0.2 and Linf
    in the tutorial on MNIST); Goodfellow, Shlens, Szegedy, ICLR 2015, section 6, for the idea.
    """

    how: Neighbourhood = field(default_factory=Neighbourhood)
    multiplier: float = 0.2
    loss: Loss = cross_entropy
    target: TargetMethod = "true"
    bn_mode: BnMode = "train"
    limits: Limits = field(default=FREE, repr=False)
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.multiplier >= 0:
            raise ValueError(f"multiplier is the weight of a loss, >= 0, got {self.multiplier}")
        for name, kind in (("target", TargetMethod), ("bn_mode", BnMode)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} is one of {', '.join(get_args(kind))}, got {getattr(self, name)!r}")

    def init(self, model: nn.Module) -> RecipeState:
        """An empty state."""
        del model
        return {}

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Callable[[Tensor], None]) -> Metrics:
        """One forward and backward pass over the batch, and one over its neighbours."""
        del state
        if self.multiplier:
            check_movable(batch.x)
        x, y = batch.x.detach().requires_grad_(self.starts_here), batch.y
        logits: Logits = model(x)
        base = mean_loss(labelled(self.loss, logits, y))
        aim = self.aim(logits, y, seed=batch.seed, ids=batch.ids)
        first = self.first(aim, logits, x) if self.starts_here and self.target != "true" else None
        backward(base)
        if not self.multiplier:
            return measured(logits, base, y)
        if self.starts_here and first is None:
            first = {} if x.grad is None else {0: x.grad}
        x_adv = self.search(model, x, aim, first, seed=batch.seed, ids=batch.ids)
        with passing(model, self.bn_mode):
            neighbour_logits = model(x_adv)
        hard = mean_loss(self.loss(neighbour_logits, y))
        backward(self.multiplier * hard)
        total = base.detach() + self.multiplier * hard.detach()
        return measured(logits, total, y, base_loss=base, adversarial_loss=hard)

    @property
    def starts_here(self) -> bool:
        """True if the search starts with the gradient at the examples themselves."""
        return self.multiplier > 0 and not self.how.random_start

    def aim(self, logits: Logits, y: Tensor, *, seed: int = 0, ids: Tensor | None = None) -> Aim:
        """Objective of the neighbours."""
        if self.target == "true":
            return Aim(self.loss, y)
        return Aim(self.loss, target_labels(logits.detach(), y, self.target, seed=seed, ids=ids), away=False)

    def first(self, aim: Aim, logits: Logits, x: Inputs, weights: Tensor | None = None) -> dict[str | int, Tensor]:
        """Gradient of the objective at the examples themselves; keeps the graph of the logits."""
        leaves = {name: value for name, value in named(x).items() if value.requires_grad}
        objective = aim(logits, weights)
        slopes = torch.autograd.grad(objective, list(leaves.values()), retain_graph=True, allow_unused=True)
        return {name: slope for name, slope in zip(leaves, slopes, strict=True) if slope is not None}

    def search(
        self,
        model: nn.Module,
        x: Inputs,
        aim: Aim,
        first: dict[str | int, Tensor] | None,
        *,
        weights: Tensor | None = None,
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Inputs:
        """Neighbours as constants; ``first`` is the gradient at the examples, None if the start is random."""

        def objective(now: Inputs) -> Tensor:
            with passing(model, self.bn_mode):
                return aim(model(now), weights)

        at = self.how
        now = at.started(x, self.limits, seed, ids) if first is None else at.moved(x, x, first, self.limits)
        for _ in range(at.steps - (first is not None)):
            now = at.moved(x, now, gradient_of(objective, now), self.limits)
        return now


@dataclass(frozen=True, eq=False)
class Aim:
    """Objective of neighbours: the loss of a label, or for a target the negative of its loss."""

    loss: Loss
    label: Labels
    away: bool = True

    def __call__(self, logits: Logits, weights: Tensor | None = None) -> Tensor:
        """A scalar."""
        loss = mean_loss(self.loss(logits, self.label), weights)
        return loss if self.away else -loss


class AdversariallyRegularized(nn.Module):
    """A model with its regularised loss, for your own training loop.

    The module maps inputs to logits like the model and shares its weights.

    Args:
        model: any module; its inputs may be a tensor, a dict or a tuple of tensors.
        how: multiplier, neighbourhood, target, loss; None: the defaults.

    Example:
        >>> regularized = AdversariallyRegularized(nn.Linear(2, 2))
        >>> losses = regularized.losses(torch.zeros(3, 2), torch.tensor([0, 1, 0]))
        >>> losses.total.backward()
    """

    def __init__(self, model: nn.Module, how: AdversarialRegularization | None = None) -> None:
        super().__init__()
        self.model = model
        self.how = how or AdversarialRegularization()

    def forward(self, x: Inputs) -> Logits:
        """Outputs of the model."""
        logits: Logits = self.model(x)
        return logits

    def losses(
        self,
        x: Inputs,
        y: Tensor,
        weights: Tensor | None = None,
        *,
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Losses:
        """The regularised loss of a batch and its parts.

        Args:
            x: inputs, with examples first.
            y: labels (N,), or other targets of the loss.
            weights: of the examples (N,) or (N, 1), finite, in both losses: sum_i w_i l_i / N.
            seed: of random starts and targets; another for each step, such as its number.
            ids: names of the examples (N,), int64, that draws follow; None: 0..N-1.

        Raises: ValueError for inputs without a float, labels that are no class numbers, weights that are not finite or
            do not fit, and ids that are no whole numbers.
        """
        how = self.how
        if how.multiplier:
            check_movable(x)
        if how.starts_here:
            x = rebuilt(x, {name: leaf(value) for name, value in named(x).items()})
        logits = self(x)
        base = mean_loss(labelled(how.loss, logits, y), weights)
        if not how.multiplier:
            return Losses(base, base, torch.zeros_like(base), logits)
        aim = how.aim(logits, y, seed=seed, ids=ids)
        first = how.first(aim, logits, x, weights) if how.starts_here else None
        x_adv = how.search(self, x, aim, first, weights=weights, seed=seed, ids=ids)
        with passing(self, how.bn_mode):
            neighbour_logits = self(x_adv)
        hard = mean_loss(how.loss(neighbour_logits, y), weights)
        return Losses(base + how.multiplier * hard, base, hard, logits)


def labelled(loss: Loss, logits: Logits, y: Tensor) -> Tensor:
    """The loss of labels.

    Raises: ValueError for labels other than class numbers (N,) or probabilities (N, K).
    """
    probabilities = isinstance(y, Tensor) and y.is_floating_point() and y.shape == logits.shape
    return loss(logits, check_classes(y, logits) if loss == cross_entropy and not probabilities else y)


def mean_loss(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """sum_i w_i l_i / N of losses (N,); a scalar stays unchanged.

    Raises: ValueError for weights that are not finite or not one per example, and for weights of a scalar loss.
    """
    if weights is None:
        return values.mean()
    weights = finite_weights(weights)
    if weights.numel() != values.numel() or values.ndim != 1:
        raise ValueError(
            f"weights {tuple(weights.shape)} need a loss that gives one number per example, got {tuple(values.shape)}"
        )
    return (weights.reshape(-1).to(values) * values).mean()


@contextmanager
def passing(model: nn.Module, mode: BnMode) -> Iterator[None]:
    """Sets the mode of BatchNorm for forward passes over neighbours inside the block."""
    if mode == "moving":
        yield
    else:
        with frozen(model, training=False if mode == "eval" else None):
            yield
