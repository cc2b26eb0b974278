"""Next steps after an evaluation: the few that would change its result most."""

from __future__ import annotations

from collections.abc import Sequence

from robustlab.core.kinds import typed
from robustlab.evaluation.corruptions.record import CorruptionEvaluation
from robustlab.evaluation.record import Evaluation
from robustlab.report.words import number

WIDE = 0.03
"""Half the width of an interval above which more examples are worth their time."""
MASKED = {
    *("zero-gradients", "shattered-gradients", "no-gradients", "gradient-underflow", "saturated-softmax"),
    *("random-outputs", "optimisation-at-inference", "square-improves", "black-box-beats-white-box"),
    *("transfer-beats-white-box", "noise-as-good", "unbounded-attack-fails"),
}
"""Findings after which an attack made for the model is the next step."""


@typed
def next_steps(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """Sentences on what to do next, the most important first.

    Args:
        evaluations: of all models on the page.
    """
    steps = [step for rule in (_trust, _whole_suite, _more_examples, _standard) for step in rule(evaluations)]
    if len(evaluations) == 1:
        steps += _after_one()
    return tuple(dict.fromkeys(steps))


def next_steps_under_corruptions(evaluations: Sequence[CorruptionEvaluation], *, attacked: bool) -> tuple[str, ...]:
    """Sentences on what to do after an evaluation under corruptions.

    Args:
        evaluations: of all models on the page.
        attacked: whether the page also has results under attack.
    """
    steps = _trust(evaluations)
    first = evaluations[0]
    hardest = min(first.cells, key=lambda cell: cell.accuracy.value, default=None)
    if hardest is not None and len(evaluations) == 1:
        worst = f"{hardest.corruption.replace('_', ' ')} at severity {hardest.severity}"
        steps.append(
            f"Decide whether {worst}, where the model is worst, occurs where it will be used; if so, train for it: "
            "robustlab train --recipe augmix, or any recipe with --corruptions."
        )
    if not attacked:
        steps.append(
            "Measure robustness under attack as well, which corruptions say little about: robustlab evaluate, "
            "then robustlab report with both runs."
        )
    return tuple(steps)


def _trust(evaluations: Sequence[Evaluation | CorruptionEvaluation]) -> list[str]:
    serious = [f for e in evaluations for f in e.findings if f.severity == "serious"]
    if not serious:
        return []
    codes = ", ".join(dict.fromkeys(f.code for f in serious))
    steps = [f"Resolve the serious findings before quoting the numbers ({codes}): {serious[0].advice}"]
    if any(f.code in MASKED for f in serious):
        steps.append(
            "Run the attack that the findings recommend, with the same --data and --eps: "
            "robustlab doctor MODEL --adaptive."
        )
    return steps


def _whole_suite(evaluations: Sequence[Evaluation]) -> list[str]:
    if any(a.left_out for e in evaluations for a in e.attacks):
        return ["Run the whole suite before publishing the number: the same command without --quick."]
    return []


def _more_examples(evaluations: Sequence[Evaluation]) -> list[str]:
    for e in evaluations:
        robust = e.worst[-1].robust if e.worst else e.clean.accuracy
        half = (robust.high - robust.low) / 2
        if half > WIDE and e.data.n < e.data.population:
            more = min(e.data.population, 4 * e.data.n)
            halved = half * (e.data.n / more) ** 0.5
            return [
                f"Evaluate more examples where a difference of {number(100 * half, 2)} points matters: "
                f"--limit {more} brings the interval to about {number(100 * halved, 2)} points either way."
            ]
    return []


def _standard(evaluations: Sequence[Evaluation]) -> list[str]:
    if any(e.attacks and not any("AutoAttack" in a.repr for a in e.attacks) for e in evaluations):
        return ["Run AutoAttack standard (leave out --attack), by which published robust accuracies are compared."]
    return []


def _after_one() -> list[str]:
    return [
        "Look at the fooled examples: outcomes.csv has a line for each, with file, stage and size of the change.",
        "Compare with another model on the same examples: robustlab compare RUN OTHER-RUN, a paired test.",
        "Make the model more robust: robustlab train --robust from nothing, or robustlab finetune from weights.",
    ]
