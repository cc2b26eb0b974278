"""Pretrained models, prepared for other data."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from robustlab.core import Examples
from robustlab.core.kinds import typed
from robustlab.models import load, names
from robustlab.models.architecture import architecture_of, described
from robustlab.models.transfer import check_normalisation, for_images
from robustlab.training import new_head

_LEAST = 64  # pixels: fewer are too small for the usual five halvings
_BARE = frozenset(names()) - {"efficientnet-lite0"}


@typed
def pretrained(
    name: str,
    examples: Examples,
    *,
    checkpoint: str | Path | None = None,
    side: int | None = None,
    keep_head: bool = False,
    seed: int = 0,
) -> nn.Module:
    """A pretrained model with a new last layer for the classes of some data, which takes their images unchanged.

    Args:
        name: of a published network, "package.module:function", or a checkpoint; or the architecture of ``checkpoint``.
        examples: the data; the first image gives their shape.
        checkpoint: weights without their architecture.
        side: height and width, in pixels, of images inside the model; None: of a published network
            that of the images, at least 64; else that of the checkpoint.
        keep_head: keep the last layer, for weights with the same classes.
        seed: of the last layer.

    Returns: the model, in eval mode, on the CPU.
    Raises: ValueError for a network without published weights, another normalisation than that of the weights, images
        of other channels, or a kept last layer with other classes; as ``robustlab.models.load``.
    """
    if name in _BARE and checkpoint is None:
        raise ValueError(
            f"{name} has no published weights: give a checkpoint or the directory of a training run, or train it anew"
        )
    shape = examples.batch(torch.tensor([0])).x.shape[1:]
    if len(shape) != 3:
        raise ValueError(f"{examples.name} has inputs of shape {tuple(shape)}, expected images (C, H, W)")
    weights = checkpoint is not None or Path(name).is_file()
    published = not weights and ":" not in name.removeprefix("timm:")
    taken = side or (max(1 if "stride=" in name else _LEAST, *shape[1:]) if published else None)
    model = load(name, checkpoint=checkpoint, size=taken, seed=seed)
    check_normalisation(model)
    if shape[1] == shape[2] or shape[0] != 3:
        model = for_images(model, channels=shape[0], size=shape[1], side=taken)
    return _with_classes(model, examples, keep_head=keep_head, seed=seed).eval()


def _with_classes(model: nn.Module, examples: Examples, *, keep_head: bool, seed: int) -> nn.Module:
    """The model with a last layer for the classes of the data."""
    count, known = len(examples.classes), architecture_of(model)
    if keep_head:
        found = _classes(model, examples)
        if found != count:
            raise ValueError(
                f"the weights have {found} classes, {examples.name} has {count}: they need a new last layer"
            )
        return model
    made = new_head(model, count, seed=seed)
    return made if known is None else described(made, {**known, "classes": count})


@torch.no_grad()
def _classes(model: nn.Module, examples: Examples) -> int:
    return int(model(examples.batch(torch.tensor([0])).x).shape[1])
