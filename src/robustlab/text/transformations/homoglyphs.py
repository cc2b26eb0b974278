"""Characters that look like others, and characters that are not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from robustlab.core import fold_in

_PAIRS = (
    "aа bЬ cс dԁ eе fƒ gɡ hһ iі jј kκ lⅼ mⅿ nո oо pр qԛ rг sѕ tτ uս vѵ wԝ xх yу zᴢ "
    "AА BВ CС EЕ HН IІ JЈ KК MМ NΝ OО PР SЅ TТ XХ YΥ ZΖ 0О 1l 2ᒿ 3З 4Ꮞ 5Ƽ 6б 7７ 8Ȣ 9৭ 'ʼ -˗"
)
LOOKALIKES: Mapping[str, str] = MappingProxyType({pair[0]: pair[1:] for pair in _PAIRS.split()})
"""One or more characters that look like the one before."""
ZERO_WIDTH = "\u200b\u200c\u200d"
"""Zero-width space, non-joiner and joiner."""
_PARTS = 1 << 20
"""Into which the chance of a character is cut."""
BACKSPACE = "\u0008"
_LEFT, _RIGHT, _POP = "\u202d", "\u202e", "\u202c"
_ISOLATE, _POP_ISOLATE = "\u2066", "\u2069"


@dataclass(frozen=True)
class Homoglyphs:
    """One character is replaced by one that looks like it.

    Args:
        table: for a character those that look like it, as a text.
        inner: the first and the last character stay.

    Source: Li et al., TextBugger, NDSS 2019 (Sub-C); Boucher et al., Bad Characters, IEEE S&P 2022. The table is our
        own, after the confusable characters of Unicode.
    """

    table: Mapping[str, str] = field(default_factory=lambda: LOOKALIKES, repr=False, hash=False)
    inner: bool = False
    name: str = "homoglyphs"

    def options(self, word: str) -> Sequence[str]:
        """A variant for each character that has a lookalike, from left to right."""
        places = range(1, len(word) - 1) if self.inner else range(len(word))
        return [word[:at] + new + word[at + 1 :] for at in places for new in self.table.get(word[at], "")]


@dataclass(frozen=True)
class Disguise:
    """Each character is replaced, with some chance, by one that looks like it.

    Args:
        chance: of a character, in 0..1.
        table: for a character those that look like it, as a text.

    Source: Eger et al., Text Processing Like Humans Do: Visually Attacking and Shielding NLP Systems, NAACL 2019.
    """

    chance: float = 0.4
    table: Mapping[str, str] = field(default_factory=lambda: LOOKALIKES, repr=False, hash=False)

    @property
    def name(self) -> str:
        """Words for tables."""
        return f"each character disguised with chance {self.chance:g}"

    def draws(self, word: str, number: int) -> Sequence[str]:
        """The word with some lookalikes, chosen by a random number; none if no character was drawn."""
        found = []
        for at, character in enumerate(word):
            drawn = fold_in(number, at)
            looks = self.table.get(character, "") if drawn % _PARTS < self.chance * _PARTS else ""
            found.append(looks[drawn // _PARTS % len(looks)] if looks else character)
        return ["".join(found)] if found != list(word) else []


@dataclass(frozen=True)
class InvisibleCharacters:
    """A character that is not seen is put before another or at the end: n + 1 places for each.

    Args:
        characters: to insert.
    """

    characters: str = ZERO_WIDTH
    name: str = "invisible characters"

    def options(self, word: str) -> Sequence[str]:
        """A variant for each place and character, from left to right."""
        return [word[:at] + new + word[at:] for at in range(len(word) + 1) for new in self.characters]


@dataclass(frozen=True)
class ErasedCharacters:
    """A character and a backspace are put in, which a terminal shows as nothing.

    Args:
        letter: that is erased again.
    """

    letter: str = "X"
    name: str = "erased characters"

    def options(self, word: str) -> Sequence[str]:
        """A variant for each place, from left to right."""
        return [f"{word[:at]}{self.letter}{BACKSPACE}{word[at:]}" for at in range(len(word) + 1)]


@dataclass(frozen=True)
class Reorderings:
    """Two neighbouring characters change places between marks of direction that show them in the old order."""

    name: str = "reorderings"

    def options(self, word: str) -> Sequence[str]:
        """A variant for each pair of neighbours, from left to right."""
        found = []
        for at in range(len(word) - 1):
            # right to left: the second of the two isolated characters is shown first
            shown = f"{_RIGHT}{_isolated(word[at + 1])}{_isolated(word[at])}{_POP}"
            found.append(f"{word[:at]}{shown}{word[at + 2 :]}")
        return found


def _isolated(character: str) -> str:
    return f"{_ISOLATE}{_LEFT}{character}{_POP}{_POP_ISOLATE}"
