"""The one call that makes maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from robustlab.core import Model
from robustlab.core.kinds import typed
from robustlab.explain.case import Case, ScoreName, cases
from robustlab.explain.maps import Maps
from robustlab.explain.registry import Method, make_method


@typed
def explain(
    method: Method | str,
    model: Model,
    x: Tensor,
    target: Tensor | None = None,
    *,
    score: ScoreName = "logit",
    seed: int = 0,
    ids: Tensor | None = None,
) -> Maps:
    """Attribution maps of a model's scores; the model is left as it was.

    Args:
        method: a method, or its name.
        model: from inputs (N, ...) to logits (N, K), used in the modes it is in; its gradients by the inputs are taken.
        x: inputs (N, ...), floating point, in the units of the model.
        target: explained classes (N,); None: those that the model predicts.
        score: "logit" of the class, its "probability", "log-probability", or "margin" over the best other class.
        seed: of random draws.
        ids: names of the examples (N,), which their draws follow; None: 0..N-1.

    Returns: maps in the shape and dtype of the inputs.
    Raises: ValueError for bad inputs or targets, for a method by gradients if the model has none, and for scores,
        gradients or maps that are NaN or infinite; UserCodeError for a model that fails.
    """
    chosen = make_method(method) if isinstance(method, str) else method
    with cases(model, x, target, score=score, seed=seed, ids=ids) as parts:
        values, small = torch.empty(x.shape, dtype=x.dtype, device=x.device), []
        for rows, part in _placed(maps_of(chosen, case) for case in parts):
            values[rows] = part.values
            small.append(replace(part, values=part.values[:0].clone()))  # a view would keep the part
        return replace(Maps.joined(small), values=values)


def _placed(parts: Iterable[Maps]) -> Iterator[tuple[slice, Maps]]:
    """Maps of consecutive examples, each with its rows."""
    start = 0
    for part in parts:
        yield slice(start, start + len(part)), part
        start += len(part)


def maps_of(method: Method, case: Case) -> Maps:
    """Maps of one case.

    Raises: ValueError for a method that returns another shape than that of the inputs.
    """
    values = method(case)
    if values.shape != case.x.shape:
        raise ValueError(
            f"{name_of(method)} returned attributions {tuple(values.shape)} for inputs {tuple(case.x.shape)}: "
            "one number per input value is expected"
        )
    values, change = values.detach().to(case.x.dtype), getattr(method, "change", None)
    if not bool(values.isfinite().all()):
        raise ValueError(f"{name_of(method)} returned attributions that are NaN or infinite in {values.dtype}")
    return Maps(values, case.target, name_of(method), None if change is None else change(case))


def name_of(method: object) -> str:
    """The method as it was called, such as "SmoothGrad(draws=50, sigma=0.1)", the name for a function."""
    return getattr(method, "__name__", "") or repr(method)
