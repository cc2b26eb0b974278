"""Maps of words of texts: occlusion for any victim, integrated gradients of embeddings for torch modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from robustlab.core.gradients import gradient_by
from robustlab.core.kinds import typed
from robustlab.core.modes import frozen
from robustlab.core.twin import checked_logits
from robustlab.core.types import Text
from robustlab.core.user_code import called
from robustlab.explain.case import ScoreName, class_score
from robustlab.explain.integrated import quadrature
from robustlab.explain.word_maps import (
    CutWords,
    Span,
    WordMaps,
    by_words,
    checked_texts,
    cut_texts,
    fields_of,
    whole_words,
)

_MOST = 64
"""Texts in one pass."""


class TokenModel(Protocol):
    """A torch module that reads texts as embeddings of tokens.

    ``robustlab.text.victim(...).gradients`` is one, for torch modules and models of Hugging Face.
    """

    @property
    def model(self) -> nn.Module:
        """From inputs of ``tokens`` to logits (N, K), or an object with them as ``logits``."""

    @property
    def embeddings(self) -> nn.Module:
        """The part of the model that turns token numbers (N, L) into vectors (N, L, D)."""

    @property
    def tokens(self) -> Callable[[list[Text]], Any]:
        """Gives, for some texts, ``given`` and ``spans``.

        ``given``: the argument, or a mapping of the arguments, of the model. ``spans``: field, first character and end
        of the tokens of each text, the first that of the first column; a token of no characters begins at its end.
        """


@typed
def occlude_words(
    scores: Callable[[list[Text]], object],
    texts: Sequence[Text],
    target: Tensor | None = None,
    *,
    replacement: str = "",
    score: ScoreName = "logit",
    words: CutWords = whole_words,
) -> WordMaps:
    """Score of each text less that without a word, for each of its words.

    Args:
        scores: from texts to scores (N, K), as a tensor or an array: logits, or what the victim has; it may be
            ``robustlab.text.victim(...).predict``.
        texts: strings, or tuples of strings as fields.
        target: explained classes (N,); None: those of the largest scores.
        replacement: is put in the place of the word; "": the word is deleted with one space.
        score: as in ``explain``.
        words: places of the words of a text, such as ``lambda text: robustlab.text.cut(text).spans``.

    Raises: ValueError for texts or scores that are none; UserCodeError for a victim that fails.
    """
    texts = checked_texts(texts)
    spans = cut_texts(texts, words)
    variants = [
        [text, *(_without(text, one, replacement) for one in own)] for text, own in zip(texts, spans, strict=True)
    ]
    sizes = [len(some) for some in variants]
    rows = _answers(scores, [text for some in variants for text in some]).split(sizes)
    whole = torch.stack([some[0] for some in rows])
    classes = _classes(whole, target)
    values = [class_score(some, kind.repeat(len(some)), score) for some, kind in zip(rows, classes, strict=True)]
    name = f"occlude_words(replacement={replacement!r})"
    return WordMaps(texts, spans, tuple(one[0] - one[1:] for one in values), classes, name)


@typed
def integrate_words(
    tokens: TokenModel | None,
    texts: Sequence[Text],
    target: Tensor | None = None,
    *,
    steps: int = 50,
    score: ScoreName = "logit",
    words: CutWords = whole_words,
) -> WordMaps:
    """Integrated gradients of the embeddings, added up over the tokens of each word.

    The baseline has the embedding of padding (0, if there is none) in place of every token that stands for characters;
    tokens that the model puts in by itself keep theirs. Values and ``rest`` add up to the score less that of the
    baseline, but for the error of the quadrature (Gauss-Legendre).

    Args:
        tokens: the module, its embeddings and its tokenizer; ``robustlab.text.victim(...).gradients`` is one, and None
            for a victim without gradients, which is refused.
        texts: strings, or tuples of strings as fields.
        target: explained classes (N,); None: those that the model predicts.
        steps: gradients per text, at least 1.
        score: as in ``explain``.
        words: places of the words of a text, such as ``lambda text: robustlab.text.cut(text).spans``.

    Raises: ValueError for texts that are none, or embeddings that are not used once; UserCodeError for a failing model.

    Source: Sundararajan, Taly, Yan, Axiomatic Attribution for Deep Networks, ICML 2017; by layer as in captum.
    """
    if steps < 1:
        raise ValueError(f"integrate_words: steps must be at least 1, got {steps}")
    if tokens is None:
        raise ValueError(
            "integrate_words needs a torch module with embeddings, and this victim has none: take occlude_words, which "
            "works for any victim"
        )
    texts = checked_texts(texts)
    spans = cut_texts(texts, words)
    found = [
        _integrated(tokens, texts[n : n + _MOST], _part(target, n), steps, score) for n in range(0, len(texts), _MOST)
    ]
    flat = [one for part in found for one in zip(part.values, part.spans, strict=True)]
    pairs = [by_words(own, places, values) for own, (values, places) in zip(spans, flat, strict=True)]
    return WordMaps(
        texts,
        spans,
        tuple(values for values, _ in pairs),
        torch.cat([part.target for part in found]),
        f"integrate_words(steps={steps})",
        torch.stack([rest for _, rest in pairs]),
        torch.cat([part.change for part in found]),
    )


class _Integrated(NamedTuple):
    values: Tensor
    spans: Sequence[Sequence[Span]]
    target: Tensor
    change: Tensor


def _integrated(
    tokens: TokenModel, texts: tuple[Text, ...], target: Tensor | None, steps: int, score: ScoreName
) -> _Integrated:
    """Values of the tokens (N, L) of some texts."""
    given, spans = _tokens(tokens, texts)
    with frozen(tokens.model, training=False), torch.inference_mode(mode=False):
        whole, logits = _pass(tokens, given)
        classes = _classes(logits, target)
        start = _baseline(tokens.embeddings, whole, spans)

        def scores(points: Tensor, copies: int) -> Tensor:
            found = _pass(tokens, _repeated(given, copies), points)[1]
            return class_score(found, classes.to(found.device).repeat(copies), score)

        values = _integral(scores, start, whole - start, steps)
        with torch.no_grad():
            change = scores(whole, 1).cpu().double() - scores(start, 1).cpu().double()
    return _Integrated(values.sum(2).cpu(), spans, classes, change)


def _integral(scores: Callable[[Tensor, int], Tensor], start: Tensor, way: Tensor, steps: int) -> Tensor:
    """Integrated gradients (N, L, D), float64, of scores by points (several of each of N texts)."""
    total, count = torch.zeros_like(way, dtype=torch.float64), max(1, _MOST // len(way))
    nodes, weights = quadrature("gausslegendre", steps)
    for first in range(0, steps, count):
        at = torch.tensor(nodes[first : first + count]).to(way)[:, None, None, None]
        points = (start + at * way).flatten(0, 1).requires_grad_()
        with torch.enable_grad():
            grads = gradient_by(points, scores(points, len(at)).sum()).unflatten(0, (len(at), -1))
        for grad, weight in zip(grads, weights[first : first + count], strict=True):
            total.add_(grad, alpha=weight)
    return total.mul_(way)


def _repeated(given: Tensor | Mapping[str, Tensor], copies: int) -> Tensor | Mapping[str, Tensor]:
    if isinstance(given, Tensor):
        return given.repeat(copies, *[1] * (given.ndim - 1))
    return {key: value.repeat(copies, *[1] * (value.ndim - 1)) for key, value in given.items()}


def _tokens(tokens: TokenModel, texts: tuple[Text, ...]) -> tuple[Tensor | Mapping[str, Tensor], list[Sequence[Span]]]:
    with called("the tokenizer", f"{len(texts)} texts"):
        found = tokens.tokens(list(texts))
    given, spans = found if isinstance(found, tuple) else (found.given, found.spans)
    device = next((p.device for p in tokens.model.parameters()), torch.device("cpu"))
    if isinstance(given, Tensor):
        return given.to(device), list(spans)
    return {key: value.to(device) for key, value in given.items()}, list(spans)


def _pass(
    tokens: TokenModel, given: Tensor | Mapping[str, Tensor], point: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Embeddings (N, L, D) of a pass and its logits (N, K); with other embeddings in their place if they are given."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        seen.append(output.detach() if point is None else point)
        return seen[-1]

    hook = tokens.embeddings.register_forward_hook(keep)
    try:
        with called(f"the model ({type(tokens.model).__name__})", "the tokens of the texts"):
            out: Any = tokens.model(given) if isinstance(given, Tensor) else tokens.model(**given)
    finally:
        hook.remove()
    if len(seen) != 1:
        raise ValueError(f"the model calls its embeddings {len(seen)} times in a pass: integrate_words needs one call")
    logits = checked_logits(getattr(out, "logits", out), seen[0])
    return seen[0], logits if point is not None else logits.detach().cpu()


def _baseline(embeddings: nn.Module, whole: Tensor, spans: Sequence[Sequence[Span]]) -> Tensor:
    """Embeddings (N, L, D) of texts without characters."""
    weight, padding = getattr(embeddings, "weight", None), getattr(embeddings, "padding_idx", None)
    empty = torch.zeros_like(whole[0, 0])
    if isinstance(weight, Tensor) and padding is not None and weight[padding].shape == empty.shape:
        empty = weight[padding].detach()
    start = whole.clone()
    for row, own in enumerate(spans):
        said = [n for n, (_, first, end) in enumerate(own[: whole.shape[1]]) if end > first]
        start[row, said] = empty
    return start


def _answers(scores: Callable[[list[Text]], object], texts: list[Text]) -> Tensor:
    """Scores (N, K) of texts, each different text once.

    Raises: ValueError for scores that are not (N, K), finite numbers.
    """
    different = list(dict.fromkeys(texts))
    parts = []
    for n in range(0, len(different), _MOST):
        some = different[n : n + _MOST]
        with called("the victim", f"{len(some)} texts"), torch.no_grad():
            parts.append(torch.as_tensor(scores(some)).detach().cpu().double())
        if parts[-1].ndim != 2 or len(parts[-1]) != len(some) or not bool(parts[-1].isfinite().all()):
            raise ValueError(
                f"the victim returned scores {tuple(parts[-1].shape)} for {len(some)} texts: finite numbers (N, K) are "
                "expected"
            )
    places = {text: n for n, text in enumerate(different)}
    return torch.cat(parts)[[places[text] for text in texts]]


def _without(text: Text, span: Span, replacement: str) -> Text:
    """A text with another word at a place; without it, and without one space, for ""."""
    fields = list(fields_of(text))
    field, start, end = span
    before, after = fields[field][:start], fields[field][end:]
    if not replacement:
        before, after = (before.removesuffix(" "), after) if before else (before, after.removeprefix(" "))
    fields[field] = f"{before}{replacement}{after}"
    return fields[0] if isinstance(text, str) else tuple(fields)


def _part(target: Tensor | None, start: int) -> Tensor | None:
    return None if target is None else target[start : start + _MOST]


def _classes(scores: Tensor, target: Tensor | None) -> Tensor:
    """Explained classes (N,).

    Raises: ValueError for classes that are not there.
    """
    if target is None:
        return scores.argmax(1)
    if target.shape != (len(scores),) or target.is_floating_point() or target.dtype == torch.bool:
        raise ValueError(f"target must hold one class number per text, got {tuple(target.shape)} {target.dtype}")
    if int(target.min()) < 0 or int(target.max()) >= scores.shape[1]:
        raise ValueError(f"target must be in 0..{scores.shape[1] - 1}, the victim's classes, got {target.tolist()[:5]}")
    return target.to("cpu", torch.int64)
