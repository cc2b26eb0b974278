"""Noisy Student: a noisy network learns from labels, and from pseudo-labels of a teacher without noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase

from robustlab.core import Batch, Metrics, Recipe, RecipeState
from robustlab.core.kinds import typed
from robustlab.core.metrics import measured
from robustlab.training.crafting import Backward, RecipeWrapper
from robustlab.training.pseudo_labels import PseudoLabelled
from robustlab.training.recipes.augment import RandAugment, changed
from robustlab.training.recipes.virtual import Unlabelled

Noise: TypeAlias = Callable[[Tensor], Tensor]
"""From one image (C, H, W), uint8, to another of the same shape."""
NOISE = RandAugment()
_PSEUDO = 1 << 40  # ids of pseudo-labelled examples in draws; data sets are smaller


@typed
def noisy_student(
    pseudo: PseudoLabelled, *, ratio: int = 1, noise: Noise | None = NOISE, recipe: Recipe | None = None
) -> NoisyStudent:
    """Training on labelled and pseudo-labelled examples together, all of them changed at random.

        loss = mean over the labelled (x, y) and the pseudo-labelled (u, q) of CE(model(noise(x)), y or q)

    in one pass, ``ratio`` pseudo-labelled examples with each labelled one. They are drawn with replacement, by the step
    and the id of the labelled example. Dropout and stochastic depth, the other noise, are
    the model's own (timm's ``drop_rate`` and ``drop_path_rate``).

    Args:
        pseudo: pseudo-labelled examples, in addition to the training data.
        ratio: pseudo-labelled examples with each labelled one, >= 0: they come on top of the batch. The paper has 14
            for its largest network, the released scripts 1 for B0, 3 for B1 to B7 and 5 for SVHN.
        noise: changes each image: ``RandAugment`` (two operations), or any transform of torchvision; None: no change.
        recipe: defines the step on the mixed batch instead of that loss, such as ``advprop(...)``; it needs hard
            labels.

    Raises: ValueError for a negative ratio, or another recipe with soft labels.

    Source: Xie, Luong, Hovy, Le, Self-training with Noisy Student improves ImageNet classification, CVPR 2020,
    algorithm 1 and section 3.1. RandAugment has torchvision's 31 steps of strength; the released code's magnitudes are
    on a scale of its own.
    """
    return NoisyStudent(pseudo, ratio, noise, recipe)


@typed
@dataclass(frozen=True)
class NoisyStudent:
    """The recipe that ``noisy_student`` makes."""

    pseudo: PseudoLabelled
    ratio: int = 1
    noise: Noise | None = NOISE
    recipe: Recipe | None = None

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        if self.recipe is not None and self.pseudo.choice.soft:
            raise ValueError(
                f"{self.recipe!r} learns classes, not probabilities: choose hard pseudo-labels, soft=False"
            )

    @property
    def replays(self) -> int:
        """As of the wrapped recipe."""
        return 1 if self.recipe is None else self.recipe.replays

    @cached_property
    def _drawn(self) -> Unlabelled:
        return Unlabelled(self.pseudo.examples, self.ratio)

    def init(self, model: nn.Module) -> RecipeState:
        """State of the wrapped recipe."""
        return {} if self.recipe is None else self.recipe.init(model)

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """One pass over the mixed batch, or the step of the wrapped recipe on it."""
        mixed, targets = self.mixed(batch)
        if self.recipe is not None:
            return self.recipe.step(model, mixed, state, backward)
        logits, labelled = model(mixed.x), len(batch.x)
        if logits.shape[1] != targets.shape[1]:
            raise ValueError(
                f"the student has {logits.shape[1]} classes, its teacher {targets.shape[1]}: make it for these"
            )
        wide = torch.promote_types(logits.dtype, torch.float32)
        loss = F.cross_entropy(logits.to(wide), targets.to(wide))
        backward(loss)
        agreed = (logits.argmax(dim=1) == mixed.y)[labelled:].float()
        more = {"agreement": agreed.mean()} if len(agreed) else {}
        return measured(logits[:labelled], loss, batch.y, **more)

    def mixed(self, batch: Batch) -> tuple[Batch, Tensor]:
        """The labelled examples, then the pseudo-labelled ones, changed at random; and probabilities for all.

        Returns: inputs (N + N * ratio, ...) with labels, for pseudo-labelled ones the most probable class; targets
            (N + N * ratio, K).
        """
        x, ids = batch.x, batch.ids
        targets = F.one_hot(batch.y, self.pseudo.source.probs.shape[1]).float()
        if self.ratio:
            drawn = self._drawn.draw(batch)
            targets = torch.cat([targets, self.pseudo.targets(drawn.ids.cpu()).to(targets)])
            places = ids[:, None] * self.ratio + torch.arange(self.ratio, device=ids.device)
            x, ids = torch.cat([x, drawn.x]), torch.cat([ids, places.flatten() + _PSEUDO])
        mixed = batch._replace(x=x, y=torch.cat([batch.y, targets[len(batch.y) :].argmax(dim=1)]), ids=ids)
        return (mixed if self.noise is None else mixed._replace(x=changed(mixed, self.noise))), targets


def check_ratio(ratio: int) -> None:
    """Checks a ratio of pseudo-labelled to labelled examples."""
    if not isinstance(ratio, int) or ratio < 0:
        raise ValueError(
            f"ratio is the number of pseudo-labelled examples for each labelled one, a whole number >= 0, got {ratio}"
        )


@typed
def unnoised(recipe: Recipe) -> Unnoised:
    """Another recipe, without the model's own noise: only BatchNorm is in training mode.

    Args:
        recipe: defines the step on each batch.

    Source: the fine-tuning of Noisy Student, which is short, on unchanged labelled images.
    """
    return Unnoised(recipe)


@typed
@dataclass(frozen=True)
class Unnoised(RecipeWrapper):
    """The recipe that ``unnoised`` makes."""

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """The step of the wrapped recipe, with dropout and stochastic depth switched off."""
        with _only_bn_training(model):
            return self.recipe.step(model, batch, state, backward)


@contextmanager
def _only_bn_training(model: nn.Module) -> Iterator[None]:
    """Puts everything but BatchNorm in eval mode; timm drops features by the mode of the whole network."""
    parts = [part for part in model.modules() if part.training and not isinstance(part, _NormBase)]
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part in parts:
            part.training = True
