"""AugMix with its consistency loss: equal predictions for an image and two changed views of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import Batch, Metrics, Recipe, RecipeState, Scores, fold_in
from robustlab.core.kinds import typed
from robustlab.core.metrics import measured
from robustlab.training.crafting import Backward, no_memory
from robustlab.training.recipes import options as o
from robustlab.training.recipes.augment import AugMix, changed
from robustlab.training.recipes.options import Option
from robustlab.training.recipes.registry import register_recipe
from robustlab.training.recipes.trades import check_weight

_TINY = 1e-7  # as in the released code: keeps the logarithm of a probability finite


@register_recipe("augmix", "equal predictions for images and views of them (Hendrycks et al.)")
@dataclass(frozen=True)
class AugMixOptions:
    """Options of ``augmix``."""

    magnitude: Annotated[int, Option(f"{o.MAGNITUDE}, 1..10.")] = AugMix.severity
    weight: o.Weight = 12.0

    def recipe(self) -> Recipe:
        """As ``augmix`` makes it."""
        return augmix(weight=self.weight, change=AugMix(severity=self.magnitude))


@typed
def augmix(
    *, weight: float = AugMixOptions.weight, views: int = 2, change: Callable[[Tensor], Tensor] | None = None
) -> Consistent:
    """AugMix: cross-entropy on the image itself, and predictions that agree with those on views of it.

        loss = mean CE(model(x), y) + weight * mean JS(p(x), p(x_1), ..., p(x_views))
        JS(p_0, ..., p_n) = mean_i KL(p_i || m),   m = mean_i p_i

    It improves robustness to corruptions, not to attacks.

    Args:
        weight: lambda in the paper, >= 0.
        views: changed images for each, >= 1.
        change: from one image (C, H, W), uint8, to a view of it; None: ``AugMix()``.

    Raises: ValueError for a negative weight, or less than one view.
    Source: Hendrycks et al., AugMix, ICLR 2020, equation 1 and algorithm 1. As in the released code all views go
    through the model in one batch, and m is cut off at 1e-7 inside the logarithm. Put ``augmented``
    around this recipe for flips and crops before it.
    """
    return Consistent(AugMix() if change is None else change, weight, views)


@typed
@dataclass(frozen=True)
class Consistent:
    """The recipe that ``augmix`` makes.

    Raises: ValueError for a negative weight, or less than one view.
    """

    change: Callable[[Tensor], Tensor]
    weight: float = 12.0
    views: int = 2
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_weight("weight", self.weight)
        if self.views < 1:
            raise ValueError(f"views is the number of changed images for each, at least 1, got {self.views}")

    init = no_memory

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """One pass over the images and all views of them."""
        del state
        made = [changed(batch._replace(seed=fold_in(batch.seed, view)), self.change) for view in range(self.views)]
        logits = model(torch.cat([batch.x, *made])).chunk(1 + self.views)
        loss, divergence = F.cross_entropy(logits[0], batch.y), jensen_shannon(*logits).mean()
        total = loss + self.weight * divergence
        backward(total)
        return measured(logits[0], total, batch.y, cross_entropy=loss, divergence=divergence)


def jensen_shannon(*logits: Tensor) -> Scores:
    """Jensen-Shannon divergence of predictions (N, K) from their mean, mean_i KL(p_i || m) (N,), at least float32."""
    logs = F.log_softmax(torch.stack([z.to(torch.promote_types(z.dtype, torch.float32)) for z in logits]), dim=2)
    mean = logs.exp().mean(dim=0).clamp(_TINY, 1).log()
    divergence: Tensor = (logs.exp() * (logs - mean)).sum(dim=2).mean(dim=0)
    return divergence
