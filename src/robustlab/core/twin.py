"""The search twin: a copy of the model that gives the same logits faster, used only to find candidates.

Weights need no gradient in it, BatchNorm in eval mode is folded into the convolution before it, 4-D weights are
channels-last, and big inputs go through in micro-batches that fit the cache. Success is always decided by the user's
own model in its own precision, and a twin whose logits differ from the model's is dropped.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustlab.core.fold import folded, pairs_of
from robustlab.core.kinds import typed
from robustlab.core.modes import in_training, random_state
from robustlab.core.types import Logits, Model
from robustlab.core.user_code import called, model_output, output_advice
from robustlab.core.witness import Recording, listening

_PROBED_ROWS = 2
_TOLERANCE = 1e-4  # of the largest logit, in float32; other dtypes scale with their precision
_CACHE_VALUES = 10 * 3 * 224 * 224  # input values per micro-batch on a CPU, where activations still fit the cache
_MOST_ROWS = 256  # of inputs however small: beyond that the activations of small networks leave the cache too


@dataclass
class Passes:
    """Number of examples passed through a model."""

    forward: int = 0
    backward: int = 0


class Observation(NamedTuple):
    """State of a search: one point for each of some examples."""

    ids: Tensor
    """Names of the examples (N,); one may have several points at a time."""
    truth: Tensor
    """Labels, targets or reference logits of the score (N, ...)."""
    x_adv: Tensor
    """The points (N, ...)."""
    logits: Tensor
    """(N, K)."""
    score: Tensor
    """(N,)."""
    finished: Tensor
    """(N,) bool."""
    grad: Tensor | None
    """Gradient of the scores (N, ...); None if it was not computed."""


@typed
@dataclass(frozen=True)
class Twin:
    """A model and its stand-in for the search; as a callable it is the user's own model.

    Args:
        model: decides.
        search: gives gradients; may be the model itself.
        rows: examples per micro-batch; None: all at once.
        passes: counts the examples passed, by both.
        draws: passes whose scores and gradients are averaged at each point, for a model that is random.
        watch: is called with each state of the search; None: nothing is recorded.
    """

    model: Model
    search: Model
    rows: int | None = None
    passes: Passes = field(default_factory=Passes, compare=False)
    draws: int = 1
    watch: Callable[[Observation], None] | None = field(default=None, compare=False)

    @property
    def distinct(self) -> bool:
        """True if the search model is not the model itself."""
        return self.search is not self.model

    @property
    def own(self) -> Twin:
        """A twin that searches with the user's own model, in one pass and without ``watch``."""
        return Twin(self.model, self.model, self.rows, self.passes)

    def __call__(self, x: Tensor) -> Logits:
        """Logits (N, K) of the user's own model."""
        self.passes.forward += x.shape[0]
        return _logits(self.model, x)

    def searched(self, x: Tensor, classes: int = 0, *, backward: bool = False) -> Logits:
        """Logits (N, K) of the search model, K at least ``classes``; ``backward`` counts a backward pass as well."""
        self.passes.forward += x.shape[0]
        self.passes.backward += x.shape[0] if backward else 0
        return _logits(self.search, x, classes)

    def split(self, x: Tensor) -> tuple[Tensor, ...]:
        """The micro-batches of a batch."""
        return (x,) if self.rows is None or x.shape[0] <= self.rows else torch.split(x, self.rows)


def _logits(model: Model, x: Tensor, classes: int = 0) -> Logits:
    """Checked logits.

    Raises: ValueError if the model writes over its input, which is the attack's only copy.
    """
    return checked_logits(model_output(model, x, untouched=True), x, classes)


def checked_logits(logits: object, x: Tensor, classes: int = 0) -> Logits:
    """Logits as they should be.

    Raises: ValueError if they are no tensor (N, K), too few for the labels, or not floating point.
    """
    if not isinstance(logits, Tensor):
        raise ValueError(
            f"the model returned a {type(logits).__name__}, expected logits (N, K) as a tensor: "
            f"{output_advice(logits, len(x))}"
        )
    if logits.ndim != 2 or logits.shape[0] != x.shape[0] or logits.shape[1] < 2 or not logits.is_floating_point():
        raise ValueError(
            f"the model returned {tuple(logits.shape)} {logits.dtype} for {x.shape[0]} inputs, "
            f"expected floating-point logits (N, K) with K >= 2: {output_advice(logits, len(x))}"
        )
    if logits.shape[1] < classes:
        raise ValueError(f"labels go up to {classes - 1}, but the model has {logits.shape[1]} classes")
    return logits


@typed
def as_twin(model: Model) -> Twin:
    """The model as a twin that searches with the model itself."""
    return model if isinstance(model, Twin) else Twin(model, model)


