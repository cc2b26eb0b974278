"""Measures of the maps of a trained network, as values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from robustlab.core import Batch, Metrics, frozen
from robustlab.explain import Gradient, Method
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
