"""Gradients of the log loss with respect to the embeddings of words, for torch modules."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from robustlab.core.modes import frozen
from robustlab.core.types import Text, TextModel
from robustlab.core.user_code import called
from robustlab.text.parts import WordTable
from robustlab.text.victims.calls import logits_in
from robustlab.text.words import Words

Span: TypeAlias = tuple[int, int, int]
"""Field, first character and end of a token."""
_MOST = 64
"""Texts in one backward pass."""
NO_WORD = re.compile(r"##.*|<\w+>|\[\w+\]")
"""Pieces inside words, and tokens that stand for no word."""


class Tokens(NamedTuple):
    """Inputs of a module for some texts."""

    given: Tensor | Mapping[str, Tensor]
    """Token numbers (N, L), or the arguments of the module."""
    spans: Sequence[Sequence[Span]]
    """Spans of the tokens of each text; the first is that of the first column."""


@dataclass(frozen=True, eq=False)
class ModuleGradients:
    """``WordGradients`` of a torch module.

        sum over the pieces of a word of d(-log p(label)) / d(embedding of the piece)

    Args:
        model: the module, used in eval mode without a trace on it.
        embeddings: the part of it whose output the gradients are for.
        tokens: from texts to inputs and places of the tokens.
        probable: the module returns probabilities, not logits.
        vocabulary: words for the table, with the numbers of their rows in ``embeddings``; empty: no table.
    """

    model: nn.Module
    embeddings: nn.Module
    tokens: Callable[[list[Text]], Tokens]
    probable: bool = False
    vocabulary: tuple[tuple[str, int], ...] = ()

    @cached_property
    def table(self) -> WordTable | None:
        """Words of the victim and their embeddings, as they were at the first use."""
        if not self.vocabulary:
            return None
        weight = cast(Tensor, self.embeddings.weight).detach()
        rows = torch.tensor([row for _, row in self.vocabulary], device=weight.device)
        return WordTable(tuple(word for word, _ in self.vocabulary), weight[rows].double().cpu().numpy())

    def __call__(self, items: Sequence[tuple[Words, Text, int]]) -> list[NDArray[np.float64]]:
        """Gradients (n_words, d), one for each text."""
        return [found for start in range(0, len(items), _MOST) for found in self._batch(items[start : start + _MOST])]

    def _batch(self, items: Sequence[tuple[Words, Text, int]]) -> list[NDArray[np.float64]]:
        tokens = self.tokens([text for _, text, _ in items])
        with called(f"the gradient of {type(self.model).__name__}", f"{len(items)} texts"):
            grads = self._of_tokens(tokens.given, torch.tensor([label for _, _, label in items]))
        return [
            by_word(words, _field(words, text), spans, grad)
            for (words, text, _), spans, grad in zip(items, tokens.spans, grads, strict=True)
        ]

    def _of_tokens(self, given: Tensor | Mapping[str, Tensor], labels: Tensor) -> NDArray[np.float64]:
        """Gradients (N, L, d) of the embeddings of the tokens."""
        outputs: list[Tensor] = []
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))

        def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:  # noqa: ANN401 -- as torch calls it
            outputs.append(output.detach().requires_grad_())
            return outputs[-1]

        hook = self.embeddings.register_forward_hook(keep)
        try:
            with frozen(self.model, training=False), torch.inference_mode(mode=False), torch.enable_grad():
                if isinstance(given, Tensor):
                    scores = logits_in(self.model(given.to(device)))
                else:
                    scores = logits_in(self.model(**{key: value.to(device) for key, value in given.items()}))
                loss = F.nll_loss(self._logs(scores), labels.to(device), reduction="sum")
                (grad,) = torch.autograd.grad(loss, outputs[0])
        finally:
            hook.remove()
        return grad.double().cpu().numpy()

    def _logs(self, scores: Tensor) -> Tensor:
        """Logarithms of the probabilities (N, K)."""
        return scores.clamp_min(torch.finfo(scores.dtype).tiny).log() if self.probable else scores.log_softmax(dim=1)


def by_word(words: Words, field: int, spans: Sequence[Span], grad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the gradients of the tokens (L, d) over each word (n_words, d).

    Args:
        words: of one field.
        field: its number.
        spans: of the tokens; one for each column of ``grad`` that does not pad.
        grad: of the tokens.
    """
    found = np.zeros((len(words.words), grad.shape[-1]))
    starts, stops = [start for start, _ in words.spans], [stop for _, stop in words.spans]
    for (where, start, end), vector in zip(spans, grad, strict=False):
        if where != field or end <= start:
            continue
        word = bisect_right(stops, start)
        while word < len(starts) and starts[word] < end:
            found[word] += vector
            word += 1
    return found


def of_text_model(model: TextModel, *, probable: bool) -> ModuleGradients:
    """Gradients of a module that brings its own tokenizer."""
    words: Sequence[str] = getattr(model, "words", ())
    table = tuple((word, row) for row, word in enumerate(words) if not NO_WORD.fullmatch(word))

    def tokens(texts: list[Text]) -> Tokens:
        return Tokens(model.encode(texts), [model.spans(text) for text in texts])

    return ModuleGradients(cast(nn.Module, model), model.embeddings, tokens, probable, table)


def _field(words: Words, text: Text) -> int:
    """The field that was cut into words.

    Raises: ValueError if there is none with that text.
    """
    if isinstance(text, str):
        return 0
    if words.text not in text:
        raise ValueError(f"no field of {text!r} is {words.text!r}, the text of the words")
    return text.index(words.text)
