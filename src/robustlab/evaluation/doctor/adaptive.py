"""Adaptive attack that answers the doctor's findings, and robust accuracy under it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from robustlab.attacks import APGD, EOT, PGD, Square, StraightThrough, Transfer, WorstOf, threat_of
from robustlab.attacks.facts import label
from robustlab.core import Attack, Model, ThreatModel, cross_entropy, margin
from robustlab.core.finding import Finding
from robustlab.core.kinds import typed
from robustlab.data.wrapped import Given
from robustlab.evaluation.doctor.diagnose import diagnose, opened_case
from robustlab.evaluation.doctor.gradients import relative_margin
from robustlab.evaluation.plan import Settings
from robustlab.runs.codec import encode
from robustlab.statistics.intervals import Interval, clopper_pearson
from robustlab.statistics.paired import mcnemar, paired_difference

_STEPS = 40
_DRAWS = 20
_QUERIES = 1000
_PREPROCESSED = {"shattered-gradients", "zero-gradients", "optimisation-at-inference"}
_MASKED = {
    *_PREPROCESSED, "saturated-softmax", "gradient-underflow", "probabilities-for-logits", "unbounded-attack-fails",
    "noise-as-good", "square-improves", "black-box-beats-white-box", "transfer-beats-white-box", "accuracy-above-clean",
}  # fmt: skip
"""Findings after which gradients are not to be trusted, so that a search without them is worth its queries."""


@dataclass(frozen=True)
class Adapted:
    """Robust accuracy on the same examples before and after the adaptive attack, with exact intervals.

    An example that the first attack fooled stays fooled: the second is run on the examples still robust.
    """

    attack: Attack
    """The adaptive attack."""
    before: Interval
    after: Interval
    difference: float
    """After minus before, with its interval for paired shares."""
    low: float
    high: float
    p_value: float
    """Exact McNemar test, two-sided."""

    @property
    def name(self) -> str:
        """Short name of the attack."""
        return label(self.attack)

    def to_json(self) -> dict[str, object]:
        """Plain dict; the attack by its name."""
        accuracies = {"before": encode(self.before), "after": encode(self.after), "difference": self.difference}
        return {"attack": self.name, **accuracies, "low": self.low, "high": self.high, "p_value": self.p_value}


@typed
def adaptive(threat: ThreatModel, findings: Collection[Finding], *, surrogate: Model | None = None) -> Attack:
    """The attack that findings require, the worst of these parts for each example:

    ============================================  =====================================================================
    finding                                       part
    ============================================  =====================================================================
    any, or none                                  APGD on the margin over the spread of the logits, which neither
                                                  saturates nor underflows, and on the cross-entropy
    random-outputs                                expectation over 20 draws of the model's randomness, PGD-40
    shattered-gradients, zero-gradients,          PGD-40 straight through what comes before the first weights
    optimisation-at-inference
    every sign of masked gradients                Square, 1,000 queries
    (with a surrogate)                            transfer of PGD-40 on its margin
    ============================================  =====================================================================

    Args:
        threat: norm, eps and bounds.
        findings: of ``diagnose`` or an evaluation; the serious ones count, or if there are none the warnings.
        surrogate: another model for the same task without the suspected fault, in [0, 1] inputs as well.

    Returns: an attack like any other, for example for ``evaluate``.
    """
    counted = [f for f in findings if f.severity == "serious"] or [f for f in findings if f.severity == "warning"]
    codes = {f.code for f in counted}
    return WorstOf(tuple(_parts(threat, codes, surrogate)))


def _parts(threat: ThreatModel, codes: set[str], surrogate: Model | None) -> Iterator[Attack]:
    climb = PGD(threat, _STEPS, score=margin)
    if "random-outputs" in codes:
        yield EOT(climb, draws=_DRAWS)
    yield APGD(threat, score=relative_margin)
    yield APGD(threat, score=cross_entropy)
    if codes & _PREPROCESSED:
        yield StraightThrough(climb)
    if surrogate is not None:
        yield Transfer(climb, surrogate)
    if codes & _MASKED:
        yield Square(threat, _QUERIES)


@typed
def run_adaptive(
    model: Model,
    data: Given,
    *,
    attack: Attack,
    findings: Collection[Finding] | None = None,
    n: int = 128,
    settings: Settings | None = None,
    surrogate: Model | None = None,
) -> Adapted:
    """Robust accuracy under an attack, and under the adaptive attack as well, on the sample of ``diagnose``.

    Args:
        model: from inputs (N, ...) to logits (N, K); its mode is restored.
        data: labelled examples, or what ``robustlab.data.examples`` makes some of.
        attack: at the eps to be trusted.
        findings: that the attack adapts to; None: those of ``diagnose``.
        n: size of the sample, or all examples if there are fewer.
        settings: batch size, seed and device.
        surrogate: as for ``adaptive``.

    Returns: both accuracies and their paired difference.
    """
    settings = settings or Settings()
    if findings is None:
        findings = diagnose(model, data, attack=attack, n=n, settings=settings, surrogate=surrogate)
    adapted = adaptive(threat_of(attack), findings, surrogate=surrogate)
    with opened_case(model, data, attack, n, settings) as (case, _):
        robust = case.still_robust
        fooled = int(case.run(adapted, case.ids[robust]).sum()) if bool(robust.any()) else 0
    total, before_it = len(case.ids), int(robust.sum())
    before, after = (clopper_pearson(count, total, settings.level) for count in (before_it, before_it - fooled))
    difference, low, high = paired_difference(fooled, 0, total, settings.level)
    return Adapted(adapted, before, after, difference, low, high, mcnemar(fooled, 0))
