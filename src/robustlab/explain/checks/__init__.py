"""Checks before belief: signs that an attribution map does not show what the network looks at."""

from robustlab.explain.checks.baselines import BaselineSensitivity
from robustlab.explain.checks.batch import BatchDependence
from robustlab.explain.checks.completeness import Completeness
from robustlab.explain.checks.determinism import Determinism
from robustlab.explain.checks.edges import Edges
from robustlab.explain.checks.labels import LabelRandomisation, shuffled_labels
from robustlab.explain.checks.randomisation import Randomisation
from robustlab.explain.checks.registry import CHECKS, Check, CheckCurve, CheckOutcome, CheckSpec, CheckSubject
from robustlab.explain.checks.run import CheckReport, check_maps
from robustlab.explain.checks.saturation import Saturation
from robustlab.explain.checks.values import NanMap, ZeroMap

__all__ = [
    "CHECKS",
    "BaselineSensitivity",
    "BatchDependence",
    "Check",
    "CheckCurve",
    "CheckOutcome",
    "CheckReport",
    "CheckSpec",
    "CheckSubject",
    "Completeness",
    "Determinism",
    "Edges",
    "LabelRandomisation",
    "NanMap",
    "Randomisation",
    "Saturation",
    "ZeroMap",
    "check_maps",
    "shuffled_labels",
]
