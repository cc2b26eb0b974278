"""Classifiers of scikit-learn as victims: pipelines from texts to classes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np

from robustlab.core.types import Text
from robustlab.text.victims.kinds import Output, Victim
from robustlab.text.victims.probing import black_box

_DEEPEST = 12


def is_estimator(model: object) -> bool:
    """True for what has the methods of a classifier of scikit-learn."""
    return hasattr(model, "predict") and any(hasattr(model, name) for name in ("predict_proba", "decision_function"))


def estimator_victim(model: object, name: str | None, output: Output, fields: int) -> Victim:
    """A fitted classifier of scikit-learn, most often a pipeline that begins with a vectorizer.

    Its scores are those of ``predict_proba``, else of ``decision_function``, in the order of its ``classes_``.

    Raises: ValueError if it has one class, or several labels for a text.
    """
    name = name or _name(model)
    scores = cast(Any, model)
    probable = hasattr(model, "predict_proba")
    classes = getattr(model, "classes_", None)
    labels = tuple(str(one) for one in classes) if isinstance(classes, np.ndarray) and classes.ndim == 1 else None

    def raw(texts: list[Text]) -> object:
        return scores.predict_proba(texts) if probable else scores.decision_function(texts)

    kind: Output = output if output != "auto" else ("probabilities" if probable else "logits")
    victim = black_box(raw, name, kind, labels, fields)
    return replace(victim, digest=fitted_digest(model))


def fitted_digest(model: object) -> str:
    """Digest of all that a fitted object holds: arrays by their bytes, mappings in the order of their keys."""
    sha256 = hashlib.sha256()
    for piece in _pieces(model, 0):
        sha256.update(len(piece).to_bytes(8, "little") + piece)
    return f"fitted:{sha256.hexdigest()}"


def _pieces(value: object, depth: int) -> list[bytes]:
    """Content of a value, as bytes."""
    if isinstance(value, np.ndarray) and value.dtype != object:
        return [f"{value.dtype}{value.shape}".encode(), np.ascontiguousarray(value).tobytes()]
    if value is None or isinstance(value, str | bytes | bool | int | float | complex | np.generic):
        return [f"{type(value).__name__}={value!r}".encode()]
    if depth > _DEEPEST:
        return [type(value).__name__.encode()]
    if isinstance(value, Mapping):
        entries = sorted((repr(key), one) for key, one in value.items()) if _sortable(value) else list(value.items())
        return [b"{", *[p for key, one in entries for p in (str(key).encode(), *_pieces(one, depth + 1))], b"}"]
    if isinstance(value, list | tuple | np.ndarray):
        return [b"[", *[piece for one in value for piece in _pieces(one, depth + 1)], b"]"]
    if isinstance(value, set | frozenset):
        return [b"(", *sorted(piece for one in value for piece in _pieces(one, depth + 1)), b")"]
    named = f"{type(value).__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}".encode()
    inner = getattr(value, "__dict__", None)
    return [named, *(_pieces(dict(inner), depth + 1) if inner and not isinstance(value, type) else [])]


def _sortable(value: Mapping[object, object]) -> bool:
    return len({repr(key) for key in value}) == len(value)


def _name(model: object) -> str:
    steps = getattr(model, "steps", None)
    parts = [type(step).__name__ for _, step in steps] if isinstance(steps, list) else []
    return "+".join(parts) or type(model).__name__
