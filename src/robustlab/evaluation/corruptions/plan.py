"""Settings of an evaluation under corruptions, and the denominators of its errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from robustlab.core import Examples
from robustlab.core.kinds import typed
from robustlab.corruptions import Variant
from robustlab.data import examples as as_examples
from robustlab.data.wrapped import Given
from robustlab.evaluation.corruptions.baseline import Baseline, alexnet
from robustlab.evaluation.corruptions.corrupted_set import READY, CorruptedSets
from robustlab.evaluation.corruptions.record import CorruptionEvaluation
from robustlab.evaluation.input_checks import fetched
from robustlab.evaluation.plan import Inspected, batches
from robustlab.evaluation.read import read_corruptions
from robustlab.runs.identity import row_digests
from robustlab.runs.progress import Report

_BYTES, _MOST = 64 << 20, 1024
_IMAGENET = (3, 224, 224)


Normaliser: TypeAlias = Baseline | CorruptionEvaluation | str | Path | None
"""Source of the errors that corruption errors are divided by."""


@typed
@dataclass(frozen=True)
class CorruptionSettings:
    """Settings of an evaluation under corruptions; model and data are arguments of ``evaluate_corruptions``.

    Args:
        batch_size: images that are held in memory at a time; 0: as many as make 64 MiB, at most 1,024.
        seed: of the subset, of all random draws of the corruptions, and of a model that draws itself.
        device: "auto": where the model is; otherwise the model must be there.
        name: of the model in reports; empty: its class or function.
        variant: of the corruptions that are given by name: "imagenet-c", "corrected", "cifar-c" or
            "imagecorruptions".
        baseline: source of the errors that corruption errors are divided by: a finished evaluation of another model,
            its run directory, or a ``Baseline``; None: AlexNet's for images of ImageNet at 224 x 224, else nothing.
        subsets: numbers of examples that get a line of their own, by name, such as those that were mined.
        level: of all intervals.
        progress: called after every batch under every corruption; its ``metrics`` are "severity" and "accuracy".
        inspected: called with the findings of the input doctor first; an exception of it ends the evaluation.
        command: the call, for the manifest; empty: the command line of the process.
    """

    batch_size: int = 0
    seed: int = 0
    device: str = "auto"
    name: str = ""
    variant: Variant = "imagenet-c"
    baseline: Normaliser = None
    subsets: Mapping[str, Tensor] = field(default_factory=dict)
    level: float = 0.95
    progress: Report | None = None
    inspected: Inspected | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.batch_size < 0:
            raise ValueError(f"batch_size must be at least 1, or 0 for what fits, got {self.batch_size}")
        if not 0 < self.level < 1:
            raise ValueError(f"the level of an interval must be between 0 and 1, got {self.level}")


def fitting(shape: tuple[int, ...]) -> int:
    """Number of examples of a shape that make 64 MiB, at most 1,024."""
    return max(1, min(_MOST, _BYTES // max(1, 4 * math.prod(shape))))


def normaliser(given: Normaliser, sets: CorruptedSets, shape: tuple[int, ...]) -> tuple[Baseline | None, str]:
    """The errors that corruption errors are divided by, and the phrase for reports.

    Args:
        given: see ``CorruptionSettings.baseline``; a run directory is read.
        sets: the corrupted images.
        shape: of one image.

    Raises: ValueError if the baseline lacks an error that is needed.
    """
    if given is None:
        like = shape == _IMAGENET and len(sets.examples.classes) == 1000 and sets.variant in ("imagenet-c", READY)
        try:
            return (_complete(alexnet(), sets), "AlexNet's errors on ImageNet-C, as published") if like else (None, "")
        except ValueError:
            return None, ""
    if isinstance(given, Baseline):
        return _complete(given, sets), f"the errors of {given.name}{f' ({given.source})' if given.source else ''}"
    other = given if isinstance(given, CorruptionEvaluation) else read_corruptions(given)
    cells = {(cell.corruption, cell.severity): 1 - cell.accuracy.value for cell in other.cells}
    clean = None if other.clean is None else 1 - other.clean.accuracy.value
    where = f"{other.data.n} images of {other.data.name}"
    baseline = Baseline(other.model.name, cells, clean=clean, source=where)
    return _complete(baseline, sets), f"the errors of {other.model.name} on {where}"


def _complete(baseline: Baseline, sets: CorruptedSets) -> Baseline:
    """The baseline, once it is known to have all errors that are needed."""
    for info in sets.corruptions:
        baseline.total(info.name, sets.severities)
    return baseline


@typed
def numbers_of(part: Given, whole: Given) -> Tensor:
    """Numbers, in a data set, of the examples of another one: the same images with the same labels.

    Args:
        part: the examples to find, such as mined ones.
        whole: the data set to search.

    Returns: ascending (M,), int64; of equal examples the first.
    Raises: ValueError if none of them is there.
    """
    sought = {digest for _, digest in _digests(as_examples(part))}
    examples, first = as_examples(whole), dict[bytes, int]()
    for number, digest in _digests(examples):
        if digest in sought:
            first.setdefault(digest, number)
    if not first:
        named = as_examples(part)
        raise ValueError(f"none of the {len(named)} examples of {named.name} is in {examples.name}")
    return torch.tensor(sorted(first.values()))


def _digests(examples: Examples) -> Iterator[tuple[int, bytes]]:
    """Digest of each example."""
    shape = tuple(fetched(examples, torch.tensor([0])).x.shape[1:])
    for ids in batches(torch.arange(len(examples)), fitting(shape)):
        yield from zip(ids.tolist(), row_digests(fetched(examples, ids)), strict=True)


def check_subsets(subsets: Mapping[str, Tensor], ids: Tensor) -> None:
    """Raises ValueError for a subset none of whose examples is evaluated."""
    for name, numbers in subsets.items():
        if not bool(torch.isin(ids, numbers).any()):
            raise ValueError(
                f"none of the {len(numbers)} examples of {name!r} was evaluated: leave it out, or evaluate all"
            )
