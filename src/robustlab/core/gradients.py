"""Gradients by inputs as tensors of one's own: dense, finite, and safe to be written over."""

from __future__ import annotations

import torch
from torch import Tensor

from robustlab.core.norms import Linf

_LARGEST = 1e18  # the square of which fits float32


def own_gradient(grad: Tensor | None, x: Tensor) -> Tensor:
    """A gradient as a new tensor that shares memory with nothing.

    What autograd returns may be expanded from a single number, sparse, the very tensor that a hook or a function of the
    user's keeps, or nothing at all, where the input was not used.

    Args:
        grad: gradient by ``x``, (N, ...); None counts as 0.
        x: what it is the gradient by.

    Returns: in the shape and dtype of ``x``, without graph; NaN is 0, infinite values are the largest finite ones, and
        what is so long that its square would overflow is shortened, each example as a whole.
    """
    if grad is None:
        return torch.zeros_like(x, requires_grad=False)
    own = dense(grad.detach()).to(x.dtype).nan_to_num()
    shorter = _LARGEST / Linf().size(own).double().clamp_min(_LARGEST)  # in half types the largest would be infinite
    return own.mul_(shorter.to(own.dtype).reshape(-1, *[1] * (own.ndim - 1)))


def dense(grad: Tensor) -> Tensor:
    """A gradient with every value in its place, also where autograd made a sparse one."""
    return grad if grad.layout is torch.strided else grad.to_dense()


def gradient_by(x: Tensor, value: Tensor, weights: Tensor | None = None, *, retain_graph: bool = False) -> Tensor:
    """The gradient of a value by inputs, as ``own_gradient`` has it; 0 where the value does not depend on them.

    Args:
        x: inputs (N, ...) that the value was computed from, with ``requires_grad``.
        value: a scalar, or any tensor with weights.
        weights: of the elements of the value, in its shape.
        retain_graph: whether another gradient of the same value is to come.
    """
    if not value.requires_grad:
        return own_gradient(None, x)
    (grad,) = torch.autograd.grad(value, x, weights, retain_graph=retain_graph, allow_unused=True)
    return own_gradient(grad, x)
