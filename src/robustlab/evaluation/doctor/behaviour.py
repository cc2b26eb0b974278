"""Probes of how a model answers, before any attack: the same twice, alone, in any order, without side business.

Few passes of one batch; thresholds are relative to the largest logit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustlab.core import Batch, Model, Streams, UserCodeError, user_code
from robustlab.core.modes import in_training
from robustlab.core.twin import checked_logits
from robustlab.evaluation.record import Finding
from robustlab.statistics.paired import mcnemar

SURE = 1e-3
"""p-value below which another treatment of the inputs certainly changes how often the model is right."""
_RUNS = 5  # of the same batch
_REPEATED_ON = 32  # examples that are asked so often
_SINGLES = 4  # examples that are also asked alone
_REPEATED = 1e-4  # of the largest logit: more than the rounding of one batch run twice
_REGROUPED = 1e-3  # of the largest logit: more than the rounding of other batch sizes; wider for half precision
_FEW = 1e-6  # chance below which labels certainly leave classes out
_LABEL = 0x0BE4


@dataclass(frozen=True)
class Asked:
    """A model, in eval mode, with its answer to a batch."""

    model: Model
    batch: Batch
    logits: Tensor

    @property
    def scale(self) -> float:
        """The largest logit, as a unit for differences."""
        return max(float(self.logits.abs().nan_to_num(0.0, 0.0).amax()), torch.finfo(self.logits.dtype).tiny)

    def answer(self, x: Tensor) -> Tensor:
        """What the model says to inputs (N, ...).

        Raises: UserCodeError if it fails.
        """
        return checked_logits(user_code.asked(self.model, x), x)

    def correct(self, x: Tensor | None = None) -> Tensor:
        """Which of the batch's examples, or of other inputs for them, the model gets right, (N,) bool."""
        logits = self.logits if x is None else self.answer(x)
        return logits.argmax(dim=1) == self.batch.y


def behaviours(asked: Asked, names: int) -> Iterator[Finding]:
    """What is wrong with how the model answers; ``names`` is the number of classes that the data knows."""
    yield from _probabilities(asked)
    yield from _optimising(asked)
    yield from _unsteady(asked)
    yield from _class_count(asked, names)


def _probabilities(asked: Asked) -> Iterator[Finding]:
    logits = asked.logits.double()
    if bool((logits >= 0).all() and ((logits.sum(dim=1) - 1).abs() < 1e-3).all()):
        yield Finding(
            "probabilities-for-logits",
            "serious",
            "The model returns probabilities, not logits: gradients through a second softmax vanish and attacks fail.",
            {"n": len(logits), "largest": float(logits.max())},
            "Leave out the softmax at the end of the model.",
        )


def _optimising(asked: Asked) -> Iterator[Finding]:
    """Whether a backward pass runs inside the forward pass: it has to fetch tensors that were saved for it."""
    fetched = 0

    def unpack(saved: Tensor) -> Tensor:
        nonlocal fetched
        fetched += 1
        return saved

    x = asked.batch.x[:_SINGLES]
    try:
        with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(lambda saved: saved, unpack):
            asked.answer(x)
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


def _unsteady(asked: Asked) -> Iterator[Finding]:
    """Whether the same input gets the same answer again, and in other company."""
    again = _repeated(asked) / asked.scale
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
    apart, allowed = _company(asked) / asked.scale, _REGROUPED * _coarseness(asked.logits.dtype)
    if apart > allowed:
        yield _cause(asked, apart, allowed)


def _repeated(asked: Asked) -> float:
    """The largest change of a logit over runs of one batch; a model that counts its calls is caught by its first."""
    x = asked.batch.x[:_REPEATED_ON]
    first = asked.answer(x)
    return max(_differ(asked.answer(x), first) for _ in range(_RUNS - 1))


def _company(asked: Asked) -> float:
    """The largest change of a logit when inputs are asked alone, or with others and in another order."""
    x, n = asked.batch.x, len(asked.batch.x)
    shuffled = _shuffled(asked.batch)
    half = torch.arange(n - 1, -1, -1, device=x.device)[: max(1, n // 2)]
    found = [_differ(asked.answer(x[rows]), asked.logits[rows]) for rows in (shuffled, half)]
    try:
        found += [_differ(asked.answer(x[i : i + 1]), asked.logits[i : i + 1]) for i in range(min(_SINGLES, n))]
    except UserCodeError as error:
        if not isinstance(error.__cause__, ValueError | RuntimeError):
            raise
        return float("inf")  # BatchNorm in training mode refuses a single example
    return max(found)


def _shuffled(batch: Batch) -> Tensor:
    order: Tensor = Streams(_LABEL, batch.ids).words(1)[:, 0].argsort(stable=True)
    return order.to(batch.x.device)


def _cause(asked: Asked, apart: float, allowed: float) -> Finding:
    """Why answers depend on the batch: the order of its labels, statistics of the batch, or something else."""
    difference: dict[str, float | int | str] = {"difference": apart, "threshold": allowed}
    leak = _label_order(asked)
    if leak is not None:
        return leak
    norms = _batch_norms(asked.model)
    if norms:
        return Finding(
            "training-mode-batchnorm",
            "serious",
            f"{norms} BatchNorm layer{'s' if norms > 1 else ''} normalise by the batch even in eval mode: the answer to"
            " an input depends on the other inputs in its batch.",
            {**difference, "layers": norms},
            "Let train(False) reach every layer, call no train() in forward, and keep running statistics.",
        )
    return Finding(
        "batch-dependence",
        "serious",
        "The answer to an input depends on the other inputs in its batch, or on its place among them.",
        difference,
        "Look for code that mixes examples, and for normalisation by the batch.",
    )


def _batch_norms(model: Model) -> int:
    """How many BatchNorm layers normalise by the batch, the model being asked for eval mode."""
    parts = model.modules() if isinstance(model, nn.Module) else []
    return sum(isinstance(part, _BatchNorm) and (in_training(part) or part.running_mean is None) for part in parts)


def _label_order(asked: Asked) -> Finding | None:
    """Whether the model is more often right when the batch is in an order that tells labels (exact McNemar test).

    Compared with a shuffled batch are: the order of the data, sorted by label, and the labels in turn.
    """
    shuffled, n = _shuffled(asked.batch), len(asked.batch.y)
    base = _right(asked, shuffled)
    for name, order in _orders(asked.batch.y).items():
        ordered = _right(asked, order)
        gained, lost = int((ordered & ~base).sum()), int((base & ~ordered).sum())
        if mcnemar(lost, gained) < SURE:
            return Finding(
                "label-order-leak",
                "serious",
                f"The model sees the labels in the order of the batch: {int(ordered.sum())} of {n} are right "
                f"{name}, {int(base.sum())} shuffled.",
                {"ordered": int(ordered.sum()), "shuffled": int(base.sum()), "n": n},
                "Each answer must come from its own input alone: look for code that uses neighbours in the batch.",
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


def _right(asked: Asked, order: Tensor) -> Tensor:
    """Which examples are right when the batch is in another order, (N,) bool, in the order of the batch."""
    hits = asked.answer(asked.batch.x[order]).argmax(dim=1) == asked.batch.y[order]
    return torch.empty_like(hits).index_copy_(0, order.to(hits.device), hits)


def _class_count(asked: Asked, names: int) -> Iterator[Finding]:
    """Whether the model has classes that the data certainly lacks, or lacks some that it has."""
    classes, n = asked.logits.shape[1], len(asked.batch.y)
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
