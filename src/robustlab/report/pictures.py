"""Pictures of the gallery: clean, perturbation, adversarial, as PNG inside the page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from robustlab.core.errors import RunError
from robustlab.evaluation.record import Evaluation, GalleryItem
from robustlab.report.confusion import class_name
from robustlab.report.words import budget, number, percent

LARGEST = 224
"""Longer sides are thinned out for display, by whole steps."""


@dataclass(frozen=True)
class Picture:
    """One image and what is written under it."""

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


def gallery(evaluation: Evaluation, most: int) -> tuple[Triptych, ...]:
    """The recorded examples that are images, at most ``most``, with their perturbations amplified alike per eps."""
    if evaluation.directory is None:
        return ()
    loaded = [(item, *_load(evaluation.directory, item)) for item in evaluation.gallery[:most]]
    shown = [(item, x, x_adv) for item, x, x_adv in loaded if is_image(x)]
    factors = {eps: _amplification([x_adv - x for i, x, x_adv in shown if i.eps == eps]) for eps in _budgets(shown)}
    return tuple(_triptych(evaluation, item, x, x_adv, factors[item.eps]) for item, x, x_adv in shown)


def _load(directory: Path, item: GalleryItem) -> tuple[Tensor, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(directory / item.file, "pt") as file:
            return file.get_slice("x")[item.row], file.get_slice("x_adv")[item.row]
    except (OSError, SafetensorError) as error:
        raise RunError(f"the gallery {directory / item.file} cannot be read ({error}): evaluate again") from error


def is_image(x: Tensor) -> bool:
    """Whether an input can be looked at: (1 or 3, H, W) or (H, W)."""
    return (x.ndim == 3 and x.shape[0] in (1, 3)) or x.ndim == 2


def png(image: Tensor, bounds: tuple[float, float] = (0.0, 1.0)) -> str:
    """An image (C, H, W) or (H, W) in ``bounds`` as a data URI."""
    from PIL import Image

    low, high = bounds
    array = ((image.detach().float().cpu() - low) / (high - low)).clamp(0, 1).mul(255).round().byte().numpy()
    array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    step = math.ceil(max(array.shape[:2]) / LARGEST)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array[::step, ::step].squeeze())).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _budgets(shown: Sequence[tuple[GalleryItem, Tensor, Tensor]]) -> set[float]:
    return {item.eps for item, _, _ in shown}


def _amplification(deltas: Sequence[Tensor]) -> int:
    """The whole number that brings the largest change close to black or white."""
    largest = max((float(d.abs().max()) for d in deltas), default=0.0)
    return max(1, int(0.5 / largest + 1e-6)) if largest > 0 else 1


def _triptych(evaluation: Evaluation, item: GalleryItem, x: Tensor, x_adv: Tensor, factor: int) -> Triptych:
    low, high = evaluation.threat.bounds
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
    return f"{item.attack}, eps {budget(item.eps)}{wanted}"
