"""Answers of a classifier of texts, checked and turned into probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from robustlab.core.types import Text
from robustlab.core.user_code import plain
from robustlab.text.victims.kinds import Output, Rows

_SUM = {2: 5e-3, 4: 2e-3, 8: 2e-3}
"""Tolerance of the sum of a row of probabilities by the bytes of a number; services round to three digits."""
_DECIMALS = {2: 3, 4: 6}
_SHOWN = 40
_HARD = "give scores: predict_proba or decision_function of scikit-learn, the logits or softmax of a network"


class Answers(NamedTuple):
    """Rule by which the answers of a victim are read; fixed by the first one."""

    name: str
    classes: int
    output: Literal["logits", "probabilities"]
    tolerance: float
    """Tolerance of the sum of a row of probabilities."""
    decimals: int
    """Decimals of scores that have a meaning."""

    def rows(self, answer: object, texts: Sequence[Text]) -> Rows:
        """Probabilities (N, K) from an answer for N texts.

        Raises: ValueError for an answer unlike the first one, with what was seen.
        """
        found = scores(answer, texts, self.name)
        if found.ndim == 1:
            found = _both(found, self.output)
        if found.shape[1] != self.classes:
            raise ValueError(f"{self.name} returned {found.shape[1]} scores for a text, but {self.classes} before")
        if self.output == "logits":
            return softmax(found)
        _check_sums(found, texts, self)
        return found


def reading(answer: object, texts: Sequence[Text], name: str, output: Output, classes: int | None) -> Answers:
    """The rule for reading a victim's answers, from its first one.

    Args:
        answer: as it came.
        texts: that it is for, at least two.
        name: of the victim.
        output: kind of the scores; "auto": probabilities if all rows are >= 0 and sum to 1 (or, of one score for each
            text, if all are in [0, 1]), else logits.
        classes: their number if the user gives it.

    Raises: ValueError if it is no answer of a classifier that gives scores.
    """
    found, size = scores(answer, texts, name), _bytes(answer)
    rule = Answers(name, 2, "probabilities", _SUM[size], _DECIMALS.get(size, 9))
    single = found.ndim == 1
    kind = output if output != "auto" else ("probabilities" if _looks_probable(found, rule) else "logits")
    seen = 2 if single else found.shape[1]
    if seen < 2:
        raise ValueError(
            f"{name} returned {found.shape} scores for {len(texts)} texts, one class alone: return a column for each "
            "class, or a flat (N,) of the second of two classes"
        )
    if kind == "probabilities" and len(found) > 1 and np.isin(found, (0.0, 1.0)).all():
        raise ValueError(f"{name} answers with 0 and 1 alone, which are labels and no scores: {_HARD}")
    if classes is not None and classes != seen:
        raise ValueError(f"{name} returned {seen} scores for a text, but has {classes} classes")
    rule = rule._replace(classes=seen, output=kind)
    rule.rows(answer, texts)
    return rule


def scores(answer: object, texts: Sequence[Text], name: str) -> Rows:
    """An answer as finite numbers (N, K) or (N,).

    Raises: ValueError if it is none, with the reason.
    """
    found = _array(answer, name)
    if found.dtype.kind in "USOT" or (found.ndim == 1 and found.dtype.kind in "biu"):
        example = found.reshape(-1)[:1].tolist() or ["nothing"]
        raise ValueError(f"{name} returned {plain(repr(example[0]), _SHOWN)} for a text, a label and no score: {_HARD}")
    if found.ndim not in (1, 2) or len(found) != len(texts) or found.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} returned shape {found.shape} for {len(texts)} texts, expected a row of K scores for each, (N, K)"
        )
    rows = found.astype(np.float64)
    finite = np.isfinite(rows)
    if not finite.all():
        row = int(np.argmin(finite.reshape(len(rows), -1).all(axis=1)))
        value = rows[row][~finite[row]].flat[0] if rows.ndim > 1 else rows[row]
        raise ValueError(f"{name} returned {value} for text {row}, {shown(texts[row])}: scores must be finite")
    return rows


def shown(text: Text) -> str:
    """A text for a message: quoted, short, on one line."""
    return plain(repr(text), _SHOWN)


def softmax(logits: Rows) -> Rows:
    """Probabilities (N, K) of logits (N, K)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return cast(Rows, powers / powers.sum(axis=1, keepdims=True))


def check_texts(texts: object) -> Sequence[Text]:
    """Texts as a list, each a str or a tuple of str.

    Raises: ValueError for anything else, with its place.
    """
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence | np.ndarray):
        raise ValueError(f"texts are a {type(texts).__name__}, expected a list of str")
    for number, text in enumerate(texts):
        if isinstance(text, str):
            continue
        fields = text if isinstance(text, tuple) else None
        if not fields or not all(isinstance(field, str) for field in fields):
            raise ValueError(
                f"text {number} is {plain(repr(text), _SHOWN)} ({type(text).__name__}), expected a str, or a tuple of "
                "str for several fields"
            )
    return list(texts)


def _array(answer: object, name: str) -> NDArray[np.generic]:
    if isinstance(answer, Tensor):
        values = answer.detach().cpu()
        return cast("NDArray[np.generic]", (values.float() if values.dtype.itemsize == 2 else values).numpy())
    if isinstance(answer, Mapping) or not any(hasattr(answer, name) for name in ("__len__", "__array__")):
        raise ValueError(f"{name} returned a {type(answer).__name__}, expected scores (N, K), a row for each text")
    try:
        return np.asarray(answer)
    except ValueError as error:
        raise ValueError(f"{name} returned rows of different lengths, expected scores (N, K)") from error


def _bytes(answer: object) -> int:
    """Bytes of a floating-point number in an answer: 2, 4 or 8."""
    dtype = answer.dtype if isinstance(answer, Tensor | np.ndarray) else np.dtype(np.float64)
    return int(dtype.itemsize) if int(dtype.itemsize) in _SUM else 8


def _looks_probable(found: Rows, rule: Answers) -> bool:
    if found.ndim == 1:
        return bool(((found >= 0) & (found <= 1)).all())
    return bool((found >= 0).all() and (np.abs(found.sum(axis=1) - 1) <= rule.tolerance).all())


def _both(second: Rows, output: str) -> Rows:
    """Scores of two classes (N, 2) from those of the second (N,)."""
    return np.stack([1 - second, second] if output == "probabilities" else [-second / 2, second / 2], axis=1)


def _check_sums(found: Rows, texts: Sequence[Text], rule: Answers) -> None:
    sums = found.sum(axis=1)
    wrong = (np.abs(sums - 1) > rule.tolerance) | (found < 0).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        numbers = ", ".join(f"{value:.4g}" for value in found[row][:4])
        raise ValueError(
            f"{rule.name} returned {numbers} (sum {sums[row]:.4g}) for text {row}, {shown(texts[row])}, which are no "
            "probabilities: rows must be >= 0 and sum to 1; give output='logits' for other scores"
        )
