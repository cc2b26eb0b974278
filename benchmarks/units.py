"""Suites run stage by stage, kept on disk after each stage, and compared example by example."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from robustlab.core import Norm

Run: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From inputs (N, ...), labels (N,) and ids (N,) to adversarial inputs (N, ...)."""


@dataclass
class Unit:
    """What one suite did to some images in one run.

    Args:
        code: which state of the suite's code it was.
        wrong: ids of the images that were misclassified before any attack.
        fell: ids by stage.
        seconds: by stage.
        radius: largest norm of a successful perturbation, by stage, 0 where nothing fell.
    """

    code: str
    wrong: list[int]
    fell: dict[str, list[int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    radius: dict[str, float] = field(default_factory=dict)

    @property
    def stage_of(self) -> dict[int, str]:
        """The stage at which each example fell."""
        return {number: stage for stage, ids in self.fell.items() for number in ids}

    def standing(self, images: int) -> int:
        """How many of so many images withstood everything."""
        return images - len(self.wrong) - sum(map(len, self.fell.values()))


class Disagreement(NamedTuple):
    """An example that fell in one's run and in none, or only in some, of the others'."""

    id: int
    stage: str
    """Where it fell, in the first run that broke it."""
    runs: int
    """In how many runs it fell."""


def load(path: Path) -> Unit | None:
    """A unit kept on disk, whole or with some stages still to come; None if there is none."""
    return Unit(**json.loads(path.read_text())) if path.exists() else None


def keep(unit: Unit, path: Path) -> None:
    """Writes a unit in one step: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(asdict(unit)))
    os.replace(part, path)


def finish(
    path: Path, model: nn.Module, x: Tensor, y: Tensor, stages: Mapping[str, Run], *, norm: Norm, code: str
) -> Unit:
    """Runs the stages that a unit lacks, each on what those before it left standing, and keeps it after each.

    What another state of the code has run is run again.
    """
    unit = load(path)
    if unit is None or unit.code != code:
        unit = Unit(code, _wrong(model, x, y).nonzero()[:, 0].tolist())
    for name, run in stages.items():
        if name in unit.fell:
            continue
        left = torch.ones(len(x), dtype=torch.bool)
        left[[*unit.wrong, *unit.stage_of]] = False
        ids, start = left.nonzero()[:, 0], time.perf_counter()
        x_adv = run(x[ids], y[ids], ids) if len(ids) else x[ids]
        unit.seconds[name] = time.perf_counter() - start
        fell = _wrong(model, x_adv, y[ids])
        unit.fell[name] = ids[fell].tolist()
        unit.radius[name] = float(norm.size(x_adv[fell].double() - x[ids][fell].double()).max()) if fell.any() else 0.0
        keep(unit, path)
    return unit


def _wrong(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        wrong: Tensor = model(x).argmax(1) != y
        return wrong


def batched(attack: Callable[[Tensor, Tensor, Tensor], Tensor], rows: int) -> Run:
    """The same in batches."""

    def run(x: Tensor, y: Tensor, ids: Tensor) -> Tensor:
        parts = zip(x.split(rows), y.split(rows), ids.split(rows), strict=True)
        return torch.cat([attack(*part) for part in parts])

    return run


def only_in(units: Sequence[Unit], others: Sequence[Unit]) -> list[Disagreement]:
    """Examples that fell in some of the units and in none of the others, in order of their ids."""
    fallen = [unit.stage_of for unit in units]
    spared = set().union(*fallen) - set().union(*(unit.stage_of for unit in others))
    return [
        Disagreement(
            number,
            next(stages[number] for stages in fallen if number in stages),
            sum(number in stages for stages in fallen),
        )
        for number in sorted(spared)
    ]


def differing(one: Unit, other: Unit) -> int:
    """How many examples fell in just one of two runs."""
    return len(one.stage_of.keys() ^ other.stage_of.keys())


def only_it_spared(unit: Unit, others: Sequence[Unit]) -> int:
    """How many examples fell in all other runs, but stand in this one."""
    return len(set.intersection(*(set(other.stage_of) for other in others)) - unit.stage_of.keys())
