"""A finding: an observation that changes the meaning of numbers or pictures, with its evidence and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["info", "warning", "serious"]
Evidence: TypeAlias = dict[str, float | int | str]


@dataclass(frozen=True)
class Finding:
    """A fault, or a sign of one, that changes the meaning of the numbers."""

    code: str
    """Stable and machine readable, such as "probabilities-for-logits"."""
    severity: Severity
    title: str
    """One sentence: the observation."""
    evidence: Evidence
    """Numbers behind the finding."""
    advice: str
    """One sentence: the remedy."""
