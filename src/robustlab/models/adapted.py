"""Any classifier as a module from images to logits: other return types, probabilities, functions without gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx

from robustlab.core.kinds import typed
from robustlab.core.types import Logits
from robustlab.core.user_code import called, inputs, no_model

Output: TypeAlias = Literal["logits", "probabilities", "logit"]
"""Output of a classifier: numbers for K classes (N, K), or for two classes one number (N,) or (N, 1)."""
Predict: TypeAlias = Callable[[NDArray[np.float32]], NDArray[np.floating]]
"""From images (N, ...) as a numpy array to logits or probabilities (N, K)."""


@typed
def adapted(
    model: Callable[[Tensor], object], *, field: str | int | None = None, output: Output = "logits"
) -> nn.Module:
    """A torch classifier that returns something other than a tensor of logits, as a module that does.

    Args:
        model: module or function on tensors; gradients must flow through it.
        field: key, attribute or position of the tensor in the output of the model; None: the output itself, else its
            ``logits``, else its only tensor.
        output: "probabilities" are turned into logits by their logarithm, and those of the second of two classes alone,
            (N,) or (N, 1), into (1 - p, p) before. A single "logit" z of the second class, (N,) or (N, 1), becomes
            (-z / 2, z / 2).

    Returns: a module from x to logits (N, K), with the model as a sub-module if it is one.
    Raises: ValueError, when called, if the tensor is not found.
    """
    return _Adapted(model, field, output)


@typed
def black_box(predict: Predict, *, output: Output = "probabilities") -> nn.Module:
    """A classifier on numpy arrays (scikit-learn's ``predict_proba``, ONNX, a service), as a module without gradients.

    Attacks by queries and corruptions can use it; a gradient raises an error. The function gets arrays only, each with
    memory of its own, and is never copied.

    Args:
        predict: from float32 images (N, ...) in [0, 1] to numbers (N, K); flattens them itself if it needs rows.
        output: "probabilities" are turned into logits by their logarithm.
    """
    return _Adapted(_Predictor(predict, single=output == "logit"), None, output)


class _Adapted(nn.Module):
    def __init__(self, model: Callable[[Tensor], object], field: str | int | None, output: Output) -> None:
        super().__init__()
        if isinstance(model, type):
            raise ValueError(no_model(model))
        self.model = model
        self.field = field
        self.output = output

    def forward(self, x: Tensor) -> Logits:
        """Inputs (N, ...) to logits (N, K)."""
        found = _tensor(self.model(x), self.field)
        if self.output == "logits":
            return found
        if self.output == "logit":
            return _column(found) * found.new_tensor([-0.5, 0.5])
        if found.shape[1:] in ((), (1,)):
            found = _both(_column(found))
        # The smallest normal number keeps the logarithm finite where a probability is exactly zero.
        return found.clamp_min(torch.finfo(found.dtype).tiny).log()


def _both(second: Tensor) -> Tensor:
    """Probabilities of two classes (N, 2) from that of the second (N, 1).

    Raises: ValueError if it is out of [0, 1].
    """
    low, high = (float(v) for v in second.detach().aminmax())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"one probability per input must be in [0, 1], got [{low:g}, {high:g}]: is it output='logit'?")
    return torch.cat([1 - second, second], dim=1)


def _column(found: Tensor) -> Tensor:
    """One number per input as (N, 1).

    Raises: ValueError for more than one.
    """
    if found.shape[1:] not in ((), (1,)):
        raise ValueError(f"the model returned {tuple(found.shape)}, expected one logit per input, (N,) or (N, 1)")
    return found.reshape(-1, 1)


def _tensor(answer: object, field: str | int | None) -> Tensor:
    parts = _parts(answer)
    if field is not None:
        found = parts.get(field)
    elif isinstance(answer, Tensor):
        found = answer
    else:
        tensors = [part for part in parts.values() if isinstance(part, Tensor)]
        found = parts.get("logits", tensors[0] if len(tensors) == 1 else None)
    if isinstance(found, Tensor):
        return found
    remedy = "give field=" if field is None else f"field={field!r} is no tensor in it:"
    there = ", ".join(f"{key!r} ({type(part).__name__})" for key, part in parts.items()) or "nothing inside"
    raise ValueError(f"the model returned a {type(answer).__name__}; {remedy} one of {there}")


def _parts(answer: object) -> dict[str | int, object]:
    """Parts of a model's output, by key, attribute or position."""
    if isinstance(answer, Mapping):
        return dict(answer)
    if isinstance(answer, tuple | list):
        names = getattr(answer, "_fields", range(len(answer)))
        return dict(zip(names, answer, strict=True))
    if isinstance(answer, Tensor) or not hasattr(answer, "__dict__"):
        return {}
    return cast("dict[str | int, object]", vars(answer))


class _Predictor(nn.Module):
    def __init__(self, predict: Predict, *, single: bool) -> None:
        super().__init__()
        self.predict, self.single = predict, single

    def forward(self, x: Tensor) -> Tensor:
        given = np.array(x.detach().to("cpu", torch.float32).numpy(), order="C")  # a copy: whatever is done with it
        with called("predict of the black box", inputs(x)):
            answer = np.asarray(self.predict(given))
        fits = answer.ndim == 2 or (self.single and answer.ndim == 1)
        if not fits or len(answer) != len(x) or answer.dtype.kind not in "fiub":
            raise ValueError(
                f"predict returned shape {answer.shape} for {len(x)} inputs, expected (N, K) numbers ({answer.dtype}): "
                "give the method that returns probabilities, such as predict_proba, not the one that returns classes"
            )
        wide = np.float32 if answer.dtype == np.float32 else np.float64
        own = np.array(answer, wide, order="C")  # a copy: the function may write over what it returned before
        found: Tensor = _NoGradient.apply(x, torch.from_numpy(own).to(x.device, x.dtype))
        return found


class _NoGradient(Function):
    """Returns the second argument; the gradient of the first raises an error that gives the reason."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, answer: Tensor) -> Tensor:  # noqa: ARG004
        return answer.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004
        raise ValueError(
            "this model is a black box without gradients: use RandomNoise or an attack by queries, Occlusion to "
            "explain it, or give the torch model itself"
        )
