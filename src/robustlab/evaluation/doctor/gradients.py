"""Probes of the gradient that attacks follow: its presence, the place where it is lost, and its direction.

Every probe works on clean examples that the model gets right, and follows the user's own model. In this order:

1. The gradient of the cross-entropy is *lost* at an example if all its values are 0, NaN, or too small to be normal
   numbers of their type (for half types: 0 or NaN).
2. Where it is lost, the margin over the spread of the logits, on a scale that neither saturates nor underflows, is
   tried. If its gradient is there, the logits are at fault: "saturated-softmax" where the cross-entropy is exactly 0
   (logits too large, as by a temperature far below 1), "gradient-underflow" where it is not (logits too small).
3. If that is lost too, the gradient at the input of the first layer with weights is computed. If it is there,
   something in front of the weights destroys it, such as JPEG or fewer bits: "shattered-gradients". If not, something
   among them does, such as a rounding layer: "zero-gradients".
4. Where it is not lost, it must lead upwards: a short step along it is compared with one of the same size in a random
   direction. If the margin often grows more in the random direction, it is the gradient of something else, such as a
   smooth stand-in for JPEG that does not follow it: "shattered-gradients" as well.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.attacks.transfer import first_weights
from robustlab.core import Batch, Model, Score, Streams, cross_entropy, margin, untargeted
from robustlab.core.finding import Evidence, Finding
from robustlab.core.gradients import gradient_by
from robustlab.core.losses import answerable, finite_logits
from robustlab.evaluation.doctor.case import ROBUST, Case, may_be_chance

_SMALLEST = 1e-37  # spread of logits that still has a reciprocal in float32
_STEP = 0.1  # of eps: length of the step along the gradient
_OUTRUN = 0.2  # share of examples at which a random direction may be better than the gradient by chance
_LABEL = 0x5A77


@Score
def relative_margin(logits: Tensor, y: Tensor) -> Tensor:
    """The margin over the spread of the logits, which is taken as fixed; masked classes do not count.

        (max_{i != y} z_i - z_y) / (max_i z_i - min_i z_i)

    Args:
        logits: (N, K), any float dtype.
        y: true labels (N,), int64.

    Returns: scores (N,) in [-1, 1], on the same scale however large or small the logits are (float32: above 1e-37).
    """
    fixed = finite_logits(logits.detach())
    spread = fixed.amax(dim=1) - fixed.where(answerable(logits), torch.inf).amin(dim=1)
    return margin(logits, y) / spread.clamp_min(_SMALLEST)


class _Slope(NamedTuple):
    """Scores of some examples and their gradients."""

    score: Tensor
    grad: Tensor

    @property
    def lost(self) -> Tensor:
        """True where the gradient is lost, (N,) bool."""
        kind = torch.finfo(self.grad.dtype)
        least = kind.smallest_normal if kind.bits >= 32 else 0.0
        size = self.grad.flatten(1).abs().amax(dim=1)
        return ~(size >= least) | (size == 0)


def gradients(case: Case) -> Finding | None:
    """Finding for gradients that cannot be followed, with the cause; see the top of this file."""
    batch = case.clean
    if batch is None:
        return None
    plain = _slope(case, batch, cross_entropy)
    if may_be_chance(int(plain.lost.sum()), len(batch.y), ROBUST):
        return _astray(case, batch, plain)
    scaled = _slope(case, batch, relative_margin)
    lost, gone = plain.lost, plain.lost & scaled.lost
    evidence: Evidence = {"zero": int(lost.sum()), "n": len(batch.y)}
    if 2 * int(gone.sum()) > int(lost.sum()):
        return _destroyed(case, batch, gone, evidence)
    flat = lost & (plain.score == 0)
    return _saturated(evidence) if 2 * int(flat.sum()) > int(lost.sum()) else _underflow(evidence)


def no_gradients(case: Case) -> Finding | None:
    """Finding for a model without gradients, such as a black box; for evaluations whose attacks need none."""
    if case.clean is None:
        return None
    try:
        _slope(case, Batch(case.clean.x[:1], case.clean.y[:1], case.clean.ids[:1]), cross_entropy)
    except (ValueError, RuntimeError) as error:
        return Finding(
            "no-gradients",
            "warning",
            f"The model gives no gradients ({error}): only attacks that need none could be run.",
            {},
            "They find less than attacks with gradients: attack the torch model itself, or craft on a surrogate.",
        )
    return None


def _slope(case: Case, batch: Batch, score: Score) -> _Slope:
    found, _, grad = untargeted(case.own, batch.y, score).gradient(batch.x, stop="never")
    return _Slope(found, grad)


def _saturated(evidence: Evidence) -> Finding:
    return Finding(
        "saturated-softmax",
        "serious",
        f"Logits are so large that the softmax is 1 and the cross-entropy without gradient at {evidence['zero']} of "
        f"{evidence['n']} inputs: attacks that follow it stay there.",
        evidence,
        "Take the temperature away, or attack the scores margin or dlr, which do not saturate; so does "
        "robustlab.evaluation.adaptive.",
    )


def _underflow(evidence: Evidence) -> Finding:
    return Finding(
        "gradient-underflow",
        "serious",
        f"Logits are so small that gradients underflow at {evidence['zero']} of {evidence['n']} inputs, though the "
        "logits separate the classes.",
        evidence,
        "Do not divide the logits, use double precision, or attack the margin over the spread of the logits, as "
        "robustlab.evaluation.adaptive does.",
    )


def _destroyed(case: Case, batch: Batch, gone: Tensor, evidence: Evidence) -> Finding:
    """No score has a gradient at the input; the gradient at the first weights shows where it is lost."""
    behind = _behind(case.subject.model, batch._replace(x=batch.x[gone], y=batch.y[gone]))
    if behind is not None and 2 * int((~behind.lost).sum()) > len(behind.score):
        return Finding(
            "shattered-gradients",
            "serious",
            f"What the model does to its input before the first weights leaves no gradient at {evidence['zero']} of "
            f"{evidence['n']} inputs.",
            evidence,
            "Preprocessing such as JPEG or fewer bits is no defence: attack straight through it "
            "(robustlab.attacks.StraightThrough), by transfer and without gradients, as robustlab.evaluation.adaptive "
            "does.",
        )
    return Finding(
        "zero-gradients",
        "serious",
        f"The gradient of every score is exactly 0 at {evidence['zero']} of {evidence['n']} inputs: attacks that "
        "follow it stay there.",
        evidence,
        "Remove rounding, thresholds and detached parts of the model, or attack it without gradients or by transfer, "
        "as robustlab.evaluation.adaptive does.",
    )


def _behind(model: Model, batch: Batch) -> _Slope | None:
    """The margin's slope at the input of the first layer with weights; None if there is no such layer."""
    seen: list[Tensor] = []

    def leaf(x: Tensor) -> Tensor:
        seen.append(x.detach().clone().requires_grad_(x.is_floating_point()))
        return seen[-1]

    with torch.enable_grad(), first_weights(model, leaf):
        score = relative_margin(model(batch.x), batch.y)
    if not seen or not seen[0].requires_grad or not score.requires_grad or seen[0].shape[0] != len(batch.y):
        return None
    return _Slope(score.detach(), gradient_by(seen[0], score.sum()))


def _astray(case: Case, batch: Batch, plain: _Slope) -> Finding | None:
    """Finding for a random direction that is often better than the gradient (exact lower bound above 20 %)."""
    norm, (low, high) = case.threat.norm, case.threat.bounds
    eps = case.threat.eps if isinstance(case.threat.eps, float) else max(case.threat.eps)
    drawn = Streams(case.settings.seed, batch.ids).fork(_LABEL).normal(batch.x.shape[1:]).to(batch.x)
    goal = untargeted(case.own, batch.y, margin)
    along, other = (
        goal((batch.x + _STEP * eps * norm.steepest(direction)).clamp(low, high))[0]
        for direction in (plain.grad, drawn)
    )
    better = int((other > along)[~plain.lost].sum())
    n = int((~plain.lost).sum())
    if may_be_chance(better, n, _OUTRUN):
        return None
    return Finding(
        "shattered-gradients",
        "serious",
        f"At {better} of {n} inputs a short step in a random direction gains more than one along the gradient.",
        {"better": better, "n": n, "step": _STEP * eps},
        "The gradient is not that of the answer, as with preprocessing such as JPEG or gradients written by hand:"
        " attack through it, by transfer and without gradients, as robustlab.evaluation.adaptive does.",
    )
