"""Numbers of maps and models, one per example, with intervals and paired comparisons."""

from robustlab.explain.numbers.alignment import Alignment
from robustlab.explain.numbers.compare import NumberDifference, compare_numbers
from robustlab.explain.numbers.measured import Measured, measure
from robustlab.explain.numbers.registry import NUMBERS, Cost, Number, NumberSpec, make_number
from robustlab.explain.numbers.roughness import Roughness
from robustlab.explain.numbers.sparsity import Sparsity
from robustlab.explain.numbers.subject import Subject

__all__ = [
    "NUMBERS",
    "Alignment",
    "Cost",
    "Measured",
    "Number",
    "NumberDifference",
    "NumberSpec",
    "Roughness",
    "Sparsity",
    "Subject",
    "compare_numbers",
    "make_number",
    "measure",
]
