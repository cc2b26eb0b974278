"""Number of examples needed to distinguish two models."""

from __future__ import annotations

import math

import numpy as np

from robustlab.core.kinds import typed

_TAIL = 1e-9  # of the number of discordant pairs that is left out of a power


@typed
def mcnemar_power(n: int, discordant: float, difference: float, level: float = 0.95) -> float:
    """Probability that the exact McNemar test distinguishes two models.

        sum_m P(M = m) P(test of X among m rejects),   M binomial(n, discordant),
        X binomial(m, (1 + difference / discordant) / 2)

    Args:
        n: examples, >= 1.
        discordant: fraction of examples on which the two disagree, in (0, 1].
        difference: of the two accuracies; its size is at most the discordant fraction.
        level: of the test, which rejects where p <= 1 - level.

    Returns: a probability.
    Raises: ValueError for impossible fractions.
    """
    from scipy.stats import binom

    if not 0 < discordant <= 1 or abs(difference) > discordant or not 0 < level < 1 or n < 1:
        raise ValueError(
            f"the models must disagree on a fraction in (0, 1], at least as large as their difference; got discordant "
            f"{discordant}, difference {difference}, n {n}, level {level}"
        )
    m = np.arange(binom.ppf(_TAIL, n, discordant), binom.isf(_TAIL, n, discordant) + 1)
    tail = (1 - level) / 2
    most = np.asarray(
        binom.ppf(tail, m, 0.5)
    )  # as few as that on one side are not rejected any more, unless exactly at the level
    most = most - (binom.cdf(most, m, 0.5) > tail)
    chance = (1 + abs(difference) / discordant) / 2
    rejected = binom.cdf(most, m, chance) + binom.sf(m - most - 1, m, chance)
    return float((binom.pmf(m, n, discordant) * rejected).sum())


@typed
def examples_needed(discordant: float, difference: float, *, level: float = 0.95, power: float = 0.8) -> int:
    """Number of examples with which the exact McNemar test distinguishes two models.

    The n at which ``mcnemar_power`` reaches the required power; the search begins at the approximation

        n = (z_level sqrt(discordant) + z_power sqrt(discordant - difference^2))^2 / difference^2

    which is some per cent too small for the exact test. Only examples on which the two disagree matter: models that
    agree on most examples need fewer than the intervals of their accuracies suggest.

    Args:
        discordant: fraction of examples on which the two disagree, from a pilot run; in (0, 1].
        difference: of the two accuracies that the test should detect, not 0.
        level: of the test.
        power: probability of detecting it, in (0, 1).

    Returns: number of examples.
    Raises: ValueError for a difference of 0 or impossible fractions.

    Example:
        >>> examples_needed(0.1, 0.03)
        920

    Source: Connor, Sample Size for Testing Differences in Proportions for the Paired-Sample Design, Biometrics 1987,
    for the approximation.
    """
    from scipy.special import ndtri

    if difference == 0 or not 0 < power < 1:
        raise ValueError(f"give a difference other than 0 and a power in (0, 1), got {difference} and {power}")
    mcnemar_power(1, discordant, difference, level)  # checks the shares
    z, z_power = float(ndtri((1 + level) / 2)), float(ndtri(power))
    spread = math.sqrt(discordant) * z + math.sqrt(max(discordant - difference**2, 0.0)) * z_power
    low = high = max(1, math.ceil(max(spread, 0.0) ** 2 / difference**2))
    while low > 1 and mcnemar_power(low, discordant, difference, level) >= power:
        low //= 2
    while mcnemar_power(high, discordant, difference, level) < power:
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        enough = mcnemar_power(middle, discordant, difference, level) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high
