"""The frame of every attack that searches: check the inputs, restore the model, search in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple, Protocol, get_args

import torch
from torch import Tensor

from robustlab.attacks.parts import at_rows, threat_of, threats_of
from robustlab.core import (
    Attack,
    Model,
    Objective,
    Score,
    Stop,
    Streams,
    ThreatModel,
    Twin,
    frozen,
    margin,
    search_twin,
    targeted,
    untargeted,
)
from robustlab.core.bounds import outside
from robustlab.core.kinds import typed
from robustlab.core.losses import classes_needed
from robustlab.core.names import example_names
from robustlab.core.threat import NO_MASKS
from robustlab.core.user_code import model_called

_BLOCK_VALUES, _BLOCK_ROWS = 1 << 22, 256


class Call(NamedTuple):
    """Arguments of an attack, checked and prepared; one row per example."""

    twin: Twin
    x: Tensor
    """Inputs (N, ...), detached, in the fastest memory layout for the search."""
    y: Tensor
    """Labels (N,)."""
    target: Tensor | None
    """Classes to be reached (N,); None: any wrong one."""
    threat: ThreatModel
    """Threat model of these inputs."""
    streams: Streams
    ids: Tensor
    """Names of the examples (N,)."""
    stop: Stop

    def objective(self, score: Score) -> Objective:
        """Objective of the search: a score of the labels, or minus that of the targets."""
        one = untargeted(self.twin, self.y, score) if self.target is None else targeted(self.twin, self.target, score)
        return self.watched(one)

    def judge(self) -> Objective:
        """Objective that decides on success: margin of the user's own model, finished where it is fooled."""
        own = self.twin.own
        return untargeted(own, self.y, margin) if self.target is None else targeted(own, self.target, margin)

    def by(
        self,
        attack: Attack,
        rows: Tensor | None = None,
        *,
        twin: Model | None = None,
        stop: Stop | None = None,
        seed: int | None = None,
    ) -> Tensor:
        """Result of another attack on this call.

        Args:
            attack: the attack.
            rows: numbers of the examples (M,) that it is run on; None: all.
            twin: what it is run on; None: as in the call, like the rest.
            stop: when an example is left alone.
            seed: of its draws.

        Returns: x_adv (M, ...).
        """
        own = attack if rows is None else at_rows(attack, rows)
        these = slice(None) if rows is None else rows
        return own(
            self.twin if twin is None else twin,
            self.x[these],
            self.y[these],
            target=None if self.target is None else self.target[these],
            stop=self.stop if stop is None else stop,
            seed=self.streams.seed if seed is None else seed,
            ids=self.ids[these],
        )

    def watched(self, objective: Objective) -> Objective:
        """The objective with the names of its rows, if the search is traced."""
        return objective if self.twin.watch is None else replace(objective, ids=self.ids)


class Searching(Protocol):
    """An attack with a search: it has a threat model, or is made of attacks that have one."""

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call, in any float dtype that holds them exactly."""


@typed
def craft(  # noqa: PLR0913 -- the arguments of every attack, and the attack itself
    self: Searching,
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    target: Tensor | None = None,
    stop: Stop = "success",
    seed: int = 0,
    ids: Tensor | None = None,
) -> Tensor:
    """Runs the attack with the arguments of ``robustlab.core.Attack``."""
    threat = threat_of(self)
    for one in threats_of(self):
        names = checked_inputs(x, y, one, target=target, ids=ids, stop=stop)
    streams = Streams(seed, names)
    with prepared(model, x) as (twin, x_in):
        out = torch.empty_like(x, requires_grad=False)
        for rows in _blocks(x_in, threat):
            goal = None if target is None else target[rows]
            call = Call(twin, x_in[rows], y[rows], goal, threat, streams[rows], names[rows], stop)
            out[rows] = self.search(call)
    return out


def _blocks(x: Tensor, threat: ThreatModel) -> Iterator[slice]:
    """The rows that are searched together: all, or parts of a batch so large that new memory would cost much time."""
    count = x.shape[0]
    if x.device.type == "cpu" and isinstance(threat.eps, float):
        count = max(_BLOCK_ROWS, _BLOCK_VALUES // max(1, x[0].numel()))
    return (slice(start, start + count) for start in range(0, x.shape[0], count))


@contextmanager
def prepared(model: Model, x: Tensor) -> Iterator[tuple[Twin, Tensor]]:
    """Surroundings of a search: the model is restored at the end, gradients work, the twin is built.

    Args:
        model: the user's own, or a twin of it.
        x: inputs (N, ...).

    Yields: the search twin, and the inputs detached and in its fastest memory layout.
    """
    own = model.model if isinstance(model, Twin) else model
    with torch.inference_mode(mode=False), frozen(own), model_called():
        x = x.detach().clone() if x.is_inference() else x.detach()
        twin = search_twin(model, x)
        yield twin, x.contiguous(memory_format=torch.channels_last) if twin.distinct and x.ndim == 4 else x


def checked_inputs(
    x: Tensor,
    y: Tensor,
    threat: ThreatModel,
    *,
    target: Tensor | None = None,
    ids: Tensor | None = None,
    stop: Stop = "success",
) -> Tensor:
    """Checks the inputs of an attack, and names the examples.

    Returns: ids (N,), by default 0..N-1.
    Raises: ValueError for an empty batch, inputs that are not floating point, NaN or out of bounds, labels and targets
        that are no class numbers, ids that are no whole numbers, labels, targets, ids or eps of another number than the
        inputs, and an unknown stop.
    """
    _check_dense(x, threat)
    low, high = (float(v) for v in x.detach().aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("inputs contain NaN or infinite values")
    if lie := outside(low, high, threat.bounds, x.dtype):
        raise ValueError(f"inputs lie {lie} of the threat model")
    for name, given in (("labels", y), ("targets", target), ("ids", ids)):
        if given is not None and getattr(given, "shape", x.shape[:1]) != x.shape[:1]:
            raise ValueError(f"{name} must have shape ({x.shape[0]},) like the inputs, got {tuple(given.shape)}")
    for labels in (y,) if target is None else (y, target):
        classes_needed(labels)
    if stop not in get_args(Stop):
        raise ValueError(f"stop must be 'success' or 'never', got {stop!r}")
    if isinstance(threat.eps, tuple) and len(threat.eps) != x.shape[0]:
        raise ValueError(f"one eps per example: got {len(threat.eps)} for {x.shape[0]} examples; {NO_MASKS}")
    return torch.arange(x.shape[0], device=x.device) if ids is None else example_names(ids, len(x)).to(x.device)


def _check_dense(x: Tensor, threat: ThreatModel) -> None:
    if x.ndim < 2 or not x.numel():
        raise ValueError(f"inputs must be a batch (N, ...) with N >= 1, got shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"inputs must be floating point in {threat.bounds}, got {x.dtype}: for images write x / 255")
    if x.layout != torch.strided or x.is_meta:
        kind = "without values, on the meta device" if x.is_meta else f"a tensor of layout {x.layout}"
        raise ValueError(f"inputs must be a dense tensor with values, got {kind}: write x.to_dense() for a sparse one")
