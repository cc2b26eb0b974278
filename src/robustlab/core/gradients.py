"""Gradients by inputs as new tensors: dense, finite and safe to write over."""

from __future__ import annotations

import torch
from torch import Tensor

from robustlab.core.norms import Linf

_LARGEST = 1e18  # the square of which fits float32


def own_gradient(grad: Tensor | None, x: Tensor) -> Tensor:
    """A gradient as a new tensor that shares memory with nothing.

    Autograd may return an expanded or sparse tensor, a tensor that a hook or function of the user also keeps, or None
    if the input was not used.

    Args:
        grad: gradient by ``x``, (N, ...); None counts as 0.
        x: the inputs.

    Returns: in the shape and dtype of ``x``, without graph; NaN becomes 0, infinite values the largest finite ones, and
        examples whose squared length would overflow are scaled down as a whole.
    """
    if grad is None:
        return torch.zeros_like(x, requires_grad=False)
    own = dense(grad.detach()).to(x.dtype).nan_to_num()
    shorter = _LARGEST / Linf().size(own).double().clamp_min(_LARGEST)  # in half types the largest would be infinite
    return own.mul_(shorter.to(own.dtype).reshape(-1, *[1] * (own.ndim - 1)))


def dense(grad: Tensor) -> Tensor:
    """A dense gradient, also if autograd returned a sparse one."""
    return grad if grad.layout is torch.strided else grad.to_dense()


def gradient_by(x: Tensor, value: Tensor, weights: Tensor | None = None, *, retain_graph: bool = False) -> Tensor:
    """The gradient of a value by inputs, as from ``own_gradient``; 0 where the value does not depend on them.

    Args:
        x: inputs (N, ...) that the value was computed from, with ``requires_grad``.
        value: a scalar, or any tensor with weights.
        weights: of the elements of the value, in its shape.
        retain_graph: keeps the graph for another gradient of the same value.
    """
    if not value.requires_grad:
        return own_gradient(None, x)
    (grad,) = torch.autograd.grad(value, x, weights, retain_graph=retain_graph, allow_unused=True)
    return own_gradient(grad, x)
