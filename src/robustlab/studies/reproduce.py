"""Reproduction of published claims: the experiment of each over its seeds, resumable, and a verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from robustlab.core import Metrics
from robustlab.core.kinds import typed
from robustlab.core.text import choice
from robustlab.runs.progress import Progress, Report
from robustlab.studies.claim_engine.budget import FULL, Budget
from robustlab.studies.claim_engine.claim import Arm, Claim
from robustlab.studies.claim_engine.definition import fingerprint
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.outcome import Outcome, outcome
from robustlab.studies.claim_engine.record import PUBLISHED, Unit, read, write
from robustlab.studies.claim_engine.verdict import FEWEST_SEEDS
from robustlab.studies.claims import CLAIMS, added

Measured: TypeAlias = dict[tuple[int, str], tuple[Metrics, float]]
"""Metrics of a network by seed and hash, and the seconds that they took."""


class Job(NamedTuple):
    """One unit of work."""

    claim: Claim
    arm: Arm
    seed: int


@typed
def reproduce(
    claims: Sequence[str] = (),
    *,
    out: str | Path = "runs/claims",
    seeds: int | None = None,
    budget: Budget = FULL,
    device: str = "auto",
    progress: Report | None = None,
) -> tuple[Outcome, ...]:
    """Runs the experiments of claims, a unit (claim, arm, seed) at a time, and judges the claims.

    A finished unit is not run again, in this session or a later one, unless its definition has changed; an interrupted
    one resumes from its last epoch.

    Args:
        claims: by name; none: all.
        out: directory of results, and under ``networks`` of trained networks, which may be removed in the end.
        seeds: their number; None: that of each claim.
        budget: ``FULL`` or ``QUICK``; results of the latter are in a folder of their own and have no meaning.
        device: "auto" takes the accelerator if there is one; or its name, or "cpu".
        progress: called with the progress of each unit.

    Returns: the outcome of each claim.

    Raises:
        ValueError: for an unknown claim, or no seeds.
        RunError: the directory cannot be written, is in use, or holds something else.
    """
    chosen, home = named(claims), Path(out)
    if seeds is not None and seeds < 1:
        raise ValueError(f"at least one seed is needed, for a verdict {FEWEST_SEEDS}, got {seeds}")
    measured: Measured = {}
    jobs = [Job(c, arm, seed) for c in chosen for seed in range(seeds or c.seeds) for arm in c.arms]
    for number, job in enumerate(jobs):
        if read(home, *job, budget) is None:
            report = partial(_reported, progress, job, number, len(jobs))
            unit = carried_out(job, Lab(home / "networks", job.seed, budget, device, report), measured)
            write(home, job.claim, job.arm, unit, budget)
        elif progress is not None:
            _reported(progress, job, number + 1, len(jobs), Progress("done before", 1, 1))
    return tuple(outcome(claim, home, budget, seeds) for claim in chosen)


def carried_out(job: Job, lab: Lab, measured: Measured) -> Unit:
    """Trains and measures one arm of a claim with one seed; measurements for another claim are used again."""
    claim, arm, seed = job
    trained = lab.trained(arm.network)
    model = trained.best if arm.early else trained.last
    metrics, spent = {"training_seconds": trained.seconds}, 0.0
    for measure in claim.measures:
        key = (seed, fingerprint(arm.network, arm.early, measure))
        if key not in measured:
            started = time.perf_counter()
            measured[key] = measure(model, lab), time.perf_counter() - started
        found, seconds = measured[key]
        metrics, spent = metrics | found, spent + seconds
    return Unit(
        claim.name,
        arm.name,
        seed,
        lab.budget.name,
        claim.definition(arm, lab.budget),
        metrics,
        round(trained.seconds, 2),
        round(spent, 2),
        f"robustlab reproduce {claim.name}{'' if lab.budget == FULL else f' --{lab.budget.name}'}",
        device=str(lab.place()),
        precision=trained.precision,
    )


def named(claims: Sequence[str] = ()) -> tuple[Claim, ...]:
    """Claims by name, in the order of the catalogue; none: all of the package.

    Raises: ValueError for an unknown name.
    """
    there = (*CLAIMS, *added())
    unknown = [name for name in claims if name not in {claim.name for claim in there}]
    if unknown:
        near = choice(unknown[0], (claim.name for claim in there), intro="there are ")
        raise ValueError(f"no claim is called {unknown[0]!r}{near}")
    return tuple(claim for claim in there if claim.name in claims) if claims else tuple(CLAIMS)


@typed
def known(claims: Sequence[str] = (), *, out: str | Path | None = None) -> tuple[Outcome, ...]:
    """Outcomes of claims from existing results.

    Args:
        claims: by name; none: all.
        out: directory of own results, which replace those of the package if they have more seeds.

    Raises: ValueError for an unknown claim; RunError for a damaged file.
    """
    found = []
    for claim in named(claims):
        published = outcome(claim, PUBLISHED)
        own = published if out is None else outcome(claim, Path(out))
        found.append(own if len(own.seeds) > len(published.seeds) else published)
    return tuple(found)


def _reported(progress: Report | None, job: Job, done: int, units: int, at: Progress) -> None:
    """Reports the finished units, and the progress of the present one."""
    if progress is not None:
        part = f"{job.claim.name}, {job.arm.name}, seed {job.seed}"
        detail = f"{part}: {at.task} {at.fraction:.0%} {at.detail}".rstrip()
        progress(Progress(at.task, done, units, "units", part, detail))
