"""Logits and gradients of a subject, which some checks compare its maps with."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robustlab.core import Logits, frozen, own_twin
from robustlab.explain.case import ScoreName
from robustlab.explain.checks.registry import CheckSubject
from robustlab.explain.gradient import Gradient


def logits_of(subject: CheckSubject) -> Logits:
    """Logits (N, K) of the user's own model."""
    with torch.no_grad(), frozen(subject.model):
        twin = own_twin(subject.model, subject.x)
        return torch.cat([twin(part) for part in twin.split(subject.x)])


def gradients_of(subject: CheckSubject, score: ScoreName) -> Tensor:
    """Gradients of a score at the inputs (N, ...)."""
    return replace(subject, method=Gradient(), score=score).again().values
