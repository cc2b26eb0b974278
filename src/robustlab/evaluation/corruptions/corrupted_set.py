"""A data set under corruptions: views that corrupt each batch when it is read, or images corrupted before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from robustlab.core import Batch, Corruption, DataError, Examples
from robustlab.core.kinds import typed
from robustlab.corruptions import CORRUPTIONS, EXTRA, Corrupt, Variant, corruption, family
from robustlab.corruptions.suite import KINDS
from robustlab.data import CorruptedCopies
from robustlab.data import examples as as_examples
from robustlab.data.wrapped import Given, data_sha256
from robustlab.evaluation.corruptions.record import CorruptionInfo
from robustlab.evaluation.input_checks import fetched

Cell: TypeAlias = tuple[str, int]
"""A corruption by name, and a severity."""
Corruptions: TypeAlias = Sequence[str] | Mapping[str, Corruption]
"""By name, or own ones with the names that reports shall use."""
SEVERITIES = (1, 2, 3, 4, 5)
READY = "ready-made"
"""The variant of images that were corrupted before."""
_OWN = "it is no corruption of a benchmark"
_CORRECTED = "faults of the published code are mended"
_FROST = "frost is made with procedural textures, not with the published photographs"


@dataclass(frozen=True, eq=False)
class Corrupted:
    """A corrupted view of a data set: nothing is written, each batch is corrupted when it is read.

    Draws follow the numbers of the examples, so that an image is always corrupted in the same way.

    Args:
        clean: the data set, images in [0, 1].
        corruption: of the images.
        severity: 1 to 5.
        seed: of all random draws.
    """

    clean: Examples
    corruption: Corruption
    severity: int
    seed: int = 0

    @property
    def name(self) -> str:
        """Name in reports."""
        return f"{self.clean.name}, {_called(self.corruption)} at severity {self.severity}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the data set."""
        return self.clean.classes

    def __len__(self) -> int:
        return len(self.clean)

    def batch(self, ids: Tensor) -> Batch:
        """Corrupted examples by their number."""
        return self.of(self.clean.batch(ids))

    def of(self, batch: Batch) -> Batch:
        """Examples of the data set that were read already, corrupted."""
        x = self.corruption(batch.x, severity=self.severity, seed=self.seed, ids=batch.ids)
        if x.shape != batch.x.shape:
            raise ValueError(f"{self.corruption!r} made {tuple(x.shape)} of images {tuple(batch.x.shape)}")
        return batch._replace(x=x)

    @property
    def sha256(self) -> str:
        """SHA-256 of the data set's content and of its corruption."""
        whole = data_sha256(self.clean)
        return hashlib.sha256(f"{whole}{self.corruption!r}{self.severity}{self.seed}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class CorruptedSets:
    """A data set under several corruptions, each at the same severities.

    Args:
        name: in reports.
        cells: the images by corruption and severity; row i is the same picture in all of them.
        corruptions: facts about each.
        variant: of the corruptions.
        clean: the same pictures before they were corrupted; None: there are none.

    Raises: ValueError if a corruption lacks a severity, or data sets that should hold the same images do not.
    """

    name: str
    cells: Mapping[Cell, Examples]
    corruptions: tuple[CorruptionInfo, ...]
    variant: str = READY
    clean: Examples | None = None

    def __post_init__(self) -> None:
        names = [info.name for info in self.corruptions]
        if not names or not self.cells:
            raise ValueError("no corruptions were given: name at least one, such as fog")
        missing = [(name, s) for name in names for s in self.severities if (name, s) not in self.cells]
        if missing:
            raise ValueError(f"{self.name} has no {missing[0][0]} at severity {missing[0][1]}: leave one of them out")
        first = self.examples
        for cell, examples in self.cells.items():
            if len(examples) != len(first) or len(examples.classes) != len(first.classes):
                raise DataError(
                    f"{self.name}: {cell[0]} at severity {cell[1]} has {len(examples)} images of "
                    f"{len(examples.classes)} classes, others have {len(first)} of {len(first.classes)}"
                )

    @property
    def severities(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(sorted({severity for _, severity in self.cells}))

    @property
    def examples(self) -> Examples:
        """Examples of the first set: the clean one if there is one."""
        return self.clean if self.clean is not None else next(iter(self.cells.values()))

    def only(self, corruptions: Corruptions | None, severities: Sequence[int] | None) -> CorruptedSets:
        """Some of the corruptions and severities; None: all of them.

        Raises: ValueError for one that the set does not have.
        """
        infos = {info.name: info for info in self.corruptions}
        names, wanted = list(corruptions or infos), tuple(severities or self.severities)
        unknown = [name for name in names if name not in infos]
        if unknown or not set(wanted) <= set(self.severities):
            absent = unknown[0] if unknown else f"severity {sorted(set(wanted) - set(self.severities))[0]}"
            known = f"{', '.join(infos)} at severities {', '.join(map(str, self.severities))}"
            raise ValueError(f"{self.name} has no {absent}; it has {known}")
        cells = {(name, s): self.cells[name, s] for name in names for s in wanted}
        kept = tuple(infos[name] for name in names)
        return CorruptedSets(self.name, cells, kept, self.variant, self.clean)

    def check_sizes(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError for inputs that are no images, and corruptions that need larger ones, all at once."""
        needed = {cell: _smallest(examples) for cell, examples in self.cells.items()}
        if any(needed.values()) and (len(shape) != 3 or shape[0] not in (1, 3)):
            raise ValueError(
                f"inputs of {self.name} have the shape {shape}, but corruptions are for images (C, H, W) with "
                "one or three channels; give own ones for other inputs"
            )
        side = min(shape[1:], default=0)
        names = list(dict.fromkeys(name for (name, _), least in needed.items() if side < least))
        if names:
            most = max(least for (name, _), least in needed.items() if name in names)
            raise ValueError(
                f"images of {self.name} are {side} pixels on a side; {', '.join(names)} need at least {most}: leave "
                "these corruptions out, or give larger images"
            )

    def with_versions(self, shape: tuple[int, ...]) -> CorruptedSets:
        """The same set, whose corruptions are named with their versions for images of a shape."""
        side = max(shape[1:], default=0)
        made = {name: e.corruption for (name, _), e in self.cells.items() if isinstance(e, Corrupted)}
        infos = (
            replace(info, repr=one.described(side)) if isinstance(one := made.get(info.name), Corrupt) else info
            for info in self.corruptions
        )
        return replace(self, corruptions=tuple(infos))

    def batch(self, cell: Cell, clean: Batch) -> Batch:
        """The images of a cell that belong to a batch of ``examples``.

        Raises: DataError if its labels are not those of the others.
        """
        examples = self.cells[cell]
        if isinstance(examples, Corrupted) and examples.clean is self.clean:
            return examples.of(clean)
        found = fetched(examples, clean.ids.cpu())
        if not torch.equal(found.y, clean.y.cpu()):
            raise DataError(f"{self.name}: {cell[0]} at severity {cell[1]} has other labels than the rest of the set")
        return found


@typed
def corrupted_sets(
    data: Given,
    corruptions: Corruptions | None = None,
    severities: Sequence[int] | None = None,
    *,
    variant: Variant = "imagenet-c",
    seed: int = 0,
) -> CorruptedSets:
    """A data set under corruptions, as views that corrupt each batch when it is read.

    Args:
        data: labelled images in [0, 1], or what ``robustlab.data.examples`` makes some of.
        corruptions: by name, or own ones by the names that reports shall use; None: the 15 of the benchmark.
        severities: of 1 to 5; None: all.
        variant: of the corruptions that are given by name.
        seed: of all random draws.

    Raises: ValueError for an unknown corruption (with the nearest name), another severity, or none.
    """
    clean = as_examples(data)
    wanted = tuple(dict.fromkeys(SEVERITIES if severities is None else severities))
    wrong = [severity for severity in wanted if severity not in SEVERITIES]
    if wrong or not wanted:
        raise ValueError(f"severities are whole numbers from 1 to 5, got {wrong[0] if wrong else 'none'!r}")
    chosen = _by_name(CORRUPTIONS if corruptions is None else corruptions, variant)
    cells = {(name, s): Corrupted(clean, one, s, seed) for name, one in chosen.items() for s in sorted(wanted)}
    infos = tuple(_info(name, one) for name, one in chosen.items())
    return CorruptedSets(clean.name, cells, infos, variant, clean)


@typed
def ready_made(copies: CorruptedCopies, clean: Given | None = None) -> CorruptedSets:
    """Images that were corrupted before, as ImageNet-C and CIFAR-C are published.

    Args:
        copies: for example ``load("imagenet-c:PATH")``.
        clean: the same images, in the same order, before they were corrupted; None: there are none.

    Raises: DataError if ``clean`` has other classes, or another number of images.
    """
    order = [*KINDS.names(), *copies.corruptions]
    names = sorted(copies.corruptions, key=order.index)
    infos = tuple(CorruptionInfo(name, _family(name), f"{READY}: {copies.name}") for name in names)
    cells = {(name, s): copies.cell(name, s) for name in names for s in copies.severities}
    return CorruptedSets(copies.name, cells, infos, READY, None if clean is None else as_examples(clean))


def _family(name: str) -> str:
    return family(name) if name in KINDS else "own"


def _by_name(corruptions: Corruptions, variant: Variant) -> dict[str, Corruption]:
    if isinstance(corruptions, Mapping):
        return dict(corruptions)
    if isinstance(corruptions, str):
        corruptions = [corruptions]
    return {name: corruption(name, variant) for name in corruptions}


def _info(name: str, one: Corruption) -> CorruptionInfo:
    if not isinstance(one, Corrupt):
        return CorruptionInfo(name, "own", repr(one), _OWN)
    return CorruptionInfo(name, one.kind.family, repr(one), _not_comparable(one))


def _not_comparable(one: Corrupt) -> str:
    """Reason that numbers under one of our corruptions cannot be compared with published ones; empty: none."""
    if one.comparable:
        return ""
    if one.name not in (*CORRUPTIONS, *EXTRA):
        return _OWN
    return _CORRECTED if one.kind.comparable else _FROST


def pure(examples: Examples) -> bool:
    """Tests for a view by one of our own corruptions, which several threads may use at a time."""
    return isinstance(examples, Corrupted) and isinstance(examples.corruption, Corrupt)


def _smallest(examples: Examples) -> int:
    """The smallest side of an image that a view can corrupt."""
    if not isinstance(examples, Corrupted) or not isinstance(examples.corruption, Corrupt):
        return 0
    return examples.corruption.kind.smallest(examples.corruption.constants(examples.severity))


def _called(one: Corruption) -> str:
    name = getattr(one, "name", None)
    return name if isinstance(name, str) else type(one).__name__
