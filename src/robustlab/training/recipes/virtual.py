"""Virtual adversarial training: equal predictions near each input, for labelled and unlabelled examples."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.attacks.virtual import VirtualAdversarial
from robustlab.core import (
    Batch,
    Examples,
    Images,
    Logits,
    Metrics,
    Recipe,
    RecipeState,
    Streams,
    ThreatModel,
    frozen,
    kl,
)
from robustlab.core.kinds import typed
from robustlab.core.metrics import measured
from robustlab.training.crafting import Backward, BnMode, Craft, Crafting, no_memory
from robustlab.training.identity import content
from robustlab.training.recipes import options as o
from robustlab.training.recipes.cross_entropy import passed
from robustlab.training.recipes.options import Budget, Option, passed_to
from robustlab.training.recipes.registry import register_recipe
from robustlab.training.recipes.trades import check_weight

_DRAWN = 0xD7A


@typed
@dataclass(frozen=True)
class Unlabelled:
    """Examples without labels, some of which are drawn for each labelled one.

    They are drawn with replacement, by the step and the id of the labelled example.

    Args:
        examples: any data set; its labels are ignored.
        ratio: number for each labelled one, >= 1; 4 in the paper's code (128 with 32).

    Raises: ValueError for an empty data set, or a ratio below 1.
    """

    examples: Examples = field(repr=False)
    ratio: int = 4

    def __post_init__(self) -> None:
        if not len(self.examples):
            raise ValueError(f"{self.examples.name} has no examples: training without unlabelled ones is plain vat")
        if not isinstance(self.ratio, int) or self.ratio < 1:
            raise ValueError(
                f"ratio is the number of unlabelled examples for each labelled one, >= 1, got {self.ratio}"
            )

    def __repr__(self) -> str:
        held = self.examples
        return f"Unlabelled({held.name}, {len(held)} examples, {content(held)}, ratio={self.ratio})"

    def draw(self, batch: Batch) -> Batch:
        """Unlabelled examples (N * ratio, ...) for a batch, in its dtype, device and layout."""
        draws = Streams(batch.seed, batch.ids).fork(_DRAWN).integers(len(self.examples), (self.ratio,))
        found = self.examples.batch(draws.flatten().cpu())
        if found.x.shape[1:] != batch.x.shape[1:]:
            raise ValueError(
                f"{self.examples.name} has inputs {tuple(found.x.shape[1:])}, labelled ones are "
                f"{tuple(batch.x.shape[1:])}: bring them to one shape"
            )
        channels_last = batch.x.ndim == 4 and batch.x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        x = found.x.to(batch.x).contiguous(memory_format=layout)
        return Batch(x, torch.zeros_like(found.y).to(batch.y), found.ids.to(batch.ids), batch.seed, batch.progress)


@register_recipe("vat", "virtual adversarial training; with --labels most of the data are unlabelled")
@dataclass(frozen=True)
class VatOptions:
    """Options of ``vat``."""

    threat: Annotated[ThreatModel, Budget(norm="l2")]
    unlabelled: Annotated[
        Examples | None,
        Option("Number of examples that keep their label; the others are used without.", flag="--labels", min=1),
    ] = None
    ratio: Annotated[int | None, Option("Unlabelled examples with each labelled one.", usual=str(Unlabelled.ratio))] = (
        None
    )
    weight: o.Weight = 1.0
    entropy: Annotated[float, Option("Weight of entropy minimisation.")] = 0.0
    bn_mode: o.BnMode = "train"
    eps_warmup: o.EpsWarmup = 0.0

    def recipe(self) -> Recipe:
        """As ``vat`` makes it.

        Raises: ValueError for a ratio without unlabelled examples.
        """
        made = passed_to(vat, self, without=("unlabelled", "ratio"))
        if self.unlabelled is None:
            if self.ratio is not None:
                raise ValueError("ratio counts unlabelled examples: give the number of labelled ones with --labels")
            return made
        ratio = Unlabelled.ratio if self.ratio is None else self.ratio
        return replace(made, unlabelled=Unlabelled(self.unlabelled, ratio))


@typed
def vat(
    threat: ThreatModel,
    *,
    unlabelled: Unlabelled | None = None,
    weight: float = VatOptions.weight,
    entropy: float = VatOptions.entropy,
    iterations: int = 1,
    bn_mode: BnMode = VatOptions.bn_mode,
    eps_warmup: float = VatOptions.eps_warmup,
) -> VAT:
    """Virtual adversarial training, supervised or, with unlabelled examples, semi-supervised.

        loss = mean CE(model(x), y) + weight * mean KL(p(u) || p(u + r)) + entropy * mean H(p(u))

    with u the batch itself, or unlabelled examples; p the predicted distribution, a constant on the left of the
    divergence; and r the direction of length eps in which the prediction changes most.

    Args:
        threat: norm (L2 in the paper), eps and bounds; the results depend strongly on eps.
        unlabelled: source of u; None: supervised.
        weight: alpha in the paper.
        entropy: weight of entropy minimisation: 1 in the paper's VAT+EntMin, 0 in plain VAT.
        iterations: of the power method that finds r.
        bn_mode: "train" as in the released code: batch statistics while r is made (with equal weights of
            all examples, as in ``VirtualAdversarial``); "eval": running ones.
        eps_warmup: fraction of the training over which eps rises linearly from 0.

    Source: Miyato, Maeda, Koyama, Ishii, Virtual Adversarial Training, TPAMI 2019, equations 5 to 8. As in the released
    code, no pass over u changes the running statistics of BatchNorm, unless u is the batch itself, which is passed
    once for both terms. There eps is 8 or 10 after ZCA whitening on CIFAR-10 and u + r may leave the bounds; here it is
    in the units of the inputs and within them.
    """
    crafting = Crafting(VirtualAdversarial(threat, iterations), bn_mode, eps_warmup)
    return VAT(crafting, weight, entropy, unlabelled)


@typed
@dataclass(frozen=True)
class VAT:
    """The recipe that ``vat`` makes.

    Raises: ValueError for a negative weight.
    """

    crafting: Craft
    weight: float = 1.0
    entropy: float = 0.0
    unlabelled: Unlabelled | None = None
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_weight("weight", self.weight)
        check_weight("entropy", self.entropy)

    init = no_memory

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """A pass over the labelled batch, and two over unlabelled inputs, one of which may be the same."""
        del state
        smoothed = batch if self.unlabelled is None else self.unlabelled.draw(batch)
        x_adv = self.crafting(model, smoothed)
        logits, loss = passed(model, batch.x, batch.y)
        clean = logits if smoothed is batch else _passed_still(model, smoothed.x)
        divergence, disorder = kl(_passed_still(model, x_adv), clean.detach()).mean(), entropy_of(clean).mean()
        total = loss + self.weight * divergence + self.entropy * disorder
        backward(total)
        return measured(logits, total, batch.y, cross_entropy=loss, divergence=divergence, entropy=disorder)


def _passed_still(model: nn.Module, x: Images) -> Logits:
    """Logits (N, K) that can be differentiated, without a change of running statistics."""
    with frozen(model):
        logits: Logits = model(x)
    return logits


def entropy_of(logits: Logits) -> Tensor:
    """The entropy of each predicted distribution, - sum_k p_k log p_k, (N,), computed in at least float32."""
    logs = F.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)
    return -(logs.exp() * logs).sum(dim=1)
