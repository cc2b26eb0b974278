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
    """Result of one suite on some images in one run.

    Args:
        code: state of the suite's code.
        wrong: ids of the images that were misclassified before any attack.
        fooled: ids of the images fooled by each stage.
        seconds: by stage.
        radius: largest norm of a successful perturbation, by stage, 0 where none was found.
    """

    code: str
    wrong: list[int]
    fooled: dict[str, list[int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    radius: dict[str, float] = field(default_factory=dict)

    @property
    def stage_of(self) -> dict[int, str]:
        """The stage that fooled each example."""
        return {number: stage for stage, ids in self.fooled.items() for number in ids}

    def still_robust(self, images: int) -> int:
        """Number of images that no stage fooled, of so many."""
        return images - len(self.wrong) - sum(map(len, self.fooled.values()))


class Disagreement(NamedTuple):
    """An example that was fooled in some runs of one suite and in none of the other's."""

    id: int
    stage: str
    """Stage that fooled it, in the first of these runs."""
    runs: int
    """Number of these runs."""


def load(path: Path) -> Unit | None:
    """A unit kept on disk, whole or with some stages missing; None if there is none."""
    if not path.exists():
        return None
    stored = json.loads(path.read_text())
    if "fell" in stored:  # the name in older files
        stored["fooled"] = stored.pop("fell")
    return Unit(**stored)


def keep(unit: Unit, path: Path) -> None:
    """Writes a unit in one step: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(asdict(unit)))
    os.replace(part, path)


def finish(
    path: Path, model: nn.Module, x: Tensor, y: Tensor, stages: Mapping[str, Run], *, norm: Norm, code: str
) -> Unit:
    """Runs the stages that a unit lacks, each on the images that are still robust, and stores it after each.

    Stages of another state of the code are run again.
    """
    unit = load(path)
    if unit is None or unit.code != code:
        unit = Unit(code, _wrong(model, x, y).nonzero()[:, 0].tolist())
    for name, run in stages.items():
        if name in unit.fooled:
            continue
        left = torch.ones(len(x), dtype=torch.bool)
        left[[*unit.wrong, *unit.stage_of]] = False
        ids, start = left.nonzero()[:, 0], time.perf_counter()
        x_adv = run(x[ids], y[ids], ids) if len(ids) else x[ids]
        unit.seconds[name] = time.perf_counter() - start
        fooled = _wrong(model, x_adv, y[ids])
        unit.fooled[name] = ids[fooled].tolist()
        unit.radius[name] = (
            float(norm.size(x_adv[fooled].double() - x[ids][fooled].double()).max()) if fooled.any() else 0.0
        )
        keep(unit, path)
    return unit


def _wrong(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        wrong: Tensor = model(x).argmax(1) != y
        return wrong


def batched(attack: Callable[[Tensor, Tensor, Tensor], Tensor], rows: int) -> Run:
    """The same attack in batches."""

    def run(x: Tensor, y: Tensor, ids: Tensor) -> Tensor:
        parts = zip(x.split(rows), y.split(rows), ids.split(rows), strict=True)
        return torch.cat([attack(*part) for part in parts])

    return run


def only_in(units: Sequence[Unit], others: Sequence[Unit]) -> list[Disagreement]:
    """Examples that were fooled in some of the units and in none of the others, in order of their ids."""
    stages_of = [unit.stage_of for unit in units]
    chosen = set().union(*stages_of) - set().union(*(unit.stage_of for unit in others))
    return [
        Disagreement(
            number,
            next(stages[number] for stages in stages_of if number in stages),
            sum(number in stages for stages in stages_of),
        )
        for number in sorted(chosen)
    ]


def differing(one: Unit, other: Unit) -> int:
    """Number of examples that were fooled in just one of two runs."""
    return len(one.stage_of.keys() ^ other.stage_of.keys())


def robust_only_in(unit: Unit, others: Sequence[Unit]) -> int:
    """Number of examples that were fooled in all other runs, but not in this one."""
    return len(set.intersection(*(set(other.stage_of) for other in others)) - unit.stage_of.keys())
