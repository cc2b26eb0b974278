"""A network as layers from the bottom to the top, in the groups in which it is frozen and opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from robustlab.core.kinds import typed
from robustlab.core.routes import Routed, routed_parts

Named: TypeAlias = tuple[str, nn.Module]
_M = TypeVar("_M", bound=nn.Module)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Group(NamedTuple):
    """Layers that are frozen or trained together."""

    name: str
    """Name of the first of them in the model."""
    parts: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]


@typed
def layer_groups(model: nn.Module) -> tuple[Group, ...]:
    """The layers of a model in groups, from the one next to the images to the classifier.

    A group is a child of the network that has weights; a module that only adds input normalisation is not counted as
    the network. A normalisation layer belongs to the child before it, and a container with more than half of all
    weights is divided into its own children. EfficientNet: conv_stem, blocks.0, ..., blocks.6, conv_head, classifier.
    Auxiliary BatchNorm layers are in the group of the main ones, so a split model has the groups of the plain one.

    Args:
        model: any module; children count in the order in which they were registered.

    Returns: the groups; each parameter is in one of them, those in no child are in the lowest.
    Raises: ValueError for a model without parameters.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
        >>> [(group.name, len(group.parameters)) for group in layer_groups(net)]
        [('0', 4), ('4', 2)]
    """
    seen: set[int] = set()
    grouped = [list(named) for named in _grouped(model)]
    owned = [[p for _, part in named for p in part.parameters() if _new(p, seen)] for named in grouped]
    if not grouped:
        raise ValueError(f"a {type(model).__name__} without parameters has no layers to train")
    owned[0] = [p for p in model.parameters() if _new(p, seen)] + owned[0]
    return tuple(
        Group(named[0][0], tuple(part for _, part in named), tuple(parameters))
        for named, parameters in zip(grouped, owned, strict=True)
    )


def _new(parameter: nn.Parameter, seen: set[int]) -> bool:
    """True for a parameter that was not seen before; layers may share weights."""
    first = id(parameter) not in seen
    seen.add(id(parameter))
    return first


def _grouped(model: nn.Module) -> Iterator[list[Named]]:
    """The children with weights, each with the normalisation layers behind it."""
    group: list[Named] = []
    for name, part in _parts(model):
        if group and not _is_norm(part):
            yield group
            group = []
        group.append((name, part))
    if group:
        yield group


def _is_norm(part: nn.Module) -> bool:
    """True if a layer only normalises; of several, one per route, the main one decides."""
    main = part.main if isinstance(part, Routed) else part
    return isinstance(main, _NormBase | nn.GroupNorm | nn.LayerNorm)


def _parts(model: nn.Module) -> Iterator[Named]:
    """The children of the network, large containers divided."""
    name, trunk = _trunk(model)
    whole = _size(trunk)
    for own, part in _weighted(trunk) or [("", trunk)] * bool(whole):
        path = ".".join(filter(None, (name, own)))
        if isinstance(part, _CONTAINERS) and 2 * _size(part) > whole:
            yield from ((f"{path}.{inner}", child) for inner, child in _weighted(part))
        else:
            yield path, part


def _trunk(model: nn.Module) -> Named:
    """The innermost module that holds all weights."""
    name, trunk = "", model
    while len(inner := _weighted(trunk)) == 1 and _weighted(inner[0][1]):
        name, trunk = ".".join(filter(None, (name, inner[0][0]))), inner[0][1]
    return name, trunk


def _weighted(module: nn.Module) -> list[Named]:
    """The children that have parameters; the layers of all routes count as one."""
    if isinstance(module, Routed):
        return []
    return [(name, child) for name, child in module.named_children() if any(True for _ in child.parameters())]


def _size(module: nn.Module) -> int:
    """Parameters on the main route."""
    auxiliary = {id(p) for part in routed_parts(module) for p in part.aux.parameters()}
    return sum(parameter.numel() for parameter in module.parameters() if id(parameter) not in auxiliary)


def head_of(model: nn.Module) -> nn.Module:
    """The layers of the topmost group as one."""
    parts = layer_groups(model)[-1].parts
    return parts[0] if len(parts) == 1 else nn.Sequential(*parts)


@typed
def new_head(model: _M, classes: int, *, seed: int = 0) -> _M:
    """Puts a new last layer into a model, for other classes than it was trained on.

    Args:
        model: changed in place; its topmost group ends with a linear layer.
        classes: K, at least 2.
        seed: of the new weights; the global random state is not touched.

    Returns: the model.
    Raises: ValueError if there is no linear layer at the top.

    Example:
        >>> new_head(nn.Sequential(nn.Flatten(), nn.Linear(4, 1000)), 3)[1]
        Linear(in_features=4, out_features=3, bias=True)
    """
    if classes < 2:
        raise ValueError(f"a classifier has at least 2 classes, got {classes}")
    top = set(layer_groups(model)[-1].parameters)
    lines = [(name, part) for name, part in model.named_modules() if name and isinstance(part, nn.Linear)]
    if not lines or lines[-1][1].weight not in top:
        raise ValueError(
            f"the last layer of {type(model).__name__} is not linear: give the model a last layer for {classes} "
            "classes yourself"
        )
    name, old = lines[-1]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        made = nn.Linear(old.in_features, classes, bias=old.bias is not None)
    model.set_submodule(name, made.to(old.weight.device, old.weight.dtype))
    owner = model.get_submodule(name.rpartition(".")[0])
    if isinstance(getattr(owner, "num_classes", None), int):
        vars(owner)["num_classes"] = classes  # as timm's networks call it
    return model
