"""Parts of speech of words that are already cut."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

_STEPS = ("tok2vec", "tagger", "attribute_ruler")
_KEPT = 50_000
"""Sentences whose tags are kept."""


@dataclass(frozen=True, eq=False)
class Tagger:
    """A spaCy pipeline that gives each word its universal part of speech, from its neighbours in the sentence.

    Args:
        pipeline: its steps must not cut texts.
    """

    pipeline: Any
    _known: OrderedDict[tuple[str, ...], tuple[str, ...]] = field(default_factory=OrderedDict, init=False, repr=False)

    def tags(self, sentences: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
        """Tags such as "NOUN", "VERB", "ADJ" and "ADV" of the words of each sentence.

        Source: Petrov, Das and McDonald, A universal part-of-speech tagset, LREC 2012.
        """
        wanted = [tuple(words) for words in sentences]
        new = [words for words in dict.fromkeys(wanted) if words not in self._known]
        found = {words: self._known[words] for words in wanted if words in self._known}
        found.update(zip(new, self._tagged(new), strict=True))
        for words in wanted:
            self._known[words] = found[words]
            self._known.move_to_end(words)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return [found[words] for words in wanted]

    def _tagged(self, sentences: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
        from spacy.tokens import Doc

        docs = self.pipeline.pipe(
            Doc(self.pipeline.vocab, words=[word or "_" for word in words]) for words in sentences
        )
        return [tuple(token.pos_ for token in doc) for doc in docs]


@cache
def tagger_in(folder: Path) -> Tagger:
    """The tagger in a folder of spaCy's small English model, one for all who ask.

    Of its steps only those are read that tags need. The configuration names functions of spaCy itself; no code of the
    folder is run. Without the model's parser, "is" and the like are AUX also where they are the main verb.

    Source: Honnibal and Montani, spaCy.
    """
    from spacy.util import load_config, load_model_from_config

    config = load_config(folder / "config.cfg")
    others = [name for name in config["nlp"]["pipeline"] if name not in _STEPS]
    pipeline = load_model_from_config(config, exclude=others)
    return Tagger(pipeline.from_disk(folder, exclude=others))
