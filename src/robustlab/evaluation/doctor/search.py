"""Probes of the search: other attacks, more of the same, and noise, compared with the attack that was run."""

from __future__ import annotations

from dataclasses import replace

import torch

from robustlab.attacks import PGD, RandomNoise, Restarts, Square, Transfer, threat_of
from robustlab.attacks.facts import gradient_free, transferred
from robustlab.core import Attack, margin
from robustlab.core.finding import Finding, Severity
from robustlab.evaluation.doctor.case import (
    LOSS,
    PROBED,
    PROBED_DEEPLY,
    ROBUST,
    Case,
    Rival,
    ahead,
    may_be_chance,
)
from robustlab.statistics.intervals import clopper_pearson
from robustlab.statistics.paired import mcnemar

_DRAWS = 8  # of noise for each example
_STEPS = 40  # of the unbounded attack
_QUERIES = 100  # of the random search
_AGAIN = 1  # other draws than the evaluation's


def above_clean(case: Case) -> Finding | None:
    """Finding for a full-strength attack that corrects more examples than it fools (exact bound on the former)."""
    ids = case.some(~case.correct, PROBED_DEEPLY)
    if not ids.numel():
        return None
    put_right = int((~case.run(case.main, ids, "never")).sum())
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
    """Finding for random noise that fools as many as the attack (one-sided exact McNemar test, 5 %)."""
    ids = case.some(case.correct, PROBED)
    if not ids.numel():
        return None
    gradient, by_noise = case.known(ids), case.run(Restarts(RandomNoise(case.threat), _DRAWS), ids)
    better, worse = int((gradient & ~by_noise).sum()), int((by_noise & ~gradient).sum())
    surely_better = better > worse and mcnemar(worse, better) / 2 < 0.05
    none_fooled = may_be_chance(int(by_noise.sum()), len(ids), 0.01)
    if surely_better or none_fooled or may_be_chance(int((~gradient).sum()), len(ids), ROBUST):
        return None
    return Finding(
        "noise-as-good",
        "serious",
        f"Random noise fools {int(by_noise.sum())} of {len(ids)} examples, the attack {int(gradient.sum())}.",
        {"noise": int(by_noise.sum()), "attack": int(gradient.sum()), "n": len(ids), "draws": _DRAWS},
        "Gradients do not help the attack: the model may mask them. Use attacks without them, or an adapted one.",
    )


def unbounded(case: Case) -> Finding | None:
    """Finding for examples that stay robust though every valid input is allowed (exact interval above 5 %)."""
    low, high = case.threat.bounds
    ids = case.some(case.correct, PROBED_DEEPLY)
    if not ids.numel() or not (high - low) < float("inf"):
        return None
    widest = torch.full_like(case.subject.load(ids[:1]).x, high - low, dtype=torch.float64)
    eps = float(case.threat.norm.size(widest))
    threat = replace(case.threat, eps=eps)
    robust = int((~case.run(PGD(threat, _STEPS, random_start=False, score=margin), ids)).sum())
    if may_be_chance(robust, len(ids), ROBUST):
        return None
    return Finding(
        "unbounded-attack-fails",
        "serious",
        f"With eps as large as the range of the inputs, {robust} of {len(ids)} examples are still robust.",
        {"still_robust": robust, "n": len(ids), "eps": eps, "steps": _STEPS},
        "Any class can be reached there, so the attack fails: remove what masks gradients (rounding, randomness, NaN).",
    )


def convergence(case: Case) -> Finding | None:
    """Finding for more steps from another start, or another start alone, that cost robust accuracy (exact lower bound).

    One run tries both; only if it fools examples, a second one separates them.
    """
    ids = case.some(case.still_robust, PROBED_DEEPLY)
    if not ids.numel() or gradient_free(case.main):
        return None
    longer = _longer(case.main)
    hit = case.run_by_halves(longer, ids, again=_AGAIN)
    fooled, at_least = int(hit.sum()), case.loss(int(hit.sum()), len(ids))
    if at_least <= LOSS[0]:
        return None
    restarted = int(case.run(case.main, ids[hit], again=_AGAIN).sum())
    if case.loss(restarted, len(ids)) > LOSS[0]:
        return _restarts(case, restarted, len(ids))
    return Finding(
        "more-steps-help",
        _severity(at_least),
        f"More steps fool {fooled} of {len(ids)} robust examples: robust accuracy falls by at least {at_least:.1%}.",
        {"fooled": fooled, "n": len(ids), **_lost(case, at_least), "with": repr(longer)},
        "The attack has not converged: give it more steps, or another step size.",
    )


