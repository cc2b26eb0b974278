"""The one call that checks maps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from robustlab.core.finding import Finding
from robustlab.core.kinds import typed
from robustlab.core.user_code import reason
from robustlab.explain.checks.registry import CHECKS, Check, CheckCurve, CheckOutcome, CheckSubject, serious
from robustlab.explain.checks.values import NAN
from robustlab.explain.maps import Maps

_SEVERITIES = ("serious", "warning", "info")


@typed
@dataclass(frozen=True)
class CheckReport:
    """What the checks found.

    Args:
        findings: the most severe first.
        curves: by the code of the check.
        skipped: reasons for which a check could not be made, by its code.
        seconds: that all of it took.
    """

    findings: tuple[Finding, ...]
    curves: dict[str, CheckCurve]
    skipped: dict[str, str]
    seconds: float

    @property
    def sound(self) -> bool:
        """True if nothing serious was found."""
        return all(finding.severity != "serious" for finding in self.findings)


@typed
def check_maps(subject: CheckSubject, checks: Sequence[str | Check] | None = None) -> CheckReport:
    """Checks maps before they are believed; the model is left as it was.

    A finding that follows from another one is left out. If the maps cannot be made, or hold values that are not finite,
    that is the only finding.

    Args:
        subject: ``CheckSubject(method, model, x)``, with the maps if they are made already.
        checks: codes, or checks as values; None: all that are registered.

    Raises: ValueError for an unknown code, and for inputs that cannot be explained.

    Example:
        >>> from torch import nn
        >>> x = torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).eval()
        >>> check_maps(CheckSubject("gradient", model, x), ["zero-map", "batch-dependent"]).findings
        ()
    """
    start = time.perf_counter()
    names = CHECKS.names() if checks is None else checks
    chosen = {_code(one): CHECKS[one].build() if isinstance(one, str) else one for one in names}
    outcomes = dict(_outcomes(subject, chosen))
    return CheckReport(
        _kept(outcomes),
        {code: one.curve for code, one in outcomes.items() if one.curve is not None},
        {code: one.skipped for code, one in outcomes.items() if one.skipped},
        time.perf_counter() - start,
    )


def _code(check: str | Check) -> str:
    """Code of a check; for a value of ours that of its kind, for a function its name."""
    known = () if isinstance(check, str) else (code for code in CHECKS if CHECKS[code].build is type(check))
    return check if isinstance(check, str) else next(iter(known), getattr(check, "__name__", "") or repr(check))


def _outcomes(subject: CheckSubject, checks: dict[str, Check]) -> Iterator[tuple[str, CheckOutcome]]:
    try:
        made = subject.again() if subject.maps is None else subject.maps
    except ValueError as error:
        if "NaN or infinite" not in str(error) or not bool(subject.x.isfinite().all()):
            raise
        yield NAN, _undefined(error)
        return
    check_same(subject, made)
    ids = torch.arange(len(subject.x), device=subject.x.device) if subject.ids is None else subject.ids
    filled = replace(subject, method=subject.used, target=made.target, maps=made, ids=ids)
    first = CHECKS[NAN].build()(filled)
    if first.finding is not None:
        yield NAN, first
        return
    for code, check in checks.items():
        yield code, _outcome(check, filled)


def check_same(subject: CheckSubject, maps: Maps) -> None:
    """Checks that maps are of these inputs and classes.

    Raises: ValueError if they are not.
    """
    if maps.values.shape != subject.x.shape:
        raise ValueError(f"maps {tuple(maps.values.shape)} are not of inputs {tuple(subject.x.shape)}")
    if subject.target is not None and not torch.equal(maps.target, subject.target.to(maps.target)):
        raise ValueError("the maps explain other classes than target: leave one of the two out")


def _outcome(check: Check, subject: CheckSubject) -> CheckOutcome:
    try:
        return check(subject)
    except Exception as error:  # whatever a strange model or a check of others raises, the other checks go on
        return CheckOutcome(skipped=f"it could not be made: {reason(error)}")


def _undefined(error: ValueError) -> CheckOutcome:
    title = f"No map can be made: {error}."
    return serious(NAN, title, {}, "Look for roots, logarithms and quotients at 0 in the model and in the method.")


def _kept(outcomes: dict[str, CheckOutcome]) -> tuple[Finding, ...]:
    """Findings that do not follow from another one, the most severe first."""
    found = [one.finding for one in outcomes.values() if one.finding is not None]
    explained = {
        code for one in found if one.code in CHECKS for code in CHECKS[one.code].explains if one.severity == "serious"
    }
    kept = [one for one in found if one.code not in explained]
    return tuple(sorted(kept, key=lambda one: _SEVERITIES.index(one.severity)))
