"""The one driver of all text attacks: it collects what the searches of many examples want, and computes it together."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from robustlab.core.types import Text
from robustlab.text.parts import Call, Request, Rows, Scores, Several
from robustlab.text.task import OutOfQueries, Task
from robustlab.text.victims.kinds import Victim

_ENTRY = 200
"""Bytes of one remembered text beside its characters: its place in the table and the probabilities."""
_LADDER = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
"""Tokens of a batch that are tried."""
_EXACT = 9
"""Decimals of scores in float64."""
_ROWS = 16
"""Texts of a batch of equally many tokens."""
_ROWS_OF_ONE_LENGTH = 64
"""The same for a victim that pads all texts to one length."""
_CHARACTERS = 5
"""Characters of one token, for victims that do not count tokens."""

Search: TypeAlias = Generator[Request, Any, None]


class Spent(NamedTuple):
    """Cost of all attacks that a driver carried out."""

    texts: int
    """Texts that the victim scored; repeats came from memory."""
    victim_seconds: float
    service_seconds: float
    """Seconds in other models, such as a sentence encoder."""


@dataclass
class Batching:
    """Sizes of the victim's batches in tokens; the fastest of several is found while the attack runs.

    Args:
        tokens: of a batch, padded to its longest text; None: measured, each size twice.
    """

    tokens: int | None = None
    _left: list[int] = field(default_factory=lambda: [*_LADDER, *_LADDER], init=False)
    _seconds: dict[int, float] = field(default_factory=dict, init=False)
    """The least seconds of one token by size."""

    def parts(self, lengths: Sequence[int]) -> Iterator[slice]:
        """Batches of texts that are sorted by length: as many as have the wanted number of tokens together."""
        start = 0
        while start < len(lengths):
            size, end = self.size, start + 1
            while end < len(lengths) and (end + 1 - start) * max(1, lengths[end]) <= size:
                end += 1
            yield slice(start, end)
            start = end

    @property
    def size(self) -> int:
        """Tokens of the next batch."""
        if self.tokens is not None:
            return self.tokens
        return self._left[0] if self._left else min(self._seconds, key=lambda size: self._seconds[size])

    def took(self, tokens: int, seconds: float) -> None:
        """Notes the time of a batch; one that is not full says nothing about its size."""
        if self.tokens is None and self._left and 2 * tokens > self._left[0]:
            size = self._left.pop(0)
            self._seconds[size] = min(self._seconds.get(size, np.inf), seconds / tokens)


@dataclass
class Driver:
    """A victim with memory: texts are scored once, in batches of similar length.

    Args:
        victim: the classifier.
        batch_tokens: tokens of one batch; None: 16 texts of equal length for networks in float32, so that a text gets
            the same bits in any company; for others the fastest is found by measurement.
        memory: bytes of scored texts to remember.
        together: examples that are attacked at the same time.
    """

    victim: Victim
    batch_tokens: int | None = None
    memory: int = 128 << 20
    together: int = 256
    scored: int = field(default=0, init=False)
    """Texts that the victim scored."""
    victim_seconds: float = field(default=0.0, init=False)
    service_seconds: float = field(default=0.0, init=False)
    _places: dict[Text, int] = field(default_factory=dict, init=False, repr=False)
    _bytes: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self.batching = Batching(self.batch_tokens)
        self._rows: Rows = np.empty((0, self.victim.classes))

    @property
    def spent(self) -> Spent:
        """Cost of all calls so far."""
        return Spent(self.scored, self.victim_seconds, self.service_seconds)

    def rows(self, texts: Sequence[Text]) -> Rows:
        """Probabilities (N, K) of texts, from memory where they were scored before."""
        places = self._places
        missing = [text for text in dict.fromkeys(texts) if text not in places]
        if missing:
            needed = sum(map(_characters, missing)) + _ENTRY * len(missing)
            if self._bytes + needed > self.memory and places:
                places.clear()
                self._bytes = 0
                missing = list(dict.fromkeys(texts))
                needed = sum(map(_characters, missing)) + _ENTRY * len(missing)
            self._remember(missing, self._scored(missing))
            self._bytes += needed
        return self._rows[[places[text] for text in texts]]

    def _remember(self, texts: Sequence[Text], rows: Rows) -> None:
        used = len(self._places)
        if used + len(rows) > len(self._rows):
            grown = np.empty((max(2 * len(self._rows), used + len(rows)), rows.shape[1]))
            grown[:used] = self._rows[:used]
            self._rows = grown
        self._rows[used : used + len(rows)] = rows
        self._places.update(zip(texts, range(used, used + len(texts)), strict=True))

    def _scored(self, texts: Sequence[Text]) -> Rows:
        """Probabilities of distinct texts, computed in batches of similar length."""
        start = perf_counter()
        found = self._in_equal_shapes(texts) if self.equal_shapes else self._by_tokens(texts)
        self.scored += len(texts)
        self.victim_seconds += perf_counter() - start
        return found

    @property
    def equal_shapes(self) -> bool:
        """True for networks in float32: their last bits depend on the shape of a batch."""
        return self.batch_tokens is None and self.victim.lengths is not None and self.victim.decimals < _EXACT

    def _in_equal_shapes(self, texts: Sequence[Text]) -> Rows:
        """Probabilities that do not depend on the company of a text, not even in the last bit.

        Texts of equally many tokens are batched, always as many rows: a batch that is not full repeats its last text.
        """
        by_length: dict[int, list[int]] = {}
        one, limit = self.victim.one_length, self.victim.limit
        lengths = [0] * len(texts) if one or self.victim.lengths is None else self.victim.lengths(texts)
        for place, length in enumerate(lengths):
            by_length.setdefault(min(length, limit or length), []).append(place)
        found, rows = np.empty((len(texts), self.victim.classes)), _ROWS_OF_ONE_LENGTH if one else _ROWS
        for _, places in sorted(by_length.items()):
            for start in range(0, len(places), rows):
                some = places[start : start + rows]
                whole = [texts[place] for place in some] + [texts[some[-1]]] * (rows - len(some))
                found[some] = self.victim.predict(whole)[: len(some)]
        return found

    def _by_tokens(self, texts: Sequence[Text]) -> Rows:
        """Probabilities in batches of a number of tokens."""
        lengths = [_characters(text) // _CHARACTERS + 1 for text in texts]
        if self.victim.lengths is not None:
            lengths = self.victim.lengths(texts)
        order = sorted(range(len(texts)), key=lengths.__getitem__)
        found = np.empty((len(texts), self.victim.classes))
        for part in self.batching.parts([lengths[place] for place in order]):
            begun, places = perf_counter(), order[part]
            found[places] = self.victim.predict([texts[place] for place in places])
            self.batching.took(len(places) * max(1, lengths[places[-1]]), perf_counter() - begun)
        return found

    def run(self, searches: Iterable[tuple[Task, Search]], finished: Callable[[Task], None]) -> None:
        """Carries out the searches of many examples, some at a time.

        Args:
            searches: of each example; taken from the iterator as others end.
            finished: called with the task of each search that has ended, in the order of ending.
        """
        waiting = iter(searches)
        active = [Active(task, search) for task, search in islice(waiting, self.together)]
        while active:
            self._answer(active)
            for one in active:
                if one.step():
                    finished(one.task)
            active = [one for one in active if not one.ended]
            active += [Active(task, search) for task, search in islice(waiting, self.together - len(active))]

    def _answer(self, active: Sequence[Active]) -> None:
        """Computes what the active searches wait for."""
        wanted = [one for search in active for one in search.wanted]
        scores = [one for one in wanted if isinstance(one.request, Scores)]
        texts: list[Text] = [text for one in scores for text in one.items]
        _hand_out(scores, self.rows(texts) if texts else self._rows[:0])
        called: dict[tuple[int, str], list[Wanted]] = {}
        for one in wanted:
            if isinstance(one.request, Call):
                service = one.request.service
                key = (id(getattr(service, "__self__", service)), getattr(service, "__name__", ""))
                called.setdefault(key, []).append(one)
        begun = perf_counter()
        for others in called.values():
            _hand_out(others, _served([one.request for one in others if isinstance(one.request, Call)]))
        self.service_seconds += perf_counter() - begun if called else 0.0


@dataclass
class Wanted:
    """One request, and then its answer."""

    request: Scores | Call
    answer: Any = None

    @property
    def items(self) -> Sequence[Any]:
        """Its texts or items."""
        return self.request.texts if isinstance(self.request, Scores) else self.request.items


def _served(waiting: Sequence[Call]) -> Sequence[Any]:
    """Answers of one service to the items of several searches."""
    service, items = waiting[0].service, [item for one in waiting for item in one.items]
    answers = service(items)
    if len(answers) != len(items):
        name = getattr(service, "__qualname__", service)
        raise ValueError(f"{name} gave {len(answers)} answers to {len(items)} items")
    return answers


def _hand_out(waiting: Sequence[Wanted], answers: Sequence[Any] | Rows) -> None:
    """Gives each request its part of the answers to all."""
    start = 0
    for one in waiting:
        end = start + len(one.items)
        one.answer, start = answers[start:end], end


def _characters(text: Text) -> int:
    return len(text) if isinstance(text, str) else sum(map(len, text))


@dataclass
class Active:
    """A search that goes on: its request, and then the answer.

    Args:
        task: the example.
        search: its search.
    """

    task: Task
    search: Search
    several: bool = field(default=False, init=False)
    wanted: list[Wanted] = field(default_factory=list, init=False)
    ended: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.step()

    def step(self) -> bool:
        """Goes on with the answers.

        Returns: whether the search has ended.
        """
        if self.ended:
            return True
        answers = [one.answer for one in self.wanted]
        try:
            request = self.search.send(answers if self.several else answers[0] if answers else None)
        except (StopIteration, OutOfQueries):
            self.ended, self.wanted = True, []
            return True
        self.several = isinstance(request, Several)
        self.wanted = list(map(Wanted, request.requests if isinstance(request, Several) else [request]))
        return False
