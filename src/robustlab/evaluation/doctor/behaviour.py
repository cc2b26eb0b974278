"""Probes of a model's answers, before any attack: repeated, alone, in any order, without gradients of its own.

Few passes of one batch; thresholds are relative to the largest logit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustlab.core import Batch, Model, Streams, UserCodeError, user_code
from robustlab.core.finding import Finding
from robustlab.core.modes import in_training
from robustlab.core.twin import checked_logits
from robustlab.statistics.paired import mcnemar

SURE = 1e-3
"""p-value below which another treatment of the inputs certainly changes how often the model is right."""
_RUNS = 5  # of the same batch
_REPEATED_ON = 32  # examples of these runs
_SINGLES = 4  # examples that are also given alone
_REPEATED = 1e-4  # of the largest logit: more than the rounding of one batch run twice
_REGROUPED = 1e-3  # of the largest logit: more than the rounding of other batch sizes; wider for half precision
_FEW = 1e-6  # chance below which labels certainly leave classes out
_LABEL = 0x0BE4


@dataclass(frozen=True)
class Answered:
    """A model, in eval mode, with its answer to a batch."""

    model: Model
    batch: Batch
    logits: Tensor

    @property
    def scale(self) -> float:
        """The largest logit, as a unit for differences."""
        return max(float(self.logits.abs().nan_to_num(0.0, 0.0).amax()), torch.finfo(self.logits.dtype).tiny)

    def answer(self, x: Tensor) -> Tensor:
        """Logits of the model for inputs (N, ...).

        Raises: UserCodeError if it fails.
        """
        return checked_logits(user_code.model_output(self.model, x), x)

    def correct(self, x: Tensor | None = None) -> Tensor:
        """Correctness of the batch's examples, or of other inputs for them, (N,) bool."""
        logits = self.logits if x is None else self.answer(x)
        return logits.argmax(dim=1) == self.batch.y


def behaviours(answered: Answered, names: int) -> Iterator[Finding]:
    """Faults of the model's answers; ``names`` is the number of classes of the data."""
    yield from _probabilities(answered)
    yield from _optimising(answered)
    yield from _unsteady(answered)
    yield from _class_count(answered, names)


def _probabilities(answered: Answered) -> Iterator[Finding]:
    logits = answered.logits.double()
    if bool((logits >= 0).all() and ((logits.sum(dim=1) - 1).abs() < 1e-3).all()):
        yield Finding(
            "probabilities-for-logits",
            "serious",
            "The model returns probabilities, not logits: gradients through a second softmax vanish and attacks fail.",
            {"n": len(logits), "largest": float(logits.max())},
            "Leave out the softmax at the end of the model.",
        )


def _optimising(answered: Answered) -> Iterator[Finding]:
    """Finding for a backward pass inside the forward pass: it has to fetch tensors that were saved for it."""
    fetched = 0

    def unpack(saved: Tensor) -> Tensor:
        nonlocal fetched
        fetched += 1
        return saved

    x = answered.batch.x[:_SINGLES]
    try:
        with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, unpack):
            answered.answer(x)
    except UserCodeError as error:
        if "saved tensor hooks" not in str(error):  # that is how torch.func's gradients say that they are at work
            raise
        fetched += 1
    if fetched:
        yield Finding(
            "optimisation-at-inference",
            "serious",
            "The model computes gradients while it answers: it optimises something for each input.",
            {"tensors_fetched": fetched, "n": len(x)},
            "Gradients through its answer miss what it does: attack the model without that step, and try what is found "
            "on the whole (robustlab.attacks.Transfer), or without gradients.",
        )


def _unsteady(answered: Answered) -> Iterator[Finding]:
    """Finding for answers to one input that change when it is repeated, or in another batch."""
    again = _repeated(answered) / answered.scale
    if again > _REPEATED:
        yield Finding(
            "random-outputs",
            "serious",
            "The model answers the same inputs differently each time: one run of an attack says little.",
            {"difference": again, "threshold": _REPEATED, "runs": _RUNS},
            "Switch the randomness off, or attack the mean over many draws: robustlab.attacks.EOT, as "
            "robustlab.evaluation.adaptive does.",
        )
        return
    apart, allowed = _company(answered) / answered.scale, _REGROUPED * _coarseness(answered.logits.dtype)
    if apart > allowed:
        yield _cause(answered, apart, allowed)


def _repeated(answered: Answered) -> float:
    """The largest change of a logit over runs of one batch; a model that counts its calls is caught by its first."""
    x = answered.batch.x[:_REPEATED_ON]
    first = answered.answer(x)
    return max(_differ(answered.answer(x), first) for _ in range(_RUNS - 1))


