"""Visualisation of features: images that a unit of a layer answers to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core import Model, Objective, Score, ThreatModel, frozen, unfinished
from robustlab.core.kinds import typed
from robustlab.core.names import class_numbers
from robustlab.core.user_code import model_called
from robustlab.explain.case import check_inputs
from robustlab.explain.features.layers import Layer, anywhere, climb, twin_of

_TOKENS = 3
"""Number of axes of outputs whose units are in the last one: (N, T, C) of transformers."""


@typed
@dataclass(frozen=True)
class Visualisations:
    """Images that units answer to.

    Args:
        x: the images (N, ...).
        activation: of the unit of each, mean over its positions (N,), float64.
        before: the same for the starts (N,).
    """

    x: Tensor
    activation: Tensor
    before: Tensor


@typed
def visualise(  # noqa: PLR0913 -- model, layer, units, starts and the settings of the search
    model: Model,
    layer: str,
    unit: int | Tensor,
    start: Tensor,
    threat: ThreatModel | None = None,
    *,
    steps: int = 100,
    step_size: float | None = None,
    smoothness: float = 0.0,
) -> Visualisations:
    """Changes start images until a unit of a layer is as active as possible.

        max_z mean_p h_u(z)_p - smoothness * TV(z),   TV the mean absolute difference of neighbouring pixels

    Units are channels of feature maps (N, C, H, W), last axes of tokens (N, T, C), or values (N, C); p are their
    positions.

    Args:
        model: from inputs (N, ...) to logits (N, K), used in the modes it is in; it is left as it was.
        layer: name of the layer h, as in ``model.named_modules()``; "" for the logits.
        unit: number of the unit u, one for all or one for each image (N,).
        start: first images (N, ...), floating point.
        threat: budget around the start, and bounds; None: any values in [0, 1].
        steps: number of steps, each normalised in L2 and shorter than the one before.
        step_size: length of the first step; None: 2 / steps of a diagonal of the bounds.
        smoothness: weight of the total variation, >= 0.

    Returns: images exactly inside budget and bounds, with the activations that were reached.
    Raises: ValueError for a layer or unit that the model does not have, and inputs that do not fit; UserCodeError for a
        model that fails.

    Source: Erhan, Bengio, Courville, Vincent, Visualizing Higher-Layer Features of a Deep Network, 2009; Engstrom et
    al., Adversarial Robustness as a Prior for Learned Representations, 2019, for robust networks, which need no
    penalty.
    """
    check_inputs(start)
    if not 0 <= smoothness < math.inf:
        raise ValueError(f"smoothness must be a finite number >= 0, got {smoothness}")
    units = torch.full((len(start),), unit) if isinstance(unit, int) else class_numbers(unit, len(start), "units")
    read = _Units(Layer.of(model, layer))
    with torch.inference_mode(mode=False), frozen(read.layer.model), model_called():
        twin = twin_of(read.layer, read, start)
        units = units.to(start.device)
        with torch.no_grad():
            before = torch.cat([_checked(read(part), units, layer) for part in twin.split(start.detach())])
        objective = Objective(twin, units, Score(_Activity(smoothness)), unfinished)
        found = climb(objective, start.detach(), anywhere(threat), steps=steps, step_size=step_size)
        with torch.no_grad():
            after = torch.cat([read(part) for part in twin.split(found)])
    own = [part.gather(1, units[:, None])[:, 0].double() for part in (after, before)]
    return Visualisations(found, *own)


@dataclass(frozen=True)
class _Units:
    """Mean activation of each unit (N, C) over its positions, with the total variation of the input behind."""

    layer: Layer

    def __call__(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        out = out.movedim(-1, 1) if out.ndim == _TOKENS else out
        return torch.cat([out.flatten(2).mean(2) if out.ndim > 2 else out, _variation(x)[:, None].to(out.dtype)], dim=1)


def _variation(x: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels (N,); 0 where there are none."""
    axes = range(2, x.ndim)
    parts = [x.diff(dim=axis).abs().flatten(1).mean(1) for axis in axes if x.shape[axis] > 1]
    return torch.stack(parts).sum(0) if parts else x.new_zeros(len(x))


@dataclass(frozen=True)
class _Activity:
    """Activation of the units less the weighted total variation, as a score."""

    smoothness: float

    def __call__(self, read: Tensor, units: Tensor) -> Tensor:
        return read.gather(1, units[:, None])[:, 0] - self.smoothness * read[:, -1]


def _checked(read: Tensor, units: Tensor, layer: str) -> Tensor:
    count = read.shape[1] - 1
    if int(units.min()) < 0 or int(units.max()) >= count:
        wrong = int(units.min()) if int(units.min()) < 0 else int(units.max())
        raise ValueError(f"layer {layer!r} has units 0..{count - 1}, got {wrong}")
    return read
