"""Sequence classifiers and pipelines of Hugging Face as victims."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from robustlab.core.modes import frozen
from robustlab.core.types import Text
from robustlab.core.user_code import called
from robustlab.runs.identity import model_digest
from robustlab.text.victims.calls import run
from robustlab.text.victims.gradients import NO_WORD, ModuleGradients, Span, Tokens
from robustlab.text.victims.kinds import Victim
from robustlab.text.victims.modules import chunked
from robustlab.text.victims.probing import answering, digest_of, probed, probes

_MOST = 1 << 14
"""Encodings of texts that are remembered."""
_SAME = 10
"""Largest difference between the scores of a pipeline and those of the model inside, in units of the last decimal."""
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def is_tokenizer(tokenizer: object) -> bool:
    """True for a tokenizer of Hugging Face."""
    return callable(tokenizer) and all(hasattr(tokenizer, name) for name in ("pad_token_id", "model_max_length"))


def is_pipeline(model: object) -> bool:
    """True for a pipeline of Hugging Face."""
    theirs = any(kind.__module__.startswith("transformers.pipelines") for kind in type(model).__mro__)
    return theirs and all(hasattr(model, name) for name in ("task", "tokenizer", "model"))


def transformer_victim(model: nn.Module, tokenizer: object, name: str | None, fields: int) -> Victim:
    """A torch module with a tokenizer of Hugging Face.

    Texts are cut where the tokenizer and the positions of the model end, padded to the longest of a batch, and the
    model is given the mask of the padding if it takes one. The padding is behind the texts whatever the tokenizer says:
    before them, it would move the positions of their tokens.

    Raises: ValueError for a model that gives no scores of classes: of regression, or of several labels at a time.
    """
    name = name or type(model).__name__
    _check_head(model, name)
    limit = _limit(model, tokenizer)
    encoder = Encoder(tokenizer, limit, _arguments(model), name)
    raw = chunked(lambda texts: run(model, encoder.inputs(texts)))
    rule, rows = probed(raw, name, "logits" if hasattr(model, "config") else "auto", None, fields)
    answers = [f"{value:.5f}" for value in rows.ravel().tolist()]  # follows the tokenizer
    return Victim(
        answering(raw, rule),
        rule.classes,
        name,
        digest_of("module", type(model).__qualname__, model_digest(model), str(limit), *answers),
        gradients=_gradients(model, encoder, probable=rule.output == "probabilities"),
        lengths=encoder.lengths,
        limit=limit,
        decimals=rule.decimals,
        labels=_labels(model),
    )


def pipeline_victim(pipeline: object, name: str | None, fields: int) -> Victim:
    """A pipeline "text-classification", by the model inside if its scores are the same, else by its answers.

    Raises: ValueError for another task.
    """
    given = cast(Any, pipeline)
    if not any(kind.__name__ == "TextClassificationPipeline" for kind in type(pipeline).__mro__):
        raise ValueError(f"the pipeline is for {given.task!r}: give one for 'text-classification'")
    model, tokenizer = given.model, given.tokenizer
    if tokenizer is None:
        raise ValueError("the pipeline has no tokenizer: give one, pipeline(..., tokenizer=...)")
    name = name or type(model).__name__
    found = transformer_victim(model, tokenizer, name, fields)
    texts, labels = probes(fields), found.labels
    cut = {} if found.limit is None else {"truncation": True, "max_length": found.limit}

    def raw(some: list[Text]) -> object:
        with frozen(model, training=False):
            answers = given([_as_pipeline(text) for text in some], top_k=None, **cut)
        return np.array([_ordered(answer, labels) for answer in answers])

    with called(f"the pipeline {name}", f"{len(texts)} texts"):
        direct = cast("np.ndarray[Any, Any]", raw(texts))
    if np.abs(direct - found.predict(texts)).max() <= _SAME * 10.0**-found.decimals:
        return found
    rule, _ = probed(raw, name, "probabilities", len(labels), fields)
    scaled = answering(raw, rule)
    return replace(found, predict=scaled, gradients=None, digest=digest_of("pipeline", found.digest))


@dataclass(frozen=True, eq=False)
class Encoder:
    """A tokenizer of Hugging Face that remembers what it has encoded.

    Args:
        tokenizer: from texts to token numbers.
        limit: number of tokens at which texts are cut; None: never.
        arguments: of the model that it is for; empty: it takes token numbers alone.
        name: of the victim.
    """

    tokenizer: object
    limit: int | None
    arguments: tuple[str, ...]
    name: str
    _known: dict[Text, dict[str, list[int]]] = field(default_factory=dict, init=False, repr=False)

    def inputs(self, texts: Sequence[Text]) -> Tensor | dict[str, Tensor]:
        """Token numbers (N, L), or the arguments of the model, padded to the longest text."""
        rows = self._encoded(texts)
        tokenizer = cast(Any, self.tokenizer)
        fills = {"input_ids": tokenizer.pad_token_id, "token_type_ids": getattr(tokenizer, "pad_token_type_id", 0)}
        sizes = {len(row["input_ids"]) for row in rows}
        if len(sizes) > 1 and fills["input_ids"] is None:
            raise ValueError(
                f"the tokenizer of {self.name} has no token for padding: set tokenizer.pad_token, and "
                "model.config.pad_token_id to its number"
            )
        names = self.arguments or ("input_ids",)
        given = {key: _padded([row[key] for row in rows], fills.get(key) or 0) for key in names if key in rows[0]}
        return given if self.arguments else given["input_ids"]

    def lengths(self, texts: Sequence[Text]) -> list[int]:
        """Numbers of tokens, uncut."""
        known = self._encoded(texts)
        sizes = [len(one["input_ids"]) for one in known]
        cut = [place for place, size in enumerate(sizes) if self.limit is not None and size >= self.limit]
        whole = self._called([texts[place] for place in cut], truncation=False, verbose=False) if cut else {}
        for place, ids in zip(cut, whole.get("input_ids", ()), strict=True):
            sizes[place] = len(ids)
        return sizes

    def tokens(self, texts: Sequence[Text]) -> Tokens:
        """Inputs and the places of their tokens.

        Raises: ValueError for a tokenizer written in Python, which does not know the places.
        """
        if not getattr(self.tokenizer, "is_fast", False):
            raise ValueError(
                f"the tokenizer of {self.name} does not know the places of its tokens, which gradients of words need: "
                "load the fast one, AutoTokenizer.from_pretrained(..., use_fast=True)"
            )
        given = self.inputs(texts)
        encoded = cast(Any, self._called(texts, return_offsets_mapping=True))
        spans = []
        for row in range(len(texts)):
            sequence, offsets = encoded.sequence_ids(row), encoded["offset_mapping"][row]
            own: list[Span] = [
                (0, 0, 0) if part is None else (part, *place) for part, place in zip(sequence, offsets, strict=True)
            ]
            spans.append(own)
        return Tokens(given, spans)

    def _encoded(self, texts: Sequence[Text]) -> list[dict[str, list[int]]]:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            if len(self._known) + len(new) > _MOST:
                self._known.clear()
                new = list(dict.fromkeys(texts))
            found = self._called(new)
            keys = [key for key in _INPUTS if key in found]
            for row, text in enumerate(new):
                self._known[text] = {key: list(found[key][row]) for key in keys}
        return [self._known[text] for text in texts]

    def _called(self, texts: Sequence[Text], **how: object) -> Mapping[str, Any]:
        """Output of the tokenizer for texts of one field or two.

        Raises: ValueError for more.
        """
        fields = [text if isinstance(text, tuple) else (text,) for text in texts]
        most = max(map(len, fields))
        if most > 2 or min(map(len, fields)) != most:
            raise ValueError(f"{self.name} reads one field or a pair, got texts of {min(map(len, fields))} to {most}")
        columns = [list(column) for column in zip(*fields, strict=True)]
        cut = {"truncation": True, "max_length": self.limit} if self.limit is not None else {}
        found: Mapping[str, Any] = cast(Any, self.tokenizer)(*columns, **{**cut, **how})
        return found


def _padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows], dtype=torch.int64)


def _gradients(model: nn.Module, encoder: Encoder, *, probable: bool) -> ModuleGradients | None:
    """Gradients of words, for a model whose embeddings can be found."""
    find: Callable[[], object] | None = getattr(model, "get_input_embeddings", None)
    embeddings = find() if find is not None and getattr(encoder.tokenizer, "is_fast", False) else None
    if not isinstance(embeddings, nn.Embedding):
        return None
    vocabulary = cast(Any, encoder.tokenizer).get_vocab()
    pieces = any(word.startswith("##") for word in vocabulary)  # else no word can be told from the end of another
    ordered = sorted(vocabulary.items(), key=lambda entry: entry[1])
    rows = [(w, n) for w, n in ordered if n < embeddings.num_embeddings and not NO_WORD.fullmatch(w)]
    return ModuleGradients(model, embeddings, encoder.tokens, probable, tuple(rows) if pieces else ())


def _arguments(model: nn.Module) -> tuple[str, ...]:
    """Names of the model's arguments that a tokenizer fills in; empty: one argument of another name."""
    import inspect

    parameters = inspect.signature(model.forward).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()) and "input_ids" not in parameters:
        return _INPUTS
    return tuple(name for name in _INPUTS if name in parameters) if "input_ids" in parameters else ()


