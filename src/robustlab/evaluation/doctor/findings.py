"""Registry of findings: the ones that explain others, and probes that were added to those of this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from robustlab.core.finding import Finding
from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.evaluation.doctor.case import Case

Probe = Callable[[Case], Finding | None]
"""Checks an attack and its outcomes; None: no finding."""


@dataclass(frozen=True)
class FindingSpec:
    """A finding that explains others, is explained by causes, or comes from a probe that was added.

    A serious finding that another serious one explains is reported as a warning.

    Args:
        code: of the finding, small words joined by "-".
        rank: of a cause; it explains all causes of higher rank, and every symptom. None: it is no cause.
        symptom: whether causes explain it.
        explains: codes of further findings that it explains.
        probe: run after the probes of this folder, in the order of registration; None: one of these reports it.
    """

    code: str
    rank: float | None = None
    symptom: bool = False
    explains: tuple[str, ...] = ()
    probe: Probe | None = None


FINDINGS: Registry[FindingSpec] = Registry("finding", "robustlab.evaluation.doctor", "robustlab.findings")
"""Findings by code."""


@typed
def register_finding(spec: FindingSpec) -> None:
    """Adds a finding.

    Raises: ValueError if another finding has its code.
    """
    FINDINGS.register(spec.code, spec)


def explained_by(code: str) -> tuple[str, ...]:
    """Codes that a finding explains; none for one that is not registered.

    Raises: ValueError if the finding is registered to explain an unknown one, with the nearest code.
    """
    if code not in FINDINGS:
        return ()
    spec = FINDINGS[code]
    named = tuple(FINDINGS[other].code for other in spec.explains)
    if spec.rank is None:
        return named
    every = FINDINGS.members()
    return (*named, *(one.code for one in every if one.symptom or (one.rank is not None and one.rank > spec.rank)))


def added_probes() -> tuple[Probe, ...]:
    """Probes of findings that were added."""
    return tuple(one.probe for one in FINDINGS.members() if one.probe is not None)


_CAUSES: tuple[tuple[str, ...], ...] = (
    ("optimisation-at-inference",),
    ("nan-logits", "random-outputs"),
    ("label-order-leak", "training-mode-batchnorm", "batch-dependence"),
    ("model-expects-0-255", "model-expects-normalised", "model-normalises-otherwise", "near-chance"),
    ("probabilities-for-logits", "nan-under-attack"),
    ("saturated-softmax", "gradient-underflow", "shattered-gradients", "zero-gradients"),
)
"""Codes of causes by rank."""
_BEATEN = ("noise-as-good", "square-improves", "black-box-beats-white-box", "transfer-beats-white-box")
_SYMPTOMS: dict[str, tuple[str, ...]] = {
    "accuracy-above-clean": ("unbounded-attack-fails", "more-steps-help", "restarts-help", *_BEATEN),
    "more-steps-help": _BEATEN,
    "restarts-help": _BEATEN,
    "unbounded-attack-fails": ("square-improves",),
    "reuse-disagrees": (),
    "noise-as-good": ("unbounded-attack-fails", *_BEATEN[1:]),
    "square-improves": (),
    "black-box-beats-white-box": ("unbounded-attack-fails", "square-improves"),
    "transfer-beats-white-box": ("unbounded-attack-fails", "square-improves"),
}
"""Symptoms, and which others each explains: an attack that is too weak is beaten by everything."""

for _rank, _codes in enumerate(_CAUSES):
    for _code in _codes:
        register_finding(FindingSpec(_code, rank=_rank))
for _code, _others in _SYMPTOMS.items():
    register_finding(FindingSpec(_code, symptom=True, explains=_others))
register_finding(FindingSpec("unstable-data", explains=tuple(_SYMPTOMS)))
register_finding(FindingSpec("eps-too-large", explains=("noise-as-good",)))
