"""A run of attacks on texts in progress: clean pass, then each recipe, a batch at a time, resumable after each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter

import torch

from robustlab.core import RunError
from robustlab.core.finding import Finding
from robustlab.evaluation.plan import CLEAN, Phase, batches
from robustlab.evaluation.queries import Value
from robustlab.evaluation.result_queries import text_rows, unlike_clean
from robustlab.evaluation.results import distinct
from robustlab.evaluation.sealed import REPORT, broken, result_of, seal
from robustlab.evaluation.sound import unsound
from robustlab.evaluation.store import Audit, Columns, Cost, Store, TextCost
from robustlab.evaluation.text.findings import record_findings
from robustlab.evaluation.text.gallery import gallery
from robustlab.evaluation.text.given import TextData, edits_from, text_digest, text_from, text_json
from robustlab.evaluation.text.manifest import TextManifest
from robustlab.evaluation.text.meaning import Meaning
from robustlab.evaluation.text.plan import TextSettings, phase_of
from robustlab.evaluation.text.record import MeaningInfo, TextEvaluation
from robustlab.evaluation.text.results import assemble
from robustlab.runs.disk import disk
from robustlab.runs.json_files import write_json
from robustlab.runs.progress import Progress
from robustlab.runs.provenance import now
from robustlab.text import AttackSettings, Driver, TextOutcome, TextRecipe, Victim, attack


@dataclass
class TextRun:
    """A run that goes on.

    Args:
        victim: the classifier.
        data: all labelled texts.
        ids: of those to be attacked.
        recipes: the attacks, under unique names.
        store: of the run.
        manifest: of the run.
        settings: of the run.
        meaning: instruments of the meaning audit.
    """

    victim: Victim
    data: TextData
    ids: torch.Tensor
    recipes: Sequence[TextRecipe]
    store: Store
    manifest: TextManifest
    settings: TextSettings
    meaning: Meaning
    _done: int = field(default=0, init=False)
    """Examples of all passes that are done."""

    def __post_init__(self) -> None:
        self.driver = Driver(self.victim)
        self.parts = batches(self.ids, self.settings.batch_size)

    def taken_up(self) -> TextEvaluation | None:
        """The result, if the run is finished and whole; else None: damaged parts are dropped, so that they are redone.

        A finished run whose meaning can be measured better now is concluded anew from its rows.
        """
        store, damaged = self.store, self.store.damaged()
        if not damaged and not broken(self.manifest, store.directory, store.reader):
            before = result_of(store.directory, self.manifest, TextEvaluation.from_json)
            now_known = meaning_info(self.meaning)
            if before.meaning == now_known or _less(now_known, before.meaning):
                return before
        store.begin(now(), damaged)
        return None

    def attack_all(self) -> None:
        """Completes the run: the clean pass, then all recipes in order."""
        self.run_phase("clean", CLEAN, self.answer)
        for number, recipe in enumerate(self.recipes):
            self.run_phase(recipe.name, phase_of(number), partial(self.attacked, recipe))

    def run_phase(self, name: str, phase: Phase, work: Callable[[Sequence[int]], Columns]) -> None:
        """Goes through the examples batch by batch; each batch is committed by itself."""
        done = self.store.done(phase, self.parts)
        for number, part in enumerate(self.parts):
            if number not in done:
                before, start = self.driver.spent, perf_counter()
                rows = work(part.tolist())
                after = self.driver.spent
                seconds = (after.victim_seconds - before.victim_seconds, after.service_seconds - before.service_seconds)
                spent = TextCost(after.texts - before.texts, *seconds)
                cost = Cost(spent.texts, 0, perf_counter() - start)
                self.store.commit(phase, number, rows, cost, spent=None if phase == CLEAN else spent)
            self._done += len(part)
            self.report(name, Progress(name, self.of(number), len(self.ids), "texts"))

    def of(self, number: int) -> int:
        """Examples in the batches up to one."""
        return min((number + 1) * self.settings.batch_size, len(self.ids))

    def report(self, name: str, at: Progress, more: int = 0) -> None:
        """Reports the progress of a pass, and the finished fraction of the whole run."""
        if self.settings.progress is not None:
            whole = len(self.ids) * (len(self.recipes) + 1)
            self.settings.progress(at._replace(task=name, overall=(self._done + more) / max(1, whole)))

    def answer(self, ids: Sequence[int]) -> Columns:
        """The rows of a clean batch."""
        texts, labels = [self.data.texts[i] for i in ids], [int(self.data.labels[i]) for i in ids]
        found = self.driver.rows(texts)
        predictions = found.argmax(axis=1).tolist()
        return {
            "id": [*ids],
            "label": [*labels],
            "prediction": [*predictions],
            "confidence": [float(row[p]) for row, p in zip(found, predictions, strict=True)],
            "correct": [int(p == label) for p, label in zip(predictions, labels, strict=True)],
            "digest": [text_digest(text, label) for text, label in zip(texts, labels, strict=True)],
        }

    def attacked(self, recipe: TextRecipe, ids: Sequence[int]) -> Columns:
        """The rows of a batch under one recipe."""
        how = self.settings

        def progress(at: Progress) -> None:
            self.report(recipe.name, at._replace(total=len(self.ids)), int(at.done))

        found = attack(
            self.victim,
            [self.data.texts[i] for i in ids],
            [int(self.data.labels[i]) for i in ids],
            recipe,
            target=None if how.target is None else [how.target] * len(ids),
            ids=ids,
            settings=AttackSettings(
                seed=how.seed,
                queries=how.queries,
                field=how.field,
                segment=how.segment,
                driver=self.driver,
                progress=progress if how.progress is not None else None,
            ),
        )
        return _columns(found)

    def concluded(self, findings: Sequence[Finding]) -> TextEvaluation:
        """The result, with audit, findings and gallery, written to the run directory.

        Raises: RunError if another program changed the outcomes meanwhile.
        """
        store, reader = self.store, self.store.reader
        if unsound(reader):
            raise RunError(
                f"the outcomes in {store.directory} were changed by another program during the run: call "
                "evaluate_text again to redo them"
            )
        store.put_audits(list(self.audits()))
        evaluation = assemble(self.manifest, reader, meaning_info(self.meaning))
        more = record_findings(evaluation, unlike_clean(reader)) if self.settings.doctor else ()
        found = distinct([*findings, *more])
        evaluation = replace(evaluation, findings=found, gallery=tuple(gallery(self.manifest, reader)))
        store.close_books()
        with disk(store.directory):
            write_json(store.directory / REPORT, evaluation.to_json(), durable=store.durable)
        seal(self.manifest, store, (REPORT,))
        return replace(evaluation, directory=store.directory)

    def audits(self) -> Iterator[Audit]:
        """Change of the meaning by each successful attack, as far as there are instruments."""
        if self.meaning.opinion is None and self.meaning.similarity is None:
            return
        for number in range(len(self.recipes)):
            rows = [row for row in text_rows(self.store.reader, number) if row[1] == "successful"]
            pairs = [(self.attacked_field(row[12]), self.attacked_field(row[13])) for row in rows]
            close: Sequence[float | None] = [None] * len(rows)
            if self.meaning.similarity is not None and pairs:
                close = [round(float(one), 6) for one in self.meaning.similarity(pairs)]
            for row, (original, _), similarity in zip(rows, pairs, close, strict=True):
                turned = self.meaning.turned(original, edits_from(row[14]), self.settings.segment)
                yield Audit(number, int(row[0]), None if turned is None else int(turned), similarity)

    def attacked_field(self, recorded: str) -> str:
        """The attacked field of a recorded text."""
        text = text_from(recorded)
        return text if isinstance(text, str) else text[self.settings.field]


def meaning_info(meaning: Meaning) -> MeaningInfo:
    """Instruments of the audit, for the record."""
    return MeaningInfo(
        opinion=meaning.opinion_version if meaning.opinion is not None else "",
        encoder=meaning.encoder_version if meaning.similarity is not None else "",
        bound=meaning.bound,
        missing=meaning.missing,
    )


def _less(one: MeaningInfo, other: MeaningInfo) -> bool:
    """Tests whether one of two sets of instruments has less than the other."""
    return (
        (bool(one.opinion), bool(one.encoder)) != (True, True)
        and bool(one.opinion) <= bool(other.opinion)
        and (bool(one.encoder) <= bool(other.encoder))
    )


def _columns(outcomes: Sequence[TextOutcome]) -> dict[str, list[Value]]:
    return {
        "id": [one.id for one in outcomes],
        "status": [one.status for one in outcomes],
        "label": [one.label for one in outcomes],
        "target": [one.target for one in outcomes],
        "before": [one.before for one in outcomes],
        "prediction": [one.prediction for one in outcomes],
        "confidence": [one.confidence for one in outcomes],
        "score": [one.score for one in outcomes],
        "requested": [one.requested for one in outcomes],
        "sent": [one.sent for one in outcomes],
        "changed": [one.changed for one in outcomes],
        "words": [one.words for one in outcomes],
        "original": [text_json(one.original) for one in outcomes],
        "adversarial": [text_json(one.adversarial) for one in outcomes],
        "edits": [json.dumps(one.edits) for one in outcomes],
    }
