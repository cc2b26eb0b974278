"""Probes of the search: whether other attacks, more of the same, or none at all do better than what was run."""

from __future__ import annotations

from dataclasses import replace

import torch

from robustlab.attacks import PGD, RandomNoise, Restarts, Square, Transfer, threat_of
from robustlab.attacks.facts import gradient_free, transferred
from robustlab.core import Attack, margin
from robustlab.evaluation.doctor.case import (
    LOSS,
    PROBED,
    PROBED_DEEPLY,
    STANDING,
    Case,
    Rival,
    ahead,
    may_be_chance,
)
from robustlab.evaluation.record import Finding, Severity
from robustlab.statistics.intervals import clopper_pearson
from robustlab.statistics.paired import mcnemar

_DRAWS = 8  # of noise for each example
_STEPS = 40  # of the unbounded attack
_QUERIES = 100  # of the random search
_AGAIN = 1  # other draws than the evaluation's


def above_clean(case: Case) -> Finding | None:
    """Whether a full-strength attack puts right more examples than it fools (exact bound on the former)."""
    ids = case.some(~case.correct, PROBED_DEEPLY)
    if not ids.numel():
        return None
    put_right = int((~case.run(case.lead, ids, "never")).sum())
    wrong, fooled = int((~case.correct).sum()), int(case.fooled.sum())
    at_least = clopper_pearson(put_right, len(ids)).low * wrong
    if put_right == 0 or at_least <= fooled:
        return None
    clean = float(case.correct.double().mean())
    under = clean + (put_right / len(ids) * wrong - fooled) / len(case.ids)
    return Finding(
        "accuracy-above-clean",
        "serious",
        f"Accuracy under attack would be {under:.1%}, above clean accuracy ({clean:.1%}): the attack helps the model.",
        {"clean": clean, "under_attack": under, "put_right": put_right, "n": len(ids), "fooled": fooled},
        "Check the sign of the attack's score, labels that leak into x_adv, and that x_adv was made for this model.",
    )


def noise(case: Case) -> Finding | None:
    """Whether random noise fools as many as the attack does (one-sided exact McNemar test, 5 %)."""
    ids = case.some(case.correct, PROBED)
    if not ids.numel():
        return None
    gradient, by_noise = case.known(ids), case.run(Restarts(RandomNoise(case.threat), _DRAWS), ids)
    better, worse = int((gradient & ~by_noise).sum()), int((by_noise & ~gradient).sum())
    surely_better = better > worse and mcnemar(worse, better) / 2 < 0.05
    none_fall = may_be_chance(int(by_noise.sum()), len(ids), 0.01)
    if surely_better or none_fall or may_be_chance(int((~gradient).sum()), len(ids), STANDING):
        return None
    return Finding(
        "noise-as-good",
        "serious",
        f"Random noise fools {int(by_noise.sum())} of {len(ids)} examples, the attack {int(gradient.sum())}.",
        {"noise": int(by_noise.sum()), "attack": int(gradient.sum()), "n": len(ids), "draws": _DRAWS},
        "Gradients lead nowhere: the model may mask them. Use attacks that need none, or one adapted to the model.",
    )


def unbounded(case: Case) -> Finding | None:
    """Whether examples stand even where every valid input is allowed (exact interval above 5 %)."""
    low, high = case.threat.bounds
    ids = case.some(case.correct, PROBED_DEEPLY)
    if not ids.numel() or not (high - low) < float("inf"):
        return None
    widest = torch.full_like(case.subject.load(ids[:1]).x, high - low, dtype=torch.float64)
    eps = float(case.threat.norm.size(widest))
    threat = replace(case.threat, eps=eps)
    standing = int((~case.run(PGD(threat, _STEPS, random_start=False, score=margin), ids)).sum())
    if may_be_chance(standing, len(ids), STANDING):
        return None
    return Finding(
        "unbounded-attack-fails",
        "serious",
        f"With eps as large as the range of the inputs, {standing} of {len(ids)} examples still stand.",
        {"standing": standing, "n": len(ids), "eps": eps, "steps": _STEPS},
        "Any class can be reached there, so the attack fails: look for masked gradients (rounding, randomness, NaN).",
    )


def convergence(case: Case) -> Finding | None:
    """Whether more steps from another start, or another start alone, cost robust accuracy (exact lower bound).

    One run tries both; only if it finds something, a second one tells them apart.
    """
    ids = case.some(case.standing, PROBED_DEEPLY)
    if not ids.numel() or gradient_free(case.lead):
        return None
    longer = _longer(case.lead)
    hit = case.fell(longer, ids, again=_AGAIN)
    fell, at_least = int(hit.sum()), case.loss(int(hit.sum()), len(ids))
    if at_least <= LOSS[0]:
        return None
    restarted = int(case.run(case.lead, ids[hit], again=_AGAIN).sum())
    if case.loss(restarted, len(ids)) > LOSS[0]:
        return _restarts(case, restarted, len(ids))
    return Finding(
        "more-steps-help",
        _severity(at_least),
        f"More steps fool {fell} of {len(ids)} examples that stood: robust accuracy falls by at least {at_least:.1%}.",
        {"fell": fell, "n": len(ids), **_lost(case, at_least), "with": repr(longer)},
        "The attack has not converged: give it more steps, or another step size.",
    )


