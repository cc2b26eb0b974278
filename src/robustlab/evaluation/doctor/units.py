"""Probes of the units that a model expects: its accuracy on inputs in other units.

A normalisation that is missing, done twice, or another than in training costs accuracy without an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import Labels
from robustlab.core.finding import Finding
from robustlab.evaluation.doctor.behaviour import SURE, Answered
from robustlab.statistics.paired import mcnemar

_CHANCE = 0.05  # p-value below which accuracy is certainly not that of always giving one class


class Units(NamedTuple):
    """A normalisation, (x - mean) / std, per channel (C, 1, 1) or of all values."""

    mean: Tensor
    std: Tensor

    def of(self, x: Tensor) -> Tensor:
        """Inputs in [0, 1] to these units."""
        return (x - self.mean) / self.std

    def back(self, x: Tensor) -> Tensor:
        """Inputs in these units to [0, 1]."""
        return self.mean + self.std * x


class Offer(NamedTuple):
    """Inputs in other units, and the finding if the model does better on them."""

    code: str
    x: Tensor
    units: str
    advice: str


def other_units(answered: Answered) -> Iterator[Finding]:
    """Finding for a model that does better on inputs in other units."""
    yield from _published(answered) or _tried(answered)


def _tried(answered: Answered) -> list[Finding]:
    """Finding for a model that is right more often on inputs in usual units (exact McNemar test)."""
    # Where the model answers NaN it is another fault, which other units may well avoid.
    finite = answered.logits.isfinite().all(dim=1)
    own = answered.correct()[finite]
    found = [(answered.correct(offer.x)[finite], offer) for offer in _offers(answered.batch.x)]
    theirs, offer = max(found, key=lambda one: int(one[0].sum()))
    lost, gained = int((own & ~theirs).sum()), int((theirs & ~own).sum())
    if gained <= lost or mcnemar(lost, gained) >= SURE:
        return []
    title = f"The model is right more often on inputs {offer.units} ({int(theirs.sum())} of {len(own)}) than in [0, 1]"
    evidence = {"accuracy": float(own.double().mean()), "other": float(theirs.double().mean()), "n": len(own)}
    return [Finding(offer.code, "serious", f"{title} ({int(own.sum())}).", dict(evidence), f"{offer.advice}.")]


def _offers(x: Tensor) -> Iterator[Offer]:
    yield Offer("model-expects-0-255", x * 255, "in 0..255", "Scale in front of it: evaluate lambda x: model(255 * x)")
    usual, half = _usual(x), Units(x.new_tensor(0.5), x.new_tensor(0.5))
    inside = "Put its normalisation into the model: robustlab.models.normalised(model, mean, std)"
    yield Offer("model-expects-normalised", usual.of(x), "normalised by mean and deviation", inside)
    yield Offer("model-expects-normalised", half.of(x), "in [-1, 1]", f"{inside}, both 0.5")
    other = "Its first layer normalises otherwise than its weights were trained with: take the checkpoint's own, {}"
    kind = "model-normalises-otherwise"
    advice = other.format("mean and std 0.5, as AdvProp's and TensorFlow's Inception-like ones")
    yield Offer(kind, usual.back(half.of(x)), "that its normalisation by ImageNet brings to [-1, 1]", advice)
    advice = other.format("ImageNet's mean and std most often")
    yield Offer(
        kind, half.back(usual.of(x)), "that a normalisation to [-1, 1] brings to ImageNet's mean and std", advice
    )


def _usual(x: Tensor) -> Units:
    """ImageNet's mean and deviation for colour images, else those of the inputs themselves."""
    if x.ndim == 4 and x.shape[1] == 3:
        mean, std = x.new_tensor([0.485, 0.456, 0.406]), x.new_tensor([0.229, 0.224, 0.225])
        return Units(mean.view(3, 1, 1), std.view(3, 1, 1))
    return Units(x.mean(), x.std().clamp_min(1e-6))


