"""Training twin: a search twin that is kept through training, so that crafting does not build one at every step.

Folding BatchNorm takes two passes of the model, which is longer than a training step of a small network. The structure
stays the same from step to step: only the folded weights are computed again, all other tensors are the model's.
"""

from __future__ import annotations

from typing import TypeAlias, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustlab.core import Twin, search_twin
from robustlab.core.fold import Folded, Weighted, merge
from robustlab.core.modes import in_training
from robustlab.core.routes import routed_parts
from robustlab.core.smooth import smooth_parts

Fold: TypeAlias = tuple[Weighted, _BatchNorm, Weighted]
"""A weighted layer and the normalisation layer after it, in the model; the folded layer in the twin."""
Switches: TypeAlias = tuple[int, ...]
"""State of the model that a twin keeps from its creation: smooth derivatives, routes."""
_TWINS: WeakKeyDictionary[nn.Module, dict[Switches, TrainingTwin]] = WeakKeyDictionary()


def forget(model: nn.Module) -> None:
    """Removes the twins of a model that may have been rebuilt; the next ``training_twin`` is a new one."""
    _TWINS.pop(model, None)


def training_twin(model: nn.Module, x: Tensor) -> Twin:
    """The search twin of a model with its present weights.

    Args:
        model: in the modes of the search; in training mode it is its own twin.
        x: inputs (N, ...) like those to be attacked.

    Returns: a twin whose own logits also decide about success, which training does not use; it is valid until the next
        update of the weights.
    """
    if any(in_training(part) for part in model.modules()):
        return Twin(model, model)
    twins, switches = _TWINS.setdefault(model, {}), _switches(model)
    twin = twins.get(switches)
    if twin is None or not twin.fits(model, x):
        twin = twins[switches] = TrainingTwin(model, x)
    return twin.updated(model)


class TrainingTwin:
    """A search twin and the layers that it is updated from; holds no reference to the model, but to its parts."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        twin = search_twin(model, x)
        self.parts = tuple(model.modules())[1:]
        self.shape = x.shape[1:]
        self.search = twin.search if isinstance(twin.search, nn.Module) and twin.distinct else None
        self.rows = twin.rows
        if self.search is not None:
            self.folds = _folds(self.search, dict(model.named_modules()))
            self.shared = _shared(self.search, {part for _, _, part in self.folds})
            if not self.shared.keys() <= _tensors(model).keys():
                self.search = None

    def fits(self, model: nn.Module, x: Tensor) -> bool:
        """True if the model still consists of the same parts and takes the same inputs."""
        parts = tuple(model.modules())[1:]
        same = len(parts) == len(self.parts) and all(a is b for a, b in zip(parts, self.parts, strict=True))
        return same and x.shape[1:] == self.shape

    @torch.no_grad()
    def updated(self, model: nn.Module) -> Twin:
        """The twin with the model's present weights."""
        if self.search is None:
            return Twin(model, model, self.rows)
        own = _tensors(model)
        for name, tensor in self.shared.items():
            tensor.data = own[name].data
        for layer, norm, merged in self.folds:
            merge(layer, norm, merged)
        return Twin(self.search, self.search, self.rows)


def _switches(model: nn.Module) -> Switches:
    return (*(part.on for part in smooth_parts(model)), *(part.route for part in routed_parts(model)))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _folds(search: nn.Module, parts: dict[str, nn.Module]) -> list[Fold]:
    """Weighted and normalisation layers of the model that are one layer in its twin."""
    if not isinstance(search, Folded):
        return []
    return [
        (cast(Weighted, parts[layer]), cast(_BatchNorm, parts[norm]), cast(Weighted, search.model.get_submodule(layer)))
        for layer, norm in search.folds
    ]


def _shared(search: nn.Module, folded: set[nn.Module]) -> dict[str, Tensor]:
    """Weights and buffers of the twin that are those of the model under the same name."""
    own = {id(tensor) for part in folded for tensor in part.parameters()}
    copied = search.model if isinstance(search, Folded) else search
    return {name: tensor for name, tensor in _tensors(copied).items() if id(tensor) not in own}
