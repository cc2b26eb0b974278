"""Shapley values of the inputs, estimated by gradients at random points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.case import Case
from robustlab.explain.registry import METHODS, MethodSpec


@typed
@dataclass(frozen=True)
class GradientShap:
    """Mean of gradient times difference from the baseline, at random points between the baseline and the noisy input.

        mean_i (z_i - b) * grad score(b + a_i * (z_i - b)),  z_i = x + sigma * n_i,  a_i uniform, n_i standard normal

    Its expectation is that of integrated gradients over the noise, which holds Shapley values where features are
    independent and the model linear. The sum of the values reaches the difference of scores in the mean alone.

    Args:
        draws: random points, at least 1.
        sigma: standard deviation of the noise, in the units of the inputs, at least 0.
        baseline: value of the inputs that nothing is seen in.

    Source: Lundberg, Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017, as in the packages shap
        (GradientExplainer) and captum; draws follow the examples, not the batch.
    """

    draws: int = 20
    sigma: float = 0.0
    baseline: float = 0.0

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, got {self.draws}")
        if not self.sigma >= 0:
            raise ValueError(f"sigma must be at least 0, got {self.sigma}")

    def __call__(self, case: Case) -> Tensor:
        """Attributions (N, ...)."""
        total = torch.zeros_like(case.x, dtype=torch.promote_types(case.x.dtype, torch.float32))
        for draw in range(self.draws):
            difference = self._noisy(case, draw) - self.baseline
            share = case.streams.fork(1).uniform((1,) * (case.x.ndim - 1), draw, dtype=case.x.dtype)
            total += case.gradient(self.baseline + share * difference) * difference
        return total.div_(self.draws)

    def _noisy(self, case: Case, draw: int) -> Tensor:
        if not self.sigma:
            return case.x
        return case.x + self.sigma * case.streams.fork(2).normal(case.x.shape[1:], draw, dtype=case.x.dtype)


METHODS.register("gradient-shap", MethodSpec(GradientShap, "gradients at random points to a baseline"))
