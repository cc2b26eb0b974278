"""Learning rates on a logarithmic grid, widened until the best one is inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def rate(place: int, per_decade: int) -> float:
    """The rate at a place of the grid, to three digits.

        10 ** (place / per_decade)

    Example:
        >>> [rate(place, 3) for place in range(-3, 2)]
        [0.1, 0.215, 0.464, 1.0, 2.15]
    """
    return float(f"{10 ** (place / per_decade):.3g}")


def explored(
    start: Iterable[int], evaluate: Callable[[int], T], *, is_open: Callable[[Mapping[int, T], int], bool], most: int
) -> dict[int, T]:
    """Evaluates places of a grid, and further ones beyond its ends while these are open.

    Args:
        start: first places, at least one.
        evaluate: function from a place to its result.
        is_open: function from results and an end; True if a better place may lie beyond it.
        most: largest number of places to add at each end.

    Returns: results by place, ascending.
    """
    found = {place: evaluate(place) for place in start}
    for _ in range(most):
        ends = ((min(found), -1), (max(found), 1))
        beyond = [end + direction for end, direction in ends if is_open(found, end)]
        if not beyond:
            break
        found |= {place: evaluate(place) for place in beyond}
    return dict(sorted(found.items()))


def near_best(errors: Mapping[float, float], best: float, within: float) -> tuple[float, float]:
    """The range of rates around the best one with nearly the same error.

    Args:
        errors: by rate.
        best: one of the rates.
        within: largest difference to the smallest error.

    Returns: the lowest and the highest rate of the consecutive ones around ``best``.
    """
    good = min(errors.values()) + within + 1e-12
    low = high = best
    for one in sorted(rate for rate in errors if rate > best):
        if errors[one] > good:
            break
        high = one
    for one in sorted((rate for rate in errors if rate < best), reverse=True):
        if errors[one] > good:
            break
        low = one
    return low, high
