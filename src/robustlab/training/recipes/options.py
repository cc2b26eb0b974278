"""Options that recipes have in common; a dataclass of each recipe lists those that it takes, and their defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Annotated, NamedTuple, TypeAlias, TypeVar

from robustlab.core import Attack, ThreatModel
from robustlab.core.kinds import typed
from robustlab.training.crafting import BnMode as Mode

R = TypeVar("R")


@typed
@dataclass(frozen=True)
class Option:
    """Metadata of a field that users set by an option of the command.

    Args:
        help: a sentence; the recipes that take the option, and their defaults, are added to it.
        flag: its spelling on the command line, ``--a/--b`` for a switch between two; "": the name of the field.
        min: smallest value; None: any. Other conditions are checked where the value is used.
        usual: the default in words, if the field has None.
    """

    help: str
    flag: str = ""
    min: float | None = None
    usual: str = ""


@typed
@dataclass(frozen=True)
class Budget:
    """Metadata of a field that ``--eps`` and ``--norm`` set.

    The type of the field decides its value: ``ThreatModel``, one ball; ``tuple[ThreatModel, ...]``, one for each eps,
    the smallest first; a ``Norm`` alone; ``float | None``, the eps, None without ``--eps``.

    Args:
        eps: the default, such as "4/255", with the norm below; "": the usual one of the norm.
        norm: the default: linf, l2 or l1.
    """

    eps: str = ""
    norm: str = "linf"


class NamedAttack(NamedTuple):
    """An attack by its name, built once its budget is known."""

    name: str
    build: Callable[[str, ThreatModel, int], Attack]
    """From the name, norm and budget, and a number of steps, which attacks without steps do not use."""


def passed_to(make: Callable[..., R], options: object, *, without: tuple[str, ...] = ()) -> R:
    """Calls a function with all fields of some options under their own names.

    Args:
        make: called with them as keyword arguments.
        options: a dataclass.
        without: names of fields that are left out.
    """
    names = [field.name for field in fields(options) if field.name not in without]  # type: ignore[arg-type]
    return make(**{name: getattr(options, name) for name in names})


@dataclass(frozen=True)
class OfEps:
    """The usual step size of a recipe, in words and as a length: a fraction of eps.

    Args:
        fraction: of eps.
        words: the same for the help.
    """

    fraction: float
    words: str

    @property
    def option(self) -> Option:
        """Metadata of the field of the step size."""
        return replace(STEP_SIZE, usual=self.words)

    def size(self, step_size: float | None, eps: float) -> float:
        """The step size that was given, or the usual one, in input units."""
        return eps * self.fraction if step_size is None else step_size


STEPS = Option("Steps of the attack.", min=1)
STEP_SIZE = Option("Length of each step, in input units.")
WHOLE, QUARTER = OfEps(1.0, "eps"), OfEps(0.25, "eps / 4")
BN_MODE = Option("Mode of BatchNorm while inputs are made: train, or eval, which is faster.")
MAGNITUDE = "Strength of the operations"
Ball: TypeAlias = Annotated[ThreatModel, Budget()]
Steps: TypeAlias = Annotated[int, STEPS]
StepSize: TypeAlias = Annotated[float | None, STEP_SIZE]
BnMode: TypeAlias = Annotated[Mode, BN_MODE]
EpsWarmup: TypeAlias = Annotated[float, Option("Fraction of the training, in 0..1, over which eps rises from 0.")]
StepsWarmup: TypeAlias = Annotated[float, Option("Fraction of the training over which the steps rise from 1.")]
Mix: TypeAlias = Annotated[float, Option("Fraction of the loss on changed inputs, in 0..1.")]
Smoothing: TypeAlias = Annotated[float, Option("Fraction of each label spread over all.", flag="--label-smoothing")]
Beta: TypeAlias = Annotated[float, Option("Weight of robustness.")]
Gamma: TypeAlias = Annotated[float, Option("Size of the change of weights, relative to them.")]
Weight: TypeAlias = Annotated[float, Option("Weight of the regulariser, or of adversarial losses.")]
