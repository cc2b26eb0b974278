"""Recipes on corrupted images, such as snow, blur and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from robustlab.core import Batch, Corruption, Images, Metrics, Recipe, RecipeState, Streams, fold_in
from robustlab.core.kinds import typed
from robustlab.corruptions import corruption
from robustlab.training.crafting import Backward, RecipeWrapper

_LABEL = 0xC0


@typed
def corrupted(
    recipe: Recipe, corruptions: Sequence[str | Corruption], severities: Sequence[int] = (1, 2, 3)
) -> Corrupted:
    """Another recipe, on images that are corrupted: each by one corruption at one severity, drawn anew at each step.

    The draws depend on the seed of the step and the id of the image, not on the batch. Do not test a network on a
    corruption that it was trained on: the four of ``corruptions.EXTRA`` are none of the 15 of the benchmark.

    Args:
        recipe: defines the step on the corrupted images.
        corruptions: names, or values like ``corruption("fog", "cifar-c")``; each is as likely as any other.
        severities: from 1 to 5; each is as likely as any other.

    Raises: ValueError if there are none, for an unknown name or another severity.
    """
    several = [corruptions] if isinstance(corruptions, str) else corruptions
    values = tuple(corruption(one) if isinstance(one, str) else one for one in several)
    return Corrupted(recipe, values, tuple(severities))


@typed
@dataclass(frozen=True)
class Corrupted(RecipeWrapper):
    """The recipe that ``corrupted`` makes.

    Raises: ValueError if there is no corruption or no severity, or a severity outside 1..5.
    """

    corruptions: tuple[Corruption, ...]
    severities: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        if not self.corruptions or not self.severities:
            raise ValueError(
                f"at least one corruption and one severity are needed, got {self.corruptions!r} and {self.severities!r}"
            )
        for severity in self.severities:
            if severity not in range(1, 6):
                raise ValueError(f"severities are whole numbers from 1 to 5, got {severity!r}")

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """Corrupts the images, then does the step of the wrapped recipe."""
        return self.recipe.step(model, batch._replace(x=self.changed(batch)), state, backward)

    def changed(self, batch: Batch) -> Images:
        """The images of a batch (N, C, H, W) in [0, 1], each corrupted; images with the same draw are one batch."""
        variants = [(one, severity) for one in self.corruptions for severity in self.severities]
        drawn = Streams(fold_in(batch.seed, _LABEL), batch.ids).integers(len(variants))
        out = torch.empty_like(batch.x)
        for number in drawn.unique().tolist():
            rows = drawn == number
            apply, severity = variants[number]
            out[rows] = apply(batch.x[rows], severity=severity, seed=batch.seed, ids=batch.ids[rows])
        return out
