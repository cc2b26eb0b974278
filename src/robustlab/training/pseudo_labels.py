"""Pseudo-labels: a teacher's probabilities for examples without labels, on disk with their provenance.

A folder holds the probabilities of all examples one after the other, so that a killed run can be resumed, and
``provenance.json``: teacher, data, settings, versions and time. Labels of these examples are not read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from robustlab.core import Examples, Model, Streams, fold_in, frozen, search_twin
from robustlab.core.kinds import typed
from robustlab.core.twin import checked_logits
from robustlab.core.user_code import called, model_called
from robustlab.data.splits import Part
from robustlab.data.unlabelled import WithoutLabels
from robustlab.runs.identity import as_recorded, check_same, model_digest, v1_of_pseudo_labels, values_sha256
from robustlab.runs.json_files import read_json
from robustlab.runs.progress import Progress, Report
from robustlab.runs.provenance import now, versions
from robustlab.runs.resume import create_or_resume
from robustlab.training.feature_store import Growing, Store
from robustlab.training.launcher import launched, placed
from robustlab.training.precision import named
from robustlab.training.settings import Settings
from robustlab.training.stream import Reader, fetched
from robustlab.training.update import checked

PerClass: TypeAlias = int | Literal["mean"] | None
"""Pseudo-labelled examples of each class: a number, the mean over the classes, or None for all."""
PROVENANCE = "provenance.json"
_ROWS = 256  # images per pass
_ORDER = 0x5E1F
_LOG = logging.getLogger(__name__)


class UnsureError(ValueError):
    """A teacher is not sure of any example.

    Args:
        seen: its confidence, and the data, in words.
    """

    def __init__(self, seen: str) -> None:
        super().__init__(f"{seen}: lower the threshold, or train the teacher longer")
        self.seen = seen


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """Probabilities that a teacher gives to every example of a data set.

    Args:
        examples: the data, without their labels.
        classes: names of the K classes that the teacher knows.
        probs: its probabilities (N, K), float32, memory-mapped.
        provenance: by name: SHA-256 of the teacher and of the inputs, settings, versions and time.
    """

    examples: WithoutLabels
    classes: tuple[str, ...]
    probs: Tensor
    provenance: dict[str, str]

    def chosen(
        self, *, threshold: float = 0.3, per_class: PerClass = "mean", soft: bool = True, seed: int = 0
    ) -> PseudoLabelled:
        """The examples that a student learns from.

        Examples below the threshold are left out. Then each class is brought to one number of examples: a class with
        more keeps its most confident ones; one with fewer repeats all of its examples, and some, by a hash of their
        number, once more. A class without examples stays empty.

        Args:
            threshold: an example is kept if the teacher's highest probability is above, in [0, 1).
            per_class: examples of each class; "mean": the mean over the classes; None: all.
            soft: the student learns the probabilities; False: the most probable class.
            seed: of the hash.

        Raises: UnsureError, a ValueError, if no example is left.

        Source: Xie et al., Self-training with Noisy Student, CVPR 2020, section 3.1: confidence above 0.3, 130,000
        images of each class.
        """
        check_choice(threshold, per_class)
        confidence, label = self.probs.max(dim=1)
        sure = (confidence > threshold).nonzero()[:, 0]
        if not len(sure):
            raise UnsureError(
                f"the teacher is not sure of any of the {len(label)} examples of {self.examples.whole.name}: its "
                f"highest confidence is {float(confidence.max()):.3f}, the threshold {threshold:g}"
            )
        rows = _balanced(sure, label[sure], confidence[sure], per_class, seed)
        name = f"{self.examples.whole.name} ({len(rows)} pseudo-labelled)"
        return PseudoLabelled(Part(name, self.examples, rows), self, Choice(threshold, per_class, soft), len(sure))


@dataclass(frozen=True)
class Choice:
    """Settings of a choice of examples, see ``PseudoLabels.chosen``."""

    threshold: float
    per_class: PerClass
    soft: bool


@typed
@dataclass(frozen=True, eq=False)
class PseudoLabelled:
    """Examples that a student learns from; an example may occur more than once.

    Args:
        examples: their inputs.
        source: the teacher's probabilities for these and others.
        choice: settings of the choice.
        confident: number of examples above the threshold, before classes were balanced.
    """

    examples: Part
    source: PseudoLabels
    choice: Choice
    confident: int

    def __len__(self) -> int:
        return len(self.examples)

    def __repr__(self) -> str:
        digest = values_sha256([self.source.probs])[:16]
        return f"PseudoLabelled({self.examples.name}, {self.examples.sha256[:16]}, {digest}, {self.choice})"

    def targets(self, ids: Tensor) -> Tensor:
        """Probabilities (n, K), float32, by the number of the chosen example; 0 and 1 if labels are hard."""
        probs = self.source.probs[self.examples.rows[ids]]
        if self.choice.soft:
            return probs
        return nn.functional.one_hot(probs.argmax(dim=1), probs.shape[1]).to(probs)

    def counts(self) -> dict[str, int]:
        """Examples by the name of their pseudo-label."""
        label = self.source.probs.argmax(dim=1)[self.examples.rows]
        return dict(zip(self.source.classes, label.bincount(minlength=len(self.source.classes)).tolist(), strict=True))

    def summary(self) -> dict[str, object]:
        """Counts, settings and provenance, for a file or a report."""
        confidence = self.source.probs.amax(dim=1)
        return {
            "examples": len(confidence),
            "confident": self.confident,
            "chosen": len(self),
            "different": len(self.examples.rows.unique()),
            "highest_confidence": round(float(confidence.max()), 6),
            "mean_confidence": round(float(confidence.mean()), 6),
            "per_class": self.counts(),
            "settings": vars(self.choice),
            "provenance": self.source.provenance,
        }


@typed
def pseudo_labels(
    teacher: nn.Module,
    examples: Examples,
    classes: Sequence[str],
    folder: str | Path,
    settings: Settings,
    *,
    progress: Report | None = None,
) -> PseudoLabels:
    """Pseudo-labels of a teacher without noise, in eval mode and on unchanged images; labels are not read.

    Args:
        teacher: from inputs (N, ...) to logits (N, K); it is left as it was.
        examples: each must be the same input whenever it is read.
        classes: names of the teacher's K classes.
        folder: of these pseudo-labels alone; rows of the same teacher and data are used again.
        settings: device, precision and workers are those of the pass.
        progress: called after each batch.

    Raises:
        ValueError: a teacher of other classes, or one that gives NaN.
        RunError: the folder holds pseudo-labels of another teacher or other data, or cannot be written.
    """
    bare = examples if isinstance(examples, WithoutLabels) else WithoutLabels(examples)
    check_classes(teacher, "the teacher", bare, classes)
    before = _recorded(Path(folder))
    key = {
        "teacher": as_recorded(before.get("teacher"), model_digest(teacher), lambda: v1_of_pseudo_labels(teacher)),
        "data": f"{bare.name}, {len(bare)} examples, {bare.sha256}",
        "classes": ", ".join(classes),
    }
    store = Store(Path(folder), torch.Size([len(classes)]), len(bare), json.dumps(key))
    precision = before.get("precision") if settings.precision == "auto" else None
    # In this order, or several processes wait for each other.
    with launched(settings, named(precision)) as (accelerator, settings), store.claimed():
        provenance = _signed(store, {**key, "precision": settings.precision})
        if store.rows < len(bare):
            _fill(store, teacher, bare, settings, accelerator.device, progress)
        return PseudoLabels(bare, tuple(classes), store.x(), provenance)


def check_classes(model: nn.Module, who: str, examples: Examples, classes: Sequence[str]) -> None:
    """Checks that a model takes the examples and has their classes.

    Raises: ValueError if not.
    """
    x = fetched(examples, torch.tensor([0]), 0).x
    home = next((p.device for p in model.parameters()), x.device)
    given, advice = f"inputs {tuple(x.shape[1:])} from {examples.name}", "is it made for these?"
    with (
        frozen(model, training=False),
        torch.no_grad(),
        called(who, given, advice=advice),
    ):
        found = checked_logits(model(x.to(home)), x).shape[1]
    if found != len(classes):
        raise ValueError(
            f"{who} has {found} classes, the data with labels have {len(classes)}: teacher and students must "
            "have the same classes, in the same order"
        )


def _recorded(place: Path) -> dict[str, str]:
    """The provenance in a folder; empty without one."""
    path = place / PROVENANCE
    found = read_json(path, remedy=f"remove {place} to make them anew") if path.exists() else {}
    return {str(name): str(value) for name, value in found.items()}


def _signed(store: Store, key: dict[str, str]) -> dict[str, str]:
    """The provenance, written before the first row.

    Raises: RunError if the folder is of other pseudo-labels.
    """
    place = store.place

    def check(there: dict[str, str]) -> None:
        check_same(place, {name: there.get(name, "") for name in key}, key)

    made = {**key, **versions(), "made": now()}
    # Rows without provenance could be of any teacher.
    there = create_or_resume(place, made, read=_recorded, check=check, free=lambda _: store.start(), file=PROVENANCE)
    return there or made


def _fill(
    store: Store,
    teacher: nn.Module,
    examples: WithoutLabels,
    settings: Settings,
    device: torch.device,
    progress: Report | None,
) -> None:
    """Computes the rows that are missing."""
    with ExitStack() as stack:
        probe = fetched(examples, torch.arange(min(2, len(examples))), 0)
        stack.enter_context(placed(teacher, device, probe.x))
        stack.enter_context(frozen(teacher, training=False))
        stack.enter_context(model_called())
        stack.enter_context(torch.no_grad())
        search = search_twin(teacher, probe.x.to(device)).search  # with BatchNorm folded into convolutions
        stack.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"))
        reader = Reader(examples, settings.workers, device)
        stack.callback(reader.close)
        growing = stack.enter_context(store.growing())
        stack.enter_context(reader.watched())
        parts = torch.arange(store.rows, len(examples)).split(_ROWS)
        for number, (ids, read) in enumerate(zip(parts, reader.read(parts, 0), strict=True), start=1):
            _append(search, checked(read, ids, examples, device).x, growing)
            if progress is not None:
                progress(Progress("pseudo-labels", number, len(parts), "batches", metrics={"images": float(len(ids))}))


def _append(teacher: Model, x: Tensor, growing: Growing) -> None:
    """Adds the teacher's probabilities of some examples, and the most probable class of each."""
    probs = teacher(x).float().softmax(dim=1)
    if not bool(probs.isfinite().all()):
        raise ValueError("the teacher gives NaN or infinity: train it with a lower learning rate")
    growing.append(probs, probs.argmax(dim=1))


def check_choice(threshold: float, per_class: PerClass) -> None:
    """Checks the threshold and the number of examples per class."""
    if not 0.0 <= threshold < 1.0:
        raise ValueError(f"threshold is the lowest confidence of the teacher, in [0, 1), got {threshold}")
    if per_class is not None and per_class != "mean" and (not isinstance(per_class, int) or per_class < 1):
        raise ValueError(f"per_class is the number of examples of each class, >= 1, 'mean' or None: got {per_class!r}")


def _balanced(rows: Tensor, label: Tensor, confidence: Tensor, per_class: PerClass, seed: int) -> Tensor:
    """Equally many rows of each class that occurs, the most confident first."""
    if per_class is None:
        return rows
    present = label.unique().tolist()
    count = max(1, round(len(rows) / len(present))) if per_class == "mean" else per_class
    parts = []
    for k in present:
        mine = rows[label == k][confidence[label == k].argsort(descending=True, stable=True)]
        times, rest = divmod(count, len(mine))
        if not times:
            parts.append(mine[:count])
            continue
        order = Streams(fold_in(seed, _ORDER), mine).words(1)[:, 0].argsort(stable=True)
        parts += [mine] * times + [mine[order[:rest]]]
    return torch.cat(parts)
