"""Recipes on augmented images: each image is changed at random before the step of the recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, cast

import torch
from torch import Tensor, nn

from robustlab.core import Batch, Images, Metrics, Recipe, RecipeState, fold_in
from robustlab.core.kinds import typed
from robustlab.training import seeds
from robustlab.training.crafting import Backward, RecipeWrapper
from robustlab.training.recipes import options as o
from robustlab.training.recipes.cross_entropy import standard
from robustlab.training.recipes.options import Option
from robustlab.training.recipes.registry import register_recipe

_LABEL = 0xA06


@typed
def augmented(recipe: Recipe, change: Callable[[Tensor], Tensor]) -> Augmented:
    """Another recipe, on images that are changed at random, each on its own.

    The draws of ``change`` depend on the seed of the run, the epoch and the id of the image, not on the batch or on
    earlier draws.

    Args:
        recipe: defines the step on the changed images.
        change: from one image (C, H, W), uint8, to another of the same shape: ``RandAugment``, ``AugMix``, or any
            transform of torchvision; it may draw from the generators of torch on the CPU, ``random`` and NumPy.
    """
    return Augmented(recipe, change)


@typed
@dataclass(frozen=True)
class RandAugment:
    """Random operations of equal strength, one after the other, by torchvision.

    Args:
        operations: number for each image, N in the paper.
        magnitude: strength, M in the paper, in 0..30.

    Source: Cubuk et al., RandAugment, NeurIPS 2020, with torchvision's 14 operations and ranges; its default of N = 2
    and M = 9 is the paper's for ResNet-50 on ImageNet.
    """

    operations: int = 2
    magnitude: int = 9

    def __call__(self, image: Tensor) -> Tensor:
        """The changed image (C, H, W), uint8."""
        return _transform("RandAugment", num_ops=self.operations, magnitude=self.magnitude)(image)


@register_recipe("randaugment", "on images changed by RandAugment")
@dataclass(frozen=True)
class RandAugmentOptions:
    """Options of standard training on images changed by ``RandAugment``."""

    magnitude: Annotated[int, Option(f"{o.MAGNITUDE}, 0..30.")] = RandAugment.magnitude
    smoothing: o.Smoothing = 0.0

    def recipe(self) -> Recipe:
        """``standard`` inside ``augmented``."""
        return augmented(standard(smoothing=self.smoothing), RandAugment(magnitude=self.magnitude))


@typed
@dataclass(frozen=True)
class AugMix:
    """A mixture of chains of random operations with the image itself, by torchvision.

    Args:
        severity: of the operations, in 1..10.
        width: number of chains.
        depth: operations in each chain; -1: one to three at random.
        alpha: of the Dirichlet and Beta distributions of the weights.
        all_operations: also those that resemble corruptions of ImageNet-C, which the paper leaves out as it tests
            there; torchvision's own default.

    Source: Hendrycks et al., AugMix, ICLR 2020, algorithm 1; the loss that goes with it is in ``augmix``.
    """

    severity: int = 3
    width: int = 3
    depth: int = -1
    alpha: float = 1.0
    all_operations: bool = False

    def __call__(self, image: Tensor) -> Tensor:
        """The changed image (C, H, W), uint8."""
        options = {"mixture_width": self.width, "chain_depth": self.depth, "alpha": self.alpha}
        return _transform("AugMix", severity=self.severity, all_ops=self.all_operations, **options)(image)


@cache
def _transform(name: str, **options: float) -> Callable[[Tensor], Tensor]:
    from torchvision import transforms

    return cast("Callable[[Tensor], Tensor]", getattr(transforms, name)(**options))


@typed
@dataclass(frozen=True)
class Augmented(RecipeWrapper):
    """The recipe that ``augmented`` makes."""

    change: Callable[[Tensor], Tensor]

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """Changes the images, then does the step of the wrapped recipe."""
        return self.recipe.step(model, batch._replace(x=changed(batch, self.change)), state, backward)


def changed(batch: Batch, change: Callable[[Tensor], Tensor]) -> Images:
    """The images of a batch (N, C, H, W) in [0, 1], in 256 levels, each changed; draws follow its seed and the ids.

    Raises: ValueError if they are not images, or their shape changes.
    """
    if batch.x.ndim != 4:
        raise ValueError(f"only images (N, C, H, W) can be augmented, got inputs of shape {tuple(batch.x.shape)}")
    images = batch.x.mul(255).round_().clamp_(0, 255).to(torch.uint8).cpu()
    made = []
    with seeds.private_generators(torch.device("cpu")) as reseed:
        for image, name in zip(images, batch.ids.tolist(), strict=True):
            reseed(fold_in(batch.seed, _LABEL, name))
            made.append(_one(image.contiguous(), change))
    if any(one.shape != images.shape[1:] for one in made):
        raise ValueError(f"{change!r} changes the shape {tuple(images.shape[1:])} of images: crop and pad back")
    return torch.empty_like(batch.x).copy_(torch.stack(made)).div_(255)


def _one(image: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    try:
        return change(image)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{change!r} cannot change images of shape {tuple(image.shape)}: {reason}") from error