@typed
def search_twin(model: Model, x: Tensor, *, dtype: torch.dtype | None = None) -> Twin:
    """Builds the fastest twin of a model that agrees with it on the first examples of ``x``.

    Args:
        model: any callable; only modules in eval mode get a copy, and a twin comes back unchanged.
        x: inputs (N, ...) like those to be attacked.
        dtype: of the search, torch.bfloat16 say; None: that of the model.

    Returns: a twin; where nothing faster agrees, one that searches with the model itself.
    """
    if isinstance(model, Twin):
        return model
    if not isinstance(model, nn.Module) or not _separable(model):
        return as_twin(model)
    own = own_twin(model, x)
    if any(_compiled(part) for part in model.modules()):
        return own
    probe = x[:_PROBED_ROWS].detach().clone()
    with torch.no_grad():
        expected, recording = _recorded(model, probe)
        try:
            search = model if recording is None else _search(model, probe, expected, recording, dtype)
        except Exception:  # whatever a strange model does when copied, it still works as itself
            search = model
    return replace(own, search=search)


def _recorded(model: nn.Module, probe: Tensor) -> tuple[Logits, Recording | None]:
    """The model's own logits and a record of the pass; no record if another pass may differ."""
    before, given = random_state(model), probe.clone()
    try:
        with called("the model"), listening() as recording:
            output = model(given)
        expected = checked_logits(output, probe).clone()
    except Exception:  # the model's own fault is to be seen as the model's
        return _logits(model, probe), None
    if not torch.equal(given, probe):
        return _logits(model, probe), None
    return expected, None if recording.doubtful or before.moved(random_state(model)) else recording


def _search(
    model: nn.Module, probe: Tensor, expected: Logits, recording: Recording, dtype: torch.dtype | None
) -> Model:
    """A copy of the model, with pairs of layers folded where that agrees with the model; else the model itself."""
    copied = copy.deepcopy(model)
    pairs = pairs_of(copied, probe, recording)
    if pairs is None:
        return model
    if pairs:
        fold = folded(copied, pairs, model, probe.dtype)
        search = _prepared(fold, probe, dtype)
        if _agree(search(probe), expected, dtype) and not fold.detours:
            return search
    search = _prepared(copy.deepcopy(model) if pairs else copied, probe, dtype)
    return search if _agree(search(probe), expected, dtype) else model


@typed
def own_twin(model: Model, x: Tensor) -> Twin:
    """A model by itself, in micro-batches that fit the cache where each example's logits are its own.

    Args:
        model: any callable, in eval mode.
        x: inputs (N, ...) like those of the search.
    """
    return Twin(model, model, _micro_batch(x)) if isinstance(model, nn.Module) and _separable(model) else as_twin(model)


def _separable(model: nn.Module) -> bool:
    """True if the logits of an example depend on it alone: no statistics of the batch and no hooks."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return not any(
        in_training(part) or _by_batch(part) or any(getattr(part, hook) for hook in hooks) for part in model.modules()
    )


def _compiled(part: nn.Module) -> bool:
    """True for a module under torch.compile: it is fast already, and a copy would be compiled anew."""
    return hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None


def _by_batch(part: nn.Module) -> bool:
    """True for a BatchNorm without running statistics, which uses those of the batch in any mode."""
    return isinstance(part, _BatchNorm) and part.running_mean is None


def _prepared(search: nn.Module, probe: Tensor, dtype: torch.dtype | None) -> Model:
    search.requires_grad_(requires_grad=False)
    if probe.ndim == 4:
        search.to(memory_format=torch.channels_last)
    if dtype is None or dtype == probe.dtype:
        return search
    return _Narrow(search.to(dtype), dtype)


@dataclass(frozen=True)
class _Narrow:
    """A model in another precision, from and to the precision of its input."""

    search: Model
    dtype: torch.dtype

    def __call__(self, x: Tensor) -> Logits:
        logits = self.search(x.to(self.dtype))
        return logits.to(torch.promote_types(x.dtype, torch.float32))


def _agree(logits: Logits, expected: Logits, dtype: torch.dtype | None) -> bool:
    """True if logits are equal up to rounding in the precision of the search."""
    used = expected.dtype if dtype is None else dtype
    tolerance = _TOLERANCE * max(1.0, math.sqrt(torch.finfo(used).eps / torch.finfo(torch.float32).eps))
    scale = expected.abs().amax().clamp_min(1e-6)
    return logits.shape == expected.shape and bool((logits - expected).abs().amax() <= tolerance * scale)


def _micro_batch(x: Tensor) -> int | None:
    """Examples per pass on a CPU, where activations that leave the cache cost more than small batches do."""
    return min(_MOST_ROWS, max(1, _CACHE_VALUES // max(1, x[0].numel()))) if x.device.type == "cpu" else None
