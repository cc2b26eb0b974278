"""Plan of an evaluation of explanations: methods, numbers and checks by unique names, and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from robustlab.core.kinds import typed
from robustlab.core.words import budget
from robustlab.evaluation.explanations.record import InstrumentInfo
from robustlab.evaluation.plan import Inspected
from robustlab.explain import METHODS, NUMBERS, MapAttack, Method, Number, NumberSpec, make_method, make_number
from robustlab.explain.call import name_of
from robustlab.explain.case import ScoreName
from robustlab.explain.checks import CHECKS, Check
from robustlab.runs.progress import Report

BATCH_PLAN = "ids ascending, cut into batches; all methods and both models explain the same batches"
Target: TypeAlias = Literal["prediction", "label"]
GivenMethods: TypeAlias = Sequence["str | Method"] | Mapping[str, "Method"]
GivenNumbers: TypeAlias = Sequence[str] | Mapping[str, "Number"]
GivenChecks: TypeAlias = Literal["all"] | Sequence[str] | Mapping[str, "Check"]
T = TypeVar("T")
METHOD_NAMES = ("gradient", "gradient-x-input", "smoothgrad", "integrated-gradients")
"""Methods that are used where none are named."""
NUMBER_NAMES = ("alignment-cosine", "sparsity", "roughness")
"""Numbers that are measured where none are named."""


@typed
@dataclass(frozen=True)
class ExplanationSettings:
    """Settings of an evaluation of explanations; models, data and methods are arguments of ``evaluate_explanations``.

    Args:
        batch_size: images that are explained at a time.
        seed: of the sample, and of all random draws.
        device: "auto": where the model is; otherwise the models must be there.
        name: of the model in reports; empty: its class or function.
        other_name: of the model that it is compared with.
        target: explained class: the "label", the same for both models, or the "prediction" of each.
        score: explained score of that class, see ``robustlab.explain.explain``.
        pictures: images that a report shows.
        checked: images whose maps are checked, at most; the checks make many maps of each.
        attacked: images whose maps are attacked, at most, the shown ones first.
        level: of all intervals.
        progress: called after each part of the run.
        inspected: called with the findings of the input doctor first; an exception of it ends the evaluation.
        command: the call, for the manifest; empty: the command line of the process.

    Raises: ValueError for numbers that make no sense.
    """

    batch_size: int = 32
    seed: int = 0
    device: str = "auto"
    name: str = ""
    other_name: str = ""
    target: Target = "label"
    score: ScoreName = "logit"
    pictures: int = 6
    checked: int = 16
    attacked: int = 16
    level: float = 0.95
    progress: Report | None = None
    inspected: Inspected | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        for name in ("pictures", "checked", "attacked"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 < self.level < 1:
            raise ValueError(f"the level of an interval must be between 0 and 1, got {self.level}")
        if self.target not in ("prediction", "label"):
            raise ValueError(f"target must be 'prediction' or 'label', got {self.target!r}")


@typed
@dataclass(frozen=True)
class ExplanationPlan:
    """Instruments of an evaluation of explanations.

    Args:
        methods: attribution methods, by name or as values, or values by the names that reports shall use.
        numbers: numbers of maps and models, by name, or values by the names that reports shall use; none: no numbers.
        checks: of the maps of every method, by the codes of their findings, or values by the names that reports shall
            use; "all": all that are registered; none: no checks.
        attack: on the maps of its own method; None: maps are not attacked.
    """

    methods: GivenMethods = METHOD_NAMES
    numbers: GivenNumbers = NUMBER_NAMES
    checks: GivenChecks = "all"
    attack: MapAttack | None = None

    def __post_init__(self) -> None:
        if not self.methods:
            raise ValueError("no methods were given: name at least one, such as 'gradient'")
        for kind, some in (("numbers", self.numbers), ("checks", self.checks)):
            if isinstance(some, str) and (kind, some) != ("checks", "all"):
                raise ValueError(f"{kind} must be a list of names, got the text {some!r}: write [{some!r}]")


def methods_of(plan: ExplanationPlan) -> dict[str, Method]:
    """Methods by unique names.

    Raises: ValueError for a name that there is not, with the nearest.
    """
    if isinstance(plan.methods, Mapping):
        return dict(plan.methods)
    named = [(one if isinstance(one, str) else name_of(one).partition("(")[0], one) for one in plan.methods]
    return unique([(name, make_method(one) if isinstance(one, str) else one) for name, one in named])


def numbers_of(plan: ExplanationPlan) -> dict[str, Number]:
    """Numbers by name.

    Raises: ValueError for a name that there is not, with the nearest.
    """
    if isinstance(plan.numbers, Mapping):
        return dict(plan.numbers)
    return {name: make_number(name) for name in plan.numbers}


def checks_of(plan: ExplanationPlan) -> dict[str, str | Check]:
    """Checks by name, as ``check_maps`` takes them.

    Raises: ValueError for a name that there is not, with the nearest.
    """
    if isinstance(plan.checks, Mapping):
        return dict(plan.checks)
    names = CHECKS.names() if plan.checks == "all" else plan.checks
    for name in names:
        CHECKS.get(name)
    return {name: name for name in names}


def of_models(numbers: Mapping[str, Number]) -> dict[bool, dict[str, Number]]:
    """Numbers of the model alone (True), and those of maps (False)."""
    alone = {name: one for name, one in numbers.items() if name in NUMBERS and NUMBERS.get(name).about == "model"}
    return {True: alone, False: {name: one for name, one in numbers.items() if name not in alone}}


def unique(named: Sequence[tuple[str, T]]) -> dict[str, T]:
    """Values by name; a name that comes again gets a number."""
    found: dict[str, T] = {}
    for name, one in named:
        names = (name, *(f"{name} ({number})" for number in range(2, len(named) + 1)))
        found[next(free for free in names if free not in found)] = one
    return found


class Instruments(NamedTuple):
    """Instruments of a run, by the names that reports use."""

    methods: Mapping[str, Method]
    numbers: Mapping[str, Number]
    checks: Mapping[str, str | Check]
    attack: MapAttack | None


def instruments_of(plan: ExplanationPlan) -> Instruments:
    """Instruments of a plan.

    Raises: ValueError for a name that there is not, with the nearest.
    """
    return Instruments(methods_of(plan), numbers_of(plan), checks_of(plan), plan.attack)


def infos_of(instruments: Instruments) -> dict[str, tuple[InstrumentInfo, ...]]:
    """Instruments for the manifest, by kind."""
    methods, numbers, checks, attack = instruments
    built = {name: CHECKS.get(name).build() if isinstance(one, str) else one for name, one in checks.items()}
    about = {name: METHODS.get(name).help if name in METHODS else "" for name in methods}
    specs = {name: NUMBERS.get(name) if name in NUMBERS else NumberSpec(dict) for name in numbers}
    return {
        "methods": tuple(InstrumentInfo(name, shown(one), about[name]) for name, one in methods.items()),
        "numbers": tuple(
            InstrumentInfo(name, shown(one), specs[name].help, specs[name].better) for name, one in numbers.items()
        ),
        "checks": tuple(
            InstrumentInfo(name, shown(one), CHECKS.get(name).help if name in CHECKS else "")
            for name, one in built.items()
        ),
        "attack": () if attack is None else (InstrumentInfo(attack_method(attack), shown(attack), budget_of(attack)),),
    }


def attack_method(attack: MapAttack) -> str:
    """Name of the method whose maps are attacked."""
    return attack.method if isinstance(attack.method, str) else name_of(attack.method)


def budget_of(attack: MapAttack) -> str:
    """Budget and steps of an attack, in words."""
    eps = attack.threat.eps
    size = budget(eps) if isinstance(eps, float) else "a size of its own for each image"
    return f"{attack.threat.norm} {size}, {attack.steps} steps on the {attack.distance} distance"


def shown(instrument: object) -> str:
    """An instrument as a value, without the addresses that plain functions have in their repr."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", name_of(instrument))
