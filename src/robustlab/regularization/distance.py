"""Distances between outputs of a model, with weights, and their reduction to one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from robustlab.core.kinds import typed

Reduction: TypeAlias = Literal["none", "sum", "mean", "weighted_mean", "mean_nonzero"]
"""Reduction of weighted distances w_i d_i to one number: see ``reduced``."""
_FLOOR = 1e-7
"""Added to probabilities before their logarithm is taken, as the original does."""
_ROUNDING = 1e-3
"""By which the sum of a distribution may miss 1."""


class Distance(Protocol):
    """A value that compares rows (..., D) with rows (..., D)."""

    def __call__(self, source: Tensor, target: Tensor) -> Tensor:
        """One number per element (..., D), or per pair of rows (...)."""


@typed
@dataclass(frozen=True)
class L1Distance:
    """|s_i - t_i| of each element, or the sum over the last axis.

    Args:
        per_pair: whether to sum over the last axis.
        softmax: whether to compare the probabilities that the inputs are logits of.
    """

    per_pair: bool = False
    softmax: bool = False

    def __call__(self, source: Tensor, target: Tensor) -> Tensor:
        """(..., D) and (..., D) to (..., D), or to (...) per pair."""
        source, target = _compared(source, target, softmax=self.softmax)
        return _per_pair((source - target).abs(), self.per_pair)


@typed
@dataclass(frozen=True)
class SquaredL2Distance:
    """(s_i - t_i)**2 of each element, or the sum over the last axis; called L2 in the original.

    Args:
        per_pair: whether to sum over the last axis.
        softmax: whether to compare the probabilities that the inputs are logits of.
    """

    per_pair: bool = False
    softmax: bool = False

    def __call__(self, source: Tensor, target: Tensor) -> Tensor:
        """(..., D) and (..., D) to (..., D), or to (...) per pair."""
        source, target = _compared(source, target, softmax=self.softmax)
        return _per_pair((source - target).square(), self.per_pair)


@typed
@dataclass(frozen=True)
class CosineDistance:
    """1 - cos(s, t); 1 where one of them is 0.

    Args:
        softmax: whether to compare the probabilities that the inputs are logits of.
    """

    softmax: bool = False

    def __call__(self, source: Tensor, target: Tensor) -> Tensor:
        """(..., D) and (..., D) to (...)."""
        source, target = _compared(source, target, softmax=self.softmax)
        return 1 - (unit_length(source) * unit_length(target)).sum(dim=-1)


@typed
@dataclass(frozen=True)
class KLDistance:
    """KL(s || t) = sum_i s_i log(s_i + 1e-7) - s_i log(t_i + 1e-7).

    Args:
        softmax: whether the inputs are logits; else they must be distributions.

    Raises: ValueError, when it is used, for rows that are no distributions.
    """

    softmax: bool = False

    def __call__(self, source: Tensor, target: Tensor) -> Tensor:
        """(..., D) and (..., D) to (...)."""
        return _kl(*_distributions(source, target, softmax=self.softmax))


@typed
@dataclass(frozen=True)
class JensenShannonDistance:
    """KL(s || m) / 2 + KL(t || m) / 2 with m = (s + t) / 2.

    Args:
        softmax: whether the inputs are logits; else they must be distributions.

    Raises: ValueError, when it is used, for rows that are no distributions.
    """

    softmax: bool = False

    def __call__(self, source: Tensor, target: Tensor) -> Tensor:
        """(..., D) and (..., D) to (...)."""
        source, target = _distributions(source, target, softmax=self.softmax)
        middle = (source + target) / 2
        return (_kl(source, middle) + _kl(target, middle)) / 2


@typed
def distance_loss(
    source: Tensor,
    target: Tensor,
    weights: Tensor | float = 1.0,
    *,
    distance: Distance | None = None,
    reduction: Reduction = "mean_nonzero",
) -> Tensor:
    """Weighted distances of rows as one number.

    Args:
        source: rows (..., D).
        target: rows (..., D) to be compared with them.
        weights: one for all, one per pair (...) or (..., 1), or, for distances of elements, one per element (..., D).
        distance: None: ``SquaredL2Distance()``.
        reduction: see ``reduced``.

    Returns: a scalar; for "none" the weighted distances themselves.
    Raises: ValueError for shapes that do not fit each other, or an unknown reduction.

    Example:
        >>> a, b = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 2.0], [5.0, 5.0]])
        >>> distance_loss(a, b, torch.tensor([1.0, 0.0])).item()
        2.0
    """
    if source.shape != target.shape:
        raise ValueError(f"distances need rows of the same shape, got {tuple(source.shape)} and {tuple(target.shape)}")
    values = (distance or SquaredL2Distance())(source, target)
    return reduced(values, weights, reduction)


@typed
def reduced(values: Tensor, weights: Tensor | float = 1.0, reduction: Reduction = "mean_nonzero") -> Tensor:
    """Reduction of weighted values to one number.

        none           w_i v_i
        sum            sum_i w_i v_i
        mean           sum_i w_i v_i / number of values
        weighted_mean  sum_i w_i v_i / sum_i w_i
        mean_nonzero   sum_i w_i v_i / number of weights that are not 0

    Args:
        values: numbers (...).
        weights: one for all, or of a shape that leads that of the values (trailing axes of 1 may be there or not).
        reduction: one of these. A division by 0 gives 0.

    Raises: ValueError for an unknown reduction, or weights that are not finite or do not fit.
    """
    if reduction not in get_args(Reduction):
        raise ValueError(f"there is no reduction {reduction!r}: choose one of {', '.join(get_args(Reduction))}")
    weights = _spread(weights, values)
    weighted = weights * values
    if reduction == "none":
        return weighted
    total = weighted.sum()
    match reduction:
        case "mean":
            return total / max(values.numel(), 1)
        case "weighted_mean":
            return _ratio(total, weights.sum())
        case "mean_nonzero":
            return _ratio(total, weights.count_nonzero())
    return total


def unit_length(rows: Tensor) -> Tensor:
    """Rows (..., D) divided by their Euclidean length; lengths below 1e-6 count as 1e-6."""
    return rows * rows.square().sum(dim=-1, keepdim=True).clamp_min(1e-12).rsqrt()


def _ratio(total: Tensor, count: Tensor) -> Tensor:
    """A ratio whose gradient stays finite where it is 0 / 0."""
    return total / torch.where(count == 0, 1, count)


def finite_weights(weights: Tensor | float) -> Tensor:
    """Weights as a tensor.

    Raises: ValueError if one is NaN or infinite, as the loss would be too.
    """
    given = torch.as_tensor(weights)
    wrong = int((~given.isfinite()).sum())
    if wrong:
        raise ValueError(
            f"{wrong} of {given.numel()} weights are NaN or infinite: leave such edges or examples out, or give them 0"
        )
    return given


def _spread(weights: Tensor | float, values: Tensor) -> Tensor:
    """Weights expanded to one for each value."""
    weights = finite_weights(weights)
    spread = torch.as_tensor(weights, dtype=values.dtype, device=values.device)
    if spread.ndim == values.ndim + 1 and spread.shape[-1] == 1:
        spread = spread[..., 0]
    spread = spread.reshape(*spread.shape, *[1] * (values.ndim - spread.ndim))
    try:
        return spread.expand(values.shape)
    except RuntimeError as error:
        shape = tuple(torch.as_tensor(weights).shape)
        raise ValueError(f"weights {shape} do not fit distances {tuple(values.shape)}") from error


def _compared(source: Tensor, target: Tensor, *, softmax: bool) -> tuple[Tensor, Tensor]:
    """Rows for the comparison, in float32 or wider: the floor of a divergence is 0 in half precision."""
    source, target = (rows.to(torch.promote_types(rows.dtype, torch.float32)) for rows in (source, target))
    if not softmax:
        return source, target
    return F.softmax(source, dim=-1), F.softmax(target, dim=-1)


def _distributions(source: Tensor, target: Tensor, *, softmax: bool) -> tuple[Tensor, Tensor]:
    if not softmax:
        for name, rows in (("source", source), ("target", target)):
            sums = rows.detach().sum(dim=-1)
            if not bool((rows >= 0).all() and ((sums - 1).abs() <= _ROUNDING).all()):
                raise ValueError(
                    f"a divergence compares distributions, but {name} has rows from {rows.min().item():.3g} to "
                    f"{rows.max().item():.3g} with sums up to {sums.max().item():.3g}: softmax=True takes logits"
                )
    return _compared(source, target, softmax=softmax)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p + _FLOOR).log() - p * (q + _FLOOR).log()).sum(dim=-1)


def _per_pair(values: Tensor, summed: bool) -> Tensor:  # noqa: FBT001 -- private
    return values.sum(dim=-1) if summed else values
