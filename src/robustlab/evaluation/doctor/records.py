"""Findings from the recorded outcomes of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robustlab.attacks.facts import gradient_free
from robustlab.core.finding import Evidence, Finding
from robustlab.core.words import budget
from robustlab.evaluation.doctor.case import LOSS
from robustlab.evaluation.doctor.search import square_improves
from robustlab.evaluation.input_checks import logit_faults
from robustlab.evaluation.plan import Entry
from robustlab.evaluation.record import AttackResult, Evaluation
from robustlab.statistics.intervals import clopper_pearson

_DISAGREEING = 0.01  # fraction of rechecked examples: far more than an iterative attack shows


def record_findings(evaluation: Evaluation, plan: Sequence[Entry]) -> Iterator[Finding]:
    """Yields findings that rest on the recorded outcomes and on the attacks that were planned."""
    yield from logit_faults(evaluation.clean.nonfinite, evaluation.data.n)
    for result in evaluation.results:
        yield from _result(result, _searches(plan, result.attack))
    for curve in evaluation.curves:
        for point in curve.points:
            if point.recheck is not None and point.recheck.disagreements:
                again = (point.recheck.disagreements, point.recheck.n)
                yield _reuse(curve.attack, point.eps, again, evaluation.clean.accuracy.level)


def _searches(plan: Sequence[Entry], attack: str) -> frozenset[str]:
    """Names of the stages of an attack that follow no gradients."""
    parts = [part for entry in plan if entry.name == attack for part in entry.parts(entry.eps[0], 0)]
    return frozenset(part.name for part in parts if gradient_free(part.attack))


def _result(result: AttackResult, searches: frozenset[str]) -> Iterator[Finding]:
    where: Evidence = {"attack": result.attack, "eps": result.eps}
    if result.nonfinite:
        yield undefined(result.nonfinite, result.attack, where)
    if result.outside:
        title = f"{result.attack} broke its budget or the bounds for {result.outside} inputs, which were refused."
        advice = "They count as not fooled: correct the attack."
        yield Finding("outside-budget", "serious", title, {**where, "outside": result.outside}, advice)
    yield from _stages(result, where, searches)


def undefined(count: int, attack: str, where: Evidence) -> Finding:
    """The model returned NaN or infinite logits under an attack."""
    title = f"The model returned NaN or infinite logits for {count} inputs under {attack}."
    advice = "They count as fooled. Find the operation that overflows, or the detector that returns NaN."
    return Finding("nan-under-attack", "serious", title, {**where, "nan": count}, advice)


def _stages(result: AttackResult, where: Evidence, searches: frozenset[str]) -> Iterator[Finding]:
    """Finding for a stage without gradients that fooled what the stages with gradients did not."""
    before = [stage for stage in result.stages if stage.stage not in searches]
    for stage in result.stages[1:]:
        at_least = clopper_pearson(stage.fooled, stage.attacked).low * stage.attacked / result.robust.n
        if before and stage.stage in searches and at_least > LOSS[0]:
            found = square_improves(stage.fooled, stage.attacked, at_least, stage.stage)
            yield Finding(found.code, found.severity, found.title, {**found.evidence, **where}, found.advice)


def _reuse(attack: str, eps: float, again: tuple[int, int], level: float) -> Finding:
    fraction = clopper_pearson(*again, level)
    return Finding(
        "reuse-disagrees",
        "warning" if fraction.low > _DISAGREEING else "info",
        f"{attack} fooled {again[0]} of {again[1]} examples at a smaller eps, but not when run again at {budget(eps)}.",
        {"attack": attack, "eps": eps, "disagreements": again[0], "n": again[1], "low": fraction.low},
        "A larger budget should never be worth less: use more steps, restarts, or an attack that adapts its steps.",
    )
