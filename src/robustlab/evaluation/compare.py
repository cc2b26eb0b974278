"""Paired comparison of two models on the same examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from robustlab.core import RunError
from robustlab.core.kinds import typed
from robustlab.evaluation.queries import Reader
from robustlab.evaluation.read import read_run
from robustlab.evaluation.record import WORST, Evaluation
from robustlab.evaluation.result_queries import correct, robust
from robustlab.evaluation.sealed import check_rows
from robustlab.evaluation.store import reading
from robustlab.runs.codec import encode
from robustlab.statistics.paired import mcnemar, paired_difference


@dataclass(frozen=True)
class Comparison:
    """Two models on the same examples, paired.

    ``eps`` None compares clean accuracy. ``difference`` is b minus a, with Tango's score interval for paired shares.
    """

    a: str
    b: str
    attack: str
    """Name of the attack, ``WORST``, or "clean"."""
    eps: float | None
    n: int
    both: int
    """Correct under both."""
    only_a: int
    only_b: int
    neither: int
    difference: float
    low: float
    high: float
    p_value: float
    """Exact McNemar test of "both models are equally often correct", two-sided."""
    level: float = 0.95

    def to_json(self) -> dict[str, object]:
        """Plain dict."""
        return encode(self)


@typed
def compare(a: Evaluation | str | Path, b: Evaluation | str | Path) -> tuple[Comparison, ...]:
    """Compares two evaluations of the same examples, pair by pair.

    Args:
        a: an evaluation or its run directory.
        b: the other one.

    Returns: clean accuracy first; then each attack at each eps that both have, the worst case last per eps.

    Raises:
        ValueError: other examples, or another threat.
        RunError: the outcomes of one are missing, or differ from those of the finished run.
    """
    first, second = (run if isinstance(run, Evaluation) else read_run(run) for run in (a, b))
    _same_examples(first, second)
    with reading(_home(first)) as one, reading(_home(second)) as two:
        check_rows(_home(first), one)
        check_rows(_home(second), two)
        found = [_paired(first, second, ("clean", None), (correct(one), correct(two)))]
        for eps in sorted({w.eps for w in first.worst} & {w.eps for w in second.worst}):
            for name in _common(first, second, eps):
                columns = (_robust(one, first, name, eps), _robust(two, second, name, eps))
                found.append(_paired(first, second, (name, eps), columns))
    return tuple(found)


def _same_examples(a: Evaluation, b: Evaluation) -> None:
    if a.data.sha256 != b.data.sha256:
        raise ValueError(
            f"the examples differ, {a.data.n} of {a.data.name} ({a.data.drawn}) and {b.data.n} of {b.data.name} "
            f"({b.data.drawn}): evaluate both models with the same data, n and seed"
        )
    if a.threat != b.threat:
        raise ValueError(f"the threats differ, {a.threat} and {b.threat}: evaluate both models with the same attacks")


def _home(evaluation: Evaluation) -> Path:
    if evaluation.directory is None:
        raise RunError(f"the evaluation of {evaluation.model.name} has no run directory: give the directory itself")
    return evaluation.directory


def _common(a: Evaluation, b: Evaluation, eps: float) -> list[str]:
    """Attacks that both ran at an eps, equal as values; then the worst case, if both ran the same."""
    mine, theirs = ({(i.name, i.repr) for i in e.attacks if _has(e, i.name, eps)} for e in (a, b))
    both = [i.name for i in a.attacks if (i.name, i.repr) in mine & theirs]
    return [*both, WORST] if mine == theirs and len(both) > 1 else both


def _has(evaluation: Evaluation, attack: str, eps: float) -> bool:
    return any(r.attack == attack and r.eps == eps for r in evaluation.results)


def _robust(reader: Reader, evaluation: Evaluation, attack: str, eps: float) -> torch.Tensor:
    number = None if attack == WORST else [info.name for info in evaluation.attacks].index(attack)
    return robust(reader, eps, number)


def _paired(
    a: Evaluation, b: Evaluation, what: tuple[str, float | None], columns: tuple[torch.Tensor, torch.Tensor]
) -> Comparison:
    one, two = columns
    both, only_a, only_b = (int(mask.sum()) for mask in (one & two, one & ~two, two & ~one))
    n, level = one.numel(), a.clean.accuracy.level
    difference, low, high = paired_difference(only_a, only_b, n, level)
    return Comparison(
        a=a.model.name,
        b=b.model.name,
        attack=what[0],
        eps=what[1],
        n=n,
        both=both,
        only_a=only_a,
        only_b=only_b,
        neither=n - both - only_a - only_b,
        difference=difference,
        low=low,
        high=high,
        p_value=mcnemar(only_a, only_b),
        level=level,
    )
