"""Models from weight files, with limits on what a file may decide."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from robustlab.core.architecture import Architecture, faults
from robustlab.core.errors import CheckpointError
from robustlab.models import checkpoint as files
from robustlab.models.efficientnet import NAME as LITE0

Build: TypeAlias = Callable[[Architecture], nn.Module]
_ADVICE = "give its name as well: load(NAME, checkpoint=FILE), --architecture NAME, or NAME=FILE for a second model"
_SIDES = (*range(4, 257, 4), *range(288, 513, 32))
"""Candidate sizes of images for weights without a size; the shapes of dense layers decide."""


def is_python_path(name: str) -> bool:
    """True for the name of a function, "package.module:function"."""
    return ":" in name and not name.startswith("timm:")


def from_file(file: str | Path, typed: Architecture, own: Collection[str], build: Build) -> nn.Module:
    """The model of a weight file, built from its metadata, except for the arguments given in the call.

    The file may name our own and timm's networks only; a Python path counts only as an argument. Names and shapes of an
    outline without values are compared with the weights before the model is built.

    Args:
        file: with the weights.
        typed: parts of the architecture given in the call.
        own: names of our small networks.
        build: makes a model of an architecture.

    Raises:
        CheckpointError: the file is damaged, names no allowed architecture, or is of another one.
        ValueError: there is no model for the arguments.
    """
    kept = files.read(file)
    if "name" not in typed:
        _check_name(kept.architecture or {}, own, file)
    plan = cast(Architecture, {**(kept.architecture or {}), **typed})
    try:
        if not is_python_path(str(plan["name"])):
            plan = _outlined(plan, kept.weights, file, build, own)
        model = build(plan)
    except (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if "name" in typed:
            raise
        raise CheckpointError(
            f"{file} names the model {plan['name']}, which cannot be built with its settings: {_first_line(error)}"
        ) from error
    files.fill(model, kept.weights, file)
    return model


def _check_name(architecture: Architecture, own: Collection[str], file: str | Path) -> None:
    """Refuses a file that names no architecture, or one that it may not name."""
    if "name" not in architecture:
        raise CheckpointError(f"{file} names no architecture: {_ADVICE}")
    import timm

    name = str(architecture["name"])
    bare = name.partition(",")[0]
    if bare not in (*own, LITE0) and not timm.is_model(bare.removeprefix("timm:")):
        raise CheckpointError(
            f"{file} names the model {name!r}, which is no network of robustlab or timm: if you know it, {_ADVICE}"
        )


def _outlined(
    plan: Architecture, weights: dict[str, Tensor], file: str | Path, build: Build, own: Collection[str]
) -> Architecture:
    """The plan with its unknown sizes taken from the weights.

    Raises: CheckpointError if no outline of it has the names and shapes of the weights.
    """
    try:
        first = _outline(plan, build)
    except NotImplementedError:
        return plan  # its constructor computes with values; it is compared when it is built
    wrong = files.unfit(first, weights)
    if not wrong:
        return plan
    for one in _guesses(plan, weights, first, sized=plan["name"] in own):
        with suppress(ValueError):  # for images too small for the network
            if not files.unfit(_outline(one, build), weights):
                return one
    raise files.another(file, wrong)


def _outline(plan: Architecture, build: Build) -> nn.Module:
    """The model of a plan without values, which takes no memory for any sizes in a file."""
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # said when it is built
        return build(plan)


def _guesses(
    plan: Architecture, weights: dict[str, Tensor], outline: nn.Module, *, sized: bool
) -> Iterator[Architecture]:
    """Plans with classes, channels and sizes guessed from the weights, where the plan has none.

    Classes are the rows of a layer that differs from the outline in nothing else, channels the inputs of a convolution.
    """
    seen: Architecture = {}
    both = files.pairs(outline, weights)
    if len(both) != len(weights):
        return  # of other names
    for found, drawn in both:
        if len(found) in (2, 4) and found[0] != drawn[0] and found[1:] == drawn[1:]:
            seen["classes"] = found[0]
        if len(found) == 4 and found[1] != drawn[1] and (found[0], *found[2:]) == (drawn[0], *drawn[2:]):
            seen["channels"] = found[1]
    sides = _SIDES if sized and "size" not in plan else ()
    if not faults(seen):
        yield {**seen, **plan}
        yield from ({**seen, "size": side, **plan} for side in sides)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
