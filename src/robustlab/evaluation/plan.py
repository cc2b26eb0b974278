"""Plan of an evaluation: attacks, examples and batches as pure functions of the caller's arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from robustlab.attacks import at_eps, threat_of
from robustlab.attacks.facts import label, targeted
from robustlab.core import Attack, Streams, ThreatModel, fold_in, subset
from robustlab.core.finding import Finding
from robustlab.core.kinds import typed
from robustlab.core.threat import NO_MASKS, numbers
from robustlab.evaluation.stages import Part, parts
from robustlab.runs.progress import Report

Kind: TypeAlias = Literal["clean", "run", "reused", "recheck", "text"]
Inspected: TypeAlias = Callable[[Sequence[Finding]], None]
"""Called with the findings of the input doctor, before any attack."""
Attacks: TypeAlias = Sequence[Attack] | Mapping[str, Attack]
BATCH_PLAN = "ids ascending, cut into batches; only examples not fooled yet, cut anew for each eps, stage and restart"
RECHECKED = 32
"""Examples that are attacked anew where reuse counted them as fooled, or a tenth of them if that is more."""
_LABELS = {"batch": 1, "recheck": 2, "gallery": 3, "doctor": 4}


SearchDtype: TypeAlias = torch.dtype | Literal["auto"] | None
"""Precision of a search: None is the model's own, "auto" bfloat16 where that is faster."""


@typed
@dataclass(frozen=True)
class Settings:
    """Settings of an evaluation; model, data and attacks are arguments of ``evaluate``.

    Args:
        batch_size: examples per batch; part of what makes results bit-equal.
        seed: of the subset, of all random draws of the attacks, and of a model that draws itself.
        device: "auto": where the model is; otherwise the model must be there.
        search_dtype: precision of the search, such as torch.bfloat16; None: that of the model. "auto" is bfloat16 where
            it is faster, as in ``training.Settings``; the run records its choice, and keeps it when resumed. Success is
            always decided by the model in its own precision.
        name: of the model in reports; empty: its class or function.
        level: of all intervals.
        keep: which x_adv are kept: "all", or those that "gallery" pictures may be taken from; None: all if there is a
            run directory to keep them in.
        doctor: whether to probe the model before and the evaluation after (a bounded number of further passes).
        together: whether all processes that ``torchrun`` or ``accelerate launch`` started share the batches. Each of
            them must then call ``evaluate`` with the same arguments and a run directory that all of them see.
        progress: called after every batch, in the first process. ``fraction`` is by passes through the model, see
            ``progress.Pace``; ``seconds_left`` counts until the doctor's turn, if every example that is still robust
            stays so; ``metrics`` are "eps", "fooled" (in the clean pass: wrong) and "robust", so far, and "rechecked"
            (1 where examples that count as fooled are attacked again as a check).
        inspected: called with the findings of the input doctor, serious or not, before any attack, in the first
            process; an exception of it ends the evaluation. None: the evaluation goes on, and the findings are in it.
        command: the call, for the manifest; empty: the command line of the process.
    """

    batch_size: int = 128
    seed: int = 0
    device: str = "auto"
    search_dtype: SearchDtype = None
    name: str = ""
    level: float = 0.95
    keep: Literal["all", "gallery"] | None = None
    doctor: bool = True
    together: bool = False
    progress: Report | None = None
    inspected: Inspected | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if not (self.search_dtype in (None, "auto") or isinstance(self.search_dtype, torch.dtype)):
            raise ValueError(f"search_dtype must be a torch.dtype, 'auto' or None, got {self.search_dtype!r}")
        if not 0 < self.level < 1:
            raise ValueError(f"the level of an interval must be between 0 and 1, got {self.level}")


class Phase(NamedTuple):
    """One pass over some of the examples; its rows and batches are filed under it."""

    attack: int
    """Position in the plan; -1 for the clean pass."""
    eps: float
    kind: Kind
    stage: int = 0
    restart: int = 0


CLEAN = Phase(-1, 0.0, "clean")


@dataclass(frozen=True)
class Entry:
    """One attack of the plan with the budgets that it is run at.

    Args:
        name: unique in the plan.
        attack: with its own eps.
        eps: ascending.
        swept: whether eps was given for all attacks, else it is the attack's own.
    """

    name: str
    attack: Attack
    eps: tuple[float, ...]
    swept: bool

    @property
    def threat(self) -> ThreatModel:
        """Norm, bounds and the attack's own eps."""
        return threat_of(self.attack)

    @property
    def targeted(self) -> bool:
        """True for an attack that is finished only at a target; as a stage of a ``WorstOf``, any wrong class counts."""
        return targeted(self.attack)

    def at(self, eps: float) -> Attack:
        """The attack at one of its budgets."""
        return at_eps(self.attack, eps) if self.swept else self.attack

    def parts(self, eps: float, seed: int) -> tuple[Part, ...]:
        """Stages and restarts, run and recorded one by one, in order, with the seeds that they would use."""
        return tuple(parts(self.at(eps), seed))


