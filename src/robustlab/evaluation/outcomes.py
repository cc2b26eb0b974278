"""Outcome of every example of a finished run, one row per attack and eps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from robustlab.core import RunError
from robustlab.core.kinds import typed
from robustlab.evaluation.manifest import Manifest, read_manifest
from robustlab.evaluation.queries import Reader
from robustlab.evaluation.result_queries import outcome_rows, stages_up_to
from robustlab.evaluation.sealed import check_rows
from robustlab.evaluation.store import reading

Kind: TypeAlias = Literal["misclassified", "fooled", "robust"]


class Outcome(NamedTuple):
    """One example under one attack at one eps."""

    id: int
    """Number in the data set."""
    file: str
    """Path of its file; empty where the data are no files."""
    label: int
    label_name: str
    clean_prediction: int
    """Class of the unmodified input; -1: logits not finite."""
    clean_confidence: float
    attack: str
    eps: float
    outcome: Kind
    """"misclassified": wrong without any attack; "fooled": wrong under this one; "robust": right under it."""
    stage: str
    """Stage or restart in which it was fooled; empty otherwise."""
    prediction: int
    """Class of the adversarial input, of the unmodified one where the example was not attacked."""
    prediction_name: str
    confidence: float
    target: int | None
    linf: float
    """Size of the perturbation in input units; NaN where the example was not attacked. Likewise l2 and l1."""
    l2: float
    l1: float


@typed
def outcomes_of(directory: str | Path) -> Iterator[Outcome]:
    """Reads the outcomes of a run.

    Args:
        directory: of the run.

    Yields: a row per example, attack and eps: by attack, then eps, then id.
    Raises: RunError if the directory holds no run, or its outcomes are missing or were changed.
    """
    home = Path(directory)
    manifest = read_manifest(home)
    with reading(home) as reader:
        check_rows(home, reader)
        for number, budgets in enumerate(manifest.eps):
            for eps in budgets:
                yield from _cell(reader, manifest, number, eps)


def _cell(reader: Reader, manifest: Manifest, number: int, eps: float) -> Iterator[Outcome]:
    """The rows of one attack at one eps."""
    stages = _stage_names(reader, manifest, number, eps)
    for row in outcome_rows(reader, number, eps):
        yield _outcome(row, manifest, manifest.attacks[number].name, eps, stages)


def _stage_names(reader: Reader, manifest: Manifest, number: int, eps: float) -> dict[tuple[int, int], str]:
    """Names of the stages of an attack by (stage, restart), also of those that a smaller eps did."""
    return dict(zip(stages_up_to(reader, number, eps), manifest.parts[number], strict=False))


def _outcome(
    row: tuple[object, ...], manifest: Manifest, attack: str, eps: float, stages: dict[tuple[int, int], str]
) -> Outcome:
    id_, file, label, before, sure_before, correct, fooled, stage, restart, after, sure, target, *sizes = row
    attacked = fooled is not None
    kind: Kind = "misclassified" if not correct else "fooled" if fooled else "robust"
    prediction = after if attacked else before
    linf, l2, l1 = map(_number, sizes)
    return Outcome(
        id=_whole(id_),
        file=str(file),
        label=_whole(label),
        label_name=_class(manifest, label),
        clean_prediction=_whole(before),
        clean_confidence=_number(sure_before),
        attack=attack,
        eps=eps,
        outcome=kind,
        stage=stages.get((_whole(stage), _whole(restart)), attack) if kind == "fooled" else "",
        prediction=_whole(prediction),
        prediction_name=_class(manifest, prediction),
        confidence=_number(sure if attacked else sure_before),
        target=None if target is None else _whole(target),
        linf=linf,
        l2=l2,
        l1=l1,
    )


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else -1


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _class(manifest: Manifest, number: object) -> str:
    names = manifest.data.classes
    return names[number] if isinstance(number, int) and 0 <= number < len(names) else ""


def frame_of(directory: Path | None) -> object:
    """All outcomes as a pandas frame, or as a list of dicts where pandas is not installed.

    Raises: RunError if there is no run directory.
    """
    if directory is None:
        raise RunError("this evaluation has no run directory, so it has no rows: read it with read_run(directory)")
    rows = [outcome._asdict() for outcome in outcomes_of(directory)]
    try:
        import pandas
    except ImportError:
        return rows
    return pandas.DataFrame(rows, columns=list(Outcome._fields))
