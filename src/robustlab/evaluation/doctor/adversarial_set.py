"""Doctor for adversarial inputs made before: checks of their budget and of their model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.attacks import PGD
from robustlab.core import L1, L2, Batch, Linf, Model, Norm, ThreatModel, frozen, margin
from robustlab.core.finding import Finding
from robustlab.core.kinds import typed
from robustlab.core.modes import seed_generators
from robustlab.core.user_code import model_called
from robustlab.data import examples
from robustlab.evaluation.doctor.case import ROBUST, Case, ahead, may_be_chance
from robustlab.evaluation.doctor.records import undefined
from robustlab.evaluation.gallery import pictures
from robustlab.evaluation.plan import Settings, batches
from robustlab.evaluation.read import read_run
from robustlab.evaluation.subject import Subject, subject
from robustlab.statistics.intervals import clopper_pearson

_DISAGREEING = 0.01  # share of recorded successes that may fail, by another machine's rounding
_BEHIND = 0.1  # share of examples by which a fresh attack may be ahead for certain
_STEPS = 40
_ATTACKED = 128  # examples for the fresh attack
_NORMS: dict[str, Norm] = {str(norm): norm for norm in (Linf(), L2(), L1())}


class _Verdicts(NamedTuple):
    """Verdicts of the model on a set, all (N,) bool."""

    correct: Tensor
    """On the clean inputs."""
    fooled: Tensor
    inside: Tensor
    undefined: Tensor
    unchanged: Tensor
    """x_adv is x."""


@typed
def check_adversarial(
    model: Model,
    x: Tensor,
    x_adv: Tensor,
    y: Tensor,
    *,
    threat: ThreatModel,
    fooled: Tensor | None = None,
    settings: Settings | None = None,
) -> tuple[Finding, ...]:
    """Checks adversarial inputs that were made before, elsewhere, or for another model.

    Findings are x_adv outside budget or bounds; NaN logits; x_adv that are x; and an outdated set, made for another
    model or by a far weaker attack: it fails where it is recorded as fooling, or fools by more than 10 % fewer examples
    for certain than a fresh attack of 40 steps (exact bounds).

    Args:
        model: from inputs (N, ...) to logits (N, K); its mode is restored.
        x: clean inputs (N, ...).
        x_adv: adversarial inputs (N, ...).
        y: labels (N,), int64.
        threat: norm, eps and bounds that x_adv shall keep.
        fooled: x_adv that are recorded as fooling the model, (N,) bool; None: not known, a fresh attack is run.
        settings: batch size, seed and device.

    Returns: findings; empty if nothing was found.
    Raises: ValueError if shapes differ.
    """
    if x_adv.shape != x.shape or (fooled is not None and fooled.shape != y.shape):
        raise ValueError(f"x_adv and fooled must fit x: {tuple(x_adv.shape)} for {tuple(x.shape)}")
    settings = settings or Settings()
    with frozen(model, training=False), model_called():
        seed_generators(settings.seed)
        one = subject(model, examples((x, y)), threat, device=settings.device, search_dtype=settings.search_dtype)
        verdicts = _verdicts(one, x_adv, threat, settings)
        found = list(_plain_faults(verdicts))
        if not any(f.code == "benign-adversarial-set" for f in found):
            outdated = _failing(verdicts, fooled) if fooled is not None else _outdone(one, verdicts, threat, settings)
            found += [outdated] if outdated is not None else []
    return tuple(found)


@typed
def check_adversarial_run(model: Model, directory: str | Path) -> tuple[Finding, ...]:
    """Checks that the pictures in a run directory still fool a model; no finding: it may be the model of that run.

    The pictures are those of the run's report, each with the budget that it was made for.

    Raises: RunError if there is no finished run, or its pictures are missing.
    """
    evaluation = read_run(directory)
    items = evaluation.gallery
    x, x_adv = pictures(evaluation, items)
    if not items:
        return ()
    y = torch.tensor([item.label for item in items])
    fooled = torch.ones_like(y, dtype=torch.bool)
    eps = max(item.eps for item in items)
    threat = ThreatModel(_NORMS[evaluation.threat.norm], eps, evaluation.threat.bounds)
    return check_adversarial(model, x, x_adv, y, threat=threat, fooled=fooled)


def _verdicts(one: Subject, x_adv: Tensor, threat: ThreatModel, settings: Settings) -> _Verdicts:
    found = []
    for ids in batches(torch.arange(len(x_adv)), settings.batch_size):
        batch: Batch = one.load(ids)
        given = x_adv[ids].to(batch.x)
        judged = one.judged(threat, batch, given)
        right = one.answers(batch.x).prediction == batch.y
        same = (given == batch.x).flatten(1).all(dim=1)
        found.append((right, judged.fooled, judged.inside, judged.answers.undefined, same))
    return _Verdicts(*(torch.cat(column).cpu() for column in zip(*found, strict=True)))


def _plain_faults(verdicts: _Verdicts) -> Iterator[Finding]:
    n, outside = len(verdicts.correct), int((~verdicts.inside).sum())
    if outside:
        title = f"{outside} of {n} adversarial inputs break the budget or the bounds."
        advice = "They count as not fooled: give the eps, norm and bounds that they were made with."
        yield Finding("outside-budget", "serious", title, {"outside": outside, "n": n}, advice)
    if int(verdicts.undefined.sum()):
        yield undefined(int(verdicts.undefined.sum()), "the given set", {"n": n})
    same, right = int((verdicts.unchanged & verdicts.correct).sum()), int(verdicts.correct.sum())
    if not may_be_chance(same, right, ROBUST):
        yield Finding(
            "benign-adversarial-set",
            "serious",
            f"{same} of {right} adversarial inputs whose clean input is classified correctly are that very input.",
            {"same": same, "n": right},
            "Nothing was attacked: the set was saved before the attack, or the attack failed. Make it anew.",
        )


def _failing(verdicts: _Verdicts, fooled: Tensor) -> Finding | None:
    """Finding for x_adv that are recorded as fooling the model but do not (exact lower bound above 1 %)."""
    claimed = fooled.cpu() & verdicts.inside
    failing, n = int((claimed & ~verdicts.fooled).sum()), int(claimed.sum())
    if may_be_chance(failing, n, _DISAGREEING):
        return None
    low = clopper_pearson(failing, n).low
    return _outdated(
        f"{failing} of {n} inputs that are recorded as fooling the model do not.", failing=failing, n=n, low=low
    )


def _outdone(one: Subject, verdicts: _Verdicts, threat: ThreatModel, settings: Settings) -> Finding | None:
    """Finding for a fresh attack that fools more by a tenth of the examples for certain (exact bounds)."""
    every = torch.arange(len(verdicts.correct))
    case = Case(
        one, PGD(threat, _STEPS, score=margin), every, verdicts.correct, verdicts.fooled & verdicts.correct, settings
    )
    ids = case.some(verdicts.correct & verdicts.inside, _ATTACKED)
    if not ids.numel():
        return None
    fresh, given = case.run(case.attack, ids), case.known(ids)
    low = ahead(int((fresh & ~given).sum()), int((given & ~fresh).sum()), len(ids))
    if low <= _BEHIND:
        return None
    seen = f"The set fools {int(given.sum())} of {len(ids)} examples, a fresh attack {int(fresh.sum())}."
    return _outdated(seen, given=int(given.sum()), fresh=int(fresh.sum()), n=len(ids), more_at_least=low)


def _outdated(seen: str, **evidence: float) -> Finding:
    return Finding(
        "stale-adversarial-set",
        "serious",
        seen,
        dict(evidence),
        "The set was made for another model, other weights, or by a far weaker attack: make it anew for this model.",
    )
