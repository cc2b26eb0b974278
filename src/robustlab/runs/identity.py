"""Identity of a run: digests of a model and of examples, and the differences between two runs in words.

A digest of a model begins with the version of its rule, ``v2:``. Those without it are of older versions, which had a
rule for each kind of record; they are compared with the digest of that rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from robustlab.core import Batch, RunError
from robustlab.core.content import content, titled
from robustlab.core.weights import bare, state_of
from robustlab.runs.files import digest

V2 = "v2:"
"""Prefix of digests of models."""
_MOST = 3  # differences in a message
_LONGEST, _BEFORE = 120, 30  # characters of a value in a message, and equal ones before its first difference


def model_digest(model: nn.Module) -> str:
    """The digest of a model's weights and buffers, without its wrappers: see ``state_digest``."""
    return state_digest(state_of(model))


def state_digest(state: Mapping[str, object]) -> str:
    """The digest of a state dict, in its order.

        v2:SHA-256 of (title, 0, SHA-256 of the content) of each entry

    Args:
        state: tensors of any kind and other values of a model's state, under their names without wrappers.

    Returns: "v2:" and 64 hexadecimal digits.
    Raises: ValueError for a tensor without values: on the meta device, or of a lazy layer that was not called.
    """
    sha256 = hashlib.sha256()
    for name, value in state.items():
        sha256.update(f"{titled(name, value)}\0".encode() + _fed(hashlib.sha256(), name, value).digest())
    return f"{V2}{sha256.hexdigest()}"


def v1_of_reports(state: Mapping[str, object]) -> str:
    """The digest in reports of older versions."""
    labels = "\n".join(titled(name, value) for name, value in state.items())
    sha256 = hashlib.sha256(labels.encode())
    for name, value in state.items():
        _fed(sha256, name, value)
    return sha256.hexdigest()


def v1_of_pseudo_labels(model: nn.Module) -> str:
    """The digest of the teacher in pseudo-labels of older versions."""
    return _interleaved(type(bare(model)).__name__, state_of(model))


def v1_of_sweeps(model: nn.Module) -> str:
    """The digest in the definitions of sweeps over a user's model."""
    return _interleaved("", state_of(model))


def _interleaved(start: str, state: Mapping[str, object]) -> str:
    sha256 = hashlib.sha256(start.encode())
    for name, value in state.items():
        sha256.update(titled(name, value).encode())
        _fed(sha256, name, value)
    return sha256.hexdigest()


def _fed(sha256: hashlib._Hash, name: str, value: object) -> hashlib._Hash:
    for piece in content(value, name):
        sha256.update(piece)
    return sha256


def as_recorded(recorded: object, now: str, older: Callable[[], str]) -> str:
    """The digest of a model by the rule that a record follows.

    Args:
        recorded: the digest in a record, or any other recorded value.
        now: the digest by today's rule.
        older: returns the one by the rule of older versions.
    """
    by_today = not isinstance(recorded, str) or not recorded or recorded.startswith(V2)
    return now if by_today else older()


def row_digests(batch: Batch) -> list[bytes]:
    """The digest of each example's input and label: 24 bytes each."""
    rows = batch.x.detach().cpu().contiguous().flatten(1).view(torch.uint8).numpy()
    return [
        digest(row.data) + int(y).to_bytes(8, "little", signed=True)
        for row, y in zip(rows, batch.y.tolist(), strict=True)
    ]


def values_sha256(values: Iterable[Tensor]) -> str:
    """SHA-256 of the elements of tensors, one after the other."""
    sha256 = hashlib.sha256()
    for value in values:
        _fed(sha256, "a tensor", value)
    return sha256.hexdigest()


def differences(there: Mapping[str, object], here: Mapping[str, object]) -> str:
    """The first differences, by name, in words; empty if there are none.

    Args:
        there: recorded values.
        here: current values.
    """
    names = [name for name in {**here, **there} if there.get(name) != here.get(name)]
    return "; ".join(_worded(name, str(there.get(name)), str(here.get(name))) for name in names[:_MOST])


def check_same(place: object, there: Mapping[str, object], here: Mapping[str, object]) -> None:
    """Refuses to continue another run.

    Args:
        place: directory or file that holds it.
        there: recorded settings, data and weights that decide the result.
        here: the current ones.

    Raises: RunError naming the first differences.
    """
    different = differences(there, here)
    if different:
        raise RunError(
            f"{place} holds another run ({different}): choose another directory, or the same settings to go on with it"
        )


def _worded(name: str, there: str, here: str) -> str:
    """Two values in words, long ones from their first difference."""
    same = next((i for i, (a, b) in enumerate(zip(there, here, strict=False)) if a != b), min(len(there), len(here)))
    return f"{name} {_short(there, same)} there, {_short(here, same)} here"


def _short(text: str, same: int) -> str:
    if len(text) <= _LONGEST:
        return text
    start = max(0, same - _BEFORE)
    return "…" * (start > 0) + text[start : start + _LONGEST] + "…" * (start + _LONGEST < len(text))
