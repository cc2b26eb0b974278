"""Choice of the hard examples, the suspected labels and the control sample from the committee's probabilities."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.core import Labels
from robustlab.studies.mining.hard import matched, wrong_with_confidence
from robustlab.studies.mining.label_errors import label_errors
from robustlab.studies.mining.record import Group, Judge


class Choice(NamedTuple):
    """Numbers of examples, int64."""

    members: Tensor
    """Hard, with a label that is not suspected (M,), ascending."""
    taken_for: Tensor
    """The committee's most likely class for each member, by its mean probabilities (M,)."""
    suspects: Tensor
    """Hard, with a suspected label (S,), the most suspicious first."""
    suggested: Tensor
    """The committee's most likely class for each suspect (S,)."""
    control: Tensor
    """Other examples with the labels of the members (P,)."""
    partner: Tensor
    """The member matched with each control example (P,)."""
    wrong: int
    """Examples that the whole committee gets wrong, with any confidence."""
    flagged: int
    """Suspected labels among all examples."""
    label_error_share: float
    """Estimated fraction of wrong labels among all examples."""


def choose(probs: Tensor, y: Labels, *, below: float, seed: int = 0) -> Choice:
    """Chooses by the probabilities of the committee alone.

    Args:
        probs: of each class (models, N, K), out of fold.
        y: labels (N,), int64.
        below: see ``hard.wrong_with_confidence``.
        seed: of the control sample.
    """
    hard = wrong_with_confidence(probs, y, below=below)
    mean = probs.mean(dim=0)
    errors = label_errors(mean, y)
    among = hard[errors.ids]
    suspects = errors.ids[among]
    hard[suspects] = False
    members = hard.nonzero()[:, 0]
    control, partner = matched(y, members, seed=seed)
    wrong = int((probs.argmax(dim=2) != y).all(dim=0).sum())
    return Choice(
        members,
        mean[members].argmax(dim=1),
        suspects,
        errors.suggested[among],
        control,
        partner,
        wrong,
        len(errors.ids),
        round(errors.fraction, 6),
    )


def judged(name: str, right: Tensor, choice: Choice, *, votes: bool) -> Judge:
    """Accuracy of one network on the chosen examples.

    Args:
        name: of the network.
        right: mask of its right answers, out of fold (N,), bool.
        choice: the chosen examples.
        votes: True for a member of the committee.
    """
    groups: dict[Group, Tensor] = {
        "all": torch.arange(len(right)),
        "members": choice.members,
        "control": choice.control,
        "suspects": choice.suspects,
    }
    on_control, on_member = right[choice.control], right[choice.partner]
    return Judge(
        name,
        votes,
        {group: int(right[rows].sum()) for group, rows in groups.items()},
        int((on_control & ~on_member).sum()),
        int((on_member & ~on_control).sum()),
    )
