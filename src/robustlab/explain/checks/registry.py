"""Registry of checks of maps, and what a check is given and returns.

A package adds a check by an entry point of the group ``robustlab.map_checks``: a ``CheckSpec``, or a module that
registers its checks. In a program, ``CHECKS.register(code, CheckSpec(...))`` is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from torch import Tensor

from robustlab.core import Model
from robustlab.core.finding import Evidence, Finding
from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.explain.call import explain
from robustlab.explain.case import ScoreName
from robustlab.explain.maps import Maps
from robustlab.explain.registry import Method, make_method


@typed
@dataclass(frozen=True, eq=False)
class CheckSubject:
    """Maps that are to be checked, and all that they were made of.

    Args:
        method: a method, or its name.
        model: from inputs (N, ...) to logits (N, K), in the modes in which it is explained.
        x: inputs (N, ...).
        target: explained classes (N,); None: those of ``maps``, or those that the model predicts.
        maps: that the method has made of these inputs; None: they are made at the start.
        score: that is explained.
        seed: of random draws, of the method and of the checks.
        ids: names of the examples (N,); None: 0..N-1.
        other: a network of the same classes that was trained on ``shuffled_labels``, for "labels-ignored".
    """

    method: Method | str
    model: Model
    x: Tensor
    target: Tensor | None = None
    maps: Maps | None = None
    score: ScoreName = "logit"
    seed: int = 0
    ids: Tensor | None = None
    other: Model | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice) -> CheckSubject:
        """The subject of some of the examples."""
        target, maps, ids = (None if part is None else part[rows] for part in (self.target, self.maps, self.ids))
        return replace(self, x=self.x[rows], target=target, maps=maps, ids=ids)  # type: ignore[arg-type]

    @property
    def made(self) -> Maps:
        """The maps.

        Raises: ValueError before they are made.
        """
        if self.maps is None:
            raise ValueError("the subject has no maps yet: give it to check_maps, which makes them")
        return self.maps

    @property
    def used(self) -> Method:
        """The method as a value."""
        return make_method(self.method) if isinstance(self.method, str) else self.method

    def again(self, *, model: Model | None = None, method: Method | None = None) -> Maps:
        """Maps of the same inputs and classes, made once more.

        Args:
            model: in place of the subject's.
            method: in place of the subject's.
        """
        chosen = self.used if method is None else method
        subject = self.model if model is None else model
        return explain(chosen, subject, self.x, self.target, score=self.score, seed=self.seed, ids=self.ids)


@typed
@dataclass(frozen=True)
class CheckCurve:
    """Numbers behind a check, along one axis.

    Args:
        points: names of the places on the axis.
        values: for each name of a number, its mean over the examples at each point.
        n: number of examples.
    """

    points: tuple[str, ...]
    values: dict[str, tuple[float, ...]]
    n: int


class CheckOutcome(NamedTuple):
    """Outcome of a check."""

    finding: Finding | None = None
    curve: CheckCurve | None = None
    skipped: str = ""
    """Reason for which the check could not be made, one sentence; "": it was made."""


class Check(Protocol):
    """A value that looks for one fault of maps."""

    def __call__(self, subject: CheckSubject, /) -> CheckOutcome:
        """Outcome for a subject whose method, target, maps and ids are filled in."""


@typed
@dataclass(frozen=True)
class CheckSpec:
    """A check that is available by the code of its finding.

    Args:
        build: from options, each with a default, to the check.
        help: description in a few words.
        explains: codes of findings that follow from this one, and are left out beside it.
    """

    build: Callable[..., Check]
    help: str = ""
    explains: tuple[str, ...] = ()


CHECKS: Registry[CheckSpec] = Registry("check of maps", "robustlab.explain.checks", "robustlab.map_checks")
"""Checks by the code of their finding."""


def serious(code: str, title: str, evidence: Evidence, advice: str) -> CheckOutcome:
    """Outcome with a serious finding."""
    return CheckOutcome(Finding(code, "serious", title, evidence, advice))


def warning(code: str, title: str, evidence: Evidence, advice: str) -> CheckOutcome:
    """Outcome with a warning."""
    return CheckOutcome(Finding(code, "warning", title, evidence, advice))
