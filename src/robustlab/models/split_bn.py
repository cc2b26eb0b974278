"""Split BatchNorm: auxiliary layers with their own statistics and weights for inputs of another distribution."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustlab.core.kinds import typed
from robustlab.core.routes import Routed, routed_parts
from robustlab.core.weights import bare, state_of
from robustlab.core.weights import plain as dense
from robustlab.models.architecture import architecture_of, described


@typed
def split_bn(model: nn.Module, routes: int = 2) -> nn.Module:
    """A copy of a model with split BatchNorm: a main layer, and an auxiliary one per other route.

    A pass takes one route (``taking(model, route)``), whatever is in the batch; without that, the main one. All other
    weights are shared. Auxiliary BatchNorms start as copies of the main one, with the activations inside them (timm's).

    Args:
        model: any module tree with BatchNorm; timm's convolutional networks, ours, your own.
        routes: in all, at least 2: 2 for AdvProp, 1 + n for n kinds of adversarial images.

    Returns: the new model, in the modes of the old; ``merged`` removes the auxiliary BatchNorms again.
    Raises: ValueError for less than 2 routes, a model that is split already, or one without BatchNorm.
    Source: Xie, Tan, Gong, Wang, Yuille, Le, Adversarial Examples Improve Image Recognition, CVPR 2020, section 4.
    """
    if routes < 2:
        raise ValueError(f"routes counts the main one and at least one beside it, got {routes}")
    if routed_parts(model):
        raise ValueError("the norms of this model are split already: merged(model) takes the auxiliary ones out")
    found = [part for part in model.modules() if isinstance(part, _BatchNorm)]
    if not found:
        others = sorted({type(part).__name__ for part in model.modules() if "norm" in type(part).__name__.lower()})
        there = f"; its norms are {', '.join(others)}, which keep no statistics of batches" if others else ""
        raise ValueError(
            f"{type(model).__name__} holds no BatchNorm to be split{there}: AdvProp is for networks with BatchNorm"
        )
    split = _replaced(model, _BatchNorm, lambda norm: _split(norm, routes))
    known = architecture_of(model)
    return described(split, {**known, "routes": routes}) if known else split


@typed
def merged(model: nn.Module) -> nn.Module:
    """A copy of a model without its auxiliary BatchNorms: the plain network of the main route.

    Args:
        model: from ``split_bn``; any other is just copied.
    """
    plain = _replaced(model, Routed, lambda part: cast(Routed, part).main)
    known = architecture_of(model)
    if not known:
        return plain
    return described(plain, {name: value for name, value in known.items() if name != "routes"})


@typed
def exported(model: nn.Module) -> dict[str, Tensor]:
    """The weights of the main route under the names of the network alone, as timm and others load them.

    Our own first layers are left out: other programs normalise the inputs with the values of ``model.normalise``.

    Args:
        model: split or not, with its normalisation in front or not.

    Returns: copies on the CPU, for ``torch.save`` or ``safetensors``.
    """
    plain = bare(merged(model))
    inner = getattr(plain, "model", None)
    network = inner if isinstance(inner, nn.Module) and hasattr(plain, "normalise") else plain
    return dense(state_of(network))


def _split(norm: nn.Module, routes: int) -> Routed:
    part = Routed(norm, [copy.deepcopy(norm) for _ in range(routes - 1)])
    part.training = norm.training
    part.aux.training = norm.training
    return part


def _replaced(model: nn.Module, kind: type[nn.Module], make: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A copy of a model in which ``make`` replaces every layer of a kind, once if it has several names."""
    copied = copy.deepcopy(model)
    if isinstance(copied, kind):
        return make(copied)
    made: dict[nn.Module, nn.Module] = {}
    places = [(parent, name, part) for parent in copied.modules() for name, part in parent._modules.items()]
    for parent, name, part in places:
        if isinstance(part, kind):
            if part not in made:
                made[part] = make(part)
            setattr(parent, name, made[part])
    return copied
