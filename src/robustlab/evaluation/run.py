"""The evaluation of one model: clean, then each attack at each eps, a batch at a time, resumable after each."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from robustlab.attacks import threat_of
from robustlab.core import Model, Passes, RunError, frozen
from robustlab.core.finding import Finding
from robustlab.core.kinds import typed
from robustlab.core.modes import seed_generators
from robustlab.core.processes import Processes
from robustlab.core.user_code import model_called
from robustlab.data.file_names import file_names
from robustlab.data.wrapped import Given
from robustlab.evaluation import queries
from robustlab.evaluation.distributed import begun, home_of, team
from robustlab.evaluation.doctor.case import Case, Rival
from robustlab.evaluation.doctor.diagnose import probe_findings, strongest
from robustlab.evaluation.doctor.inputs import inspected
from robustlab.evaluation.doctor.records import record_findings
from robustlab.evaluation.gallery import FILE, candidates, select_pictures
from robustlab.evaluation.given import for_model
from robustlab.evaluation.input_checks import label_faults, logit_faults, refuse, with_finding
from robustlab.evaluation.manifest import Manifest, describe, older, searched_in
from robustlab.evaluation.plan import (
    CLEAN,
    Attacks,
    Entry,
    Kind,
    Phase,
    Settings,
    batch_seed,
    batches,
    common_threat,
    drawn,
    entries,
    rechecked,
)
from robustlab.evaluation.progress import Pace, PhaseProgress
from robustlab.evaluation.queries import Reader, Value
from robustlab.evaluation.readings import Readings
from robustlab.evaluation.record import Evaluation, TraceRecord
from robustlab.evaluation.results import assemble, completed
from robustlab.evaluation.sealed import REPORT, broken, older_result, read_result, seal
from robustlab.evaluation.shards import take_in
from robustlab.evaluation.sound import unsound
from robustlab.evaluation.stages import Part
from robustlab.evaluation.store import Columns, Cost, Store
from robustlab.evaluation.subject import Judged, Subject, subject
from robustlab.evaluation.traces import traces
from robustlab.evaluation.upgrade import SCHEMA_VERSION
from robustlab.runs.disk import disk
from robustlab.runs.identity import row_digests
from robustlab.runs.json_files import write_json
from robustlab.runs.provenance import now


class BatchResult(NamedTuple):
    """Rows, tensors and passes of one batch."""

    rows: Columns
    tensors: Mapping[str, Tensor]
    """Kept in a file; empty: no file."""
    passes: Passes


Work: TypeAlias = Callable[[Tensor], BatchResult]
T = TypeVar("T")


@typed
def evaluate(
    model: Model,
    data: Given,
    *,
    attacks: Attacks,
    eps: float | Sequence[float] | None = None,
    n: int | None = None,
    out: str | Path | None = None,
    settings: Settings | None = None,
) -> Evaluation:
    """Measures how robust a model is, and how far the measurement can be trusted.

    The model is called in eval mode and its mode is restored. Examples that it gets wrong are not attacked. An example
    that an attack fooled at a smaller eps counts as fooled at a larger one, since the larger budget allows the same
    x_adv; a random part of these is attacked all the same, and a disagreement becomes a finding. (A targeted attack
    reuses only what reached its target.) Suites such as AutoAttack are run stage by stage, each on the examples still
    robust; the first stage of the strongest attack is then traced on a few examples; the result keeps two of them.

    Args:
        model: from inputs (N, ...) to logits (N, K).
        data: labelled examples, or what ``robustlab.data.examples`` makes some of, such as (x, y) or "folder:photos";
            images of other sizes than the model takes are framed for it, and the result records that.
        attacks: in order, or by name; all with the same norm and bounds.
        eps: one or more budgets for all attacks, in input units; None: each attack's own.
        n: size of a simple random sample to be evaluated; None: all examples.
        out: run directory; if it holds the same run, unfinished, the run goes on; if it is finished, it is checked
            against its digests, and missing or damaged parts are done anew. None: nothing is kept
            beyond this process.
        settings: batch size, seed, device and so on.

    Returns: the result; the same in all processes, if several work together.

    Raises:
        ValueError: for inputs, labels or outputs that make every number meaningless, with the fault.
        RunError: the run directory cannot be written, or holds another run.
        DataError: the data set does not match its length.
    """
    settings, examples, plan = settings or Settings(), for_model(model, data), entries(attacks, eps)
    threat, readings = common_threat(plan), Readings(examples)
    ids, how = drawn(len(examples), n, settings.seed)
    settings = replace(settings, keep=settings.keep or ("gallery" if out is None else "all"))
    with torch.inference_mode(mode=False), team(out, together=settings.together) as processes:
        settings = settings if processes.first else replace(settings, progress=None)
        inspection = partial(inspected, model, readings, threat, ids=ids, seed=settings.seed)
        findings = processes.by_first(inspection) if settings.doctor else ()
        refuse(findings)
        if settings.inspected is not None:
            processes.by_first(partial(settings.inspected, findings))
        with home_of(out) as home, frozen(model, training=False), model_called():
            settings = replace(settings, search_dtype=processes.by_first(partial(searched_in, settings, model, home)))
            make = partial(subject, model, readings, threat, device=settings.device, search_dtype=settings.search_dtype)
            one = processes.each(make)
            own = processes.each(lambda: describe(one, ids, how, plan, settings))
            findings = with_finding(findings, own.unstable)
            with begun(home, own, processes, durable=out is not None) as (store, manifest):
                run = Run(one, store, plan, manifest, ids, settings, candidates(ids, manifest), processes)
                if before := processes.by_first(run.taken_up):
                    return before
                run.attack_all()
                evaluation = processes.by_first(lambda: run.concluded(findings))
    if out is None:
        weakref.finalize(evaluation, shutil.rmtree, home, ignore_errors=True)
    return evaluation


@dataclass
class Run:
    """A run in progress: model, plan, store and settings."""

    subject: Subject
    store: Store
    plan: tuple[Entry, ...]
    manifest: Manifest
    ids: Tensor
    settings: Settings
    pictured: Tensor
    """Ids of the examples whose x_adv may become pictures."""
    processes: Processes = field(default_factory=Processes)
    """Processes that share the run; the first alone reads the store, and sends the answer to the others."""

    def __post_init__(self) -> None:
        how, classes = self.settings, self.manifest.model.classes
        self.pace = Pace(self.plan, classes, how.progress, how.doctor, self.processes.count)

    def read(self, query: Callable[[Reader], T]) -> T:
        """Result of a query, the same in all processes."""
        return self.processes.by_first(lambda: query(self.store.reader))

    def taken_up(self) -> Evaluation | None:
        """The result, if the run is finished and whole; else None: damaged parts are dropped, so that they are redone.

        Raises: RunError if an older version began the run, and this one cannot go on with it.
        """
        store, manifest, damaged = self.store, self.manifest, self.store.damaged()
        if not damaged and manifest.sealed is None and (store.directory / REPORT).exists():
            if (before := older_result(manifest, store)) is not None:
                return before
        elif not damaged and self.whole():
            return read_result(store.directory, manifest)
        if manifest.schema != SCHEMA_VERSION:
            raise older(store.directory, manifest)
        store.begin(now(), damaged)
        return None

    def whole(self) -> bool:
        """Tests that the run is finished and matches its seal; pictures are made anew if nothing else is missing."""
        found = broken(self.manifest, self.store.directory, self.store.reader)
        if found == [FILE]:
            select_pictures(self.subject, self.manifest, self.store, self.ids)
            found = broken(self.manifest, self.store.directory, self.store.reader)
        return not found

    def attack_all(self) -> None:
        """Completes the run: the clean pass, then all attacks in order."""
        self.pace.resume(self.store.reader)
        self.run_phase(PhaseProgress(CLEAN, "clean", 0, 0, len(self.ids), 0), self.ids, self.answer)
        self.subject.readings.forget()
        undefined = self.read(queries.undefined_examples)
        refuse(logit_faults(undefined, len(self.ids)))
        correct = self.read(queries.correct_ids)
        for number, entry in enumerate(self.plan):
            for before, eps in zip((None, *entry.eps), entry.eps, strict=False):
                self.attack(number, eps, before, correct)

    def attack(self, number: int, eps: float, smaller: float | None, correct: Tensor) -> None:
        """Runs one attack at one eps, on the examples that it did not finish at the smaller one."""
        reused = torch.empty(0, dtype=torch.int64)
        if smaller is not None:
            targeted = self.plan[number].targeted
            self.processes.by_first(lambda: self.store.reuse(number, eps, smaller, targeted=targeted))
            reused = self.read(lambda reader: queries.reused_ids(reader, number, eps))
        self.attack_parts(number, eps, "run", _without(correct, reused))
        if smaller is not None:
            self.attack_parts(number, eps, "recheck", rechecked(reused, number, eps, self.settings.seed))

    def attack_parts(self, number: int, eps: float, kind: Kind, ids: Tensor) -> None:
        """Runs each stage and restart of an attack, on the examples that those before it left robust."""
        entry = self.plan[number]
        for place, part in enumerate(entry.parts(eps, self.settings.seed)):
            phase = Phase(number, eps, kind, part.stage, part.restart)
            left = _without(ids, self.read(partial(queries.finished_ids, phase=phase, targeted=entry.targeted)))
            at = PhaseProgress(phase, entry.name, place, 0, len(left), 0)
            self.run_phase(at, left, partial(self.fool, part, kept=kind == "run"))

    def run_phase(self, at: PhaseProgress, ids: Tensor, work: Work) -> None:
        """Goes through examples batch by batch, each process through its own; each batch is committed by itself."""
        phase, parts = at.phase, batches(ids, self.settings.batch_size)
        done = self.processes.by_first(lambda: self.store.done(phase, parts))
        left = [number for number in range(len(parts)) if number not in done]
        mine = set(left[self.processes.rank :: self.processes.count])
        self.pace.enter()

        def own() -> None:
            for number, part in enumerate(parts):
                if number in mine:
                    self.batch(phase, number, part, work)
                    done.update([number], self.taken_in(phase))
                if number in done:
                    self.report(at, number)

        def rest() -> None:
            if self.taken_in(phase):
                self.report(at, len(parts) - 1)

        self.processes.each(own)
        self.processes.by_first(rest)

    def batch(self, phase: Phase, number: int, ids: Tensor, work: Work) -> None:
        """Works on one batch."""
        seed_generators(batch_seed(self.settings.seed, number, phase))
        start = perf_counter()
        rows, tensors, passes = work(ids)
        cost = Cost(passes.forward, passes.backward, perf_counter() - start)
        self.store.commit(phase, number, rows, cost, tensors)
        self.pace.add(phase, cost)

    def taken_in(self, phase: Phase) -> list[int]:
        """The batches that the other processes have done since the last time, in the first process."""
        found: dict[int, Cost] = {}
        for rank in range(1, self.processes.count) if self.processes.first else ():
            found |= take_in(self.store, phase, rank)
        for cost in found.values():
            self.pace.add(phase, cost)
        return list(found)

    def report(self, at: PhaseProgress, last: int) -> None:
        """Reports the progress of a phase from its batches up to one."""
        if self.settings.progress is not None:
            done = queries.examples_done(self.store.reader, at.phase, last)
            self.pace.report(at._replace(done=done, fooled=self.fooled(at.phase, last)))

    def fooled(self, phase: Phase, last: int) -> int:
        """Number of examples fooled in a pass up to a batch; in the clean pass, number of wrong ones."""
        reader, size = self.store.reader, self.settings.batch_size
        if phase == CLEAN:
            last_id = int(self.ids[: (last + 1) * size][-1])
            return queries.wrong_examples(reader, last_id)
        return queries.finished_count(reader, phase, last, targeted=self.plan[phase.attack].targeted)

    def answer(self, ids: Tensor) -> BatchResult:
        """The rows of a clean batch."""
        raw = self.subject.readings.take(ids)
        batch = self.subject.placed(raw)
        answers = self.subject.answers(batch.x)
        refuse(label_faults(batch.y, self.manifest.model.classes))
        rows: dict[str, list[Value]] = {
            "id": ids.tolist(),
            "label": batch.y.tolist(),
            "prediction": answers.prediction.tolist(),
            "confidence": answers.confidence.tolist(),
            "correct": (answers.prediction == batch.y).int().tolist(),
            "digest": list(row_digests(raw)),
        }
        return BatchResult(rows, {}, Passes(forward=len(ids)))

    def fool(self, part: Part, ids: Tensor, *, kept: bool) -> BatchResult:
        """The rows and the x_adv of a batch under attack."""
        batch = self.subject.load(ids)
        before = replace(self.subject.twin.passes)
        x_adv, target = self.subject.attacked(part.attack, batch, part.seed)
        passes = self.subject.twin.passes
        spent = Passes(passes.forward - before.forward, passes.backward - before.backward)
        judged = self.subject.judged(threat_of(part.attack), batch, x_adv)
        return BatchResult(_rows(ids, judged, target), self.kept(ids, x_adv, judged.fooled) if kept else {}, spent)

    def kept(self, ids: Tensor, x_adv: Tensor, fooled: Tensor) -> dict[str, Tensor]:
        """The x_adv that go to disk: all, or only those that may become pictures."""
        if self.settings.keep == "all":
            return {"ids": ids, "x_adv": x_adv}
        rows = torch.isin(ids, self.pictured) & fooled.cpu()
        return {"ids": ids[rows], "x_adv": x_adv.cpu()[rows]} if bool(rows.any()) else {}

    def concluded(self, findings: Sequence[Finding]) -> Evaluation:
        """The result, with doctor's findings and pictures, written to the run directory.

        Raises: RunError if another program changed the outcomes meanwhile.
        """
        store = self.store
        if unsound(store.reader):
            raise RunError(
                f"the outcomes in {store.directory} were changed by another program during the run: call "
                "evaluate again to redo them"
            )
        evaluation = assemble(self.manifest, store.reader)
        found = [*findings, *record_findings(evaluation, self.plan)]
        if self.settings.doctor:
            seed_generators(batch_seed(self.settings.seed, 0, CLEAN))
            self.pace.finish(0)
            found = probe_findings(self.case(evaluation), found)
        evaluation = replace(evaluation, traces=self.traces(evaluation))
        if names := file_names(self.subject.examples, self.ids):
            store.name_files(self.ids, names)
        pictures = select_pictures(self.subject, self.manifest, store, self.ids)
        store.close_books()
        evaluation = completed(evaluation, store.reader, found, pictures)
        with disk(store.directory):
            write_json(store.directory / REPORT, evaluation.to_json(), durable=store.durable)
        seal(self.manifest, store, (REPORT, *dict.fromkeys(item.file for item in pictures)))
        self.pace.finish(1)
        return replace(evaluation, directory=store.directory)

    def traces(self, evaluation: Evaluation) -> tuple[TraceRecord, ...]:
        """Traces of the strongest attack on a few examples."""
        seed_generators(batch_seed(self.settings.seed, 1, CLEAN))
        number, reader = strongest(self.plan, evaluation), self.store.reader
        return tuple(traces(self.subject, self.plan[number], number, reader, seed=self.settings.seed))

    def case(self, evaluation: Evaluation) -> Case:
        """Case for the doctor: the strongest attack at its largest eps."""
        number = strongest(self.plan, evaluation)
        entry, reader = self.plan[number], self.store.reader
        eps = entry.eps[-1]
        fooled = {
            i: torch.isin(self.ids, queries.fooled_ids(reader, i, eps)) for i, e in enumerate(self.plan) if eps in e.eps
        }
        rivals = tuple(Rival(self.plan[i].name, self.plan[i].at(eps), fooled[i]) for i in fooled if i != number)
        right = torch.isin(self.ids, queries.correct_ids(reader))
        return Case(self.subject, entry.at(eps), self.ids, right, fooled[number], self.settings, rivals=rivals)


def _without(ids: Tensor, others: Tensor) -> Tensor:
    return ids[~torch.isin(ids, others)]


def _rows(ids: Tensor, judged: Judged, target: Tensor | None) -> dict[str, list[Value]]:
    return {
        "id": ids.tolist(),
        "fooled": judged.fooled.int().tolist(),
        "prediction": judged.answers.prediction.tolist(),
        "confidence": judged.answers.confidence.tolist(),
        "target": [None] * len(ids) if target is None else target.tolist(),
        "inside": judged.inside.int().tolist(),
        "linf": judged.linf.tolist(),
        "l2": judged.l2.tolist(),
        "l1": judged.l1.tolist(),
    }
