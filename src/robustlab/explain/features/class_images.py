"""Images of classes: what a network takes for a class, by a targeted attack with a large budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from torch import Tensor

from robustlab.attacks import PGD
from robustlab.core import Logits, Model, Score, Scores, ThreatModel
from robustlab.core.kinds import typed
from robustlab.explain.case import ScoreName, class_score


@typed
def class_images(
    model: Model,
    target: Tensor,
    start: Tensor,
    threat: ThreatModel,
    *,
    steps: int = 60,
    step_size: float | None = None,
    score: ScoreName = "log-probability",
) -> Tensor:
    """Images that a network is sure of, by steps of steepest ascent of the score of a class within a large ball.

    The images of a robust network look like the class, those of a standard one like the start. On a linear model the
    result is ``start + eps * steepest(w)`` for the slope w of the score, cut to the bounds.

    Args:
        model: from inputs (N, ...) to logits (N, K), used in the modes it is in; it is left as it was.
        target: a class for each image (N,), int64.
        start: first images (N, ...): noise, ``class_seeds``, or images of other classes.
        threat: norm, eps and bounds, around the start; in L2, eps is usually some tenths of the size of an image.
        steps: number of steps.
        step_size: length of each; None: 2.5 * eps / steps.
        score: that grows, as in ``explain``.

    Returns: (N, ...), exactly within eps of the start and within the bounds.
    Raises: ValueError for inputs or targets that do not fit; UserCodeError for a model that fails.

    Source: Santurkar et al., Image Synthesis with a Single (Robust) Classifier, NeurIPS 2019, section 3.1; Engstrom et
    al., Adversarial Robustness as a Prior for Learned Representations, 2019.
    """
    if score not in get_args(ScoreName):
        raise ValueError(f"score must be one of {', '.join(get_args(ScoreName))}, got {score!r}")
    attack = PGD(threat, steps, step_size, random_start=False, score=-Score(_OfClass(score), score))
    return attack(model, start, target, target=target, stop="never")


@dataclass(frozen=True)
class _OfClass:
    """Score of ``explain`` as one of an attack."""

    score: ScoreName

    def __call__(self, logits: Logits, truth: Tensor) -> Scores:
        return class_score(logits, truth, self.score)
