"""Occlusion: what the score loses when a part of the input is covered."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.explain.baseline import Baseline, baseline_of, check_baseline, spelled
from robustlab.explain.case import Case
from robustlab.explain.registry import METHODS, MethodSpec


@typed
@dataclass(frozen=True)
class Occlusion:
    """Loss of score when a window of the input is covered by a baseline, without gradients.

    Windows slide over the axes of space, all channels at once: H and W of images (N, C, H, W), L of (N, C, L), the
    values of (N, F). Each value gets the mean loss of the windows that it lies in. The last window on an axis is cut at
    the edge. Source: Zeiler, Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014; as in captum.

    Args:
        window: side of the window, at least 1; one that is longer than an axis covers it.
        stride: distance of the windows, in 1..window; None: the side of the window.
        baseline: a number, or a tensor that broadcasts to one example.

    Raises: ValueError for numbers out of these ranges.
    """

    window: int = 4
    stride: int | None = None
    baseline: Baseline = 0.0

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"Occlusion: window must be at least 1, got {self.window}")
        if self.stride is not None and not 1 <= self.stride <= self.window:
            raise ValueError(
                f"Occlusion: stride must be in 1..{self.window}, got {self.stride}: a longer one leaves values out"
            )
        check_baseline("Occlusion", self.baseline)

    def __call__(self, case: Case) -> Tensor:
        """Attributions (N, ...), in float64."""
        axes = [self._windows(size, case.x.device) for size in case.x.shape[min(2, case.x.ndim - 1) :]]
        loss = self._losses(case, axes)
        covered = loss.new_ones(())
        for masks in axes:
            loss = torch.tensordot(loss, masks.double(), ([0], [0]))
            covered = covered[..., None] * masks.double().sum(0)
        values = loss / covered
        return values if case.x.ndim == 2 else values[:, None].expand(case.x.shape).clone()

    def _windows(self, size: int, device: torch.device) -> Tensor:
        """Values of an axis that each window covers (windows, size), bool."""
        stride, window = self.stride or self.window, min(self.window, size)
        first = torch.arange(math.ceil((size - window) / stride) + 1, device=device)[:, None] * stride
        places = torch.arange(size, device=device)
        return (places >= first) & (places < first + window)

    def _losses(self, case: Case, axes: list[Tensor]) -> Tensor:
        """Loss of score by each window (windows of each axis..., N), float64."""
        baseline, whole = baseline_of(self.baseline, case.x), case.scores(case.x)
        changed = _changed(case.x != baseline, axes) if case.separable else whole.new_ones(_count(axes), len(case))
        loss = torch.zeros(changed.shape, dtype=torch.float64, device=case.x.device)
        for pairs in changed.nonzero().split(case.copies * len(case)):
            window, rows = pairs.T
            points = torch.where(_cover(window, axes, case.x.ndim), baseline, case.x[rows])
            loss[window, rows] = whole[rows].double() - case.scores(points, rows).double()
        return loss.reshape(*(len(masks) for masks in axes), -1)

    def __repr__(self) -> str:
        return spelled(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Occlusion) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


def _count(axes: list[Tensor]) -> int:
    return math.prod(len(masks) for masks in axes)


def _changed(differs: Tensor, axes: list[Tensor]) -> Tensor:
    """Windows that change an example (windows, N); the others hold the baseline already, and cost no pass."""
    found = (differs if differs.ndim == 2 else differs.any(1)).double()
    for masks in axes:
        found = torch.tensordot(found, masks.double(), ([1], [1]))
    return (found > 0).flatten(1).T


def _cover(window: Tensor, axes: list[Tensor], ndim: int) -> Tensor:
    """Masks of windows (M, 1, ...) by their numbers (M,)."""
    cover = torch.ones((), dtype=torch.bool, device=window.device)
    for number, masks in zip(torch.unravel_index(window, [len(masks) for masks in axes]), axes, strict=True):
        cover = cover[..., None] & masks[number].reshape(len(window), *[1] * (cover.ndim - 1 if cover.ndim else 0), -1)
    return cover if ndim == 2 else cover[:, None]


METHODS.register("occlusion", MethodSpec(Occlusion, "loss of score when a window is covered"))
