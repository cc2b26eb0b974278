"""Digits in the place of Fashion-MNIST for the experiments of claims, and a budget of seconds."""

from __future__ import annotations

import pytest

from robustlab.core import Examples
from robustlab.studies import Budget

TINY = Budget("tiny", images=64, epochs=1, test=4)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Budget:
    """Budget of experiments in tests."""
    import robustlab.studies.claim_engine.lab as lab
    from robustlab.data import sample
    from robustlab.data.digits import digits
    from robustlab.studies.claim_engine.network import HARD

    def enlarged(split: str) -> Examples:
        return sample(digits("all", enlarged=True), 40) if split == HARD else digits(split, enlarged=True)

    monkeypatch.setattr(lab, "_fetched", enlarged)
    return TINY
