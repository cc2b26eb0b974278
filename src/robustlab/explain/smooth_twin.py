"""A model with smooth activations in place of those with kinks, so that maps have derivatives.

The gradient of a network of ReLUs is constant almost everywhere: its derivative is zero, or does not exist. A softplus
in the place of the ReLU gives nearly the same maps, with derivatives that say how to change them. Nothing is traced or
copied: while the model runs, one of torch's modes puts the smooth function in the place of each that has a kink, be it
a module, a function or a method.

Source: Dombrowski, Alber, Anders, Ackermann, Mueller, Kessel, Explanations Can Be Manipulated and Geometry Is to Blame,
NeurIPS 2019, section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from robustlab.core import Model
from robustlab.core.kinds import typed
from robustlab.core.user_code import no_model

BETA = 30.0
"""Sharpness of the softplus; it differs from ReLU by at most log(2) / 30 = 0.023."""


@typed
class SmoothTwin(nn.Module):
    """A model with a softplus in the place of every ReLU, and the attention of torch in its plain form.

    Also smooth are ReLU6, hard tanh, leaky and parametric ReLU, and a clamp at 0 from below. Maximum pooling keeps its
    kinks, and BatchNorm is as in the model. The weights are those of the model, not copies. The plain form of attention
    has second derivatives, which the fused kernels have not.

    Args:
        model: from inputs (N, ...) to logits (N, K).
        beta: sharpness, > 0: log(1 + exp(beta x)) / beta approaches ReLU as it grows.

    Raises: ValueError for a compiled model, whose activations are out of reach.
    """

    def __init__(self, model: Model, beta: float = BETA) -> None:
        super().__init__()
        if not 0 < beta < math.inf:
            raise ValueError(f"beta must be a finite number > 0, got {beta}")
        self.model, self.beta = _reachable(model), float(beta)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) of inputs (N, ...)."""
        with smooth_kinks(self.beta):
            logits: Tensor = self.model(x)
        return logits


@typed
def smooth_twin(model: Model, beta: float = BETA) -> SmoothTwin:
    """The model with smooth activations, see ``SmoothTwin``; it is in the modes of the model."""
    twin = SmoothTwin(model, beta)
    twin.training = getattr(model, "training", False)
    return twin


@contextmanager
def smooth_kinks(beta: float) -> Iterator[None]:
    """Replaces functions with a kink by smooth ones while models are called inside the block."""
    with _Smooth(beta), sdpa_kernel(SDPBackend.MATH):
        yield


def _reachable(model: Model) -> Model:
    """The model, or the one that was compiled.

    Raises: ValueError for TorchScript and for compiled parts.
    """
    if not callable(model):
        raise ValueError(no_model(model))
    model = getattr(model, "_orig_mod", model)
    for part in model.modules() if isinstance(model, nn.Module) else ():
        if isinstance(part, torch.jit.ScriptModule) or hasattr(part, "_orig_mod") or _has_compiled_call(part):
            raise ValueError(
                f"{type(part).__name__} is compiled, so that its activations cannot be made smooth: give the module "
                "that it was compiled from"
            )
    return model


def _has_compiled_call(part: nn.Module) -> bool:
    return getattr(part, "_compiled_call_impl", None) is not None


class _Smooth(TorchFunctionMode):
    """Mode that calls a smooth function in the place of each that has a kink."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def __torch_function__(
        self,
        func: Callable[..., Any],
        _types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        named = kwargs or {}
        name = getattr(func, "__name__", "")
        kind = _KINDS.get(name.removesuffix("_"))
        found = None if kind is None or "out" in named else kind(self.beta, *args, **named)
        if found is None:
            return func(*args, **named)
        x, value, inplace = found
        return x.copy_(value(x.clone())) if inplace or name.endswith("_") else value(x)


_Found = tuple[Tensor, Callable[[Tensor], Tensor], object]
"""The values, the smooth function of them, and whether it is to be written over them."""


def _relu(beta: float, input: Tensor, inplace: object = None) -> _Found:
    return input, lambda x: F.softplus(x, beta), inplace


def _relu6(beta: float, input: Tensor, inplace: object = None) -> _Found:
    return _hardtanh(beta, input, 0.0, 6.0, inplace)


def _hardtanh(
    beta: float, input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: object = None
) -> _Found:
    return input, lambda x: min_val + F.softplus(x - min_val, beta) - F.softplus(x - max_val, beta), inplace


def _leaky_relu(beta: float, input: Tensor, negative_slope: float = 0.01, inplace: object = None) -> _Found:
    return input, lambda x: F.softplus(x, beta) - negative_slope * F.softplus(-x, beta), inplace


def _prelu(beta: float, input: Tensor, weight: Tensor) -> _Found:
    slope = weight if weight.numel() == 1 else weight.reshape(1, -1, *[1] * (input.ndim - 2))
    return input, lambda x: F.softplus(x, beta) - slope * F.softplus(-x, beta), None


def _clamp(beta: float, input: Tensor, min: object = None, max: object = None) -> _Found | None:
    if isinstance(min, Tensor) or isinstance(max, Tensor) or min != 0 or max is not None:
        return None
    return _relu(beta, input)


_KINDS: dict[str, Callable[..., _Found | None]] = {
    "relu": _relu,
    "relu6": _relu6,
    "hardtanh": _hardtanh,
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp,
}
"""From the sharpness and the arguments of a function of torch to the smooth one; None where it is no ReLU."""
