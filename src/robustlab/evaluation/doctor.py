"""The evaluation doctor: after attacking, looks for signs that the attacks failed rather than the model held.

Each probe works on a few examples and says something only where exact statistics leave no room for chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustlab.attacks import PGD, RandomNoise, Restarts, threat_of
from robustlab.core import Attack, Model, Stop, ThreatModel, Twin, frozen, margin, untargeted
from robustlab.data import examples
from robustlab.data.wrapped import Given
from robustlab.evaluation.intake import logit_faults
from robustlab.evaluation.metrics import clopper_pearson, mcnemar
from robustlab.evaluation.plan import Entry, Settings, batches, chosen
from robustlab.evaluation.record import Evaluation, Evidence, Finding
from robustlab.evaluation.subject import Subject, subject

PROBED = 64
"""Examples for a cheap probe."""
PROBED_DEEPLY = 32
"""Examples for a probe of many steps."""
_DRAWS = 8  # of noise for each example
_STEPS = 40  # of the unbounded attack
_STANDING = 0.05  # share of examples that may stand by chance where none should
_LOSS = (0.02, 0.05)  # robust accuracy lost by more steps: worth a warning, serious
_DISAGREEING = (0.01, 0.10)  # share of rechecked examples: worth a warning; far more than an iterative attack shows
_EXPLAINS = {
    "accuracy-above-clean": ("unbounded-attack-fails", "noise-as-good", "more-steps-help"),
    "zero-gradients": ("unbounded-attack-fails", "noise-as-good", "more-steps-help"),
    "noise-as-good": ("unbounded-attack-fails",),
    "more-steps-help": ("noise-as-good",),
}
"""Which findings follow from which: one cause is one serious finding."""


@dataclass(frozen=True)
class Case:
    """What the doctor looks at: one attack at one eps.

    Args:
        subject: the model, in eval mode, and its examples.
        attack: the strongest that was run.
        ids: all examples that were evaluated (N,).
        correct: on clean inputs, (N,) bool.
        fooled: by this attack, (N,) bool.
        settings: of the evaluation.
    """

    subject: Subject
    attack: Attack
    ids: Tensor
    correct: Tensor
    fooled: Tensor
    settings: Settings

    @property
    def threat(self) -> ThreatModel:
        """Norm, eps and bounds of the attack."""
        return threat_of(self.attack)

    def some(self, among: Tensor, count: int) -> Tensor:
        """A simple random sample of the examples where the mask is true."""
        return chosen(self.ids[among], count, "doctor", self.settings.seed)

    def known(self, ids: Tensor) -> Tensor:
        """Whether the attack fooled these examples, as recorded, (M,) bool."""
        return torch.isin(ids, self.ids[self.fooled])

    def run(self, attack: Attack, ids: Tensor, stop: Stop = "success") -> Tensor:
        """Whether the model is wrong after another attack, (M,) bool; what breaks the budget never counts as found."""
        found = [torch.empty(0, dtype=torch.bool)]
        for part in batches(ids, self.settings.batch_size):
            batch = self.subject.load(part)
            x_adv, _ = self.subject.attacked(attack, batch, self.settings.seed, stop)
            judged = self.subject.judged(threat_of(attack), batch, x_adv)
            found.append((judged.fooled | ~judged.inside if stop == "never" else judged.fooled).cpu())
        return torch.cat(found)


def diagnose(
    model: Model, data: Given, *, attack: Attack, n: int = 128, settings: Settings | None = None
) -> tuple[Finding, ...]:
    """Looks for signs that an attack says little about a model, on a simple random sample.

    ``evaluate`` does this by itself, for the strongest of its attacks. Thresholds are the constants of this module.

    Args:
        model: from inputs (N, ...) to logits (N, K); left as it was found.
        data: labelled examples, or what ``robustlab.data.examples`` makes some of.
        attack: at the eps to be trusted.
        n: size of the sample, or all examples if there are fewer.
        settings: batch size, seed and device.

    Returns: findings; empty if nothing was found.
    """
    every, settings = examples(data), settings or Settings()
    ids, threat = chosen(torch.arange(len(every)), n, "doctor", settings.seed), threat_of(attack)
    with frozen(model, training=False):
        torch.manual_seed(settings.seed)
        one = subject(model, every, threat, device=settings.device, search_dtype=settings.search_dtype)
        parts = [one.load(part) for part in batches(ids, settings.batch_size)]
        correct = torch.cat([one.answers(part.x).prediction == part.y for part in parts]).cpu()
        case = Case(one, attack, ids, correct, torch.zeros_like(correct), settings)
        fooled = correct.masked_scatter(correct, case.run(attack, ids[correct]))
        return tuple(probe_findings(replace(case, fooled=fooled)))


def strongest(plan: Sequence[Entry], evaluation: Evaluation) -> int:
    """Position of the attack whose word counts most: the lowest robust accuracy at its largest eps.

    Attacks without a gradient, or towards a target, count only if there is no other.
    """

    def rank(number: int) -> tuple[bool, bool, float]:
        entry = plan[number]
        noise = all(isinstance(part.attack, RandomNoise) for part in entry.parts(entry.eps[-1], 0))
        return noise, entry.targeted, evaluation.result(entry.name, entry.eps[-1]).robust.value

    return min(range(len(plan)), key=rank)


def record_findings(evaluation: Evaluation) -> Iterator[Finding]:
    """What the recorded outcomes themselves give away."""
    yield from logit_faults(evaluation.clean.nonfinite, evaluation.data.n)
    for result in evaluation.results:
        where: Evidence = {"attack": result.attack, "eps": result.eps}
        if result.nonfinite:
            title = f"The model returned NaN or infinite logits for {result.nonfinite} inputs under {result.attack}."
            advice = "They count as fooled. Find the operation that overflows, or the detector that returns NaN."
            yield Finding("nan-under-attack", "serious", title, {**where, "nan": result.nonfinite}, advice)
        if result.outside:
            title = f"{result.attack} broke its budget or the bounds for {result.outside} inputs, which were refused."
            advice = "They count as not fooled: correct the attack."
            yield Finding("outside-budget", "serious", title, {**where, "outside": result.outside}, advice)
    for curve in evaluation.curves:
        for point in curve.points:
            if point.recheck is not None and point.recheck.disagreements:
                again = (point.recheck.disagreements, point.recheck.n)
                yield _reuse(curve.attack, point.eps, again, evaluation.clean.accuracy.level)


def _reuse(attack: str, eps: float, again: tuple[int, int], level: float) -> Finding:
    share = clopper_pearson(*again, level)
    return Finding(
        "reuse-disagrees",
        "warning" if share.low > _DISAGREEING[0] else "info",
        f"{attack} fooled {again[0]} of {again[1]} examples at a smaller eps, but not when run again at {eps:g}.",
        {"attack": attack, "eps": eps, "disagreements": again[0], "n": again[1], "low": share.low},
        "A larger budget should never be worth less: use more steps, restarts, or an attack that adapts its steps.",
    )


def probe_findings(case: Case) -> Iterator[Finding]:
    """Runs all probes; nothing is said where too few examples are left for a probe.

    What another finding explains is no more than a warning.
    """
    found = [f for probe in (_above_clean, _zero_gradients, _unbounded, _noise, _more_steps) if (f := probe(case))]
    explained = {code for f in found for code in _EXPLAINS.get(f.code, ())}
    for finding in found:
        yield replace(finding, severity="warning") if finding.code in explained else finding


def _above_clean(case: Case) -> Finding | None:
    """Whether a full-strength attack puts right more examples than it fools (exact bound on the former)."""
    ids = case.some(~case.correct, PROBED_DEEPLY)
    if not ids.numel():
        return None
    put_right = int((~case.run(case.attack, ids, "never")).sum())
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


def _noise(case: Case) -> Finding | None:
    """Whether random noise fools as many as the attack does (one-sided exact McNemar test, 5 %)."""
    ids = case.some(case.correct, PROBED)
    if not ids.numel():
        return None
    gradient, noise = case.known(ids), case.run(Restarts(RandomNoise(case.threat), _DRAWS), ids)
    better, worse, standing = int((gradient & ~noise).sum()), int((noise & ~gradient).sum()), int((~gradient).sum())
    surely_better = better > worse and mcnemar(worse, better) / 2 < 0.05
    if (
        surely_better
        or _may_be_chance(int(noise.sum()), len(ids), 0.01)
        or _may_be_chance(standing, len(ids), _STANDING)
    ):
        return None
    return Finding(
        "noise-as-good",
        "serious",
        f"Random noise fools {int(noise.sum())} of {len(ids)} examples, the attack {int(gradient.sum())}.",
        {"noise": int(noise.sum()), "attack": int(gradient.sum()), "n": len(ids), "draws": _DRAWS},
        "Gradients lead nowhere: the model may mask them. Use attacks that need none, or one adapted to the model.",
    )


def _unbounded(case: Case) -> Finding | None:
    """Whether examples stand even where every valid input is allowed (exact interval above 5 %)."""
    low, high = case.threat.bounds
    ids = case.some(case.correct, PROBED_DEEPLY)
    if not ids.numel() or not (high - low) < float("inf"):
        return None
    widest = torch.full_like(case.subject.load(ids[:1]).x, high - low, dtype=torch.float64)
    eps = float(case.threat.norm.size(widest))
    threat = replace(case.threat, eps=eps)
    standing = int((~case.run(PGD(threat, _STEPS, random_start=False, score=margin), ids)).sum())
    if _may_be_chance(standing, len(ids), _STANDING):
        return None
    return Finding(
        "unbounded-attack-fails",
        "serious",
        f"With eps as large as the range of the inputs, {standing} of {len(ids)} examples still stand.",
        {"standing": standing, "n": len(ids), "eps": eps, "steps": _STEPS},
        "Any class can be reached there, so the attack fails: look for masked gradients (rounding, randomness, NaN).",
    )


def _more_steps(case: Case) -> Finding | None:
    """Whether more steps cost robust accuracy (exact lower bound, times the share that stood)."""
    standing = case.correct & ~case.fooled
    ids = case.some(standing, PROBED_DEEPLY)
    if not ids.numel():
        return None
    longer = _longer(case.attack)
    fell = int(case.run(longer, ids).sum())
    share = float(standing.double().mean())
    at_least = share * clopper_pearson(fell, len(ids)).low
    if at_least <= _LOSS[0]:
        return None
    return Finding(
        "more-steps-help",
        "serious" if at_least > _LOSS[1] else "warning",
        f"More steps fool {fell} of {len(ids)} examples that stood: robust accuracy falls by at least {at_least:.1%}.",
        {"fell": fell, "n": len(ids), "standing": share, "loss_at_least": at_least, "with": repr(longer)},
        "The attack has not converged: give it more steps, or another step size.",
    )


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


def _zero_gradients(case: Case) -> Finding | None:
    """How many examples have an input gradient of exactly 0 (exact interval above 5 %)."""
    ids = case.some(case.correct, PROBED)
    if not ids.numel():
        return None
    zero = 0
    for part in batches(ids, case.settings.batch_size):
        batch = case.subject.load(part)
        _, _, grad = untargeted(Twin(case.subject.model, case.subject.model), batch.y).gradient(batch.x, stop="never")
        zero += int((grad.flatten(1) == 0).all(dim=1).sum())
    if _may_be_chance(zero, len(ids), _STANDING):
        return None
    return Finding(
        "zero-gradients",
        "serious",
        f"The gradient of the loss is exactly 0 at {zero} of {len(ids)} inputs: attacks that follow it stay there.",
        {"zero": zero, "n": len(ids)},
        "Look for rounding, thresholds or very large logits; try the scores margin or dlr, or double precision.",
    )


def _may_be_chance(count: int, n: int, share: float) -> bool:
    """Whether a true share no larger than this is compatible with the count, at the two-sided level of 95 %."""
    return clopper_pearson(count, n).low <= share
