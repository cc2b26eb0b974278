"""Inversion of features: another image with the same representation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from robustlab.core import Model, Objective, Score, ThreatModel, frozen, unfinished
from robustlab.core.kinds import typed
from robustlab.core.user_code import model_called
from robustlab.explain.case import check_inputs
from robustlab.explain.features.layers import Layer, anywhere, climb, twin_of


@typed
@dataclass(frozen=True)
class Inversions:
    """Images with the features of others.

    Args:
        x: the images (N, ...).
        distance: of their features from those of the originals, divided by the size of these (N,), float64; 0 for equal
            ones.
        before: the same for the starts (N,).
    """

    x: Tensor
    distance: Tensor
    before: Tensor


@typed
def invert_features(
    model: Model,
    layer: str,
    x: Tensor,
    start: Tensor,
    threat: ThreatModel | None = None,
    *,
    steps: int = 100,
    step_size: float | None = None,
) -> Inversions:
    """Changes start images until a layer represents them like other images.

        min_z ||g(z) - g(x)||_2 / ||g(x)||_2

    With a robust network z comes to look like x, with a standard one it stays like the start. Of an invertible linear
    layer the result is x.

    Args:
        model: from inputs (N, ...) to logits (N, K), used in the modes it is in; it is left as it was.
        layer: name of the layer g, as in ``model.named_modules()``; "" for the logits.
        x: images whose features are taken (N, ...), floating point.
        start: first images, in the same shape: ``noise_images``, or images of other classes.
        threat: budget around the start, and bounds; None: any values in [0, 1].
        steps: number of steps, each normalised in L2 and shorter than the one before.
        step_size: length of the first step; None: 2 / steps of a diagonal of the bounds.

    Returns: images exactly inside budget and bounds, with the distances that were reached.
    Raises: ValueError for a layer that the model does not have or call, and inputs that do not fit; UserCodeError for a
        model that fails.

    Source: Ilyas, Santurkar, Tsipras, Engstrom, Tran, Madry, Adversarial Examples Are Not Bugs, They Are Features,
    NeurIPS 2019, section 3.1 and appendix C; Mahendran, Vedaldi, Understanding Deep Image Representations by Inverting
    Them, CVPR 2015.
    """
    check_inputs(x)
    check_inputs(start)
    if start.shape != x.shape or start.dtype != x.dtype:
        raise ValueError(f"starts are {tuple(start.shape)} {start.dtype}, but the images {tuple(x.shape)} {x.dtype}")
    read = _Features(Layer.of(model, layer))
    with torch.inference_mode(mode=False), frozen(read.layer.model), model_called():
        twin = twin_of(read.layer, read, x)
        with torch.no_grad():
            wanted = torch.cat([read(part) for part in twin.split(x.detach())])
            first = torch.cat([read(part) for part in twin.split(start.detach())])
        objective = Objective(twin, wanted, Score(_nearness), unfinished)
        found = climb(objective, start.detach(), anywhere(threat), steps=steps, step_size=step_size)
        with torch.no_grad():
            last = torch.cat([read(part) for part in twin.split(found)])
    return Inversions(found, _distance(last, wanted), _distance(first, wanted))


@dataclass(frozen=True)
class _Features:
    """Features of a layer as rows, with a column of zeros beside a single one, so that they count as logits."""

    layer: Layer

    def __call__(self, x: Tensor) -> Tensor:
        features = self.layer(x).flatten(1)
        return features if features.shape[1] > 1 else F.pad(features, (0, 1))


def _nearness(features: Tensor, wanted: Tensor) -> Tensor:
    """Minus the squared distance of features, divided by the squared size of the wanted ones (N,)."""
    wide = torch.promote_types(features.dtype, torch.float32)
    scale = wanted.to(wide).square().sum(1)
    distance = (features.to(wide) - wanted.to(wide)).square().sum(1)
    return -distance / scale.where(scale > 0, 1)


def _distance(features: Tensor, wanted: Tensor) -> Tensor:
    return (-_nearness(features.double(), wanted.double())).sqrt()
