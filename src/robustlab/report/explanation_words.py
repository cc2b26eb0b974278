"""Answers in words to the question of the page on explanations, and next steps."""

from __future__ import annotations

from robustlab.evaluation.explanations.record import Explanations


def answer(result: Explanations) -> str:
    """A few sentences on whether the maps can be believed."""
    del result
    return ""


def next_steps_for_maps(result: Explanations) -> tuple[str, ...]:
    """Sentences on what to do next, the most important first."""
    del result
    return ()