def _limit(model: nn.Module, tokenizer: object) -> int | None:
    """Number of tokens at which texts are cut: of the tokenizer, or the positions that the model has."""
    found = [int(size) for size in (cast(Any, tokenizer).model_max_length,) if size and size < 1 << 30]
    for name, part in model.named_modules():
        if isinstance(part, nn.Embedding) and name.rpartition(".")[2] in ("position_embeddings", "wpe"):
            before = 0 if part.padding_idx is None else part.padding_idx + 1  # RoBERTa counts from behind the padding
            found.append(part.num_embeddings - before)
    return min(found, default=None)


def _check_head(model: nn.Module, name: str) -> None:
    config = getattr(model, "config", None)
    if getattr(config, "problem_type", None) == "multi_label_classification":
        raise ValueError(f"{name} gives several labels at a time (problem_type): classifiers of one label are attacked")
    if getattr(config, "num_labels", 2) == 1:
        raise ValueError(f"{name} has one output (num_labels=1), a regression: give a classifier with num_labels >= 2")


def _labels(model: nn.Module) -> tuple[str, ...]:
    names = getattr(getattr(model, "config", None), "id2label", None)
    return tuple(str(names[key]) for key in sorted(names)) if isinstance(names, Mapping) else ()


def _ordered(answer: Sequence[Mapping[str, object]], labels: tuple[str, ...]) -> list[float]:
    """Scores in the order of the classes, from those of a pipeline, which are sorted by size.

    Raises: ValueError if a label is missing.
    """
    scores = {str(one["label"]): float(cast(float, one["score"])) for one in answer}
    if set(scores) != set(labels):
        raise ValueError(f"the pipeline answers for {', '.join(scores)}, but the model has {', '.join(labels)}")
    return [scores[label] for label in labels]


def _as_pipeline(text: Text) -> object:
    """A text as pipelines take it."""
    if isinstance(text, str):
        return text
    return text[0] if len(text) == 1 else {"text": text[0], "text_pair": text[1]}
