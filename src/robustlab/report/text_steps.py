"""Next steps after an evaluation on texts: the few that would change its result most."""

from __future__ import annotations

from collections.abc import Sequence

from robustlab.evaluation.text.record import TextEvaluation
from robustlab.report.words import number, percent

WIDE = 0.03
"""Half the width of an interval above which more examples are worth their time."""
MANY = 0.1
"""Fraction of successes that change the meaning above which stronger constraints are advised."""


def next_steps_on_texts(evaluations: Sequence[TextEvaluation]) -> tuple[str, ...]:
    """Sentences on what to do next, the most important first."""
    steps = [step for e in evaluations for rule in (_trust, _meaning, _instruments, _more) for step in rule(e)]
    if len(evaluations) == 1:
        steps.append("Compare with another classifier on the same texts: robustlab text compare RUN OTHER-RUN.")
    steps.append("Let people judge some of the successes: robustlab text export RUN --judgements judgements.csv.")
    return tuple(dict.fromkeys(steps))


def _trust(e: TextEvaluation) -> list[str]:
    serious = [f for f in e.findings if f.severity == "serious"]
    codes = ", ".join(dict.fromkeys(f.code for f in serious))
    return (
        [f"Resolve the serious findings before quoting the numbers ({codes}): {serious[0].advice}"] if serious else []
    )


def _meaning(e: TextEvaluation) -> list[str]:
    return [
        f"Decide whether {one.recipe} is an attack: {percent(audit.value)} of its successes change the meaning. "
        "A constraint on opinion words or on sentence similarity leaves them out."
        for one in e.results
        if (audit := one.audit.either or one.audit.turned or one.audit.apart) and audit.value > MANY
    ]


def _instruments(e: TextEvaluation) -> list[str]:
    return (
        [f"Measure the meaning of the successes: {'; '.join(e.meaning.missing)}, then the same command again."]
        if (e.meaning.missing)
        else []
    )


def _more(e: TextEvaluation) -> list[str]:
    half = (e.worst.high - e.worst.low) / 2
    if not half > WIDE or e.data.n == e.data.population:
        return []
    more = min(e.data.population, 4 * e.data.n)
    halved = half * (e.data.n / more) ** 0.5
    return [
        f"Evaluate more texts where a difference of {number(100 * half, 2)} points matters: --limit {more} brings the "
        f"interval to about {number(100 * halved, 2)} points either way."
    ]
