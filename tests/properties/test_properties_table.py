"""The table of attacks has a row for every registered name."""

from __future__ import annotations

import pytest
from tests.properties.conftest import ROWS

from robustlab.attacks import ATTACKS, attack_spec, make_attack
from robustlab.core import Linf, ThreatModel

OURS = [name for name in ATTACKS if attack_spec(name).build.__module__.startswith("robustlab.")]


@pytest.mark.parametrize("name", OURS)
def test_every_attack_with_a_name_has_a_row(name: str) -> None:
    kind = type(make_attack(name, ThreatModel(Linf(), 0.1)))
    assert kind in {type(row.attack) for row in ROWS}, "add a row to tests/properties/conftest.py"
