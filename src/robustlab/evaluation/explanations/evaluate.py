"""The evaluation of the explanations of one model, or of two on the same images."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from robustlab.core import Model, frozen
from robustlab.core.kinds import typed
from robustlab.core.user_code import model_called
from robustlab.data.wrapped import Given
from robustlab.evaluation.distributed import home_of
from robustlab.evaluation.doctor.inputs import inspected
from robustlab.evaluation.explanations.manifest import create_or_resume_explanations, describe
from robustlab.evaluation.explanations.plan import (
    ExplanationPlan,
    ExplanationSettings,
    infos_of,
    instruments_of,
)
from robustlab.evaluation.explanations.record import Explanations, MapFinding
from robustlab.evaluation.explanations.run import ExplanationRun, try_out
from robustlab.evaluation.given import for_model
from robustlab.evaluation.input_checks import refuse
from robustlab.evaluation.plan import batches, drawn
from robustlab.evaluation.readings import Readings
from robustlab.evaluation.subject import Subject, without_search
from robustlab.runs.lock import alone


@typed
def evaluate_explanations(
    model: Model,
    data: Given,
    *,
    compare: Model | None = None,
    plan: ExplanationPlan | None = None,
    n: int | None = None,
    out: str | Path | None = None,
    settings: ExplanationSettings | None = None,
) -> Explanations:
    """Makes attribution maps of one model, or of two on the same images, and measures and checks them.

    The models are called in eval mode and left as they were. Every batch of every method is written by itself.

    Args:
        model: from images (N, C, H, W) in [0, 1] to logits (N, K).
        data: labelled images, or what ``robustlab.data.examples`` makes some of.
        compare: another model for the same images; numbers are then also compared image by image.
        plan: methods, numbers and checks; None: those of ``ExplanationPlan()``.
        n: size of a simple random sample, the same that ``evaluate`` draws; None: all images.
        out: run directory; if it holds the same run, unfinished, the run goes on; if it is finished, it is checked
            against its digests, and damaged parts are made anew. None: nothing is kept beyond this process.
        settings: batch size, seed, device and so on.

    Raises:
        ValueError: for inputs, labels or outputs that make every number meaningless, with the fault.
        RunError: the run directory cannot be written, or holds another run.
        DataError: the data set does not match its length.
    """
    how, chosen = settings or ExplanationSettings(), plan or ExplanationPlan()
    instruments = instruments_of(chosen)
    readings = Readings(for_model(model, data))
    models = [model] if compare is None else [model, compare]
    ids, words = drawn(len(readings.examples), n, how.seed)
    found = [
        MapFinding(number, "", one)
        for number, each in enumerate(models)
        for one in inspected(each, readings, ids=ids, seed=how.seed)
    ]
    findings = list({(one.finding.code, one.finding.title): one.finding for one in found}.values())
    refuse(findings)
    if how.inspected is not None:
        how.inspected(findings)
    with home_of(out) as home, _subjects(models, readings, how.device) as subjects:
        try_out(subjects, instruments, readings.read(ids[:1]), how)
        own = describe(subjects, ids, words, infos_of(instruments), how)
        if own.unstable is not None and own.unstable not in findings:
            found.append(MapFinding(0, "", own.unstable))
        with alone(home):
            manifest = create_or_resume_explanations(own, home, durable=out is not None)
            run = ExplanationRun(subjects, instruments, manifest, home, batches(ids, how.batch_size), how)
            result = run.finished() or run.concluded(run.compute(), found)
    if out is None:
        weakref.finalize(result, shutil.rmtree, home, ignore_errors=True)
    return result


@contextmanager
def _subjects(models: Sequence[Model], readings: Readings, device: str) -> Iterator[list[Subject]]:
    """The models in eval mode with the images; restored at the end."""
    with ExitStack() as stack:
        for one in models:
            stack.enter_context(frozen(one, training=False))
        stack.enter_context(model_called())
        yield [without_search(one, readings, device=device) for one in models]
