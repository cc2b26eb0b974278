"""Numbers of maps and models, one per example, with intervals and paired comparisons."""

from robustlab.explain.numbers.alignment import Alignment
from robustlab.explain.numbers.attack_instability import AttackInstability
from robustlab.explain.numbers.boundary import BoundaryDistance
from robustlab.explain.numbers.changes import Change, GaussianChange, SquareChange, UniformChange
from robustlab.explain.numbers.compare import NumberDifference, compare_numbers
from robustlab.explain.numbers.curvature import Curvature
from robustlab.explain.numbers.deletion import Deletion, Insertion
from robustlab.explain.numbers.infidelity import Infidelity
from robustlab.explain.numbers.instability import NoiseInstability
from robustlab.explain.numbers.linearity import LinearityError
from robustlab.explain.numbers.measured import Measured, measure
from robustlab.explain.numbers.registry import NUMBERS, Cost, Number, NumberSpec, make_number
from robustlab.explain.numbers.road import ROAD
from robustlab.explain.numbers.roughness import Roughness
from robustlab.explain.numbers.sensitivity import LocalLipschitz, MaxSensitivity
from robustlab.explain.numbers.sparsity import Sparsity
from robustlab.explain.numbers.subject import Subject

__all__ = [
    "NUMBERS", "ROAD", "Alignment", "AttackInstability", "BoundaryDistance", "Change", "Cost", "Curvature",
    "Deletion", "GaussianChange", "Infidelity", "Insertion", "LinearityError", "LocalLipschitz", "MaxSensitivity",
    "Measured", "NoiseInstability", "Number", "NumberDifference", "NumberSpec", "Roughness", "Sparsity",
    "SquareChange", "Subject", "UniformChange", "compare_numbers", "make_number", "measure",
]  # fmt: skip
