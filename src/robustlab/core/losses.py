"""Per-example scores of logits, larger is worse for the model, and the objectives of an attack made of them.

Logits of any size have finite scores with finite gradients: infinite ones, as those of classes that are masked, and
what is beyond a quarter of the largest number of float32 count as that, and have no gradient. NaN stays NaN, and is
refused by the searches. A model is right where the first largest logit is that of the true class: in an exact tie
the class of the lowest number wins, so that a margin of 0 is either right or wrong, and every other margin says which
by its sign.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from robustlab.core.gradients import gradient_by
from robustlab.core.kinds import typed
from robustlab.core.names import class_numbers, seen
from robustlab.core.twin import Observation, Twin, as_twin
from robustlab.core.types import Logits, Model, Scores, Stop

ScoreFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]
_LARGEST = torch.finfo(torch.float32).max / 4
_TINY = 1e-12


class Score:
    """A named function from logits (N, K) and the truth (N, ...) to scores (N,); its repr is its name."""

    def __init__(self, function: ScoreFunction, name: str = "") -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = name or getattr(function, "__name__", type(function).__name__)

    def __call__(self, logits: Logits, truth: Tensor) -> Scores:
        """One score per example (N,)."""
        return self.function(logits, truth)

    def __repr__(self) -> str:
        return self.name

    def __neg__(self) -> Score:
        """The score whose growth makes this one fall."""
        return Score(_Negated(self), f"-{self.name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Score) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)

    def __reduce__(self) -> str | tuple[type[Score], tuple[ScoreFunction, str]]:
        """Pickles by name where it was put in the place of its function, as the decorator does."""
        placed = getattr(sys.modules.get(getattr(self, "__module__", "")), self.name, None) is self
        return self.name if placed else (Score, (self.function, self.name))


@dataclass(frozen=True)
class _Negated:
    score: Score

    def __call__(self, logits: Logits, truth: Tensor) -> Scores:
        return -self.score(logits, truth)


def finite_logits(logits: Logits) -> Logits:
    """Logits in at least float32, as sums of exponentials do not fit half types; differences of any two are finite."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).clamp(-_LARGEST, _LARGEST)


def answerable(logits: Logits) -> Tensor:
    """Mask (N, K) of the classes that a model can answer: not those at -inf or the smallest number."""
    return ~(logits.detach() <= torch.finfo(logits.dtype).min / 2)  # NaN is an answer, which others refuse


def _rival(logits: Logits, y: Tensor) -> Tensor:
    """The largest logit of another class, (N,)."""
    own = class_numbers(y, len(logits)).long()[:, None]
    return logits.scatter(1, own, -torch.inf).amax(dim=1)


def _own(logits: Logits, y: Tensor) -> Tensor:
    return logits.gather(1, y.long()[:, None])[:, 0]


@Score
def cross_entropy(logits: Logits, y: Tensor) -> Scores:
    """Negative log-probability of the true class.

        -log softmax(z)_y

    Args:
        logits: (N, K), any float dtype; computed in at least float32.
        y: true labels (N,), int64.

    Returns: scores (N,), >= 0.
    """
    shares = isinstance(y, Tensor) and y.is_floating_point() and y.shape == logits.shape
    target = y if shares else class_numbers(y, len(logits)).long()
    return F.cross_entropy(finite_logits(logits), target, reduction="none")


@Score
def margin(logits: Logits, y: Tensor) -> Scores:
    """Negative margin: logit of the best wrong class minus the true one; positive means misclassified.

        max_{i != y} z_i - z_y

    Args:
        logits: (N, K), any float dtype.
        y: true labels (N,), int64.

    Returns: scores (N,), in units of the logits.
    Source: Carlini, Wagner, Towards Evaluating the Robustness of Neural Networks, S&P 2017, f_6.
    """
    wide = finite_logits(logits)
    return _rival(wide, y) - _own(wide, y)


@Score
def dlr(logits: Logits, y: Tensor) -> Scores:
    """Difference of logits ratio: the margin on a scale that does not depend on the size of the logits.

        -(z_y - max_{i != y} z_i) / (z_p1 - z_p3 + 1e-12),   z_p1 >= z_p2 >= z_p3 ...

    With two classes there is no third logit, and dividing by z_p1 - z_p2 would leave a constant: it is the margin then.
    So it is for examples where all but two classes are masked, or the first three are alike.

    Args:
        logits: (N, K), any float dtype.
        y: true labels (N,), int64.

    Returns: scores (N,); for K >= 3 in [-1, 0] where the model is right, positive where it is wrong.
    Source: Croce, Hein, Reliable Evaluation of Adversarial Robustness ..., ICML 2020, equation 6.
    """
    wide = finite_logits(logits)
    gap = _rival(wide, y) - _own(wide, y)
    return gap if wide.shape[1] < 3 else over_spread(gap, logits, 3)


