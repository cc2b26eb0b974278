"""Pictures of the gallery: clean, perturbation, adversarial, as PNG inside the page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.evaluation.gallery import pictures
from robustlab.evaluation.record import Evaluation, GalleryItem
from robustlab.report.confusion import class_name
from robustlab.report.words import budget, number, percent

LARGEST = 224
"""Longer sides are thinned out for display, by whole steps."""


@dataclass(frozen=True)
class Picture:
    """One image and its caption."""

    uri: str
    alt: str
    label: str
    detail: str


@dataclass(frozen=True)
class Triptych:
    """One fooled example: clean, perturbation, adversarial."""

    clean: Picture
    change: Picture
    adversarial: Picture
    caption: str


def gallery(evaluation: Evaluation, most: int, eps: float | None) -> tuple[Triptych, ...]:
    """Recorded examples that are images, their perturbations amplified alike for each eps.

    Args:
        evaluation: with its run directory.
        most: how many at most.
        eps: of the headline: examples of this budget are shown, of the largest one if there are none.
    """
    if evaluation.directory is None or not is_image_shape(evaluation.data.shape):
        return ()
    items = selected(evaluation.gallery, most, eps)
    clean, adversarial = pictures(evaluation, items)
    low, high = _black_and_white(evaluation.threat.bounds, [*clean, *adversarial])
    factors = {
        e: amplification([a - x for i, x, a in zip(items, clean, adversarial, strict=True) if i.eps == e], high - low)
        for e in {i.eps for i in items}
    }
    shown = zip(items, clean, adversarial, strict=True)
    return tuple(_triptych(evaluation, item, (x, x_adv), (low, high), factors[item.eps]) for item, x, x_adv in shown)


def _black_and_white(bounds: tuple[float, float], images: Sequence[Tensor]) -> tuple[float, float]:
    """The values that are drawn black and white: the bounds, or where they are infinite, the ends of the images."""
    ends = [[float(end) for end in image.aminmax()] for image in images]
    low = bounds[0] if math.isfinite(bounds[0]) else min((one[0] for one in ends), default=0.0)
    high = bounds[1] if math.isfinite(bounds[1]) else max((one[1] for one in ends), default=1.0)
    return low, high if high > low else low + 1


def selected(items: Sequence[GalleryItem], most: int, eps: float | None) -> tuple[GalleryItem, ...]:
    """Items of one budget, from every attack in turn, other examples where there are some; in the order recorded."""
    budgets = sorted({item.eps for item in items})
    budget_shown = eps if eps in budgets else budgets[-1] if budgets else None
    waiting = [item for item in items if item.eps == budget_shown]
    chosen: list[GalleryItem] = []
    while waiting and len(chosen) < most:
        attacks, seen = [item.attack for item in chosen], {item.id for item in chosen}
        best = min(waiting, key=lambda item: (attacks.count(item.attack), item.id in seen))
        waiting.remove(best)
        chosen.append(best)
    return tuple(sorted(chosen, key=items.index))


@typed
def is_image_shape(shape: Sequence[int]) -> bool:
    """Returns True for the shape of an image: (1 or 3, H, W) or (H, W)."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))


def as_array(image: Tensor, bounds: tuple[float, float] = (0.0, 1.0)) -> NDArray[np.uint8]:
    """An image (C, H, W) or (H, W) in ``bounds`` as 0..255, (H, W) or (H, W, 3)."""
    low, high = bounds
    values = ((image.detach().float().cpu() - low) / (high - low)).clamp(0, 1).mul(255).round().byte().numpy()
    array: NDArray[np.uint8] = values.transpose(1, 2, 0) if values.ndim == 3 else values
    return array.squeeze(-1) if array.shape[-1] == 1 and array.ndim == 3 else array


def png(image: Tensor, bounds: tuple[float, float] = (0.0, 1.0), *, most: int = LARGEST) -> str:
    """An image (C, H, W) or (H, W) in ``bounds`` as a data URI; sides longer than ``most`` are thinned out."""
    from PIL import Image

    array = as_array(image, bounds)
    step = math.ceil(max(array.shape[:2]) / most)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array[::step, ::step])).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def amplification(deltas: Sequence[Tensor], width: float = 1.0) -> int:
    """The whole number that brings the largest change close to black or white, which differ by ``width``."""
    largest = max((float(d.abs().max()) for d in deltas), default=0.0)
    return max(1, int(0.5 * width / largest + 1e-6)) if largest > 0 else 1


def _triptych(
    evaluation: Evaluation, item: GalleryItem, pair: tuple[Tensor, Tensor], ends: tuple[float, float], factor: int
) -> Triptych:
    (x, x_adv), (low, high) = pair, ends
    change = 0.5 * (low + high) + factor * (x_adv - x)
    before, after = class_name(evaluation, item.clean_prediction), class_name(evaluation, item.prediction)
    times = f"\N{MULTIPLICATION SIGN}{factor}"
    size = number(getattr(item, evaluation.threat.norm.lower(), item.linf))
    return Triptych(
        Picture(png(x, (low, high)), f"image {item.id}, unchanged", before, percent(item.clean_confidence, 0)),
        Picture(
            png(change, (low, high)), f"the change, amplified {factor} times", times, f"{evaluation.threat.norm} {size}"
        ),
        Picture(png(x_adv, (low, high)), f"image {item.id}, changed", after, percent(item.confidence, 0)),
        _caption(evaluation, item),
    )


def _caption(evaluation: Evaluation, item: GalleryItem) -> str:
    wanted = "" if item.target is None else f", target {class_name(evaluation, item.target)}"
    named = f"{item.source}: " if item.source else ""
    return f"{named}{item.attack}, eps {budget(item.eps)}{wanted}"