def _published(answered: Answered) -> list[Finding]:
    """Finding for a timm network with another normalisation in front than that of its own configuration.

    Here there is one alternative alone, so that the loss of each example can be compared (sign test): a wrong
    normalisation often costs less accuracy than a few examples can show. One with which the loss is certainly lower
    than with the published one is the network's own, from a later training.
    """
    if (
        not isinstance(answered.model, nn.Module)
        or answered.batch.x.ndim != 4
        or not bool(answered.logits.isfinite().all())
    ):
        return []
    wanted, present = _configured(answered.model, answered.batch.x), _present(answered.model, answered.batch.x)
    if wanted is None or all(torch.allclose(a, b, atol=1e-3) for a, b in zip(wanted, present, strict=True)):
        return []
    y, other = answered.batch.y, answered.answer(present.back(wanted.of(answered.batch.x)))
    losses = [F.cross_entropy(logits.double(), y, reduction="none") for logits in (answered.logits, other)]
    better, worse = int((losses[1] < losses[0]).sum()), int((losses[1] > losses[0]).sum())
    own, theirs = answered.correct(), other.argmax(dim=1) == y
    lost, gained = int((own & ~theirs).sum()), int((theirs & ~own).sum())
    certain = mcnemar(worse, better) < SURE
    sure = certain and better > worse and gained >= lost and bool(losses[1].mean() < losses[0].mean())
    its_own = (certain and better < worse) or (lost > gained and mcnemar(lost, gained) < SURE)
    bare = bool((present.mean == 0).all() and (present.std == 1).all())
    if not sure and (its_own or bare or not beyond_chance(own, y)):
        return []
    evidence: dict[str, float] = {"better": better, "worse": worse, "n": len(y)}
    evidence |= {"accuracy": float(own.double().mean()), "other": float(theirs.double().mean())}
    return [_unpublished(wanted, evidence, sure=sure)]


def _unpublished(wanted: Units, evidence: dict[str, float], *, sure: bool) -> Finding:
    mean, std = ([round(value, 3) for value in part.flatten().tolist()] for part in wanted)
    n, better = evidence["n"], evidence["better"]
    seen = f"with those its loss is lower for {better} of {n} examples" if sure else f"{n} examples do not decide which"
    verdict = "than with the normalisation that it has here" if sure else "is right, those or what it has here"
    return Finding(
        "model-normalises-otherwise",
        "serious" if sure else "warning",
        f"The network was published with mean {mean} and std {std}, and {seen} {verdict}.",
        dict(evidence),
        "Take the checkpoint's own: robustlab.models.load('timm:...') does, or normalised(model, mean, std).",
    )


def _configured(model: nn.Module, x: Tensor) -> Units | None:
    """The normalisation in the configuration of the one timm network inside, if there is one."""
    configured = [cfg for part in model.modules() if isinstance(cfg := getattr(part, "pretrained_cfg", None), Mapping)]
    if len(configured) != 1 or not {"mean", "std"} <= configured[0].keys():
        return None
    return _units_of(x, *(x.new_tensor(configured[0][name]) for name in ("mean", "std")))


def _present(model: nn.Module, x: Tensor) -> Units:
    """The normalisation that the model does itself, where it has a layer with a mean and a std; else none."""
    for part in model.modules():
        mean, std = getattr(part, "mean", None), getattr(part, "std", None)
        if isinstance(mean, Tensor) and isinstance(std, Tensor):
            return _units_of(x, mean.flatten(), std.flatten())
    return _units_of(x, x.new_zeros(1), x.new_ones(1))


def _units_of(x: Tensor, mean: Tensor, std: Tensor) -> Units:
    """One value per channel; their averages, where there are others than channels."""
    per_channel = (v if len(v) == x.shape[1] else v.mean().expand(x.shape[1]) for v in (mean.to(x), std.to(x)))
    return Units(*(v.reshape(-1, 1, 1) for v in per_channel))


def frequent(y: Labels) -> float:
    """The fraction of the most frequent class."""
    return int(y.bincount().max()) / len(y)


def beyond_chance(correct: Tensor, y: Labels) -> bool:
    """Tests for accuracy above that of always giving the most frequent class (one-sided binomial test)."""
    from scipy.special import bdtrc

    hits = int(correct.sum())
    return hits > 0 and float(bdtrc(hits - 1, len(y), frequent(y))) <= _CHANCE
