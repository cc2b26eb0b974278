"""Our AutoAttack against the reference's on the same images of the same network, stage by stage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

import robustlab
from benchmarks import networks, reference, units
from benchmarks.units import Disagreement, Unit
from robustlab.attacks import autoattack
from robustlab.core import L1, L2, Linf, ThreatModel

Row = dict[str, str]
THREATS = {"linf": ThreatModel(Linf(), 0.13), "l2": ThreatModel(L2(), 1.0), "l1": ThreatModel(L1(), 3.0)}
KEPT = networks.KEPT / "autoattack"
ALLOWED = 0.2  # points of robust accuracy, or the reference's own spread if that is larger


@dataclass(frozen=True)
class Work:
    """One suite's run on the images of one norm.

    Args:
        norm: linf, l2 or l1.
        who: ours or reference.
        seed: of the run.
        images: number of test images, from the first on.
        checkout: of the reference.
    """

    norm: str
    who: str
    seed: int
    images: int
    checkout: Path

    @property
    def threat(self) -> ThreatModel:
        """Threat model of the norm."""
        return THREATS[self.norm]

    @property
    def path(self) -> Path:
        """Path of its result."""
        return KEPT / f"{self.norm}-{self.threat.eps}-{self.images}-{self.who}-{self.seed}.json"

    @property
    def code(self) -> str:
        """The state of the suite's code."""
        return reference.revision(self.checkout) if self.who == "reference" else library_digest()


def library_digest() -> str:
    """Eight digits that change with any source file of the attacks and the core."""
    root = Path(robustlab.__file__).parent
    files = [path for room in ("attacks", "core") for path in sorted((root / room).glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:8]


def works(norm: str, *, images: int, seeds: int, own_seeds: int, checkout: Path) -> list[Work]:
    """Ours and the reference, each with so many seeds."""
    counts = {"ours": own_seeds, "reference": seeds}
    return [Work(norm, who, seed, images, checkout) for who, count in counts.items() for seed in range(count)]


def run(work: Work) -> Unit:
    """Runs the stages that are missing."""
    model, (x, y) = networks.shallow_robust(), networks.fashion_mnist(work.images)
    stages = _ours(model, work) if work.who == "ours" else _theirs(model, work)
    return units.finish(work.path, model, x, y, stages, norm=work.threat.norm, code=work.code)


def _ours(model: torch.nn.Module, work: Work) -> dict[str, units.Run]:
    suite = autoattack(work.threat)

    def stage(number: int) -> units.Run:
        attack, seed = suite.attacks[number], suite.seed_of(number, work.seed)

        def attacked(x: Tensor, y: Tensor, ids: Tensor) -> Tensor:
            return attack(model, x, y, seed=seed, ids=ids)

        return units.batched(attacked, reference.BATCH)

    return {name: stage(number) for number, name in enumerate(suite.names)}


def _theirs(model: torch.nn.Module, work: Work) -> dict[str, units.Run]:
    def stage(run: reference.Run) -> units.Run:
        return lambda x, y, ids: run(x, y)  # noqa: ARG005 -- the reference's draws follow no ids

    return {name: stage(run) for name, run in reference.stages(model, work.threat, seed=work.seed).items()}


def accuracy(unit: Unit, images: int) -> float:
    """Robust accuracy in per cent."""
    return 100 * unit.still_robust(images) / images


def stage_rows(done: Sequence[tuple[Work, Unit]]) -> Iterator[Row]:
    """Numbers of images fooled by each stage, with seconds."""
    for work, unit in done:
        counts = {stage: f"{len(ids)} ({unit.seconds[stage]:.0f} s)" for stage, ids in unit.fooled.items()}
        yield {
            "norm": f"{work.norm}, eps {work.threat.eps}",
            "by": f"{work.who}, seed {work.seed}",
            "wrong before": str(len(unit.wrong)),
            **{stage: counts.get(stage, "to come") for stage in reference.STAGES},
            "still robust": f"{accuracy(unit, work.images):.1f} %" if complete(unit) else "to come",
            "seconds": f"{sum(unit.seconds.values()):.0f}",
            "largest norm": f"{max(unit.radius.values()):.7f}",
        }


def complete(unit: Unit) -> bool:
    """Returns True if no stage is missing."""
    return all(stage in unit.fooled for stage in reference.STAGES)


def verdict(norm: str, ours: Sequence[Unit], theirs: Sequence[Unit], images: int) -> Row:
    """Agreement of robust accuracies: that of the first of ours with the mean of theirs."""
    own, others = ([accuracy(unit, images) for unit in side] for side in (ours, theirs))
    spread, apart = max(others) - min(others), own[0] - mean(others)
    limit = max(ALLOWED, spread)
    return {
        "norm": f"{norm}, eps {THREATS[norm].eps}",
        "ours, by seed": _listed_accuracies(own),
        "reference, by seed": _listed_accuracies(others),
        "ours, seed 0, - mean of the reference": f"{apart:+.2f}",
        "allowed": f"{limit:.2f}",
        "": "met" if abs(apart) <= limit + 1e-9 else "missed",
        "examples two of its seeds differ in": _mean([units.differing(*pair) for pair in combinations(theirs, 2)]),
        "examples ours and a seed differ in": _mean([units.differing(one, unit) for one in ours for unit in theirs]),
    }


def _listed_accuracies(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values) + " %"


def _mean(counts: Sequence[int]) -> str:
    return f"{mean(counts):.1f}" if counts else ""


def disagreement_rows(norm: str, ours: Unit, theirs: Sequence[Unit]) -> Iterator[Row]:
    """The examples that only one of the two fooled."""
    for title, examples in (
        ("ours alone", units.only_in([ours], theirs)),
        ("the reference alone", units.only_in(theirs, [ours])),
    ):
        yield {"norm": norm, "fooled by": title, "examples": str(len(examples)), "ids": _listed(examples)}


def alone_rows(done: Sequence[tuple[Work, Unit]]) -> Iterator[Row]:
    """Numbers of examples at which one run differs from all others: similar for all, if only the draws differ."""
    for work, unit in done:
        others = [other for _, other in done if other is not unit]
        yield {
            "norm": work.norm,
            "by": f"{work.who}, seed {work.seed}",
            "fooled by all but it": str(units.robust_only_in(unit, others)),
            "fooled by it alone": str(len(units.only_in([unit], others))),
        }


def _listed(examples: Sequence[Disagreement]) -> str:
    return ", ".join(f"{one.id} ({one.stage}, {one.runs})" for one in examples) or "none"
