"""Registry of methods that make attribution maps: ours, each registered in its own file, and those of others.

A package adds a method by an entry point of the group ``robustlab.methods``: a ``MethodSpec``, or a module that
registers its methods. In a program, ``METHODS.register(name, MethodSpec(...))`` is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.explain.case import Case


class Method(Protocol):
    """A value that attributes scores to input values.

    A method that promises a sum has a method ``change(case) -> Tensor`` (N,) as well: what the values of each example
    add up to.
    """

    def __call__(self, case: Case) -> Tensor:
        """Attributions in the shape of the inputs (N, ...)."""


@typed
@dataclass(frozen=True)
class MethodSpec:
    """A method that is available by name.

    Args:
        build: from options, each with a default, to the method.
        help: description in a few words.
        extra: name of the extra of this package that it needs; "" for none.
    """

    build: Callable[..., Method]
    help: str = ""
    extra: str = ""


METHODS: Registry[MethodSpec] = Registry(
    "method",
    "robustlab.explain",
    "robustlab.methods",
    first=("gradient", "gradient-x-input", "integrated-gradients", "smoothgrad", "gradient-shap", "occlusion"),
)
"""Methods by name."""


@typed
def make_method(name: str, **options: object) -> Method:
    """A method by its name.

    Args:
        name: of a registered method, see ``METHODS.names()``.
        options: of the method, in place of its defaults.

    Raises: ValueError for an unknown name, with the nearest.
    """
    return METHODS.get(name).build(**options)
