"""Saturation: where the score is flat, its gradient is zero or rounding, and says nothing of the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core.finding import Evidence
from robustlab.core.kinds import typed
from robustlab.explain.case import class_score
from robustlab.explain.checks.likeness import lost
from robustlab.explain.checks.registry import CHECKS, CheckOutcome, CheckSpec, CheckSubject, serious
from robustlab.explain.checks.scores import gradients_of, logits_of

_CODE = "saturated-gradient"
_ROWS = 0.1
"""Share of the examples without gradient from which the finding is made: single ones have it in sound networks too."""
_ROUNDINGS = 100
"""Distance of a probability from 1, in units of rounding, below which its gradient is wrong by one part in 100."""


@typed
@dataclass(frozen=True)
class Saturation:
    """Finding for flat scores: maps without values where the gradient is lost, or a softmax that is 1 up to rounding.

    The second is no fault of a method that shares out a change of score, such as integrated gradients.
    """

    def __call__(self, subject: CheckSubject) -> CheckOutcome:
        """Outcome without a curve."""
        empty, n = lost(subject.made.values), len(subject)
        if int(empty.sum()) > _ROWS * n:
            flat = empty & _flat(subject)
            if int(flat.sum()) > _ROWS * n:
                return _without_gradient(subject, flat)
        return _rounded(subject) if subject.score in ("probability", "log-probability") else CheckOutcome()


def _flat(subject: CheckSubject) -> Tensor:
    """Examples at which the gradient of the score is lost (N,)."""
    return lost(gradients_of(subject, subject.score))


def _without_gradient(subject: CheckSubject, flat: Tensor) -> CheckOutcome:
    zero, n = int(flat.sum()), len(subject)
    evidence: Evidence = {"zero": zero, "n": n, "score": subject.score}
    if subject.score != "logit" and int(lost(gradients_of(subject, "logit"))[flat].sum()) <= zero / 2:
        return _advised_logit(f"The gradient of the {subject.score} is zero at {zero} of {n} examples.", evidence)
    return serious(
        _CODE,
        f"The gradient of the {subject.score} is zero at {zero} of {n} examples, and so are the maps.",
        evidence,
        "The network is flat there (rounding, clamps, dead units): integrated gradients or occlusion look further than "
        "the input itself.",
    )


def _rounded(subject: CheckSubject) -> CheckOutcome:
    if subject.made.change is not None:
        return CheckOutcome()
    logits, target = logits_of(subject), subject.made.target
    left = 1 - class_score(logits.double(), target, "probability")
    flat, n = int((left <= _ROUNDINGS * torch.finfo(logits.dtype).eps).sum()), len(subject)
    if flat <= _ROWS * n:
        return CheckOutcome()
    evidence: Evidence = {"saturated": flat, "n": n, "score": subject.score}
    return _advised_logit(f"The softmax is 1 up to rounding at {flat} of {n} examples.", evidence)


def _advised_logit(title: str, evidence: Evidence) -> CheckOutcome:
    advice = 'Explain the logit or the margin (score="logit"), which do not saturate.'
    return serious(_CODE, title, evidence, advice)


CHECKS.register(
    _CODE,
    CheckSpec(
        Saturation,
        "zero gradients, or a softmax that is 1 up to rounding",
        ("zero-map", "randomisation-ignored", "labels-ignored", "completeness-violated", "baseline-sensitive"),
    ),
)