def over_spread(gap: Scores, logits: Logits, places: int) -> Scores:
    """Negative margins divided by the largest logit minus the mean of those from the third place to a later one.

    Masked classes have no place. Where there is no third, or it is so close to the first that gradients would not fit
    the dtype of the logits, margins stay unchanged.

    Args:
        gap: differences of logits (N,).
        logits: (N, K), K >= 3.
        places: the last place that counts, 3 or 4; with fewer classes, what there is.
    """
    wide, there = finite_logits(logits), answerable(logits)
    best, order = wide.masked_fill(~there, -torch.inf).topk(min(places, wide.shape[1]), dim=1)
    counts = there.gather(1, order[:, 2:])
    mean = best[:, 2:].where(counts, 0).sum(dim=1) / counts.sum(dim=1).clamp_min(1)
    spread = best[:, 0].where(there.any(dim=1), 0) - mean
    most = min(torch.finfo(logits.dtype).max / 4, _LARGEST)
    usable = counts[:, 0] & (gap.abs() + spread < most * spread.square())
    return gap / (spread + _TINY).where(usable, 1)


@Score
def kl(logits: Logits, reference: Logits) -> Scores:
    """Kullback-Leibler divergence of the predicted distribution from that of reference logits.

        sum_i softmax(r)_i (log softmax(r)_i - log softmax(z)_i)

    Args:
        logits: (N, K), any float dtype.
        reference: logits r (N, K), usually of the clean input and detached.

    Returns: scores (N,), >= 0.
    """
    wide, fixed = (F.log_softmax(finite_logits(z), dim=1) for z in (logits, reference))
    return F.kl_div(wide, fixed, reduction="none", log_target=True).sum(dim=1)


@typed
def misclassified(logits: Logits, y: Tensor) -> Tensor:
    """Mask (N,) of wrong answers: the first largest logit is not that of the true class."""
    return logits.argmax(dim=1) != class_numbers(y, len(logits))


@typed
def at_target(logits: Logits, target: Tensor) -> Tensor:
    """Mask (N,) of rows whose first largest logit is that of the target class."""
    return logits.argmax(dim=1) == class_numbers(target, len(logits), "targets")


@typed
def unfinished(logits: Logits, truth: Tensor) -> Tensor:
    """Never: for objectives without a success, such as a divergence, (N,) bool."""
    del truth
    return torch.zeros(logits.shape[0], dtype=torch.bool, device=logits.device)


