"""Layers of a network from the top down, and their weights drawn anew."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustlab.core import fold_in
from robustlab.core.modes import frozen

_PURPOSE = 0x2ED2A3


def copied(model: nn.Module) -> nn.Module:
    """A copy of a model whose weights may be changed, without gradients.

    Raises: ValueError for a model that cannot be copied.
    """
    try:
        return copy.deepcopy(model).requires_grad_(requires_grad=False)
    except Exception as error:
        raise ValueError(f"the model cannot be copied ({type(error).__name__}: {error}), so its layers stay") from error


def layers_of(model: nn.Module, x: Tensor) -> list[str]:
    """Names of the modules that hold weights of their own, from the top of the network down.

    The order is that in which they are last called. One that is never called, as those inside a fused attention,
    stands with the module around it.

    Args:
        model: a copy, which gets hooks for one pass.
        x: inputs (N, ...); the first few are used.
    """
    seen: list[str] = []
    hooks = [
        part.register_forward_pre_hook(lambda _module, _given, name=name: seen.append(name))
        for name, part in model.named_modules()
    ]
    try:
        with torch.no_grad(), frozen(model):
            model(x[:2])
    finally:
        for hook in hooks:
            hook.remove()
    last = {name: place for place, name in enumerate(seen)}
    layers = [name for name, part in model.named_modules() if any(True for _ in part.parameters(recurse=False))]
    return sorted(layers, key=lambda name: _place(name, last))[::-1]


def _place(name: str, last: dict[str, int]) -> int:
    while name not in last:
        if not name:
            return -1
        name = name.rpartition(".")[0]
    return last[name]


def redraw_(model: nn.Module, layer: str, seed: int) -> bool:
    """Draws the weights of a layer anew, in place, by its own ``reset_parameters``.

    Weights that it has not, or leaves, get normal numbers with their own mean and standard deviation; constant ones,
    such as the scales of a new normalisation layer, stay.

    Args:
        model: a copy.
        layer: name of the module.
        seed: of the draw, with the name.

    Returns: True if any weight is another one.
    """
    part = model.get_submodule(layer)
    before = [(weights, weights.clone()) for weights in part.parameters(recurse=False)]
    with torch.no_grad(), _seeded(fold_in(seed, _PURPOSE, *layer.encode()), [weights for weights, _ in before]):
        reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
        if callable(reset):
            reset()
        for weights, old in before:
            if torch.equal(weights, old) and weights.numel() > 1:
                _drawn_(weights)
    return not all(torch.equal(weights, old) for weights, old in before)


def _drawn_(weights: Tensor) -> None:
    values = weights.double()
    spread, mean = float(values.std()), float(values.mean())
    if spread > 0:
        weights.copy_(torch.randn(weights.shape, dtype=torch.float32, device=weights.device) * spread + mean)


@contextmanager
def _seeded(seed: int, weights: list[Tensor]) -> Iterator[None]:
    """Seeds the global generator, from which initialisers draw, and puts it back."""
    devices = list({one.device for one in weights if one.device.type == "cuda"})
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


def grouped(layers: list[str], stages: int) -> list[list[str]]:
    """Layers in at most so many groups from the top down: the first one alone, the others evenly."""
    if not layers:
        return []
    rest, count = layers[1:], min(stages - 1, len(layers) - 1)
    cuts = [round(number * len(rest) / count) for number in range(count + 1)] if count else []
    return [layers[:1], *(rest[low:high] for low, high in itertools.pairwise(cuts))]
