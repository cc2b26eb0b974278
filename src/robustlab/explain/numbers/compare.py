"""Numbers of two models on the same examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from robustlab.core.kinds import typed
from robustlab.explain.numbers.measured import Measured
from robustlab.statistics import Estimate, holm, paired_means


@typed
@dataclass(frozen=True)
class NumberDifference:
    """A number of one model less that of another, on the examples where both are defined.

    Args:
        name: of the number.
        first: mean of the first model on these examples.
        second: mean of the second.
        difference: second less first, with its interval and n.
        p: two-sided p-value of the paired t-test.
        corrected: the p-value corrected for all numbers that were compared together, by Holm.
        undefined: examples that were left out, as one of the two is not defined.
    """

    name: str
    first: float
    second: float
    difference: Estimate
    p: float
    corrected: float
    undefined: int


@typed
def compare_numbers(
    first: Mapping[str, Measured], second: Mapping[str, Measured], *, level: float = 0.95
) -> dict[str, NumberDifference]:
    """Differences of all numbers that two results of ``measure`` share, second less first.

    Args:
        first: of one model, a standard one say.
        second: of another on the same examples in the same order, a hardened one say.
        level: of the intervals.

    Returns: by name, in the order of the first.
    Raises: ValueError for results of other numbers of examples, or of other settings.
    """
    names = [name for name in first if name in second]
    pairs = {name: _pair(first[name], second[name]) for name in names}
    tests = {name: paired_means(*pair, level=level) for name, pair in pairs.items()}
    corrected = dict(zip(names, holm([tests[name].p for name in names]), strict=True))
    return {
        name: NumberDifference(
            name,
            first=_mean(pairs[name][0]),
            second=_mean(pairs[name][1]),
            difference=test.difference,
            p=test.p,
            corrected=corrected[name],
            undefined=len(first[name]) - test.difference.n,
        )
        for name, test in tests.items()
    }


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _pair(first: Measured, second: Measured) -> tuple[list[float], list[float]]:
    """Values of both where both are defined."""
    if len(first) != len(second):
        raise ValueError(
            f"{first.name} of {len(first)} and of {len(second)} examples: a paired comparison needs the same examples"
        )
    if first.setting != second.setting:
        raise ValueError(f"{first.name} was measured as {first.setting} and as {second.setting}: measure both alike")
    both = first.defined & second.defined
    return first.values[both].tolist(), second.values[both].tolist()
