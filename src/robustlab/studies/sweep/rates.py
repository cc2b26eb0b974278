"""Learning rates on a logarithmic grid, widened until the best lies inside."""

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
    start: Iterable[int], look: Callable[[int], T], *, is_open: Callable[[Mapping[int, T], int], bool], most: int
) -> dict[int, T]:
    """Looks at places of a grid, then beyond its ends as long as these are open.

    Args:
        start: places to begin with, at least one.
        look: what is found at a place.
        is_open: whether, by what was found, better may lie beyond this end.
        most: how many places are added at each end, at most.

    Returns: what was found, by place, rising.
    """
    found = {place: look(place) for place in start}
    for _ in range(most):
        ends = ((min(found), -1), (max(found), 1))
        beyond = [end + way for end, way in ends if is_open(found, end)]
        if not beyond:
            break
        found |= {place: look(place) for place in beyond}
    return dict(sorted(found.items()))


def around(errors: Mapping[float, float], best: float, within: float) -> tuple[float, float]:
    """The range of rates about the best one that do nearly as well.

    Args:
        errors: by rate.
        best: one of the rates.
        within: how much more than the smallest error counts as nearly as well.

    Returns: the lowest and the highest rate of the unbroken row about ``best``.
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
