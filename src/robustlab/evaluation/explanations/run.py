"""An evaluation of explanations in progress: its parts in order, each computed once, and its result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from robustlab.core import Batch
from robustlab.evaluation.explanations.manifest import RECORD, ExplanationManifest, seal, whole
from robustlab.evaluation.explanations.parts import Part, Parts, Tensors, packed, path_of
from robustlab.evaluation.explanations.plan import ExplanationSettings, Instruments, attack_method, of_models
from robustlab.evaluation.explanations.read import result_in
from robustlab.evaluation.explanations.record import Explanations, MapFinding
from robustlab.evaluation.explanations.results import VALUES, assemble
from robustlab.evaluation.input_checks import batch_faults, label_faults, logit_faults, refuse
from robustlab.evaluation.plan import batches, ranked
from robustlab.evaluation.subject import UNDEFINED, Subject
from robustlab.explain import MapAttack, Method, Number, explain, map_stability, measure
from robustlab.explain.checks import CheckSubject, check_maps
from robustlab.runs.clock import Clock
from robustlab.runs.codec import encode
from robustlab.runs.disk import disk
from robustlab.runs.identity import row_digests
from robustlab.runs.json_files import write_json
from robustlab.runs.progress import Progress, Report

_BOUNDS = (0.0, 1.0)
_ORDER = {"serious": 0, "warning": 1, "info": 2}


@dataclass
class ExplanationRun:
    """A run that goes on.

    Args:
        subjects: one or two models in eval mode, and the images.
        instruments: methods and numbers.
        manifest: of the run.
        home: its directory.
        batches: ids of each batch.
        settings: of the run.
    """

    subjects: Sequence[Subject]
    instruments: Instruments
    manifest: ExplanationManifest
    home: Path
    batches: Sequence[Tensor]
    settings: ExplanationSettings
    _loaded: tuple[int, Batch] | None = field(default=None, init=False)
    """Number and content of the batch that was read last."""

    def __post_init__(self) -> None:
        self.parts = Parts(self.home, self.manifest.run.id)
        self.clock = Clock(self.home)

    def finished(self) -> Explanations | None:
        """The result, if the run is finished and all its files are whole."""
        with disk(self.home):
            return result_in(self.home, self.manifest) if whole(self.manifest, self.home) else None

    def plan(self) -> list[Part]:
        """All parts of the run, in order."""
        found = [part for number in range(len(self.batches)) for part in self._of_batch(number)]
        ids, how = ranked(torch.cat([*self.batches]), "gallery", self.settings.seed), self.settings
        found += self._checked_parts(ids[: how.checked].sort().values)
        found += self._attacked_parts(ids[: how.attacked].sort().values)
        shown = ids[: how.pictures].sort().values
        return [*found, Part("pictures", 0, "", 0, len(shown), partial(self._pictures, shown))]

    def _checked_parts(self, ids: Tensor) -> Iterator[Part]:
        if not self.instruments.checks or not len(ids):
            return
        for name, method in self.instruments.methods.items():
            for model in range(len(self.subjects)):
                yield Part("checks", model, name, 0, len(ids), partial(self._checks, method, model, ids))

    def _attacked_parts(self, ids: Tensor) -> Iterator[Part]:
        attack = self.instruments.attack
        if attack is None or not len(ids):
            return
        for number, some in enumerate(batches(ids, self.settings.batch_size)):
            for model in range(len(self.subjects)):
                work = partial(self._attacked, attack, model, some)
                yield Part("attacks", model, attack_method(attack), number, len(some), work)

    def _of_batch(self, number: int) -> Iterator[Part]:
        n = len(self.batches[number])
        for model in range(len(self.subjects)):
            yield Part("answers", model, "", number, n, partial(self._answers, model, number))
        methods, numbers = self.instruments.methods, of_models(self.instruments.numbers)
        for name, method in methods.items():
            for model in range(len(self.subjects)):
                yield Part("maps", model, name, number, n, partial(self._maps, method, model, number))
        measured = {
            **({"": next(iter(methods.values()))} if numbers[True] else {}),
            **(methods if numbers[False] else {}),
        }
        for name, method in measured.items():
            for model in range(len(self.subjects)):
                work = partial(self._numbers, method, numbers[not name], model, number)
                yield Part("numbers", model, name, number, n, work)

    def compute(self) -> list[Part]:
        """Computes what is missing, a part at a time; returns all parts."""
        plan, pace = self.plan(), Pace(self.settings.progress)
        pace.start([part for part in plan if self.parts.read(part.path) is None], plan)
        for part in pace.missing:
            if part is pace.missing[0]:
                self.clock.start()
            start = perf_counter()
            tensors = part.work()
            seconds = torch.tensor(perf_counter() - start, dtype=torch.float64)
            with disk(self.home):
                self.parts.write(part.path, {**tensors, "seconds": seconds})
                self.clock.keep()
            pace.done(part)
        return plan

    def loaded(self, number: int) -> Batch:
        """One batch as the data set gives it, checked."""
        if self._loaded is None or self._loaded[0] != number:
            batch = self.subjects[0].readings.read(self.batches[number])
            classes = min(model.classes for model in self.manifest.models)
            refuse([*batch_faults(batch, _BOUNDS), *label_faults(batch.y, classes)])
            self._loaded = (number, batch)
        return self._loaded[1]

    def placed(self, model: int, number: int) -> Batch:
        """One batch on the device of a model, in its precision."""
        subject, batch = self.subjects[model], self.loaded(number)
        return Batch(batch.x.to(subject.device, subject.dtype), batch.y.to(subject.device), batch.ids)

    def _answers(self, model: int, number: int) -> Tensors:
        batch = self.placed(model, number)
        answers = self.subjects[model].answers(batch.x)
        refuse(logit_faults(int((answers.prediction == UNDEFINED).sum()), len(batch.ids)))
        digests = torch.frombuffer(bytearray(b"".join(row_digests(self.loaded(number)))), dtype=torch.uint8)
        return {
            "ids": batch.ids,
            "label": batch.y,
            "prediction": answers.prediction,
            "confidence": answers.confidence,
            "digest": digests.view(len(batch.ids), -1),
        }

    def target(self, batch: Batch, model: int, number: int) -> Tensor:
        """Explained classes (N,): labels, or the recorded predictions of a model."""
        if self.settings.target == "label":
            return batch.y
        return self.parts.known(path_of("answers", model, "", number))["prediction"].to(batch.y.device)

    def _maps(self, method: Method, model: int, number: int) -> Tensors:
        batch, how = self.placed(model, number), self.settings
        found = explain(
            method,
            self.subjects[model].model,
            batch.x,
            self.target(batch, model, number),
            score=how.score,
            seed=how.seed,
            ids=batch.ids,
        )
        tensors = {"ids": batch.ids, "target": found.target, "maps": found.values}
        return tensors if found.change is None else {**tensors, "change": found.change}

    def _numbers(self, method: Method, numbers: Mapping[str, Number], model: int, number: int) -> Tensors:
        batch, how = self.placed(model, number), self.settings
        found = measure(
            method,
            self.subjects[model].model,
            batch.x,
            batch.y,
            numbers,
            target=self.target(batch, model, number),
            score=how.score,
            seed=how.seed,
            ids=batch.ids,
        )
        return {"ids": batch.ids, **{f"{VALUES}{name}": one.values for name, one in found.items()}}

    def _chosen(self, model: int, ids: Tensor) -> tuple[Batch, Tensor]:
        """Some images in the form of a model, and their explained classes."""
        subject, batch = self.subjects[model], self.subjects[0].readings.read(ids)
        batch = Batch(batch.x.to(subject.device, subject.dtype), batch.y.to(subject.device), batch.ids)
        return batch, batch.y if self.settings.target == "label" else subject.answers(batch.x).prediction

    def _checks(self, method: Method, model: int, ids: Tensor) -> Tensors:
        (batch, target), how = self._chosen(model, ids), self.settings
        own = self.subjects[model].model
        subject = CheckSubject(method, own, batch.x, target, score=how.score, seed=how.seed, ids=batch.ids)
        report = replace(check_maps(subject, [*self.instruments.checks.values()]), seconds=0.0)
        return {"ids": batch.ids, "report": packed(encode(report))}

    def _attacked(self, attack: MapAttack, model: int, ids: Tensor) -> Tensors:
        batch, target = self._chosen(model, ids)
        own = self.subjects[model].model
        found = map_stability(attack, own, batch.x, target, seed=self.settings.seed, ids=batch.ids)
        attacked = found.attacked
        return {
            "ids": batch.ids,
            "x": batch.x,
            "x_adv": attacked.x_adv,
            "target": attacked.before.target,
            "before": attacked.before.values,
            "after": attacked.after.values,
            "change": attacked.change,
            "kept": attacked.kept,
            "noise_kept": found.noise_kept,
            **{f"{VALUES}{name}-under-noise": values for name, values in found.noise.items()},
            **{f"{VALUES}{name}-under-attack": values for name, values in found.attack.items()},
        }

    def _pictures(self, ids: Tensor) -> Tensors:
        x = self.subjects[0].readings.read(ids).x if len(ids) else torch.zeros(0)
        return {"ids": ids, "x": x.mul(255).round().to(torch.uint8)}

    def concluded(self, plan: Sequence[Part], found: Sequence[MapFinding]) -> Explanations:
        """The result, written to the run directory.

        Args:
            plan: all parts, which are there.
            found: findings about models and data.
        """
        result = assemble(self.manifest, self.parts, plan)
        with disk(self.home):
            seconds, sessions = self.clock.keep()
            result = replace(
                result,
                run=replace(result.run, seconds=seconds, sessions=sessions),
                found=tuple(sorted([*found, *result.found], key=lambda one: _ORDER[one.finding.severity])),
            )
            write_json(self.home / RECORD, result.to_json(), durable=True)
            seal(self.manifest, self.home, (RECORD, *(part.path for part in plan)))
        return replace(result, directory=self.home)


def try_out(subjects: Sequence[Subject], instruments: Instruments, first: Batch, settings: ExplanationSettings) -> None:
    """Makes the map of one image by every method, and attacks it, so that what cannot be made is known at the start.

    Raises: ValueError for a method that cannot explain a model, with the reason.
    """
    for one in subjects:
        x = first.x.to(one.device, one.dtype)
        for method in instruments.methods.values():
            explain(method, one.model, x, seed=settings.seed, ids=first.ids)
        if instruments.attack is not None and settings.attacked:
            map_stability(replace(instruments.attack, steps=1), one.model, x, seed=settings.seed, ids=first.ids)


@dataclass
class Pace:
    """Progress of a run, and the time left.

    Args:
        report: called after every part; None: nothing is reported.
    """

    report: Report | None
    missing: list[Part] = field(default_factory=list, init=False)
    whole: int = field(default=0, init=False)
    """Examples of all parts."""

    def start(self, missing: list[Part], plan: Sequence[Part]) -> None:
        """Begins with the parts that are missing, of all of them."""
        self.missing, self.began = missing, perf_counter()
        self.whole = sum(part.count for part in plan)
        self.left = self.todo = sum(part.count for part in missing)

    def done(self, part: Part) -> None:
        """Counts a part, and reports the progress."""
        self.left -= part.count
        if self.report is None:
            return
        here = self.todo - self.left
        left = (perf_counter() - self.began) * self.left / here if here else math.nan
        done, detail = self.whole - self.left, f"{part.words}, batch {part.number + 1}"
        self.report(Progress(part.words, done, self.whole, "images", "", detail, done / max(1, self.whole), left))
