"""Test of adversarial images after they were saved as PNG and loaded again."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from robustlab.core import Model, RunError, as_twin, at_target, frozen, misclassified
from robustlab.core.kinds import typed
from robustlab.core.names import class_numbers, example_names
from robustlab.data.images import read_image
from robustlab.runs.files import replace_atomically

if TYPE_CHECKING:
    from PIL import Image

_BATCH = 64


class Saved(NamedTuple):
    """Images that were saved and loaded again, and the verdict of the model."""

    fooled: Tensor
    """True where the loaded image fools the model (N,) bool; logits that are not finite count as fooled."""
    x: Tensor
    """The loaded images, in the shape and dtype of those that were saved."""
    paths: tuple[Path, ...]
    """The files, one per image; none if no directory was given."""


@typed
def verify_saved(
    model: Model,
    x_adv: Tensor,
    y: Tensor,
    directory: str | Path | None = None,
    *,
    ids: Tensor | None = None,
    target: Tensor | None = None,
) -> Saved:
    """Saves images as PNG, loads them again, and evaluates the model on them.

    A file holds 256 levels per value. A perturbation between two levels is rounded, and often the success is
    lost; ``robustlab.attacks.Uint8`` finds images on the levels. The model is called in eval mode and its mode is
    restored.

    Args:
        model: from images (N, ...) to logits (N, K).
        x_adv: images (N, C, H, W) with 1 or 3 channels, or (N, H, W), in [0, 1].
        y: labels (N,).
        directory: where the images go, as ``<id>.png``; it is made if need be. None: a temporary one that is removed.
        ids: names of the images (N,), all different; None: 0..N-1.
        target: classes that count as success (N,); None: any wrong one.

    Raises:
        ValueError: for inputs that are no images in [0, 1], and for repeated ids.
        RunError: if the directory cannot be written.
    """
    names = _checked(x_adv, y, ids)
    with tempfile.TemporaryDirectory() if directory is None else nullcontext(str(directory)) as home:
        paths = tuple(Path(home) / f"{name}.png" for name in names)
        try:
            for path, image in zip(paths, x_adv.detach(), strict=True):
                replace_atomically(path, partial(_picture(image).save, format="PNG"))
        except OSError as error:
            raise RunError(f"cannot write images to {home}: {error.strerror}; choose another directory") from error
        loaded = torch.stack([_loaded(path, x_adv.shape[1:]) for path in paths]).to(x_adv)
    return Saved(_fooled(model, loaded, y, target), loaded, () if directory is None else paths)


def _checked(x_adv: Tensor, y: Tensor, ids: Tensor | None) -> list[int]:
    """The names of the images."""
    if x_adv.ndim not in (3, 4) or (x_adv.ndim == 4 and x_adv.shape[1] not in (1, 3)) or not x_adv.numel():
        raise ValueError(f"inputs {tuple(x_adv.shape)} are no images: (N, 1 or 3, H, W) or (N, H, W) can be saved")
    if not x_adv.is_floating_point() or not bool(((x_adv >= 0) & (x_adv <= 1)).all()):
        raise ValueError(f"images must be floating point in [0, 1] to be saved, got {x_adv.dtype}, or values outside")
    names = list(range(len(x_adv))) if ids is None else example_names(ids).tolist()
    class_numbers(y)
    if len(y) != len(x_adv) or len(names) != len(x_adv) or len(set(names)) != len(names):
        raise ValueError(f"{len(x_adv)} images need a label and a name of its own for each, got {len(y)} and {names}")
    return names


def _picture(image: Tensor) -> Image.Image:
    """An image (C, H, W) or (H, W) at the nearest levels."""
    from PIL import Image

    values = (image.double() * 255).round().to(torch.uint8).cpu()
    values = values.permute(1, 2, 0).squeeze(-1) if values.ndim == 3 else values
    return Image.fromarray(values.contiguous().numpy())


def _loaded(path: Path, shape: torch.Size) -> Tensor:
    return read_image(path, channels=3 if len(shape) == 3 and shape[0] == 3 else 1).reshape(shape)


def _fooled(model: Model, x: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    twin = as_twin(model)
    with frozen(twin.model, training=False), torch.no_grad():
        logits = torch.cat([twin(part) for part in torch.split(x, _BATCH)])
    undefined = ~logits.amax(dim=1).isfinite()
    return (misclassified(logits, y) | undefined) if target is None else (at_target(logits, target) & ~undefined)
