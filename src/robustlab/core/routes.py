"""Layers with one copy per route through a model; a pass takes one route and uses its copies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from robustlab.core.kinds import typed

MAIN = 0
"""The route of clean images, and of every pass that does not say otherwise: testing, attacking, explaining."""


class Routed(nn.Module):
    """A layer and copies of it with their own weights and statistics; a pass uses the one of its route.

    Args:
        main: the layer of route 0.
        aux: the layers of routes 1, 2, ...
    """

    def __init__(self, main: nn.Module, aux: Iterable[nn.Module]) -> None:
        super().__init__()
        self.main = main
        self.aux = nn.ModuleList(aux)
        self.route = MAIN

    @property
    def routes(self) -> int:
        """Number of routes, with the main one."""
        return 1 + len(self.aux)

    @property
    def taken(self) -> nn.Module:
        """Layer of the selected route."""
        return self.main if self.route == MAIN else self.aux[self.route - 1]

    def forward(self, x: Tensor) -> Tensor:
        """Output of the layer of the selected route."""
        made: Tensor = self.taken(x)
        return made


def routed_parts(model: nn.Module) -> tuple[Routed, ...]:
    """Layers of a model that have one copy per route."""
    return tuple(part for part in model.modules() if isinstance(part, Routed))


def routes_of(model: nn.Module) -> int:
    """Number of routes through a model: the smallest of its layers; 1 if no layer has several."""
    return min((part.routes for part in routed_parts(model)), default=1)


@typed
@contextmanager
def taking(model: nn.Module, route: int) -> Iterator[None]:
    """Selects a route for every pass inside the block, and restores the previous one.

    A search twin that is made inside the block keeps the route.

    Args:
        model: one that ``robustlab.models.split_bn`` has made; on any other, route 0 is all there is.
        route: 0 is the main one, for clean images; 1, 2, ... are the auxiliary ones.

    Raises: ValueError if the model has no such route.
    """
    there = routes_of(model)
    if route not in range(there):
        raise ValueError(
            f"route {route} does not lead through this {type(model).__name__}, whose routes are 0 to {there - 1}: "
            "make more with robustlab.models.split_bn(model, routes=...)"
        )
    parts = routed_parts(model)
    before = [part.route for part in parts]
    for part in parts:
        part.route = route
    try:
        yield
    finally:
        for part, was in zip(parts, before, strict=True):
            part.route = was
