"""Measures of the maps of a trained network, as values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robustlab.core import Batch, Metrics, frozen
from robustlab.explain import Gradient, MapAttack, Method, cosine, explain, smooth_twin
from robustlab.explain.checks import CheckCurve, CheckSubject, Randomisation
from robustlab.explain.numbers import Measured, Number, measure
from robustlab.studies.claim_engine.measures import tested
from robustlab.studies.claim_engine.network import Site

_ROWS = 256


@dataclass(frozen=True)
class OfMaps:
    """Means of numbers of the maps of test images, for the classes that the network predicts.

    Images whose number is not defined are left out, and counted as ``NAME_undefined`` if there are any.

    Args:
        numbers: by the names that metrics use.
        n: test images, a simple random sample, another for each seed.
        method: of the maps.
    """

    numbers: tuple[tuple[str, Number], ...]
    n: int
    method: Method = field(default_factory=Gradient)

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Measures the sample."""
        parts = [self._of(batch, model, lab) for batch in batches(lab, self.n)]
        found = {name: Measured.joined([part[name] for part in parts]) for name, _ in self.numbers}
        metrics = {name: one.mean for name, one in found.items() if one.undefined < len(one)}
        return metrics | {f"{name}_undefined": float(one.undefined) for name, one in found.items() if one.undefined}

    def _of(self, batch: Batch, model: nn.Module, lab: Site) -> dict[str, Measured]:
        with frozen(model, training=False):
            place = next(model.parameters()).device
            x, y = batch.x.to(place), batch.y.to(place)
            with torch.no_grad():
                target = model(x).argmax(1)
            numbers = dict(self.numbers)
            return measure(self.method, model, x, y, numbers, target=target, seed=lab.seed, ids=batch.ids)


def batches(lab: Site, n: int) -> Iterator[Batch]:
    """A simple random sample of the test images, a batch at a time."""
    chosen = tested(lab, n)
    for ids in torch.arange(len(chosen)).split(_ROWS):
        yield chosen.batch(ids)


@dataclass(frozen=True)
class Redrawn:
    """Likeness of maps before and after layers are drawn anew, from the top down.

    Gives for each method ``NAME_upper`` with the first few layers drawn anew, ``NAME_all`` with all of them, both the
    mean rank correlation of the strengths per pixel, and the same with ``_signed`` for the values with their signs.

    Args:
        methods: by the names that metrics use.
        n: test images, a simple random sample, another for each seed.
        upper: number of layers with weights, from the top, that count as upper.
    """

    methods: tuple[tuple[str, Method], ...]
    n: int
    upper: int = 2

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Measures the sample."""
        chosen = tested(lab, self.n)
        x = chosen.batch(torch.arange(len(chosen))).x.to(next(model.parameters()).device)
        metrics: Metrics = {}
        with frozen(model, training=False):
            for name, method in self.methods:
                curve = redrawn(method, model, x, lab.seed)
                for kind, ending in (("absolute", ""), ("signed", "_signed")):
                    values = curve.values[kind]
                    metrics[f"{name}_upper{ending}"] = values[min(self.upper, len(values)) - 1]
                    metrics[f"{name}_all{ending}"] = values[-1]
        return metrics


def redrawn(method: Method, model: nn.Module, x: Tensor, seed: int) -> CheckCurve:
    """Likeness of maps after each layer from the top down is drawn anew."""
    maps = explain(method, model, x, seed=seed)
    subject = CheckSubject(method, model, x, maps.target, maps, seed=seed, ids=torch.arange(len(x)))
    curve = Randomisation(stages=1000, images=len(x))(subject).curve
    if curve is None:
        raise ValueError("the network has no layers that could be drawn anew")
    return curve


@dataclass(frozen=True)
class Replaced:
    """Likeness of maps to those of other images after an attack towards these, at the same prediction.

    The map of each image is attacked towards that of another image, of another class as predicted. Gives
    ``NAME_target`` and ``NAME_own``, the mean cosine of the attacked map with that of the other and of the own image,
    ``NAME_before``, that of the two before the attack, ``NAME_kept``, the share of images whose class and confidence
    are kept within the tolerance, and ``NAME_agreement`` of the classes with those of the network itself.

    Args:
        attack: on maps.
        n: test images, a simple random sample, another for each seed.
        betas: sharpness of the softplus in place of ReLU, by name; None: ReLU stays.
    """

    attack: MapAttack
    n: int
    betas: tuple[tuple[str, float | None], ...]

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Attacks the maps of the sample."""
        chosen = tested(lab, self.n)
        x = chosen.batch(torch.arange(len(chosen))).x.to(next(model.parameters()).device)
        metrics: Metrics = {}
        with frozen(model, training=False):
            with torch.no_grad():
                answers = model(x).argmax(1)
            for name, beta in self.betas:
                smoothed = model if beta is None else smooth_twin(model, beta)
                metrics |= {f"{name}_{key}": value for key, value in self._of(smoothed, x, answers, lab.seed).items()}
        return metrics

    def _of(self, model: nn.Module, x: Tensor, answers: Tensor, seed: int) -> Metrics:
        maps = explain(self.attack.method, model, x, seed=seed)
        goal = maps.values[others(maps.target)]
        found = self.attack(model, x, maps.target, target_map=goal, seed=seed)
        pairs = {
            "target": (found.after.values, goal),
            "own": (found.after.values, maps.values),
            "before": (maps.values, goal),
        }
        likeness = {name: float(cosine(*pair).mean()) for name, pair in pairs.items()}
        agreement = float((maps.target == answers).double().mean())
        return likeness | {"kept": float(found.kept.double().mean()), "agreement": agreement}


def others(classes: Tensor) -> Tensor:
    """For each example the number of the next one of another class; of the next one where there is none (N,)."""
    count = len(classes)
    order = (torch.arange(count)[:, None] + torch.arange(1, count + 1)) % count
    different = classes.cpu()[order] != classes.cpu()[:, None]
    return order.gather(1, different.int().argmax(1, keepdim=True))[:, 0].to(classes.device)
