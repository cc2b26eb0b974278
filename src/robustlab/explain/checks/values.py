"""Values of maps that show nothing: NaN, infinite, or zero at every place."""

from __future__ import annotations

from dataclasses import dataclass

from robustlab.core.finding import Evidence
from robustlab.core.kinds import typed
from robustlab.explain.checks.likeness import lost
from robustlab.explain.checks.registry import CHECKS, CheckOutcome, CheckSpec, CheckSubject, serious, warning

NAN = "nan-map"
_ZERO = "zero-map"
_ROWS = 0.1
"""Share of maps without values from which the finding is serious."""


@typed
@dataclass(frozen=True)
class NanMap:
    """Finding for maps with values that are NaN or infinite."""

    def __call__(self, subject: CheckSubject) -> CheckOutcome:
        """Outcome without a curve."""
        wrong = int((~subject.made.values.isfinite().flatten(1).all(1)).sum())
        if not wrong:
            return CheckOutcome()
        return serious(
            NAN,
            f"Maps of {wrong} of {len(subject)} examples contain NaN or infinite values.",
            {"wrong": wrong, "n": len(subject)},
            "Look for roots, logarithms and quotients at 0 in the model and in the method.",
        )


@typed
@dataclass(frozen=True)
class ZeroMap:
    """Finding for maps whose values are all 0, or too small to be normal numbers of their type."""

    def __call__(self, subject: CheckSubject) -> CheckOutcome:
        """Outcome without a curve."""
        empty, n = int(lost(subject.made.values).sum()), len(subject)
        if not empty:
            return CheckOutcome()
        evidence: Evidence = {"zero": empty, "n": n}
        return (serious if empty > _ROWS * n else warning)(
            _ZERO,
            f"Maps of {empty} of {n} examples are zero at every place.",
            evidence,
            "Nothing may be read from them: take a method that looks further than the input itself, such as "
            "occlusion with a larger window, or integrated gradients from another baseline.",
        )


CHECKS.register(NAN, CheckSpec(NanMap, "NaN or infinite values"))
CHECKS.register(
    _ZERO,
    CheckSpec(
        ZeroMap,
        "maps that are zero at every place",
        ("randomisation-ignored", "labels-ignored", "completeness-violated", "baseline-sensitive", "edges-only"),
    ),
)