@typed
@dataclass(frozen=True)
class Objective:
    """Objective of an attack on one batch: a score per example, and a mask of finished examples.

    Args:
        twin: the model to search with and the user's own that decides.
        truth: what scores are computed against, (N, ...): labels, targets or reference logits.
        score: from logits and truth to scores (N,).
        finish: from logits and truth to success (N,).
        labels: the number of classes that the labels need.
        ids: names of the examples (N,), for ``watch``; None: nothing is recorded.
    """

    twin: Twin
    truth: Tensor
    score: Score
    finish: ScoreFunction
    labels: int = 0
    ids: Tensor | None = None

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and success of each row, both (N,), without gradient."""
        score, finished, _ = self._evaluated(x, with_gradient=False, confirm=True)
        return score, finished

    def gradient(self, x: Tensor, *, stop: Stop = "success") -> tuple[Tensor, Tensor, Tensor]:
        """Scores, success and the gradient of each score by its input.

        Args:
            x: inputs (N, ...).
            stop: "success": the user's own model confirms each success of the search model, which costs a forward
                pass for those; a micro-batch that is finished as a whole gets a gradient of zeros.
                "never": the search model decides about success, and every example gets its gradient.

        Returns: (N,), (N,) bool, and the shape of ``x``.
        """
        return self._evaluated(x, with_gradient=True, confirm=stop == "success")

    @property
    def unconfirmed(self) -> Objective:
        """The same without confirmation by the user's own model; ``confirmed`` does that later."""
        return replace(self, twin=replace(self.twin, model=self.twin.search))

    def confirmed(self, x: Tensor) -> Tensor:
        """Mask (N,) of the points (N, ...) that fool both the search model and the user's own."""
        everywhere = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
        parts = zip(*map(self.twin.split, (x, self.truth, everywhere)), strict=True)
        return torch.cat([self._confirmed(*part) for part in parts])

    def take(self, rows: Tensor | slice) -> Objective:
        """The objective of some of the examples; ``rows`` is a mask (N,), row numbers or a slice."""
        return replace(self, truth=self.truth[rows], ids=None if self.ids is None else self.ids[rows])

    def _evaluated(self, x: Tensor, *, with_gradient: bool, confirm: bool) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.twin.split(x)
        if len(parts) == 1:
            seen = self._averaged(x, self.truth, with_gradient=with_gradient, confirm=confirm)
        else:
            grad, found = torch.empty_like(x) if with_gradient else x, []
            for part, truth, into in zip(parts, self.twin.split(self.truth), self.twin.split(grad), strict=True):
                found.append(self._averaged(part, truth, with_gradient=with_gradient, confirm=confirm))
                if with_gradient:
                    into.copy_(found[-1].grad)
            logits, score, finished = (torch.cat([one[i] for one in found]) for i in range(3))
            seen = _Evaluated(logits, score, finished, grad)
        if self.twin.watch is not None and self.ids is not None:
            grad_seen = seen.grad if with_gradient else None
            self.twin.watch(Observation(self.ids, self.truth, x, seen.logits, seen.score, seen.finished, grad_seen))
        return seen.score, seen.finished, seen.grad

    def _averaged(self, x: Tensor, truth: Tensor, *, with_gradient: bool, confirm: bool) -> _Evaluated:
        """Means over the draws of a random model; finished if finished in every draw."""
        draws = self.twin.draws
        if draws == 1:
            return self._once(x, truth, with_gradient=with_gradient, confirm=confirm)
        seen = [self._once(x, truth, with_gradient=with_gradient, confirm=False) for _ in range(draws)]
        logits, score, grad = (torch.stack([one[i] for one in seen]).mean(dim=0) for i in (0, 1, 3))
        finished = _always([one.finished for one in seen])
        return _Evaluated(logits, score, self._confirmed(x, truth, finished) if confirm else finished, grad)

    def _once(self, x: Tensor, truth: Tensor, *, with_gradient: bool, confirm: bool) -> _Evaluated:
        with torch.set_grad_enabled(with_gradient):
            x = x.detach().requires_grad_(with_gradient)
            logits = self.twin.searched(x, self.labels)
            score = self.score(logits, truth)
        finished = self.finish(logits.detach(), truth)
        if confirm:
            finished = self._confirmed(x.detach(), truth, finished)
        if not with_gradient:
            return _Evaluated(logits, score, finished, x)
        if not score.requires_grad or (confirm and bool(finished.all())):
            return _Evaluated(logits.detach(), score.detach(), finished, torch.zeros_like(x, requires_grad=False))
        self.twin.passes.backward += x.shape[0]
        return _Evaluated(logits.detach(), score.detach(), finished, gradient_by(x, score.sum()))

    def _confirmed(self, x: Tensor, truth: Tensor, finished: Tensor) -> Tensor:
        """Keeps only the successes that the user's own model confirms."""
        if not self.twin.distinct or not bool(finished.any()):
            return finished
        rows = finished.nonzero()[:, 0]
        with torch.no_grad():
            own = _always([self.finish(self.twin(x[rows]), truth[rows]) for _ in range(self.twin.draws)])
        return finished.index_put((rows,), own)


class _Evaluated(NamedTuple):
    """Results of one pass."""

    logits: Tensor
    score: Tensor
    finished: Tensor
    grad: Tensor


def _always(draws: list[Tensor]) -> Tensor:
    """Mask (N,) of what is true in every draw."""
    return draws[0] if len(draws) == 1 else torch.stack(draws).all(dim=0)


@typed
def untargeted(model: Model, y: Tensor, score: Score = cross_entropy) -> Objective:
    """Objective of any wrong class: maximises the score of the true labels (N,)."""
    return Objective(as_twin(model), _ordinary(y), score, misclassified, classes_needed(y))


@typed
def targeted(model: Model, target: Tensor, score: Score = cross_entropy) -> Objective:
    """Objective of a target class: maximises minus the score of the target labels (N,)."""
    return Objective(as_twin(model), _ordinary(target), -score, at_target, classes_needed(target))


def _ordinary(y: Tensor) -> Tensor:
    """Labels that autograd may save, also if they come from inference mode."""
    return y.clone() if class_numbers(y).is_inference() else y


def classes_needed(y: Tensor) -> int:
    """One more than the largest label.

    Raises: ValueError if labels are not whole numbers >= 0 of shape (N,).
    """
    if class_numbers(y).dtype != torch.int64:
        raise ValueError(f"labels must be class numbers (N,) of dtype int64, got {seen(y)}: write y.long()")
    if y.numel() and int(y.min()) < 0:
        raise ValueError(f"labels must be class numbers 0..K-1, got {int(y.min())}")
    return int(y.max()) + 1 if y.numel() else 0
