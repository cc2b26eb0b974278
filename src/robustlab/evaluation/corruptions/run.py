"""A run under corruptions in progress: its batches, its answers and its result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, Protocol
from zlib import crc32

import torch
from torch import Tensor

from robustlab.core import Batch, RunError, fold_in
from robustlab.core.finding import Finding
from robustlab.core.modes import seed_generators
from robustlab.evaluation.corruptions.answers import (
    CLEAN,
    FILE,
    AllAnswers,
    BatchAnswers,
    Parts,
    read_answers,
    write_answers,
)
from robustlab.evaluation.corruptions.baseline import Baseline
from robustlab.evaluation.corruptions.corrupted_set import Cell, CorruptedSets, pure
from robustlab.evaluation.corruptions.gallery import FILE as PICTURES
from robustlab.evaluation.corruptions.gallery import select_pictures
from robustlab.evaluation.corruptions.manifest import RECORD, RECORD_V1, CorruptionManifest, seal
from robustlab.evaluation.corruptions.plan import CorruptionSettings
from robustlab.evaluation.corruptions.record import CorruptionEvaluation
from robustlab.evaluation.corruptions.results import assemble
from robustlab.evaluation.input_checks import batch_faults, label_faults, logit_faults, refuse
from robustlab.evaluation.read import read_corruptions
from robustlab.evaluation.subject import UNDEFINED, Subject
from robustlab.runs.clock import Clock
from robustlab.runs.disk import disk
from robustlab.runs.identity import row_digests
from robustlab.runs.json_files import write_json
from robustlab.runs.progress import Progress, Report

_BOUNDS = (0.0, 1.0)
_BYTES = 64 << 20  # of images that wait for the model, at least one cell for each thread
_ORDER = {"serious": 0, "warning": 1, "info": 2}


class Images(NamedTuple):
    """Images of one batch in one cell, ready for the model."""

    x: Tensor
    ids: Tensor
    seconds: float
    """Time to make the images."""


class Workers(Protocol):
    """Calls a function for each of several cells, in their order; perhaps several at a time."""

    def __call__(self, work: Callable[[Cell], Images], cells: Sequence[Cell], /) -> Iterable[Images]:
        """The results, in the order of the cells."""


@contextmanager
def workers(sets: CorruptedSets, device: torch.device) -> Iterator[Workers]:
    """As many threads as torch has, one cell each, where images are made by our own corruptions on a CPU.

    Corruptions are many small operations: threads inside each of them would wait for each other most of the time.
    Corruptions of users may not be safe in several threads, and are called in one.
    """
    count, ours = torch.get_num_threads(), all(map(pure, sets.cells.values()))
    if count == 1 or device.type != "cpu" or not ours:
        yield lambda work, cells: map(work, cells)
        return
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield lambda work, cells: list(pool.map(work, cells))
    finally:
        torch.set_num_threads(count)


@dataclass
class CorruptionRun:
    """A run that goes on.

    Args:
        subject: the model in eval mode, and the examples of the first set.
        sets: the corrupted images.
        manifest: of the run.
        home: its directory.
        batches: ids of each batch.
        settings: how to evaluate.
        baseline: the errors that corruption errors are divided by, and the phrase for reports.
    """

    subject: Subject
    sets: CorruptedSets
    manifest: CorruptionManifest
    home: Path
    batches: Sequence[Tensor]
    settings: CorruptionSettings
    baseline: tuple[Baseline | None, str]

    def __post_init__(self) -> None:
        clean = [CLEAN] if self.sets.clean is not None else []
        self.cells: list[Cell] = [*clean, *self.sets.cells]
        self.parts = Parts(self.home, self.batches, self.cells[0], self.manifest.run.id)
        self.clock = Clock(self.home)

    def answers(self) -> AllAnswers:
        """Answers of the model in all cells: read, or computed where they are missing."""
        if (known := self.known()) is not None:
            return known
        self.clock.start()
        pace = Pace(self.settings.progress, sum(map(len, self.batches)), len(self.cells))
        with workers(self.sets, self.subject.device) as work:
            for number, ids in enumerate(self.batches):
                missing = self.parts.missing(self.cells, number)
                pace.known((len(self.cells) - len(missing)) * len(ids))
                if missing:
                    self.batch(number, missing, pace, work)
        self.subject.readings.forget()
        found = self.parts.everything(self.cells)
        with disk(self.home):
            write_answers(self.home, found, self.manifest.run.id)
        return found

    def known(self) -> AllAnswers | None:
        """The answers of a run that has all of them; None if they are not there, damaged, or of another run."""
        sealed = self.manifest.sealed
        if not (self.home / FILE).exists():
            return None
        try:
            found = read_answers(self.home, self.cells, self.manifest.run.id, signed=sealed is not None)
            if sealed is None:  # an older version's: the result must follow from it
                before = read_corruptions(self.home)
                drawn = assemble(self.manifest, found, baseline=(None, ""), subsets={}, level=self.settings.level)
                same = _counted(before) == _counted(drawn) and torch.equal(found.ids, torch.cat([*self.batches]))
                return found if same else None
        except (RunError, KeyError):
            return None
        return found

    def batch(self, number: int, cells: Sequence[Cell], pace: Pace, work: Workers) -> None:
        """Classifies one batch in some cells; each cell is written by itself.

        First images of several cells are made, by all threads; then the model runs, with all threads, too.
        """
        clean = self.subject.readings.take(self.batches[number])
        refuse([*batch_faults(clean, _BOUNDS), *label_faults(clean.y, self.manifest.model.classes)])
        placed = clean._replace(x=clean.x.to(self.subject.device))
        together = max(torch.get_num_threads(), _BYTES // max(1, placed.x.numel() * placed.x.element_size()))
        for some in (cells[start : start + together] for start in range(0, len(cells), together)):
            for cell, made in zip(some, work(partial(self.made, placed), some), strict=True):
                found = self.classify(cell, number, made)
                if cell == self.cells[0]:
                    digests = torch.frombuffer(bytearray(b"".join(row_digests(clean))), dtype=torch.uint8)
                    found = found._replace(label=clean.y, digest=digests.view(len(clean.y), -1))
                with disk(self.home):
                    self.parts.write(cell, number, found)
                    self.clock.keep()
                pace.add(cell, float((found.prediction == clean.y).double().mean()), len(clean.y))

    def made(self, clean: Batch, cell: Cell) -> Images:
        """The images of one batch in one cell."""
        start = perf_counter()
        batch = clean if cell == CLEAN else self.sets.batch(cell, clean)
        if batch is not clean:
            refuse(batch_faults(batch, _BOUNDS))
        return Images(batch.x, clean.ids.cpu(), perf_counter() - start)

    def classify(self, cell: Cell, number: int, made: Images) -> BatchAnswers:
        """Answers of the model to one batch in one cell."""
        start = perf_counter()
        seed_generators(fold_in(self.settings.seed, crc32(cell[0].encode()), cell[1], number))
        answers = self.subject.answers(made.x.to(self.subject.device, self.subject.dtype))
        seconds = made.seconds + perf_counter() - start
        return BatchAnswers(made.ids, answers.prediction.cpu(), answers.confidence.float().cpu(), seconds)

    def concluded(self, found: AllAnswers, findings: Sequence[Finding]) -> CorruptionEvaluation:
        """The result, with findings and pictures, written to the run directory."""
        settings, manifest = self.settings, self.manifest
        result = assemble(manifest, found, baseline=self.baseline, subsets=settings.subsets, level=settings.level)
        first = found.prediction[self.cells[0]]
        every = [*findings, *logit_faults(int((first == UNDEFINED).sum()), len(first))]
        refuse(every)
        gallery = select_pictures(self.sets, found, manifest, self.home)
        with disk(self.home):
            seconds, sessions = self.clock.keep()
            result = replace(
                result,
                run=replace(result.run, seconds=seconds, sessions=sessions),
                findings=tuple(sorted(every, key=lambda finding: _ORDER[finding.severity])),
                gallery=gallery,
            )
            write_json(self.home / RECORD, result.to_json(), durable=True)
            seal(self.manifest, self.home, (FILE, PICTURES, RECORD))
            (self.home / RECORD_V1).unlink(missing_ok=True)
            self.parts.remove()
        return replace(result, directory=self.home)


def _counted(result: CorruptionEvaluation) -> list[object]:
    """Numbers that follow from the answers alone."""
    clean = result.clean.confusion if result.clean is not None else None
    return [clean, *((cell.accuracy.count, cell.mean_confidence) for cell in result.cells)]


@dataclass
class Pace:
    """Progress of a run, and the time left.

    Args:
        report: called after every batch of every cell; None: nothing is reported.
        images: to be evaluated.
        cells: that each image is classified in.
    """

    report: Report | None
    images: int
    cells: int
    answered: int = field(default=0, init=False)
    """Answers so far, those of earlier sessions among them."""
    here: int = field(default=0, init=False)
    """Answers of this session."""

    def __post_init__(self) -> None:
        self.start = perf_counter()

    def known(self, answers: int) -> None:
        """Counts answers of earlier sessions."""
        self.answered += answers

    def add(self, cell: Cell, accuracy: float, answers: int) -> None:
        """Counts answers, and reports the progress."""
        self.answered, self.here = self.answered + answers, self.here + answers
        whole = self.images * self.cells
        left = (whole - self.answered) * (perf_counter() - self.start) / self.here if self.here else math.nan
        if self.report is not None:
            done, (name, severity) = self.answered // self.cells, cell
            where = f"{name} {severity}" if severity else name
            detail = f"{where}: {accuracy:.0%} right, {done}/{self.images} images"
            fraction, metrics = self.answered / whole, {"severity": float(severity), "accuracy": accuracy}
            self.report(Progress(name, done, self.images, "images", "", detail, fraction, left, metrics))
