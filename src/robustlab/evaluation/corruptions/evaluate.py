"""The evaluation of one model under corruptions: each image is read once, corrupted in memory, and classified."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from robustlab.core import Model, frozen
from robustlab.core.kinds import typed
from robustlab.core.user_code import model_called
from robustlab.data import CorruptedCopies
from robustlab.data.wrapped import Given
from robustlab.evaluation.corruptions.corrupted_set import CorruptedSets, Corruptions, corrupted_sets, ready_made
from robustlab.evaluation.corruptions.manifest import create_or_resume_corruptions, describe
from robustlab.evaluation.corruptions.plan import CorruptionSettings, check_subsets, fitting, normaliser
from robustlab.evaluation.corruptions.record import CorruptionEvaluation
from robustlab.evaluation.corruptions.run import CorruptionRun
from robustlab.evaluation.distributed import home_of
from robustlab.evaluation.doctor.inputs import inspected
from robustlab.evaluation.given import for_model
from robustlab.evaluation.input_checks import refuse, with_finding
from robustlab.evaluation.plan import batches, drawn
from robustlab.evaluation.readings import Readings
from robustlab.evaluation.subject import without_search
from robustlab.runs.lock import alone


@typed
def evaluate_corruptions(
    model: Model,
    data: Given | CorruptedSets,
    *,
    corruptions: Corruptions | None = None,
    severities: Sequence[int] | None = None,
    n: int | None = None,
    out: str | Path | None = None,
    settings: CorruptionSettings | None = None,
) -> CorruptionEvaluation:
    """Measures the accuracy of a model on images corrupted as by weather, a camera or a file format.

    The model is called in eval mode and its mode is restored. Each image is read once, corrupted in memory and never
    written. Draws follow the numbers of the examples, so that images are the same whatever the batch size.

    Args:
        model: from images (N, C, H, W) in [0, 1] to logits (N, K).
        data: labelled images, or what ``robustlab.data.examples`` makes some of; or images that were corrupted before,
            such as ``load("imagenet-c:PATH")`` (``ready_made`` adds the clean ones).
        corruptions: by name, or own ones by the names that reports shall use; None: the 15 of the benchmark, or all
            that there are of those corrupted before.
        severities: of 1 to 5; None: all.
        n: size of a simple random sample to be evaluated, the same that ``evaluate`` draws; None: all examples.
        out: run directory; if it holds the same run, unfinished, the run goes on. None: nothing is kept beyond this
            process.
        settings: batch size, seed, device and so on.

    Raises:
        ValueError: for inputs, labels or outputs that make every number meaningless, with the fault.
        RunError: the run directory cannot be written, or holds another run.
        DataError: the data set does not match its length.
    """
    settings = settings or CorruptionSettings()
    data = ready_made(data) if isinstance(data, CorruptedCopies) else data
    sets = (
        data.only(corruptions, severities)
        if isinstance(data, CorruptedSets)
        else corrupted_sets(
            for_model(model, data), corruptions, severities, variant=settings.variant, seed=settings.seed
        )
    )
    ids, how = drawn(len(sets.examples), n, settings.seed)
    check_subsets(settings.subsets, ids)
    readings = Readings(sets.examples)
    sets.check_sizes(readings.shape)
    sets = sets.with_versions(readings.shape)
    findings = inspected(model, readings, ids=ids, seed=settings.seed)
    refuse(findings)
    if settings.inspected is not None:
        settings.inspected(findings)
    with home_of(out) as home, frozen(model, training=False), model_called():
        one = without_search(model, readings, device=settings.device)
        settings = replace(settings, batch_size=settings.batch_size or fitting(readings.shape))
        own = describe(one, sets, ids, how, settings)
        findings = with_finding(findings, own.unstable)
        baseline = normaliser(settings.baseline, sets, own.data.shape)
        with alone(home):
            manifest = create_or_resume_corruptions(own, home, durable=out is not None)
            run = CorruptionRun(one, sets, manifest, home, batches(ids, settings.batch_size), settings, baseline)
            evaluation = run.concluded(run.answers(), findings)
    if out is None:
        weakref.finalize(evaluation, shutil.rmtree, home, ignore_errors=True)
    return evaluation
