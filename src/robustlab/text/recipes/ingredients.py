"""Published files and models that recipes are made of, and what takes the place of those that are not there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from robustlab.core.errors import DataError
from robustlab.text.constraints import Likelihood, NoRepeat, PartOfSpeech, Similarity, StopWords
from robustlab.text.constraints.models import Reference, Tag
from robustlab.text.encoder import minilm_bound
from robustlab.text.parts import Constraint
from robustlab.text.transformations import MaskedModel, Neighbours, Synonyms

if TYPE_CHECKING:
    from robustlab.text.vectors import Vectors

T = TypeVar("T")
Resources = Callable[[str], Path]
"""From the name of a resource to its verified files, as ``robustlab.data.text_resource``."""
SUBSTITUTES: Mapping[str, str] = MappingProxyType(
    {"counter-fitted": "glove", "use": "minilm", "sbert": "minilm", "hownet": "wordnet", "language-model": "no-lm"}
)
"""Substitutes of published resources."""
TITLES: Mapping[str, str] = MappingProxyType(
    {
        "counter-fitted": "counter-fitted vectors", "glove": "GloVe", "use": "USE", "sbert": "SBERT",
        "minilm": "MiniLM", "hownet": "HowNet", "wordnet": "WordNet", "tagger": "spaCy",
        "masked-model": "masked model", "language-model": "language model",
    }
)  # fmt: skip
"""Names for tables."""
ONLY_GIVEN: Mapping[str, str] = MappingProxyType(
    {
        "masked-model": 'any Hugging Face masked model: given={"masked-model": (model, tokenizer)}',
        "language-model": 'a function from texts to log-probabilities: given={"language-model": function}',
        "use": 'a function from texts to vectors: given={"use": function}',
        "sbert": 'a function from texts to vectors: given={"sbert": function}',
        "hownet": 'a function from a word to its synonyms: given={"hownet": function}',
        "counter-fitted": 'vectors of your own, read by robustlab.text.vectors.vectors_in: '
        'given={"counter-fitted": vectors}',
    }
)  # fmt: skip
"""Substitutes of resources that are not among the files of ``robustlab data --text``."""
_READERS = {"minilm": "transformers", "glove": "pyarrow", "tagger": "spacy", "masked-model": "transformers"}
"""Packages that read files."""


@dataclass(frozen=True)
class Ingredients:
    """Resources of one recipe, each read at its first use.

    Args:
        recipe: its name, with substitutes.
        substitutes: names of resources that take the place of published ones.
        resources: finds files by name; None: nothing is read, and the recipe can only be printed.
        given: resources of the caller by name: vectors, functions, a masked model with its tokenizer.
        instead: name of the recipe with all substitutes, for messages.
        reads: False: files are found, and not read.
    """

    recipe: str
    substitutes: tuple[str, ...] = ()
    resources: Resources | None = field(default=None, repr=False)
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)
    instead: str = ""
    reads: bool = True
    _read: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def used(self, need: str) -> str:
        """The resource that is used where one is needed."""
        instead = SUBSTITUTES.get(need, "")
        return instead if instead in self.substitutes else need

    def title(self, need: str) -> str:
        """Its name for tables."""
        return TITLES.get(self.used(need), self.used(need))

    def vectors(self, need: str = "counter-fitted") -> Vectors:
        """Word vectors."""

        def read(path: Path) -> Vectors:
            from robustlab.text.vectors import vectors_in

            return vectors_in(path)

        return self._found(need, read)

    def neighbours(self, count: int, need: str = "counter-fitted") -> Neighbours:
        """Neighbours among word vectors."""
        return Neighbours(self.vectors(need), count, self.title(need))

    def synonyms(self, need: str = "wordnet") -> Synonyms:
        """Synonyms of a dictionary."""

        def read(path: Path) -> Callable[[str], Sequence[str]]:
            from robustlab.text.wordnet import wordnet_in

            return wordnet_in(path).synonyms

        return Synonyms(self._found(need, read), self.title(need))

    def untouched(self) -> tuple[Constraint, ...]:
        """No word is changed twice, and no stop word at all."""
        return NoRepeat(), self.no_stop_words()

    def no_stop_words(self) -> StopWords:
        """No stop word is changed."""
        from robustlab.text.stop_words import stop_words

        return StopWords(stop_words())

    def similarity(
        self,
        least: float,
        *,
        need: str = "use",
        window: int | None = None,
        against: Reference = "original",
        angular: bool = False,
    ) -> Similarity:
        """A bound on the similarity of sentences; texts shorter than a window pass.

        A bound on USE becomes that on MiniLM's cosine which as many changed sentences pass.
        """

        def read(path: Path) -> Callable[[Sequence[str]], Any]:
            from robustlab.text.encoder import encoder_in

            return encoder_in(path).encode

        if (need, self.used(need)) == ("use", "minilm"):
            least, angular = minilm_bound(math.cos(math.pi * (1 - least)) if angular else least), False
        return Similarity(
            self._found(need, read), least, window, against, "angular" if angular else "cosine",
            short_passes=window is not None, encoder=self.title(need),
        )  # fmt: skip

    def part_of_speech(self, *, noun_verb: bool = True) -> PartOfSpeech:
        """The same part of speech."""

        def read(path: Path) -> Tag:
            from robustlab.text.tagger import tagger_in

            return tagger_in(path).tags

        return PartOfSpeech(self._found("tagger", read), noun_verb, self.title("tagger"))

    def likelihood(self, most: float) -> tuple[Likelihood, ...]:
        """A bound on the change of a text's log-probability; none without a language model."""
        if self.used("language-model") == "no-lm":
            return ()

        def read(path: Path) -> Callable[[Sequence[str]], Sequence[float]]:
            raise DataError(f"{path} cannot be read as a language model: give {ONLY_GIVEN['language-model']}")

        return (Likelihood(self._found("language-model", read), most, self.title("language-model")),)

    def masked(self, **options: Any) -> MaskedModel:  # noqa: ANN401
        """A masked language model; the options are those of ``MaskedModel``."""

        def read(path: Path) -> tuple[Any, Any]:
            from transformers import AutoModelForMaskedLM, AutoTokenizer

            own = {"local_files_only": True, "trust_remote_code": False}
            return (
                AutoModelForMaskedLM.from_pretrained(path, use_safetensors=True, **own),
                AutoTokenizer.from_pretrained(path, **own),
            )

        found: tuple[Any, Any] | None = self._found("masked-model", read)
        model, tokenizer = (None, None) if found is None else found
        return MaskedModel(model, tokenizer, **options)

    def _found(self, need: str, read: Callable[[Path], T]) -> T:
        """A resource: the caller's, or what its files hold."""
        name = self.used(need)
        if name in self.given:
            return cast("T", self.given[name])
        if self.resources is None:
            return cast("T", None)
        if name not in self._read:
            place = self._place(name, self.resources)
            self._read[name] = read(place) if self.reads else None
        return cast("T", self._read[name])

    def _place(self, name: str, resources: Resources) -> Path:
        """Place of the files of a resource.

        Raises: DataError if they are not there, or the package that reads them.
        """
        try:
            place = resources(name)
        except (DataError, ValueError, OSError) as error:
            raise DataError(self._lack(name, ONLY_GIVEN.get(name, str(error)))) from error
        if name in _READERS and find_spec(_READERS[name]) is None:
            raise DataError(self._lack(name, f"{_READERS[name]} reads it: pip install 'robustlab[text]'"))
        return place

    def _lack(self, name: str, remedy: str) -> str:
        """A sentence on what is not there."""
        instead = TITLES.get(SUBSTITUTES.get(name, ""), "none")
        other = f"; {self.instead} uses {instead} instead" if name in SUBSTITUTES else ""
        return f"the recipe {self.recipe} needs {TITLES.get(name, name)}: {remedy}{other}"
