"""Checks of a victim before it is attacked: padding that counts, and texts longer than it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robustlab.core.kinds import typed
from robustlab.core.types import Text
from robustlab.text.victims.answers import check_texts
from robustlab.text.victims.kinds import Rows, Victim

_ROUNDING = {9: 1e-7, 6: 1e-4, 3: 2e-2}
"""Largest difference of probabilities that rounding explains, by the decimals of a victim."""
_TOGETHER = 32


@dataclass(frozen=True)
class PaddingFaults:
    """Texts whose answer depends on the other texts of a batch; its length is their number.

    Args:
        checked: number of texts.
        rows: places of the texts whose probabilities change by more than rounding.
        classes: places of those that get another class.
        largest: difference of a probability.
        tolerance: difference that rounding may explain.
    """

    checked: int
    rows: tuple[int, ...]
    classes: tuple[int, ...]
    largest: float
    tolerance: float

    def __len__(self) -> int:
        return len(self.rows)


@typed
def padding_faults(victim: Victim, texts: Sequence[Text]) -> PaddingFaults:
    """Compares the answers for each text alone with those in batches beside the longest text.

    Models that pad a text to the longest of its batch must not let the padding count: else an attack finds texts that
    are wrong in one batch and right in another. A convolution without a mask, padded to the longest, is such a model.

    Args:
        victim: see ``robustlab.text.victim``.
        texts: N texts, of different lengths.
    """
    given = check_texts(texts)
    tolerance = _ROUNDING.get(victim.decimals, 10.0 ** (1 - victim.decimals))
    if not given:
        return PaddingFaults(0, (), (), 0.0, tolerance)
    alone = np.concatenate([victim.predict([text]) for text in given])
    together = _beside_longest(victim, given)
    change = np.abs(together - alone).max(axis=1)
    other = (together.argmax(axis=1) != alone.argmax(axis=1)) & (change > tolerance)
    rows, classes = (tuple(np.flatnonzero(flags).tolist()) for flags in (change > tolerance, other))
    return PaddingFaults(len(given), rows, classes, float(change.max()), tolerance)


@typed
def beyond(victim: Victim, texts: Sequence[Text]) -> list[int]:
    """Number of tokens of each text that the victim does not read, because it cuts texts at its limit.

    Args:
        victim: see ``robustlab.text.victim``; one without a limit reads all.
        texts: N texts.
    """
    given = check_texts(texts)
    if victim.limit is None or victim.lengths is None or not given:
        return [0] * len(given)
    return [max(0, length - victim.limit) for length in victim.lengths(given)]


def _beside_longest(victim: Victim, texts: Sequence[Text]) -> Rows:
    """Probabilities (N, K) of texts in batches that all have the longest text in them."""
    sizes = victim.lengths(texts) if victim.lengths is not None else [len(str(text)) for text in texts]
    longest = texts[int(np.argmax(sizes))]
    parts = [texts[start : start + _TOGETHER] for start in range(0, len(texts), _TOGETHER)]
    return np.concatenate([victim.predict([longest, *part])[1:] for part in parts])