def _company(answered: Answered) -> float:
    """The largest change of a logit when inputs are given alone, or with others and in another order."""
    x, n = answered.batch.x, len(answered.batch.x)
    shuffled = _shuffled(answered.batch)
    half = torch.arange(n - 1, -1, -1, device=x.device)[: max(1, n // 2)]
    found = [_differ(answered.answer(x[rows]), answered.logits[rows]) for rows in (shuffled, half)]
    try:
        found += [_differ(answered.answer(x[i : i + 1]), answered.logits[i : i + 1]) for i in range(min(_SINGLES, n))]
    except UserCodeError as error:
        if not isinstance(error.__cause__, ValueError | RuntimeError):
            raise
        return float("inf")  # BatchNorm in training mode refuses a single example
    return max(found)


def _shuffled(batch: Batch) -> Tensor:
    order: Tensor = Streams(_LABEL, batch.ids).words(1)[:, 0].argsort(stable=True)
    return order.to(batch.x.device)


def _cause(answered: Answered, apart: float, allowed: float) -> Finding:
    """Cause of answers that depend on the batch: the order of its labels, its statistics, or another."""
    difference: dict[str, float | int | str] = {"difference": apart, "threshold": allowed}
    leak = _label_order(answered)
    if leak is not None:
        return leak
    layers = _batch_norms(answered.model)
    if layers:
        return Finding(
            "training-mode-batchnorm",
            "serious",
            f"{layers} BatchNorm layer{'s' if layers > 1 else ''} normalise by the batch even in eval mode: the answer "
            "to an input depends on the other inputs in its batch.",
            {**difference, "layers": layers},
            "Let train(False) reach every layer, call no train() in forward, and keep running statistics.",
        )
    return Finding(
        "batch-dependence",
        "serious",
        "The answer to an input depends on the other inputs in its batch, or on its place among them.",
        difference,
        "Remove code that mixes examples, and normalisation by the batch.",
    )


def _batch_norms(model: Model) -> int:
    """Number of BatchNorm layers that normalise by the batch though the model is in eval mode."""
    parts = model.modules() if isinstance(model, nn.Module) else []
    return sum(isinstance(part, _BatchNorm) and (in_training(part) or part.running_mean is None) for part in parts)


def _label_order(answered: Answered) -> Finding | None:
    """Finding for a model that is right more often if the order of the batch shows the labels (exact McNemar test).

    Compared with a shuffled batch are: the order of the data, sorted by label, and the labels in turn.
    """
    shuffled, n = _shuffled(answered.batch), len(answered.batch.y)
    base = _right(answered, shuffled)
    for name, order in _orders(answered.batch.y).items():
        ordered = _right(answered, order)
        gained, lost = int((ordered & ~base).sum()), int((base & ~ordered).sum())
        if mcnemar(lost, gained) < SURE:
            return Finding(
                "label-order-leak",
                "serious",
                f"The model sees the labels in the order of the batch: {int(ordered.sum())} of {n} are right "
                f"{name}, {int(base.sum())} shuffled.",
                {"ordered": int(ordered.sum()), "shuffled": int(base.sum()), "n": n},
                "Each answer must come from its own input alone: remove code that uses neighbours in the batch.",
            )
    return None


def _orders(y: Tensor) -> dict[str, Tensor]:
    by_label = y.argsort(stable=True)
    turns = torch.zeros_like(y)
    for label in y.unique():
        rows = y == label
        turns[rows] = torch.arange(int(rows.sum()), device=y.device)
    in_turn = (turns * (int(y.max()) + 1) + y).argsort(stable=True)
    return {"sorted by label": by_label, "with labels in turn": in_turn, "in the order given": torch.arange(len(y))}


def _right(answered: Answered, order: Tensor) -> Tensor:
    """Correctness of the examples when the batch is in another order, (N,) bool, in the order of the batch."""
    hits = answered.answer(answered.batch.x[order]).argmax(dim=1) == answered.batch.y[order]
    return torch.empty_like(hits).index_copy_(0, order.to(hits.device), hits)


def _class_count(answered: Answered, names: int) -> Iterator[Finding]:
    """Finding for classes of the model that the data certainly lacks, or of the data that the model lacks."""
    classes, n = answered.logits.shape[1], len(answered.batch.y)
    most = min(names, classes)
    left_out = names < classes and (most / classes) ** n < _FEW
    if not left_out and names <= classes:
        return
    yield Finding(
        "class-count",
        "warning",
        f"The model has {classes} classes, the data {names}.",
        {"classes": classes, "data": names, "n": n},
        "Any wrong class counts as a success, and targets are chosen among the model's: give a model for these classes,"
        " or keep only their logits.",
    )


def _differ(a: Tensor, b: Tensor) -> float:
    """Largest difference; NaN in the same place is none."""
    gap = (a - b).abs().nan_to_num(float("inf"))
    return float(gap.masked_fill(a.isfinite().logical_not() & b.isfinite().logical_not(), 0.0).amax())


def _coarseness(dtype: torch.dtype) -> float:
    return max(1.0, float((torch.finfo(dtype).eps / torch.finfo(torch.float32).eps) ** 0.5))
