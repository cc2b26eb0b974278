"""A look inside an attack: what it saw of each example, point by point."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.attacks.call import prepared
from robustlab.attacks.parts import threat_of
from robustlab.core import Attack, Look, Model, Norm, Stop, margin
from robustlab.core.kinds import typed


class TraceRow(NamedTuple):
    """One point that an attack looked at."""

    id: int
    """Name of the example."""
    point: int
    """Number of the point among those of this example, from 0: the start, then one for each step or query."""
    target: int
    """The class that an attack on the likeliest classes went for; -1: any wrong one, or the target of the call."""
    score: float
    """What the attack climbs: its loss, larger is worse for the model."""
    margin: float
    """How far the best wrong class is ahead of the label, in logits of the search model."""
    size: float
    """Of the perturbation, in the norm of the threat model."""
    gradient_norm: float
    """Euclidean, of the score by the input; NaN where the attack asked for no gradient."""
    finished: bool
    """Whether this was a success."""


class Trace(NamedTuple):
    """All points that an attack looked at, and what came of it."""

    x_adv: Tensor
    """Result of the attack (N, ...)."""
    rows: tuple[TraceRow, ...]
    """By example, then by point."""

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
    """Runs an attack and writes down every point that it looks at; the result is that of the attack alone.

    Wrappers and suites are followed into their parts, whose points are counted on. An attack that works on several
    points of an example at a time (targets tried in parallel) has them one after another.

    Args:
        attack: any attack of this room, or one made of its drivers.
        model: as in ``robustlab.core.Attack``, like the rest.
        x: inputs (N, ...).
        y: labels (N,).
        target: classes to be reached (N,).
        stop: when an example is left alone.
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
    """What is written down, a piece per look."""

    x: Tensor
    y: Tensor
    ids: Tensor
    norm: Norm
    pieces: list[tuple[Tensor, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.order = self.ids.argsort()

    def write(self, look: Look) -> None:
        at = self.order[torch.searchsorted(self.ids[self.order], look.ids)]
        size = self.norm.size(look.x_adv.detach().double() - self.x[at].double())
        lead = margin(look.logits.detach(), self.y[at])
        slope = torch.full_like(size, torch.nan) if look.grad is None else look.grad.flatten(1).double().norm(dim=1)
        target = look.truth[:, 1] if look.truth.ndim == 2 and not look.truth.is_floating_point() else None
        target = torch.full_like(look.ids, -1) if target is None else target
        columns = (look.ids, target, look.score.detach(), lead, size, slope, look.finished)
        self.pieces.append(tuple(column.cpu().clone() for column in columns))

    def rows(self) -> tuple[TraceRow, ...]:
        if not self.pieces:
            return ()
        ids, *rest = (torch.cat(column) for column in zip(*self.pieces, strict=True))
        order = ids.argsort(stable=True)
        number = torch.arange(len(ids)) - torch.searchsorted(ids[order], ids[order])
        columns = (ids[order], number, *(column[order] for column in rest))
        return tuple(TraceRow(*row) for row in zip(*(column.tolist() for column in columns), strict=True))
