"""Victims of text attacks from any kind of classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

from torch import nn

from robustlab.core.kinds import typed
from robustlab.core.types import Text
from robustlab.core.user_code import model_name
from robustlab.text.victims.estimators import estimator_victim, is_estimator
from robustlab.text.victims.kinds import Output, Victim
from robustlab.text.victims.modules import (
    Encode,
    fast_victim,
    is_fast_model,
    is_text_model,
    module_victim,
    on_device,
    text_model_victim,
)
from robustlab.text.victims.probing import black_box
from robustlab.text.victims.transformer import is_pipeline, is_tokenizer, pipeline_victim, transformer_victim


@typed
def victim(
    model: object,
    *,
    tokenizer: object = None,
    output: Output = "auto",
    classes: Sequence[str] | int | None = None,
    name: str | None = None,
    device: str | None = None,
    fields: int = 1,
) -> Victim:
    """A classifier of texts, ready to be attacked.

    It is called twice for eight short texts, to learn what it returns and whether it returns it again.

    Args:
        model: one of ``robustlab.models`` for texts; a torch module with a ``tokenizer``, such as a sequence classifier
            of Hugging Face with its own; a pipeline "text-classification" of Hugging Face; a fitted classifier of
            scikit-learn that takes texts; or any function from a list of texts to scores (N, K), or to scores (N,) of
            the second of two classes.
        tokenizer: from a list of texts to token numbers (N, L), or to a mapping of the module's arguments.
        output: kind of the scores; "auto": probabilities if the rows of the first answer are >= 0 and sum to 1, else
            logits. It stays as it was decided.
        classes: names or number of the classes; None: as the model says.
        name: in tables; None: that of the class or function.
        device: of a torch module, such as "cuda": a copy is put there. None: where it is.
        fields: of each text: 2 for sentence pairs.

    Raises:
        ValueError: no classifier, or one whose answers are no scores (hard labels, NaN, one class, another shape,
            another answer the second time), with what was seen.
        UserCodeError: it raises an error.

    Example:
        >>> import numpy as np
        >>> likes = victim(lambda texts: np.array([[0.5, t.count("good")] for t in texts]), classes=["no", "yes"])
        >>> likes.predict(["good good good"]).round(2).tolist(), likes.classes
        ([[0.08, 0.92]], 2)
    """
    if isinstance(model, Victim):
        return model
    if isinstance(model, type) or not (callable(model) or is_estimator(model)):
        raise ValueError(_no_victim(model))
    found = _victim(model, tokenizer, output, name, device, fields)
    return found if classes is None else _named(found, classes)


def _victim(
    model: object, tokenizer: object, output: Output, name: str | None, device: str | None, fields: int
) -> Victim:
    if is_pipeline(model):
        return pipeline_victim(model, name, fields)
    if isinstance(model, nn.Module):
        module = on_device(model, device)
        if is_fast_model(module):
            return fast_victim(module, name)
        if is_text_model(module):
            return text_model_victim(module, name, output)
        if not callable(tokenizer):
            raise ValueError(
                f"{type(model).__name__} is a torch module: give its tokenizer=, from texts to token numbers"
            )
        if is_tokenizer(tokenizer):
            return transformer_victim(module, tokenizer, name, fields)
        return module_victim(module, cast(Encode, tokenizer), name, output, fields)
    if is_estimator(model):
        return estimator_victim(model, name, output, fields)
    function = cast("Callable[[list[Text]], object]", model)
    return black_box(function, name or model_name(model), output, None, fields)


def _named(found: Victim, classes: Sequence[str] | int) -> Victim:
    """A victim with names of its classes.

    Raises: ValueError if there are more or fewer names than classes.
    """
    count = classes if isinstance(classes, int) else len(classes)
    if count != found.classes:
        raise ValueError(f"{found.name} has {found.classes} classes, but {count} are given")
    return found if isinstance(classes, int) else replace(found, labels=tuple(classes))


def _no_victim(given: object) -> str:
    if isinstance(given, type):
        return f"the victim is the class {given.__name__}: give a fitted instance of it"
    if isinstance(given, str):
        return f"the victim is the text {given!r}: load the model first, robustlab.models.load({given!r})"
    return (
        f"the victim is a {type(given).__name__}, expected a function from a list of texts to scores (N, K), a torch "
        "module with a tokenizer, or a fitted classifier of scikit-learn"
    )
