"""A spelling corrector as a defence: unknown words become the nearest known ones before the victim reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from robustlab.core.kinds import typed
from robustlab.core.types import Text
from robustlab.text.parts import Rows
from robustlab.text.passages import matched_case
from robustlab.text.words import cut


@typed
@dataclass(frozen=True, eq=False)
class Speller:
    """Puts the nearest known word in place of each unknown one.

    The distance counts characters that are inserted, deleted or replaced, and neighbours that are exchanged, each once.
    Of the nearest words the most frequent is taken, of equally frequent ones the first by the alphabet. A word without
    a near one stays.

    Args:
        counts: known words in small letters, and how often each occurs.
        most: largest distance.
        shortest: letters of a word that is corrected; shorter ones have too many neighbours.

    Raises: ValueError for a distance below 1.

    Source: the baseline of Pruthi, Dhingra, Lipton, Combating Adversarial Misspellings with Robust Word Recognition,
        ACL 2019; words are found by the letters that they share, as in SymSpell.

    Example:
        >>> Speller({"film": 9, "great": 5})("A graet Fim!")
        'A great Film!'
    """

    counts: Mapping[str, int] = field(repr=False)
    most: int = 1
    shortest: int = 3
    _known: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"a speller needs a distance of at least 1, got {self.most}")

    @staticmethod
    def of(texts: Iterable[str], *, most: int = 1, least: int = 1) -> Speller:
        """The corrector that knows the words of some texts.

        Args:
            texts: for example those that the victim was trained on.
            most: largest distance.
            least: times that a word must occur to be known.
        """
        counts = Counter(word.lower() for one in texts for word in cut(one).words)
        return Speller({word: count for word, count in counts.items() if count >= least}, most)

    def __call__(self, sentence: str) -> str:
        """A text with its unknown words corrected."""
        words = cut(sentence)
        better = {place: self.word(word) for place, word in enumerate(words.words)}
        return words.rewritten({place: new for place, new in better.items() if new != words.words[place]}).text

    def word(self, word: str) -> str:
        """The known word that is nearest to a word; the word itself if it is known, or if none is near."""
        small = word.lower()
        if small in self.counts or len(small) < self.shortest:
            return word
        if (known := self._known.get(small)) is None:
            known = self._known[small] = self._nearest(small)
        return word if known == small else matched_case(known, word)

    def _nearest(self, word: str) -> str:
        from rapidfuzz.distance import OSA

        near = {other for letters in _shortened(word, self.most) for other in self._by_letters.get(letters, ())}
        distances = {other: OSA.distance(word, other, score_cutoff=self.most) for other in near}
        found = [other for other, distance in distances.items() if distance <= self.most]
        return min(found, key=lambda other: (distances[other], -self.counts[other], other), default=word)

    @cached_property
    def _by_letters(self) -> dict[str, list[str]]:
        """Known words by what is left of them when a few letters are deleted."""
        found: dict[str, list[str]] = {}
        for word in sorted(self.counts):
            for letters in _shortened(word, self.most):
                found.setdefault(letters, []).append(word)
        return found

    def before(self, predict: Callable[[Sequence[Text]], Rows]) -> Callable[[Sequence[Text]], Rows]:
        """A classifier that reads corrected texts.

        Args:
            predict: from texts to scores (N, K), such as that of a victim.
        """

        def corrected(texts: Sequence[Text]) -> Rows:
            return predict([self(one) if isinstance(one, str) else tuple(map(self, one)) for one in texts])

        return corrected


def _shortened(word: str, most: int) -> set[str]:
    """A word, and what is left when up to some of its letters are deleted."""
    found, last = {word}, {word}
    for _ in range(most):
        last = {one[:at] + one[at + 1 :] for one in last for at in range(len(one))}
        found |= last
    return found
