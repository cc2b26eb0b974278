"""Identity of a run: digests of a model and of examples, and what differs between two runs, in one wording.

A digest of a model begins with the version of its rule, ``v2:``. Those without it are of older versions, which had a
rule for each kind of record; they are compared with what that rule gives.
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
"""In front of digests of models."""
_MOST = 3  # differences that a message names
_LONGEST, _BEFORE = 120, 30  # characters of a value that it shows, and of those that are the same


def model_digest(model: nn.Module) -> str:
    """The digest of a model's weights and buffers, whatever wrappers it is in: see ``state_digest``."""
    return state_digest(state_of(model))


def state_digest(state: Mapping[str, object]) -> str:
    """The digest of a state dict, in its order.

        v2:SHA-256 of (title, 0, SHA-256 of the content) of each entry

    Args:
        state: tensors of any kind, and what else a model's state is, under the names that they have without wrappers.

    Returns: "v2:" and 64 hexadecimal digits.
    Raises: ValueError for a tensor without values: on the meta device, or of a lazy layer that was not called.
    """
    found = hashlib.sha256()
    for name, value in state.items():
        found.update(f"{titled(name, value)}\0".encode() + _fed(hashlib.sha256(), name, value).digest())
    return f"{V2}{found.hexdigest()}"


def v1_of_reports(state: Mapping[str, object]) -> str:
    """The digest that reports of older versions have."""
    labels = "\n".join(titled(name, value) for name, value in state.items())
    found = hashlib.sha256(labels.encode())
    for name, value in state.items():
        _fed(found, name, value)
    return found.hexdigest()


def v1_of_pseudo_labels(model: nn.Module) -> str:
    """The digest that pseudo-labels of older versions have of their teacher."""
    return _interleaved(type(bare(model)).__name__, state_of(model))


def v1_of_sweeps(model: nn.Module) -> str:
    """The digest that is in the definitions of sweeps over somebody's own model."""
    return _interleaved("", state_of(model))


def _interleaved(start: str, state: Mapping[str, object]) -> str:
    found = hashlib.sha256(start.encode())
    for name, value in state.items():
        found.update(titled(name, value).encode())
        _fed(found, name, value)
    return found.hexdigest()


def _fed(found: hashlib._Hash, name: str, value: object) -> hashlib._Hash:
    for piece in content(value, name):
        found.update(piece)
    return found


def as_recorded(recorded: object, now: str, older: Callable[[], str]) -> str:
    """The digest of a model by the rule that a record follows.

    Args:
        recorded: the digest in a record, or anything else that stands there.
        now: the digest by today's rule.
        older: gives the one by the rule of older versions.
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
    found = hashlib.sha256()
    for value in values:
        _fed(found, "a tensor", value)
    return found.hexdigest()


def differences(there: Mapping[str, object], here: Mapping[str, object]) -> str:
    """The first values that are not the same, by name, in words; empty if all are.

    Args:
        there: as recorded.
        here: as it is now.
    """
    names = [name for name in {**here, **there} if there.get(name) != here.get(name)]
    return "; ".join(_worded(name, str(there.get(name)), str(here.get(name))) for name in names[:_MOST])


def check_same(place: object, there: Mapping[str, object], here: Mapping[str, object]) -> None:
    """Refuses to go on with another run.

    Args:
        place: directory or file that holds it.
        there: what decides the result, as recorded.
        here: the same as it is now.

    Raises: RunError naming the first differences.
    """
    found = differences(there, here)
    if found:
        raise RunError(
            f"{place} holds another run ({found}): choose another directory, or the same settings to go on with it"
        )


def _worded(name: str, there: str, here: str) -> str:
    """Two values, of long ones the part where they begin to differ."""
    same = next((i for i, (a, b) in enumerate(zip(there, here, strict=False)) if a != b), min(len(there), len(here)))
    return f"{name} {_short(there, same)} there, {_short(here, same)} here"


def _short(text: str, same: int) -> str:
    if len(text) <= _LONGEST:
        return text
    start = max(0, same - _BEFORE)
    return "…" * (start > 0) + text[start : start + _LONGEST] + "…" * (start + _LONGEST < len(text))
