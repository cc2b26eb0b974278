"""Classifiers of texts as attacks see them: probabilities, and optionally gradients of words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from robustlab.core.types import Text

if TYPE_CHECKING:
    from robustlab.text.parts import WordTable
    from robustlab.text.words import Words

Rows: TypeAlias = NDArray[np.float64]
"""Probabilities (N, K)."""
Predict: TypeAlias = Callable[[Sequence[Text]], Rows]
Output: TypeAlias = Literal["auto", "logits", "probabilities"]


class WordGradients(Protocol):
    """Gradients of the log loss with respect to the embeddings of words."""

    @property
    def table(self) -> WordTable | None:
        """Words and embeddings of a victim at word level; None for one whose words have several pieces."""

    def __call__(self, items: Sequence[tuple[Words, Text, int]]) -> list[NDArray[np.float64]]:
        """Gradients (n_words, d) of -log p(label), one for each item.

        Args:
            items: the words of a field, the text with all fields, and the label. The gradient of a word of several
                pieces is the sum over its pieces; that of a word beyond the limit of the victim is 0.
        """


@dataclass(frozen=True)
class Victim:
    """A classifier of texts under attack.

    Args:
        predict: from N texts to checked probabilities (N, K).
        classes: number K of classes.
        name: in tables.
        digest: of everything that decides its answers, for caches and run directories.
        gradients: of words; None: it has none.
        lengths: numbers of tokens of texts, uncut; None: unknown.
        limit: number of tokens after which texts are cut; None: they are not.
        decimals: to which scores are rounded before they are compared.
        labels: names of the classes, if they are known.
        one_length: it pads or cuts every text to the limit.
    """

    predict: Predict
    classes: int
    name: str
    digest: str
    gradients: WordGradients | None = None
    lengths: Callable[[Sequence[Text]], list[int]] | None = None
    limit: int | None = None
    decimals: int = 9
    labels: tuple[str, ...] = ()
    one_length: bool = False
