"""The evaluation of one classifier of texts under attack."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from robustlab.core.kinds import typed
from robustlab.core.user_code import model_called
from robustlab.evaluation.distributed import home_of
from robustlab.evaluation.plan import drawn
from robustlab.evaluation.store import opened
from robustlab.evaluation.text.findings import check_labels, inspect
from robustlab.evaluation.text.given import aligned, as_text_data
from robustlab.evaluation.text.instruments import instruments, recipes_of
from robustlab.evaluation.text.manifest import create_or_resume_texts, describe
from robustlab.evaluation.text.plan import TextSettings, planned
from robustlab.evaluation.text.record import TextEvaluation
from robustlab.evaluation.text.run import TextRun
from robustlab.text import TextRecipe
from robustlab.text.victims import victim as as_victim


@typed
def evaluate_text(
    victim: object,
    data: object,
    *,
    recipes: Sequence[TextRecipe | str],
    n: int | None = None,
    out: str | Path | None = None,
    settings: TextSettings | None = None,
) -> TextEvaluation:
    """Measures how robust a classifier of texts is, and how far the measurement can be trusted.

    Texts that the victim gets wrong are skipped. All recipes share the memory of scored texts. Where data and victim
    name the same classes in another order, the labels are renumbered as the victim's.

    Args:
        victim: anything that ``robustlab.text.victim`` takes.
        data: (texts, labels), or anything that has texts and labels, such as ``robustlab.data.movie_sentences()``.
        recipes: attacks, as values or by name, in order.
        n: size of a simple random sample to be evaluated; None: all texts.
        out: run directory; if it holds the same run, unfinished, the run goes on; if it is finished, it is checked
            against its digests, and damaged parts are done anew. None: nothing is kept beyond this process.
        settings: seed, query budget and so on.

    Raises:
        ValueError: for texts, labels or answers that make every number meaningless, with the fault.
        RunError: the run directory cannot be written, or holds another run.
    """
    given, how = as_text_data(data), settings or TextSettings()
    attacks, versions = recipes_of(recipes)
    how, plan = replace(how, resources={**versions, **how.resources}), planned(attacks)
    ids, words = drawn(len(given), n, how.seed)
    with model_called():
        subject = as_victim(victim)
        given = aligned(given, subject.labels)
        check_labels(subject, given, ids.tolist())
        findings = inspect(subject, given, ids.tolist(), how.seed) if how.doctor else ()
        if how.inspected is not None:
            how.inspected(findings)
        own = describe(subject, given, ids.tolist(), words, plan, how)
        with home_of(out) as home, opened(home, durable=out is not None) as store:
            manifest = create_or_resume_texts(own, store)
            run = TextRun(subject, given, ids, plan, store, manifest, how, instruments(how.meaning))
            if before := run.taken_up():
                return before
            run.attack_all()
            evaluation = run.concluded(findings)
    if out is None:
        weakref.finalize(evaluation, shutil.rmtree, home, ignore_errors=True)
    return evaluation