def _restarts(case: Case, fooled: int, n: int) -> Finding:
    at_least = case.loss(fooled, n)
    return Finding(
        "restarts-help",
        _severity(at_least),
        f"The same attack from another random start fools {fooled} of {n} robust examples: robust accuracy falls by "
        f"at least {at_least:.1%}.",
        {"fooled": fooled, "n": n, **_lost(case, at_least)},
        "The result depends on the start: give the attack restarts until another one changes nothing.",
    )


def square(case: Case) -> Finding | None:
    """Finding for a short random search that fools examples robust to gradients (exact lower bound)."""
    ids = case.some(case.still_robust, PROBED_DEEPLY)
    if not ids.numel() or gradient_free(case.attack) or str(case.threat.norm) not in {"Linf", "L2", "L1"}:
        return None
    search = Square(case.threat, _QUERIES, rescaled=True)
    fooled = int(case.run_by_halves(search, ids).sum())
    at_least = case.loss(fooled, len(ids))
    return square_improves(fooled, len(ids), at_least, repr(search)) if at_least > LOSS[0] else None


def square_improves(fooled: int, n: int, at_least: float, search: str) -> Finding:
    """Finding for a random search that fooled ``fooled`` of the ``n`` examples robust to gradients."""
    return Finding(
        "square-improves",
        _severity(at_least),
        f"A search without gradients fools {fooled} of {n} examples robust to attacks with gradients: robust "
        f"accuracy falls by at least {at_least:.1%}.",
        {"fooled": fooled, "n": n, "loss_at_least": at_least, "with": search},
        "Gradients mislead: the model masks them. Run robustlab.evaluation.adaptive, or more queries of Square.",
    )


def transfer(case: Case) -> Finding | None:
    """Finding for adversarial inputs of the surrogate that fool examples robust to the attack (exact lower bound)."""
    ids = case.some(case.still_robust, PROBED_DEEPLY)
    if case.surrogate is None or not ids.numel():
        return None
    fooled = int(case.run_by_halves(Transfer(PGD(case.threat, _STEPS, score=margin), case.surrogate), ids).sum())
    at_least = case.loss(fooled, len(ids))
    if at_least <= LOSS[0]:
        return None
    return Finding(
        "transfer-beats-white-box",
        _severity(at_least),
        f"Adversarial inputs of the surrogate fool {fooled} of {len(ids)} examples robust to the attack on the model "
        f"itself: robust accuracy falls by at least {at_least:.1%}.",
        {"fooled": fooled, "n": len(ids), **_lost(case, at_least)},
        "The model's own gradients are worse than another model's: it masks them. Count the transfer attack as well.",
    )


def rivals(case: Case) -> Finding | None:
    """Finding for an attack without the model's gradients that fooled more than one with them (paired, exact).

    It compares the outcomes of the evaluation; the former must be ahead by more than 3 % for certain (5 %: serious).
    """
    blind = [(rival, low) for rival in case.rivals if (low := _ahead(case, rival)) > LOSS[0]]
    if not blind or gradient_free(case.attack):
        return None
    rival, low = max(blind, key=lambda one: one[1])
    handed = transferred(rival.attack)
    code, kind = ("transfer", "made on another model") if handed else ("black-box", "without gradients")
    counts = {"blind": int(rival.fooled.sum()), "white_box": int(case.fooled.sum()), "n": len(case.ids)}
    return Finding(
        f"{code}-beats-white-box",
        _severity(low),
        f"{rival.name}, {kind}, fools {counts['blind']} examples, the best attack with gradients "
        f"{counts['white_box']} of {counts['n']}.",
        {**counts, "more_at_least": low, "attack": rival.name},
        "Attacks with gradients see more and should fool more: the model masks its gradients.",
    )


def _ahead(case: Case, rival: Rival) -> float:
    """Fraction by which a blind rival is ahead at least; 0 for one that uses the model's gradients."""
    if not (gradient_free(rival.attack) or transferred(rival.attack)):
        return 0.0
    fooled = case.fooled & case.correct
    ours, theirs = int((fooled & ~rival.fooled).sum()), int((rival.fooled & ~fooled).sum())
    return ahead(theirs, ours, len(case.ids))


def blind(attack: Attack) -> bool:
    """True for an attack without the model's gradients."""
    return gradient_free(attack) or transferred(attack)


def _severity(at_least: float) -> Severity:
    return "serious" if at_least > LOSS[1] else "warning"


def _lost(case: Case, at_least: float) -> dict[str, float | int | str]:
    return {"still_robust": float(case.still_robust.double().mean()), "loss_at_least": at_least}


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
