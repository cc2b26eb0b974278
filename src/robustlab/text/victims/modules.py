"""Torch modules as victims: our own text models, and modules with a tokenizer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard, cast

import torch
from torch import Tensor, nn

from robustlab.core.types import Text, TextModel
from robustlab.runs.identity import model_digest
from robustlab.text.victims.calls import run
from robustlab.text.victims.gradients import of_text_model
from robustlab.text.victims.kinds import Output, Predict, Victim
from robustlab.text.victims.probing import answering, digest_of, probed

Encode: TypeAlias = Callable[[list[Text]], object]
"""From texts to token numbers: a tensor, or a mapping of tensors that are the arguments of the model."""
_MOST = 512
"""Texts in one call of a module; the driver sends fewer."""


def is_text_model(model: object) -> TypeGuard[TextModel]:
    """True for a module with its own tokenizer, as ``core.TextModel``."""
    return isinstance(model, nn.Module) and all(
        hasattr(model, name) for name in ("encode", "spans", "lengths", "embeddings")
    )


def text_model_victim(model: TextModel, name: str | None, output: Output) -> Victim:
    """One of our own text models, or another with its own tokenizer."""
    module = cast(nn.Module, model)
    name = name or type(model).__name__
    raw = chunked(lambda texts: run(module, model.encode(texts)))
    rule, _ = probed(raw, name, output, None, 1)
    return Victim(
        answering(raw, rule),
        rule.classes,
        name,
        digest_of("module", type(model).__qualname__, model_digest(module)),
        gradients=of_text_model(model, probable=rule.output == "probabilities"),
        lengths=model.lengths,
        limit=model.limit,
        decimals=rule.decimals,
        labels=tuple(getattr(model, "labels", ())),
        one_length=model.encode(["a"]).shape[1] == model.encode(["a a a"]).shape[1],
    )


def is_fast_model(model: object) -> bool:
    """True for a model that returns probabilities for texts by itself, such as ``models.TfidfClassifier``."""
    return isinstance(model, nn.Module) and hasattr(model, "probabilities")


def fast_victim(model: nn.Module, name: str | None) -> Victim:
    """A model with a method from texts to probabilities (N, K)."""
    name = name or type(model).__name__
    probabilities: Predict = cast(Any, model).probabilities
    rule, _ = probed(probabilities, name, "probabilities", None, 1)
    digest = digest_of("module", type(model).__qualname__, model_digest(model))
    return Victim(
        answering(probabilities, rule),
        rule.classes,
        name,
        digest,
        decimals=rule.decimals,
        labels=tuple(getattr(model, "labels", ())),
    )


def chunked(raw: Callable[[list[Text]], Tensor]) -> Callable[[list[Text]], Tensor]:
    """The same function, called for some hundred texts at a time."""

    def call(texts: list[Text]) -> Tensor:
        parts = [raw(texts[start : start + _MOST]) for start in range(0, len(texts), _MOST)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    return call


def on_device(model: nn.Module, device: str | None) -> nn.Module:
    """The model, or a copy on another device: what the user gave stays where it is."""
    if device is None or all(p.device == torch.device(device) for p in model.parameters()):
        return model
    return copy.deepcopy(model).to(device)


def tokenized(encode: Encode, name: str) -> Callable[[list[Text]], Tensor | dict[str, Tensor]]:
    """The user's tokenizer, its answer checked.

    Raises: ValueError, when called, unless it returns whole numbers (N, L) or a mapping of such.
    """

    def call(texts: list[Text]) -> Tensor | dict[str, Tensor]:
        found = encode(texts)
        if isinstance(found, Mapping):
            return {str(key): _numbers(value, texts, name) for key, value in found.items()}
        return _numbers(found, texts, name)

    return call


def _numbers(found: object, texts: Sequence[Text], name: str) -> Tensor:
    try:
        ids = found if isinstance(found, Tensor) else torch.as_tensor(found)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"the tokenizer of {name} returned a {type(found).__name__} that is no table of numbers (N, L): pad its "
            "rows to one length"
        ) from error
    if ids.ndim < 2 or len(ids) != len(texts):
        raise ValueError(
            f"the tokenizer of {name} returned shape {tuple(ids.shape)} for {len(texts)} texts, expected (N, L)"
        )
    return ids


def module_victim(model: nn.Module, encode: Encode, name: str | None, output: Output, fields: int) -> Victim:
    """A module with a function from texts to its inputs."""
    name = name or type(model).__name__
    tokens = tokenized(encode, name)
    raw = chunked(lambda texts: run(model, tokens(texts)))
    rule, rows = probed(raw, name, output, None, fields)
    answers = [f"{value:.6f}" for value in rows.ravel().tolist()]  # the tokenizer may be any function
    digest = digest_of("module", type(model).__qualname__, model_digest(model), *answers)
    return Victim(answering(raw, rule), rule.classes, name, digest, decimals=rule.decimals)
