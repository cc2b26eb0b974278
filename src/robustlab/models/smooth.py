"""Smooth activations in place of ReLU, with the same weights and smoother gradients."""

from __future__ import annotations

import copy
import inspect
import re
import warnings
from collections.abc import Callable
from types import CodeType
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import SmoothGradient
from robustlab.core.kinds import typed
from robustlab.models.architecture import architecture_of, described

Activation = Literal["silu", "gelu", "softplus", "parametric_softplus", "elu", "smooth_relu"]
_SWAPPED = (nn.ReLU, nn.ReLU6)
_FUNCTIONS = {"relu", "relu_", "relu6"}
_CALL = re.compile(r"\b(?:F|functional|torch)\.relu6?_?\(|\.relu_?\(\)")


@typed
class ParametricSoftplus(nn.Module):
    """A softplus that approaches ReLU as alpha grows.

        log(1 + exp(alpha x)) / alpha

    Args:
        alpha: > 0.

    Source: Xie, Tan, Gong, Yuille, Le, Smooth Adversarial Training, 2020, section 3.3, with alpha 10.
    """

    def __init__(self, alpha: float = 10.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """Values of any shape."""
        return F.softplus(x, beta=self.alpha)


@typed
class SmoothReLU(nn.Module):
    """ReLU with a continuous derivative, whose sharpness is learned.

        x - log(beta x + 1) / beta  for x >= 0, else 0;   beta = root**2

    Args:
        root: square root of beta at first.

    Source: Xie et al., Smooth Adversarial Training, 2020, section 4.4; parametrisation and 20 as released.
    """

    def __init__(self, root: float = 20.0) -> None:
        super().__init__()
        self.root = nn.Parameter(torch.tensor(root))

    def forward(self, x: Tensor) -> Tensor:
        """Values of any shape."""
        beta, positive = self.root.square(), x.relu()
        return positive - torch.log1p(beta * positive) / beta


_MAKE: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "parametric_softplus": ParametricSoftplus,
    "elu": nn.ELU,
    "smooth_relu": SmoothReLU,
}


@typed
def smooth(model: nn.Module, activation: Activation = "silu", *, only_gradient: bool = False) -> nn.Module:
    """A copy of a model with every ReLU and ReLU6 replaced by a smooth activation; all weights are kept.

    ReLUs that the code of a module calls as functions cannot be replaced from outside: a warning names those modules.

    Args:
        model: any module tree.
        activation: "silu", "gelu", "softplus", "parametric_softplus", "elu" or "smooth_relu".
        only_gradient: keep ReLU in the forward pass and take only the smooth derivative in the backward pass, where
            ``smooth_gradients`` does not switch it off, to separate the effects on the attack and on the update.

    Returns: the new model, in the modes of the old.
    Raises: ValueError for an unknown activation, or if there is nothing to replace.
    Source: Xie, Tan, Gong, Yuille, Le, Smooth Adversarial Training, 2020.
    """
    if activation not in get_args(Activation):
        raise ValueError(f"activation must be one of {', '.join(get_args(Activation))}, got {activation!r}")
    copied = copy.deepcopy(model)
    places = [(parent, name, part) for parent in copied.modules() for name, part in parent.named_children()]
    swapped = [place for place in places if isinstance(place[2], _SWAPPED)]
    left = functional_relus(copied)
    if not swapped:
        where = f"; {', '.join(left)} call it as a function: make it a module there" if left else ""
        raise ValueError(f"{type(model).__name__} holds no ReLU module to replace{where}")
    if left:
        warnings.warn(f"ReLU is called as a function in {', '.join(left)}: it stays there", stacklevel=2)
    for parent, name, part in swapped:
        new = _MAKE[activation]()
        setattr(parent, name, (SmoothGradient(new) if only_gradient else new).train(part.training))
    known = architecture_of(model)
    return described(copied, {**known, "activation": activation}) if known and not only_gradient else copied


@typed
def functional_relus(model: nn.Module) -> tuple[str, ...]:
    """Names of the sub-modules whose own code calls ReLU as a function, by their source or, in a notebook, bytecode."""
    found = []
    for name, part in model.named_modules():
        own = not type(part).__module__.startswith(("torch.nn.modules", __name__, SmoothGradient.__module__))
        if own and (_CALL.search(_source(type(part))) or _called(part)):
            found.append(name or type(part).__name__)
    return tuple(found)


def _source(kind: type[nn.Module]) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _called(part: nn.Module) -> bool:
    """True if the methods of a class use a ReLU function that is not a sub-module of the same name."""
    methods = [vars(kind).values() for kind in type(part).__mro__ if not kind.__module__.startswith("torch.")]
    codes = [getattr(method, "__code__", None) for those in methods for method in those]
    named = {name for code in codes if code is not None for name in _names(code)} & _FUNCTIONS
    return any(not isinstance(getattr(part, name, None), nn.Module) for name in named)


def _names(code: CodeType) -> set[str]:
    """Names of globals and attributes that a function uses, with those of nested functions."""
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*map(_names, inner))
