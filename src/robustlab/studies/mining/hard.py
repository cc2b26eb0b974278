"""Hard examples, and other examples for comparison."""

from __future__ import annotations

import torch
from torch import Tensor

from robustlab.core import Labels, Streams, fold_in

_LABEL = 0xC0_47_01


def wrong_with_confidence(probs: Tensor, y: Labels, *, below: float = 0.15) -> Tensor:
    """Examples that every model gets wrong with a small probability for their label.

    Args:
        probs: probability of each class (models, N, K), by models that were not trained on these examples.
        y: labels (N,), int64.
        below: bound for the probability of the label, in (0, 1].

    Returns: mask (N,), bool.
    Raises: ValueError for no model, or ``below`` outside (0, 1].

    Source: Hendrycks et al., Natural Adversarial Examples, CVPR 2021, section 3: images that ResNet-50 gets wrong
    with less than 15 % for the label. Here several models decide, and none about its own training examples.
    """
    check_below(below)
    if probs.ndim != 3 or not len(probs):
        raise ValueError(f"probabilities of shape {tuple(probs.shape)}: give (models, N, K), of one model at least")
    own = probs.gather(2, y[None, :, None].expand(len(probs), -1, 1))[:, :, 0]
    return ((own < below) & (probs.argmax(dim=2) != y)).all(dim=0)


def check_below(below: float) -> None:
    """Refuses numbers outside (0, 1].

    Raises: ValueError with the number.
    """
    if not 0 < below <= 1:
        raise ValueError(f"below is a probability of the label, in (0, 1], got {below}")


def matched(y: Labels, members: Tensor, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draws a control for each member: another example with the same label, without replacement.

    Args:
        y: labels of all examples (N,), int64.
        members: numbers of the members (M,), int64.
        seed: of the draw.

    Returns: numbers of the controls and of their members, both (P,), ascending by member. P is M unless a class has
        fewer other examples than members: then all others are taken.
    """
    inside = torch.zeros(len(y), dtype=torch.bool)
    inside[members] = True
    hashes = Streams(fold_in(seed, _LABEL), torch.arange(len(y))).words(1)[:, 0]
    by_hash = hashes.argsort(stable=True)
    control, partner = [], []
    for k in y[members].unique().tolist():
        ours, others = (by_hash[(inside[by_hash] == side) & (y[by_hash] == k)] for side in (True, False))
        pairs = min(len(ours), len(others))
        control.append(others[:pairs])
        partner.append(ours[:pairs])
    if not control:
        return members, members
    order = torch.cat(partner).argsort()
    return torch.cat(control)[order], torch.cat(partner)[order]
