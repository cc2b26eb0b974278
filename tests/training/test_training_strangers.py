"""Caches and pseudo-labels from elsewhere in a folder: used only if they are consistent."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from robustlab.core import RunError
from robustlab.training.feature_store import Store
from robustlab.training.pseudo_labels import PROVENANCE, _recorded

TEXTS = ["", "{", "null", "3", "[]", "[" * 100_000, '{"a":' * 400 + "1" + "}" * 400]
COUNTS = [
    '{"shape": [2], "rows": -5}',
    '{"shape": [2], "rows": 1e999}',
    '{"shape": 3, "rows": 1}',
    '{"rows": "os:abort"}',
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:12]))
def test_a_provenance_that_is_none_is_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / PROVENANCE).write_text(text)
    with pytest.raises(RunError, match=rf"{PROVENANCE} is damaged .*remove") as seen:
        _recorded(tmp_path)
    assert "\n" not in str(seen.value)


@pytest.mark.parametrize("text", [*TEXTS, *COUNTS], ids=lambda text: repr(text[:24]))
def test_rows_that_cannot_be_are_made_anew(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path, torch.Size([2]), 3)
    with store.claimed(), store.growing() as growing:
        growing.append(torch.rand(3, 2), torch.zeros(3, dtype=torch.int64))
    with store.claimed():
        assert store.rows == 3
    (tmp_path / "rows.json").write_text(text)
    with store.claimed():
        assert store.rows == 0
