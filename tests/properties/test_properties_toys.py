"""Every attack works on toy models whose gradients are expanded, shared, missing or zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from tests.properties.toys import ODDEST, TOYS, Shared, Toy

from robustlab.attacks import threat_of
from robustlab.core import Stop

if TYPE_CHECKING:
    from tests.properties.conftest import Case, Row


def attacked(row: Row, toy: Toy, case: Case, stop: Stop) -> None:
    """The answer is within budget, and neither model nor inputs have changed."""
    x, threat = case.x, threat_of(row.attack)
    given, before = x.clone(), toy(x).detach().clone()
    x_adv = row.attack(toy, x, before[:, :4].argmax(dim=1), stop=stop, ids=case.ids)
    assert threat.contains(x, x_adv).all()
    assert torch.equal(x, given)
    assert torch.equal(toy(x), before)


def test_every_attack_takes_models_of_a_lecture(row: Row, case: Case) -> None:
    others = [name for name in TOYS if name not in ODDEST]
    turn, case, shared = len(repr(row)), case.take(torch.tensor([0, 3])), Shared()
    toys: list[Toy]
    toys = [TOYS[name] for name in (*ODDEST, others[turn % len(others)], others[(turn + 3) % len(others)])]
    toys.append(shared)
    for number, toy in enumerate(toys):
        attacked(row, toy, case, "success" if (number + turn) % 2 else "never")
    assert torch.equal(shared.slope.flatten(1), torch.linspace(0.5, 1.5, 48, dtype=case.x.dtype).repeat(2, 1))
