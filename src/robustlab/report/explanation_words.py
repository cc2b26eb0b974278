"""Answers in words to the question of the page on explanations, and next steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from robustlab.evaluation.explanations.record import Explanations, NumberResult
from robustlab.report.words import number

FEW = 32
"""Images below which the intervals of the numbers are wide."""
_MOST = 3


def answer(result: Explanations) -> tuple[str, ...]:
    """Sentences on whether the maps can be believed, what sets two models apart, and how far an attack moves maps."""
    parts = (" ".join(part) for part in (_belief(result), _apart(result), _moved(result)))
    return tuple(part for part in parts if part)


def doubted(result: Explanations) -> dict[str, tuple[str, ...]]:
    """Codes of serious findings by method, for methods that have some."""
    found: dict[str, list[str]] = {}
    for one in result.found:
        if one.method and one.finding.severity == "serious":
            found.setdefault(one.method, []).append(one.finding.code)
    return {method: tuple(dict.fromkeys(codes)) for method, codes in found.items()}


def _belief(result: Explanations) -> Iterator[str]:
    if not result.checked:
        yield "The maps were not checked, so they are not to be believed yet."
        return
    wrong, names = doubted(result), [info.name for info in result.methods]
    sound = [name for name in names if name not in wrong]
    if sound:
        yield f"No check speaks against the maps of {listed(sound)}; that does not prove them right."
    for method, codes in wrong.items():
        yield f"Do not believe those of {method}: {', '.join(codes)}."


def _apart(result: Explanations) -> Iterator[str]:
    """Numbers in which two models differ beyond chance."""
    sure = [one for one in result.differences if one.corrected < 1 - result.level]
    if len(result.models) < 2 or not result.differences:
        return
    first, second = (model.name for model in result.models)
    if not sure:
        yield f"No number sets {second} apart from {first} beyond chance."
        return
    shown = sorted(sure, key=lambda one: (one.corrected, bool(one.method)))[:_MOST]
    words = [_from_to(result, one.number, one.method) for one in shown]
    more = f", and {len(sure) - _MOST} more" if len(sure) > _MOST else ""
    yield f"From {first} to {second}, beyond chance: {'; '.join(words)}{more}."


def _from_to(result: Explanations, name: str, method: str) -> str:
    values = [number(result.result(name, method, model).mean.value, 2) for model in (0, 1)]
    return f"{name.replace('-', ' ')}{f' of {method}' if method else ''} {' to '.join(values)}"


def _moved(result: Explanations) -> Iterator[str]:
    """Change of the maps under attack."""
    if result.attack is None:
        return
    for model, info in enumerate(result.models):
        pair = [_measured(result, f"cosine-under-{cause}", model) for cause in ("attack", "noise")]
        if pair[0] is not None and pair[1] is not None:
            under, noise = (number(round(one.mean.value, 6), 2) for one in pair if one is not None)
            yield (
                f"An attack that keeps the prediction moves {result.attack.name} maps of {info.name} by a cosine "
                f"distance of {under}, random noise of the same size by {noise}."
            )


def _measured(result: Explanations, name: str, model: int) -> NumberResult | None:
    found = (one for one in result.results if (one.number, one.model) == (name, model))
    return next(found, None)


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def next_steps_for_maps(result: Explanations) -> tuple[str, ...]:
    """Sentences on what to do next, the most important first."""
    steps, wrong = [], doubted(result)
    if not result.checked:
        steps.append("Check the maps before you show them: leave out --checks none.")
    if wrong:
        steps.append(f"Show no maps of {listed([*wrong])}: the findings above are about them, not about the network.")
    if result.data.n < FEW:
        steps.append(f"Explain more images, at least {FEW}, if the intervals are wide: --limit {4 * FEW}.")
    if len(result.models) == 1:
        steps.append("Compare with another network on the same images: --compare, with a robust one say.")
    if result.attack is None:
        steps.append("Attack the maps with the prediction unchanged: --attacked 16.")
    return tuple(steps)
