"""Text models of claims and their training, as values."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import nn

from robustlab.core import Examples, Recipe, subset
from robustlab.data import Sentences, text_resource
from robustlab.data.movie_sentences import Split
from robustlab.models import fit_tfidf, word_cnn
from robustlab.studies.claim_engine.network import Site, Trained
from robustlab.text import TextRecipe
from robustlab.text.constraints import WordCosine
from robustlab.text.parts import Search
from robustlab.text.recipes import recipe as by_name
from robustlab.training import AdversarialTexts, Cosine, adamw, standard, tokens
from robustlab.training.optimizers import MakeOptimizer
from robustlab.training.schedule import Schedule
from robustlab.training.settings import Precision

if TYPE_CHECKING:
    from robustlab.text.vectors import Vectors


@runtime_checkable
class PlannedOnTexts(Protocol):
    """A recipe that is built for the sentences of a site: a value."""

    def planned_on(self, lab: Site, sentences: Sentences, epochs: int) -> Recipe:
        """The recipe for the training sentences, in their order, and the epochs of the training."""


@dataclass(frozen=True)
class TextNetwork:
    """A convolutional network on words and its training on movie sentences.

    Args:
        recipe: of training, or a value that builds it.
        texts: sentences for training, a simple random sample, another for each seed; None: all.
        vectors: resource that the embeddings start from; "": they are drawn.
        epochs: passes over the data.
        batch_size: the largest.
        optimizer: and its learning rate.
        schedule: of the learning rate.
        precision: of training.
    """

    recipe: Recipe | PlannedOnTexts = field(default_factory=standard)
    texts: int | None = None
    vectors: str = "glove"
    epochs: int = 4
    batch_size: int = 64
    optimizer: MakeOptimizer = field(default_factory=lambda: adamw(1e-3))
    schedule: Schedule = field(default_factory=Cosine)
    precision: Precision = "fp32"

    @property
    def watch(self) -> None:
        """No attack after each epoch."""

    def fresh(self, lab: Site) -> nn.Module:
        """The network before its training, with the vocabulary of the sentences."""
        chosen = some(lab, "train", self.texts)
        texts = [one for one in chosen.texts if isinstance(one, str)]
        known = vectors(self.vectors) if self.vectors else None
        start = None if known is None else (known.words, known.matrix)
        return word_cnn(texts, vectors=start, classes=len(chosen.classes), seed=lab.seed)

    def recipe_for(self, lab: Site) -> Recipe:
        """The recipe, built for the sentences."""
        if not isinstance(self.recipe, PlannedOnTexts):
            return self.recipe
        epochs = min(self.epochs, lab.budget.epochs or self.epochs)
        return self.recipe.planned_on(lab, some(lab, "train", self.texts), epochs)

    def examples(self, model: nn.Module, lab: Site) -> Examples:
        """The sentences as token numbers of the network."""
        return tokens(model, some(lab, "train", self.texts))


@dataclass(frozen=True)
class Tfidf:
    """Logistic regression on word counts of movie sentences.

    Args:
        texts: sentences for training, as in ``TextNetwork``.
        c: inverse strength of the penalty.
    """

    texts: int | None = None
    c: float = 4.0

    def fitted(self, lab: Site) -> Trained:
        """The regression."""
        chosen = some(lab, "train", self.texts)
        texts = [one for one in chosen.texts if isinstance(one, str)]
        begun = time.perf_counter()
        model = fit_tfidf(texts, chosen.labels.tolist(), c=self.c, classes=len(chosen.classes))
        return Trained(model, model, time.perf_counter() - begun)


@dataclass(frozen=True)
class TextAttack:
    """A text recipe by name, perhaps with another search or more constraints.

    Args:
        recipe: its name.
        search: in place of the recipe's; None: that.
        cosine: smallest cosine in GloVe between the original and the new word, both of which must have a vector; None:
            no such constraint.
    """

    recipe: str
    search: Search | None = None
    cosine: float | None = None

    def made(self) -> TextRecipe:
        """The recipe, with the resources that it needs."""
        found = by_name(self.recipe, resources=text_resource)
        if self.search is not None:
            found = replace(found, search=self.search)
        if self.cosine is not None:
            close = WordCosine(vectors("glove"), self.cosine, unknown=False, vocabulary="GloVe")
            found = replace(found, constraints=(*found.constraints, close))
        return found


@dataclass(frozen=True)
class AgainstAttack:
    """Adversarial training: after the first epoch, part of the sentences is attacked anew before each epoch.

    Args:
        attack: of the present network.
        fraction: of the sentences that are attacked each time.
    """

    attack: TextAttack
    fraction: float = 0.2

    def planned_on(self, lab: Site, sentences: Sentences, epochs: int) -> Recipe:
        """The recipe for the training sentences."""
        start = min(1, epochs - 1)
        return AdversarialTexts(
            self.attack.made(), sentences, epochs, start=start, fraction=self.fraction, seed=lab.seed
        )


def some(lab: Site, split: Split, most: int | None = None) -> Sentences:
    """A simple random sample of sentences for the seed, within the budget of the lab; all without a number."""
    whole = lab.sentences(split)
    limit = lab.budget.images if split == "train" else lab.budget.test
    size = min(n for n in (len(whole), most, limit) if n is not None)
    return whole if size == len(whole) else whole.part(subset(len(whole), size, seed=lab.seed).numpy())


@cache
def vectors(name: str) -> Vectors:
    """Published word vectors, by the name of the resource."""
    from robustlab.text.vectors import vectors_in

    return vectors_in(text_resource(name))
