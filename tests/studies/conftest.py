"""Digits in the place of Fashion-MNIST for the experiments of claims, and a budget of seconds."""

from __future__ import annotations

import pytest

from robustlab.core import Examples
from robustlab.studies import Budget

TINY = Budget("tiny", images=64, epochs=1, test=4)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Budget:
    """What an experiment may use in tests."""
    import robustlab.studies.claims.lab as lab
    from robustlab.data.digits import digits

    def enlarged(split: str) -> Examples:
        return digits(split, enlarged=True)

    monkeypatch.setattr(lab, "_fetched", enlarged)
    return TINY