def _restarts(case: Case, fell: int, n: int) -> Finding:
    at_least = case.loss(fell, n)
    return Finding(
        "restarts-help",
        _severity(at_least),
        f"The same attack from another random start fools {fell} of {n} examples that stood: robust accuracy falls by "
        f"at least {at_least:.1%}.",
        {"fell": fell, "n": n, **_lost(case, at_least)},
        "What falls is up to chance: give the attack restarts until another one changes nothing.",
    )


def square(case: Case) -> Finding | None:
    """Whether a short random search fools what gradients left standing (exact lower bound)."""
    ids = case.some(case.standing, PROBED_DEEPLY)
    if not ids.numel() or gradient_free(case.attack) or str(case.threat.norm) not in {"Linf", "L2", "L1"}:
        return None
    search = Square(case.threat, _QUERIES, rescaled=True)
    fell = int(case.fell(search, ids).sum())
    at_least = case.loss(fell, len(ids))
    return square_improves(fell, len(ids), at_least, repr(search)) if at_least > LOSS[0] else None


def square_improves(fell: int, n: int, at_least: float, search: str) -> Finding:
    """A random search fooled ``fell`` of the ``n`` examples that gradients left standing."""
    return Finding(
        "square-improves",
        _severity(at_least),
        f"A search without gradients fools {fell} of {n} examples that attacks with gradients left standing: robust "
        f"accuracy falls by at least {at_least:.1%}.",
        {"fell": fell, "n": n, "loss_at_least": at_least, "with": search},
        "Gradients mislead: the model masks them. Run robustlab.evaluation.adaptive, or more queries of Square.",
    )


def transfer(case: Case) -> Finding | None:
    """Whether adversarial inputs of the surrogate fool what the attack left standing (exact lower bound)."""
    ids = case.some(case.standing, PROBED_DEEPLY)
    if case.surrogate is None or not ids.numel():
        return None
    fell = int(case.fell(Transfer(PGD(case.threat, _STEPS, score=margin), case.surrogate), ids).sum())
    at_least = case.loss(fell, len(ids))
    if at_least <= LOSS[0]:
        return None
    return Finding(
        "transfer-beats-white-box",
        _severity(at_least),
        f"Adversarial inputs of the surrogate fool {fell} of {len(ids)} examples that the attack on the model itself "
        f"left standing: robust accuracy falls by at least {at_least:.1%}.",
        {"fell": fell, "n": len(ids), **_lost(case, at_least)},
        "The model's own gradients are worse than another model's: it masks them. Count the transfer attack as well.",
    )


def rivals(case: Case) -> Finding | None:
    """Whether an attack that cannot see inside the model fooled more than one that can (paired, exact).

    Compared are the outcomes of the evaluation; it must be ahead by more than 3 % for certain (5 %: serious).
    """
    blind = [(rival, low) for rival in case.rivals if (low := _ahead(case, rival)) > LOSS[0]]
    if not blind or gradient_free(case.attack):
        return None
    rival, low = max(blind, key=lambda one: one[1])
    handed = transferred(rival.attack)
    code, what = ("transfer", "made on another model") if handed else ("black-box", "without gradients")
    counts = {"blind": int(rival.fooled.sum()), "white_box": int(case.fooled.sum()), "n": len(case.ids)}
    return Finding(
        f"{code}-beats-white-box",
        _severity(low),
        f"{rival.name}, {what}, fools {counts['blind']} examples, the best attack with gradients "
        f"{counts['white_box']} of {counts['n']}.",
        {**counts, "more_at_least": low, "attack": rival.name},
        "Attacks with gradients see more and should fool more: the model masks its gradients.",
    )


def _ahead(case: Case, rival: Rival) -> float:
    """By how large a share a blind rival is ahead at least; 0 for one that uses the model's gradients."""
    if not (gradient_free(rival.attack) or transferred(rival.attack)):
        return 0.0
    fooled = case.fooled & case.correct
    ours, theirs = int((fooled & ~rival.fooled).sum()), int((rival.fooled & ~fooled).sum())
    return ahead(theirs, ours, len(case.ids))


def blind(attack: Attack) -> bool:
    """Whether an attack sees nothing of the model's gradients."""
    return gradient_free(attack) or transferred(attack)


def _severity(at_least: float) -> Severity:
    return "serious" if at_least > LOSS[1] else "warning"


def _lost(case: Case, at_least: float) -> dict[str, float | int | str]:
    return {"standing": float(case.standing.double().mean()), "loss_at_least": at_least}


def _longer(attack: Attack) -> Attack:
    """The attack with more steps, through wrappers; PGD in place of one without steps."""
    longer = _with_steps(attack)
    return PGD(threat_of(attack), _STEPS) if longer == attack else longer


def _with_steps(attack: Attack) -> Attack:
    if not hasattr(attack, "__dataclass_fields__"):
        return attack
    new: dict[str, object] = {}
    steps, inner, several = (getattr(attack, name, None) for name in ("steps", "attack", "attacks"))
    if isinstance(steps, int):
        new["steps"] = max(4 * steps if steps <= 25 else 2 * steps, _STEPS)
    if inner is not None:
        new["attack"] = _with_steps(inner)
    if several is not None:
        new["attacks"] = tuple(_with_steps(one) for one in several)
    longer: Attack = replace(attack, **new)  # type: ignore[type-var]  # a dataclass, which the protocol does not say
    return longer
