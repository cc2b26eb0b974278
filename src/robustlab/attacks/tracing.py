"""Trace of an attack: every point at which it evaluated the model, with score, margin, size and gradient."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.attacks.call import prepared
from robustlab.attacks.parts import threat_of
from robustlab.core import Attack, Model, Norm, Observation, Stop, margin
from robustlab.core.kinds import typed


class TraceRow(NamedTuple):
    """One point at which an attack evaluated the model."""

    id: int
    """Name of the example."""
    point: int
    """Number of the point for this example, from 0: the start, then one for each step or query."""
    target: int
    """Target of an attack on the likeliest classes; -1: any wrong class, or the target of the call."""
    score: float
    """Loss that the attack maximises; larger is worse for the model."""
    margin: float
    """Negative margin: logit of the best wrong class minus that of the label, of the search model."""
    size: float
    """Size of the perturbation in the norm of the threat model."""
    gradient_norm: float
    """Euclidean norm of the gradient of the score by the input; NaN where no gradient was computed."""
    finished: bool
    """True for a success."""


class Trace(NamedTuple):
    """All points at which an attack evaluated the model, and its result."""

    x_adv: Tensor
    """Result of the attack (N, ...)."""
    rows: tuple[TraceRow, ...]
    """Points in order of examples, then of steps."""

    def of(self, example: int) -> tuple[TraceRow, ...]:
        """The points of one example, by its name."""
        return tuple(row for row in self.rows if row.id == example)


@typed
def trace(  # noqa: PLR0913 -- the arguments of every attack, and the attack
    attack: Attack,
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    target: Tensor | None = None,
    stop: Stop = "success",
    seed: int = 0,
    ids: Tensor | None = None,
) -> Trace:
    """Runs an attack and records every point at which it evaluates the model; the result is unchanged.

    Wrappers and suites are followed into their parts, whose points are counted on. An attack that works on several
    points of an example at a time (targets tried in parallel) has them one after another.

    Args:
        attack: any attack of this room, or one made of its drivers.
        model: as in ``robustlab.core.Attack``, like the rest.
        x: inputs (N, ...).
        y: labels (N,).
        target: classes to be reached (N,).
        stop: "success" or "never", as in ``robustlab.core.Attack``.
        seed: of all random draws.
        ids: names of the examples (N,), all different; None: 0..N-1.

    Raises: ValueError if two examples have the same name.
    """
    names = torch.arange(x.shape[0], device=x.device) if ids is None else ids.to(x.device)
    if names.unique().numel() != names.numel():
        raise ValueError("ids name an example twice: a trace needs a name of its own for each")
    with prepared(model, x) as (twin, x_in):
        notes = _Notes(x_in, y, names, threat_of(attack).norm)
        watched = replace(twin, watch=notes.write)
        x_adv = attack(watched, x, y, target=target, stop=stop, seed=seed, ids=names)
    return Trace(x_adv, notes.rows())


@dataclass
class _Notes:
    """Recorded points, a piece per batch."""

    x: Tensor
    y: Tensor
    ids: Tensor
    norm: Norm
    pieces: list[tuple[Tensor, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.order = self.ids.argsort()

    def write(self, seen: Observation) -> None:
        at = self.order[torch.searchsorted(self.ids[self.order], seen.ids)]
        size = self.norm.size(seen.x_adv.detach().double() - self.x[at].double())
        negative_margin = margin(seen.logits.detach(), self.y[at])
        slope = torch.full_like(size, torch.nan) if seen.grad is None else seen.grad.flatten(1).double().norm(dim=1)
        target = seen.truth[:, 1] if seen.truth.ndim == 2 and not seen.truth.is_floating_point() else None
        target = torch.full_like(seen.ids, -1) if target is None else target
        columns = (seen.ids, target, seen.score.detach(), negative_margin, size, slope, seen.finished)
        self.pieces.append(tuple(column.cpu().clone() for column in columns))

    def rows(self) -> tuple[TraceRow, ...]:
        if not self.pieces:
            return ()
        ids, *rest = (torch.cat(column) for column in zip(*self.pieces, strict=True))
        order = ids.argsort(stable=True)
        number = torch.arange(len(ids)) - torch.searchsorted(ids[order], ids[order])
        columns = (ids[order], number, *(column[order] for column in rest))
        return tuple(TraceRow(*row) for row in zip(*(column.tolist() for column in columns), strict=True))
