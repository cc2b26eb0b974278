"""Registry of the numbers that describe maps and models: each is one file of this package.

A package adds a number by an entry point of the group ``robustlab.map_numbers``: a ``NumberSpec``, or a module that
registers its numbers. In a program, ``NUMBERS.register(name, NumberSpec(...))`` is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.explain.numbers.subject import Subject

Better: TypeAlias = Literal["higher", "lower", ""]
"""Direction in which a number speaks for a map or a model; "" where neither is better by itself."""
About: TypeAlias = Literal["maps", "model"]
"""Thing that a number describes: maps of a method, or the model alone, whatever the method."""


class Cost(NamedTuple):
    """Passes of one example that a number needs."""

    forward: int = 0
    """Forward passes, those of the maps left out."""
    backward: int = 0
    """Backward passes, those of the maps left out; a product with the second derivatives counts as one."""
    maps: int = 0
    """Maps of the method, that of the input among them; it is made once for all numbers."""


class Number(Protocol):
    """A value that measures one number of each example.

    Those of this package have a method ``cost(classes) -> Cost`` as well: the passes at most, for a model with so many
    classes.
    """

    def __call__(self, subject: Subject) -> Tensor:
        """One number per example (N,), float64; NaN where it is not defined."""


@typed
@dataclass(frozen=True)
class NumberSpec:
    """A number that is available by name.

    Args:
        build: from options, each with a default, to the number.
        help: description in a few words.
        unit: of the number, in words or as a formula; "1" for a plain ratio.
        better: "higher" or "lower", "" where neither is better by itself.
        source: author and year.
        about: "maps" of a method, or "model" if the method does not matter.
    """

    build: Callable[..., Number]
    help: str = ""
    unit: str = "1"
    better: Better = ""
    source: str = ""
    about: About = "maps"


NUMBERS: Registry[NumberSpec] = Registry("number", "robustlab.explain.numbers", "robustlab.map_numbers")
"""Numbers by name."""


@typed
def make_number(name: str, **options: object) -> Number:
    """A number by its name.

    Args:
        name: of a registered number, see ``NUMBERS.names()``.
        options: of the number, in place of its defaults.

    Raises: ValueError for an unknown name, with the nearest.
    """
    return NUMBERS.get(name).build(**options)
