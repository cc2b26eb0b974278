"""Integrated gradients: the gradient along a straight line from a baseline to the input."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.baseline import Baseline, baseline_of, check_baseline, spelled
from robustlab.explain.case import Case
from robustlab.explain.registry import METHODS, MethodSpec

Rule: TypeAlias = Literal["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"]
"""Quadrature on [0, 1], by captum's names."""


@typed
@dataclass(frozen=True)
class IntegratedGradients:
    """Mean gradient between a baseline and the input, times their difference.

    ``(x - b) * sum_k w_k * grad score(b + a_k * (x - b))``. The values add up to score(x) - score(b), but for the error
    of the quadrature, which ``Maps.gap`` shows. Source: Sundararajan, Taly, Yan, Axiomatic Attribution for Deep
    Networks, ICML 2017.

    Args:
        steps: gradients per example, at least 1 (2 for the trapezoid rule).
        rule: nodes and weights of the quadrature.
        baseline: a number, or a tensor that broadcasts to one example.

    Raises: ValueError for too few steps.
    """

    steps: int = 50
    rule: Rule = "gausslegendre"
    baseline: Baseline = 0.0

    def __post_init__(self) -> None:
        least = 2 if self.rule == "riemann_trapezoid" else 1
        if self.steps < least:
            raise ValueError(f"IntegratedGradients: steps must be at least {least} for {self.rule}, got {self.steps}")
        check_baseline("IntegratedGradients", self.baseline)

    def __call__(self, case: Case) -> Tensor:
        """Attributions (N, ...), in at least float32."""
        start = baseline_of(self.baseline, case.x)
        way, count = case.x - start, case.copies
        total = torch.zeros_like(way, dtype=torch.promote_types(way.dtype, torch.float32))
        nodes, weights = quadrature(self.rule, self.steps)
        for first in range(0, self.steps, count):
            at = torch.tensor(nodes[first : first + count]).to(way).reshape(-1, *[1] * way.ndim)
            grad = case.gradient((start + at * way).flatten(0, 1), case.rows(len(at)))
            for weight, one in zip(weights[first : first + count], grad.split(len(case)), strict=True):
                total.add_(one, alpha=weight)
        return total.mul_(way)

    def change(self, case: Case) -> Tensor:
        """Score of each input less that of the baseline (N,)."""
        start = baseline_of(self.baseline, case.x).expand_as(case.x)
        return case.scores(case.x) - case.scores(start)

    def __repr__(self) -> str:
        return spelled(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntegratedGradients) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


@functools.lru_cache(maxsize=32)
def quadrature(rule: Rule, steps: int) -> tuple[list[float], list[float]]:
    """Nodes in [0, 1] and weights, which add up to 1.

    Those of captum, but for the trapezoid rule: captum's weights add up to 1 - 1/steps, and so does its map.
    """
    if rule == "gausslegendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return list(0.5 * (1 + nodes)), list(0.5 * weights)
    if rule == "riemann_trapezoid":
        inner = 1 / (steps - 1)
        return list(np.linspace(0, 1, steps)), [inner / 2, *[inner] * (steps - 2), inner / 2]
    offset = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
    return [(k + offset) / steps for k in range(steps)], [1 / steps] * steps


METHODS.register("integrated-gradients", MethodSpec(IntegratedGradients, "gradients on the way from a baseline"))
