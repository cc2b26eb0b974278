"""Changes that should not matter to a classifier: contractions, numbers, names and places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from robustlab.core.kinds import typed
from robustlab.text.passages import matched_case
from robustlab.text.words import Words

_NOT = "is are was were have has had do does did could should would might must need"
_PRONOUNS = {
    "i": ("am",),
    "you": ("are",),
    "we": ("are",),
    "they": ("are",),
    "he": ("is",),
    "she": ("is",),
    "it": ("is",),
}
_ENDINGS = {"am": "'m", "are": "'re", "is": "'s", "will": "'ll", "have": "'ve", "would": "'d"}
_OTHERS = {"that is": "that's", "there is": "there's", "what is": "what's", "who is": "who's", "where is": "where's",
           "how is": "how's", "will not": "won't", "can not": "can't", "let us": "let's"}  # fmt: skip


def _contractions() -> dict[str, str]:
    """Two words and their contraction."""
    found = {f"{verb} not": f"{verb}n't" for verb in _NOT.split()} | _OTHERS
    for one, verbs in _PRONOUNS.items():
        for verb in (*verbs, "will", *(("would",) if one != "it" else ()), *(("have",) if verbs == ("are",) else ())):
            found[f"{one} {verb}"] = one + _ENDINGS[verb]
    return found | {"i have": "i've"}


CONTRACTIONS: Mapping[str, str] = MappingProxyType(_contractions())
"""The contraction of two words, in lower case."""
_LONG: Mapping[str, str] = MappingProxyType(
    {short: long for long, short in CONTRACTIONS.items()} | {"cannot": "can not"}
)
_FIRST_NAMES = (
    "James John Robert Michael William David Richard Joseph Thomas Charles Daniel Matthew Anthony Mark Paul Steven "
    "Andrew George Kevin Brian Edward Peter Eric Frank Henry Mary Patricia Jennifer Linda Elizabeth Barbara Susan "
    "Jessica Sarah Karen Nancy Lisa Margaret Sandra Emily Michelle Laura Anna Rachel Julia Alice Martha Helen"
)
FIRST_NAMES = tuple(_FIRST_NAMES.split())
_PLACES = (
    "America England France Germany Italy Spain Portugal Russia China Japan India Canada Mexico Brazil Argentina "
    "Australia Egypt Kenya Nigeria Turkey Greece Sweden Norway Poland Ireland London Paris Berlin Rome Madrid Lisbon "
    "Moscow Beijing Tokyo Delhi Toronto Sydney Cairo Nairobi Lagos Istanbul Athens Stockholm Oslo Warsaw Dublin "
    "Chicago Boston Seattle Denver Dallas Houston Philadelphia Atlanta Miami California Texas Florida"
)
PLACES = tuple(_PLACES.split())
_NUMBERS = "one three five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
_SPELLED = tuple(_NUMBERS.split())
_LEFT_ALONE = ("0", "2", "4")
_DIGITS = 6
"""Largest count of numbers that are changed."""


@dataclass(frozen=True)
class Contract:
    """Two words become their contraction: "is not", "isn't"."""

    name: str = "contract"

    def rewrites(self, words: Words, position: int) -> Sequence[Words]:
        """The text with the contraction of a word and the next one, if they have one."""
        if words.words[position + 1 :] == () or words.gaps[position + 1] != " ":
            return []
        word = words.words[position]
        short = CONTRACTIONS.get(f"{word} {words.words[position + 1]}".lower())
        if short is None:
            return []
        new = word[:1] + short[1:] if word[:1].lower() == short[:1] else short
        return [words.deleted(position + 1).replaced(position, new)]


@dataclass(frozen=True)
class Expand:
    """A contraction becomes two words: "isn't", "is not"."""

    name: str = "expand contractions"

    def options(self, word: str) -> Sequence[str]:
        """The two words."""
        long = _LONG.get(word.lower().replace("’", "'"))
        return [] if long is None else [word[:1] + long[1:]]


@typed
@dataclass(frozen=True)
class ChangeNumber:
    """A number becomes others, drawn between a small one and twice its size; digits stay digits, words stay words.

    0, 2 and 4 stay, as they also stand for other words, and so do numbers of more than six digits.

    Args:
        count: of numbers to draw.
    """

    count: int = 3

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"{self.count} other numbers"

    def draws(self, word: str, number: int) -> Sequence[str]:
        """Other numbers, chosen by a random number."""
        if word.lower() in _SPELLED:
            return [matched_case(one, word) for one in _chosen(_SPELLED, word.lower(), self.count, number)]
        if not (word.isascii() and word.isdigit()) or word in _LEFT_ALONE or len(word) > _DIGITS or not int(word):
            return []
        found = []
        for _ in range(self.count):
            number, rest = divmod(number, 2 * int(word))
            found.append(str(1 + rest))
        return [one for one in dict.fromkeys(found) if one != word]


@dataclass(frozen=True)
class ChangeName:
    """A first name becomes another.

    Args:
        names: that are known, and drawn from.
        count: of names to draw.
        what: the names are of.
    """

    names: tuple[str, ...] = FIRST_NAMES
    count: int = 3
    what: str = "first names"

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"{self.count} other {self.what}"

    def draws(self, word: str, number: int) -> Sequence[str]:
        """Other names, chosen by a random number."""
        return _chosen(self.names, word, self.count, number) if word in self.names else []


def _chosen(some: Sequence[str], but: str, count: int, number: int) -> list[str]:
    """Different members but one, chosen by a number."""
    left = [one for one in some if one != but]
    found: list[str] = []
    while left and len(found) < count:
        number, place = divmod(number, len(left))
        found.append(left.pop(place))
    return found
