"""One call to explain some examples, checked and prepared: what every method works on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from robustlab.core import Logits, Model, Streams, Twin, frozen, search_twin
from robustlab.core.gradients import dense
from robustlab.core.names import example_names
from robustlab.core.user_code import model_called

ScoreName: TypeAlias = Literal["logit", "probability", "log-probability", "margin"]
"""Score that is explained: logit of the class (the usual one), its softmax probability, the logarithm of that, or the
logit less the largest other one."""
_BLOCK_ROWS, _BLOCK_VALUES, _GPU_VALUES = 256, 1 << 20, 1 << 24
_PASS_VALUES = 5 * 3 * 224 * 224  # input values per pass: half of a search's, as fast with half of the memory


@dataclass(frozen=True)
class Case:
    """Examples to be explained.

    Args:
        model: the user's own, for methods that look into its layers.
        twin: of the model, for gradients.
        x: inputs (N, ...), detached.
        target: explained classes (N,).
        streams: random numbers of the examples.
        score: what is explained.
    """

    model: Model
    twin: Twin
    x: Tensor
    target: Tensor
    streams: Streams
    score: ScoreName = "logit"

    def __len__(self) -> int:
        return self.x.shape[0]

    def __getitem__(self, rows: slice | Tensor) -> Case:
        """The case of some of the examples."""
        streams = self.streams[rows] if isinstance(rows, slice) else self.streams.take(rows)
        return replace(self, x=self.x[rows], target=self.target[rows], streams=streams)

    def scores(self, points: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scores of points (M,), without a graph.

        Args:
            points: inputs (M, ...).
            rows: numbers of the examples that the points belong to (M,); None: one point per example, in their order.

        Raises: ValueError for scores that are NaN or infinite.
        """
        target = self._target(rows)
        with torch.no_grad():
            parts = zip(self.twin.split(points), target.split(self.twin.rows or len(target)), strict=True)
            return torch.cat([self._score(part, classes) for part, classes in parts])

    def gradient(self, points: Tensor, rows: Tensor | None = None) -> Tensor:
        """Gradient of the score at each point (M, ...), as a new tensor; arguments as in ``scores``.

        Raises: ValueError for a model without gradients, and for those that are NaN or infinite.
        """
        target = self._target(rows)
        parts = zip(self.twin.split(points), target.split(self.twin.rows or len(target)), strict=True)
        return torch.cat([self._gradient(part, classes) for part, classes in parts])

    @property
    def separable(self) -> bool:
        """True if an example's score is known not to depend on the others of its pass."""
        return self.twin.distinct or self.twin.rows is not None

    @property
    def copies(self) -> int:
        """Points of each example that fill a pass, at least 1; 1 if the examples must stay together."""
        if not self.separable:
            return 1
        return max(1, (self.twin.rows or _most_rows(self.x)) // len(self))

    def rows(self, copies: int) -> Tensor:
        """Numbers of the examples of ``copies`` points each, all first points first (copies * N,)."""
        return torch.arange(len(self), device=self.x.device).repeat(copies)

    def _target(self, rows: Tensor | None) -> Tensor:
        return self.target if rows is None else self.target[rows]

    def _gradient(self, x: Tensor, target: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            score = self._score(x, target, backward=True)
            return derivative(score, x)

    def _score(self, x: Tensor, target: Tensor, *, backward: bool = False) -> Tensor:
        found = class_score(self.twin.searched(x, int(target.max()) + 1, backward=backward), target, self.score)
        if not bool(found.detach().isfinite().all()):
            raise ValueError(
                f"the model's {self.score} is NaN or infinite for {_share(found.detach())} inputs: {_NOT_FINITE}"
            )
        return found


def derivative(score: Tensor, x: Tensor) -> Tensor:
    """Gradient of scores by the points that they were computed from (M, ...), as a new, dense tensor.

    Args:
        score: one for each point (M,).
        x: the points (M, ...), with ``requires_grad``.

    Raises: ValueError if no graph leads from the scores to the points, or if the gradient is NaN or infinite.
    """
    (grad,) = torch.autograd.grad(score.sum(), x, allow_unused=True) if score.requires_grad else (None,)
    if grad is None:
        raise ValueError(
            "the model gives no gradient by its inputs (it works under no_grad, detaches them or leaves torch): "
            "take Occlusion, which needs none, or give the torch model itself"
        )
    own = dense(grad.detach()).to(x.dtype, copy=True, memory_format=torch.preserve_format)
    if not bool(own.sum().isfinite()) and not bool(own.isfinite().all()):  # a sum alone may overflow
        raise ValueError(f"the gradient is NaN or infinite at {_share(own)} inputs: {_NOT_FINITE}")
    return own


_NOT_FINITE = "look for roots, logarithms and quotients at 0, and compute in float32 where half precision overflows"


def _share(values: Tensor) -> str:
    """Number of examples with a value that is not finite, such as "2 of 10"."""
    wrong = values.isfinite().flatten(1).all(1).logical_not() if values.ndim > 1 else ~values.isfinite()
    return f"{int(wrong.sum())} of {len(values)}"


def class_score(logits: Logits, target: Tensor, score: ScoreName) -> Tensor:
    """Score of the explained class for each example (N,).

    Args:
        logits: (N, K).
        target: the classes (N,).
        score: which one.
    """
    if score == "probability":
        logits = logits.softmax(1)
    elif score == "log-probability":
        logits = logits.log_softmax(1)
    own = logits.gather(1, target[:, None])[:, 0]
    if score != "margin":
        return own
    return own - logits.scatter(1, target[:, None], -torch.inf).amax(1)


@contextmanager
def cases(
    model: Model, x: Tensor, target: Tensor | None, *, score: ScoreName, seed: int, ids: Tensor | None
) -> Iterator[Iterator[Case]]:
    """Surroundings of a call: the model is restored at the end, gradients work, the twin is built.

    Args:
        model: the user's own, or a twin of it.
        x: inputs (N, ...).
        target: classes (N,); None: those that the model predicts.
        score: what is explained.
        seed: of random draws.
        ids: names of the examples (N,); None: 0..N-1.

    Yields: the cases, each of so many examples as fit the memory.
    Raises: ValueError for inputs that are no dense floating-point batch, NaN, or targets that are no classes.
    """
    if score not in get_args(ScoreName):
        raise ValueError(f"score must be one of {', '.join(get_args(ScoreName))}, got {score!r}")
    check_inputs(x)
    names = torch.arange(len(x), device=x.device) if ids is None else example_names(ids, len(x)).to(x.device)
    own = model.model if isinstance(model, Twin) else model
    with torch.inference_mode(mode=False), frozen(own), model_called():
        x = x.detach().clone() if x.is_inference() else x.detach()
        twin = model if isinstance(model, Twin) else _small_passes(search_twin(model, x), x)
        classes = checked_target(twin, x, target)
        streams = Streams(seed, names)
        yield (
            Case(own, twin, _laid_out(x[rows], twin), classes[rows], streams[rows], score) for rows in _blocks(x, twin)
        )


def _blocks(x: Tensor, twin: Twin) -> Iterator[slice]:
    """Examples that are worked on together: whole micro-batches, as many as fit the memory.

    All at once for a model of which an example's logits may depend on the others.
    """
    rows = twin.rows or (1 if twin.distinct else len(x))
    count = max(1, _most_rows(x) // rows) * rows
    return (slice(start, start + count) for start in range(0, len(x), count))


def _small_passes(twin: Twin, x: Tensor) -> Twin:
    if twin.rows is None:
        return twin
    return replace(twin, rows=max(1, min(twin.rows, _PASS_VALUES // max(1, x[0].numel()))))


def _most_rows(x: Tensor) -> int:
    """Examples like these whose values and maps take little memory."""
    return min(_BLOCK_ROWS, (_BLOCK_VALUES if x.device.type == "cpu" else _GPU_VALUES) // max(1, x[0].numel())) or 1


def _laid_out(x: Tensor, twin: Twin) -> Tensor:
    """The inputs in the layout of the twin, channels-last for images."""
    return x.contiguous(memory_format=torch.channels_last) if twin.distinct and x.ndim == 4 else x


def check_inputs(x: Tensor) -> None:
    """Checks that inputs can be explained.

    Raises: ValueError for anything but a dense, finite, floating-point batch (N, ...) with N >= 1.
    """
    if x.ndim < 2 or not x.numel():
        raise ValueError(f"inputs must be a batch (N, ...) with N >= 1, got shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(
            f"inputs must be floating point, got {x.dtype}: write x.float() for images, and explain the embeddings of "
            "tokens"
        )
    if x.layout != torch.strided or x.is_meta:
        raise ValueError(f"inputs must be a dense tensor with values, got layout {x.layout} on {x.device}")
    if not all(math.isfinite(float(end)) for end in x.detach().aminmax()):
        raise ValueError("inputs contain NaN or infinite values")


def checked_target(twin: Twin, x: Tensor, target: Tensor | None) -> Tensor:
    """Explained classes (N,), int64.

    Args:
        twin: of the model.
        x: inputs (N, ...).
        target: classes (N,); None: those that the user's own model predicts.

    Raises: ValueError for classes that are no whole numbers (N,), or that the model does not have.
    """
    if target is None:
        with torch.no_grad():
            return torch.cat([twin(part).argmax(1) for part in twin.split(x)])
    if target.shape != x.shape[:1] or target.is_floating_point() or target.dtype == torch.bool:
        raise ValueError(
            f"target must hold one class number per input, ({len(x)},) int64, got {tuple(target.shape)} {target.dtype}"
        )
    with torch.no_grad():
        classes = twin(x[:1]).shape[1]
    low, high = int(target.min()), int(target.max())
    if low < 0 or high >= classes:
        raise ValueError(f"target must be in 0..{classes - 1}, the model's classes, got {low if low < 0 else high}")
    return target.to(x.device, torch.int64)