def entries(attacks: Attacks, eps: float | Sequence[float] | None) -> tuple[Entry, ...]:
    """The plan: attacks and their budgets.

    Args:
        attacks: in order, or by the names that reports shall use.
        eps: one or more budgets for all attacks, in input units; None: each attack's own. 0 is left out: that is
            clean accuracy.

    Raises: ValueError for no attacks, no eps above 0, an eps per example, or attacks that differ in norm or bounds.
    """
    named = list(attacks.items()) if isinstance(attacks, Mapping) else [(label(a), a) for a in attacks]
    if not named:
        raise ValueError("no attacks were given: evaluate(model, data, attacks=[PGD(ThreatModel(Linf(), 8 / 255))])")
    found = tuple(
        Entry(_unique(name, [n for n, _ in named[:i]]), a, _budgets(a, eps), eps is not None)
        for i, (name, a) in enumerate(named)
    )
    common_threat(found)
    return found


def _unique(name: str, before: Sequence[str]) -> str:
    return f"{name} ({before.count(name) + 1})" if name in before else name


def _budgets(attack: Attack, eps: float | Sequence[float] | None) -> tuple[float, ...]:
    own = threat_of(attack).eps
    if eps is None:
        if not isinstance(own, float):
            raise ValueError(f"{label(attack)} has one eps per example: an evaluation needs one eps for all")
        return (own,)
    given = numbers(eps, "eps", f"one number for all inputs, or several to be tried in turn; {NO_MASKS}")
    budgets = sorted(set(given.reshape(-1).tolist()) - {0.0})
    if not budgets:
        raise ValueError(f"eps={eps} holds no budget above 0: give at least one, such as 8 / 255")
    for budget in budgets:
        at_eps(attack, budget)  # raises where it is no budget in input units
    return tuple(budgets)


def common_threat(plan: Sequence[Entry]) -> ThreatModel:
    """Norm and bounds that all attacks share, with the largest eps of the plan.

    Raises: ValueError if they differ.
    """
    threats = [entry.threat for entry in plan]
    kinds = {(str(t.norm), t.bounds) for t in threats}
    if len(kinds) > 1:
        raise ValueError(f"the attacks differ in norm or bounds, {sorted(kinds)}: run one evaluation for each")
    return ThreatModel(threats[0].norm, max(e for entry in plan for e in entry.eps), threats[0].bounds)


def drawn(population: int, n: int | None, seed: int) -> tuple[Tensor, str]:
    """Numbers of the examples to evaluate, ascending, and the phrase for reports.

    Raises: ValueError if there are none, or n is not in 1..population.
    """
    if not population:
        raise ValueError("the data set holds no examples: give at least one")
    if n is None or n == population:
        return torch.arange(population), f"all {population}"
    if not 1 <= n <= population:
        raise ValueError(f"n={n} is out of range, the data set has {population} examples: choose 1..{population}")
    return subset(population, n, seed), f"simple random sample without replacement by a hash of the id, seed {seed}"


def batches(ids: Tensor, size: int) -> tuple[Tensor, ...]:
    """The batch plan: ids in the order given, cut into pieces; processes share out whole batches."""
    return torch.split(ids, size) if ids.numel() else ()


def chosen(ids: Tensor, size: int, purpose: str, seed: int) -> Tensor:
    """A simple random sample of some ids by their hash, ascending; all of them if there are fewer.

    The choice between two ids depends on them, purpose and seed alone.
    """
    return ranked(ids, purpose, seed)[:size].sort().values


def ranked(ids: Tensor, purpose: str, seed: int) -> Tensor:
    """Ids in the order of their hash."""
    hashes = Streams(fold_in(seed, _LABELS[purpose]), ids).words(1)[:, 0]
    return ids[torch.argsort(hashes, stable=True)]


def rechecked(reused: Tensor, entry: int, eps: float, seed: int) -> Tensor:
    """Reused examples that are attacked after all: a tenth, at least ``RECHECKED``."""
    count = max(RECHECKED, -(-reused.numel() // 10))
    return chosen(reused, count, "recheck", fold_in(seed, entry, *eps.as_integer_ratio()))


def batch_seed(seed: int, number: int, phase: Phase) -> int:
    """Seed of the global generators during one batch, for models that draw from them."""
    labels = (phase.attack + 1, *phase.eps.as_integer_ratio(), len(phase.kind), phase.stage, phase.restart, number)
    return fold_in(seed, _LABELS["batch"], *labels)
