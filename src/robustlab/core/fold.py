"""Rewriting a model into one that computes the same function of its input, faster.

BatchNorm in eval mode goes into the convolution or linear layer before it; a ReLU before a max-pooling goes behind it,
where there is less to do; and a ReLU writes over its input where it is not needed elsewhere.

The code of the model is neither read nor traced: it runs on tensors, as ever. Two layers are a pair if the second
alone used the output of the first. The rewritten layers compute the same function together. Each pass checks that the
pairs met again; a pass in which they did not is repeated by the user's own model.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustlab.core.routes import routed_parts
from robustlab.core.types import Logits
from robustlab.core.witness import Recording, held, listening

Weighted: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
_Pooling: TypeAlias = nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d
_Rewritten: TypeAlias = Weighted | _Pooling | _BatchNorm | nn.ReLU
Meetings: TypeAlias = dict[int, Tensor]
"""Outputs of first layers that the second ones have not used yet, by the number of the pair."""


class Pair(NamedTuple):
    """Two layers: only the second uses the output of the first."""

    first: nn.Module
    second: nn.Module


class Folded(nn.Module):
    """A copy of a model in which pairs of layers share their work.

    Args:
        model: the copy.
        folds: names (layer, BatchNorm) of the merged layers.
        meetings: empty between passes, if all pairs have met.
        own: the user's own model, for a pass in which some pair has not.
        dtype: of the own model's inputs.
    """

    def __init__(
        self, model: nn.Module, folds: list[tuple[str, str]], meetings: Meetings, own: nn.Module, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.model = model
        self.folds = folds
        self.meetings = meetings
        self.own = weakref.ref(own)
        self.dtype = dtype
        self.detours = 0

    def forward(self, x: Tensor) -> Logits:
        """Inputs (N, ...) to logits (N, K)."""
        self.meetings.clear()
        logits: Logits = self.model(x)
        if not self.meetings:
            return logits
        self.meetings.clear()
        self.detours += 1
        own = self.own()
        if own is None:
            raise RuntimeError("the model is gone, and its search twin cannot stand in for it on this pass")
        return cast(Logits, own(x.to(self.dtype)))


class _Second(nn.Module):
    """Replaces the second layer of a pair: applies the rest of its work to the output of the first."""

    def __init__(self, meetings: Meetings, number: int, rest: dict[str, nn.Module]) -> None:
        super().__init__()
        self.meetings = meetings
        self.number = number
        for name, part in rest.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        if self.meetings.pop(self.number, None) is not x:
            self.meetings[self.number] = x
            x = x.clone()  # another's: not to be written over
        for part in self._modules.values():
            x = cast(nn.Module, part)(x)
        return x


_FIRSTS: dict[type[nn.Module], type[nn.Module]] = {}


def _first(kind: type[nn.Module]) -> type[nn.Module]:
    """The same kind of layer, which records its output."""

    def forward(self: Any, x: Tensor) -> Tensor:  # noqa: ANN401 -- of that kind
        out: Tensor = kind.forward(self, x)
        self.meetings[self.meeting] = out
        return out

    if kind not in _FIRSTS:
        _FIRSTS[kind] = type(kind.__name__, (kind,), {"forward": forward})
    return _FIRSTS[kind]


def pairs_of(copied: nn.Module, x: Tensor, recording: Recording) -> list[Pair] | None:
    """The pairs of layers in a copy of a model.

    Args:
        copied: the copy, in eval mode.
        x: inputs (N, ...).
        recording: what the model did with these inputs.

    Returns: None if the copy did not do the same, or if either may do something else another time.
    """
    before = held(copied)
    with _watched(copied) as watch, listening(watch.touched) as again:
        copied(x)
    same = again.calls == recording.calls and held(copied) == before
    return list(watch.pairs()) if same and not (recording.doubtful or again.doubtful) else None


@dataclass
class _Watch:
    """Record of the tensors that layers returned and of the layers that used them."""

    makers: dict[int, nn.Module] = field(default_factory=dict)
    kept: list[Tensor] = field(default_factory=list)
    inside: list[nn.Module] = field(default_factory=list)
    users: dict[nn.Module, list[nn.Module | None]] = field(default_factory=dict)
    calls: dict[nn.Module, int] = field(default_factory=dict)
    takes: dict[nn.Module, nn.Module | None] = field(default_factory=dict)
    flat: set[nn.Module] = field(default_factory=set)

    def enter(self, part: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        """Called before a layer."""
        self.inside.append(part)
        self.calls[part] = self.calls.get(part, 0) + 1
        alone = len(args) == 1 and not kwargs
        self.takes[part] = self.makers.get(id(args[0])) if alone else None

    def leave(self, part: nn.Module, _args: object, _kwargs: object, out: object) -> None:
        """Called after a layer."""
        if isinstance(out, Tensor) and out.ndim == 2:  # looked at while the layer itself is still the one that looks
            self.flat.add(part)
        self.inside.pop()
        if isinstance(out, Tensor):
            self.kept.append(out)  # else another might get its id
            self.makers[id(out)] = part

    def touched(self, tensor: Tensor) -> None:
        """Called for every tensor that an operation uses."""
        maker, user = self.makers.get(id(tensor)), self.inside[-1] if self.inside else None
        if maker is not None and maker is not user:
            self.users.setdefault(maker, []).append(user)

    def pairs(self) -> Iterator[Pair]:
        """Pairs of layers called once, of which only the second uses the output of the first."""
        for second, first in self.takes.items():
            if first is not None and self.calls[first] == self.calls[second] == 1:
                fits = not isinstance(first, nn.Linear) or not isinstance(second, _BatchNorm) or first in self.flat
                if fits and set(self.users.get(first, ())) == {second}:
                    yield Pair(first, second)


@contextmanager
def _watched(model: nn.Module) -> Iterator[_Watch]:
    watch, hooks = _Watch(), []
    for part in model.modules():
        if isinstance(part, _Rewritten) and type(part).__module__.startswith(("torch.nn", "timm.layers")):
            hooks.append(part.register_forward_pre_hook(watch.enter, with_kwargs=True))
            hooks.append(part.register_forward_hook(watch.leave, with_kwargs=True))
    try:
        yield watch
    finally:
        for hook in hooks:
            hook.remove()


def folded(copied: nn.Module, pairs: list[Pair], own: nn.Module, dtype: torch.dtype) -> Folded:
    """Rewrites a copy of a model; the same function up to rounding.

    A BatchNorm with an activation inside (as timm's) leaves that activation in its place.

    Args:
        copied: the copy, in eval mode; it is changed.
        pairs: of layers in it.
        own: the model; not changed.
        dtype: of its inputs.
    """
    names = {part: name for name, part in copied.named_modules()}
    work = _Rewriting()
    folds = [(names[pair.first], names[pair.second]) for pair in pairs if work.norm(pair)]
    for rule in (work.pooling, work.over):
        for pair in pairs:
            rule(pair)
    _put(copied, work.replacements)
    return Folded(copied, folds, work.meetings, own, dtype).eval()


class _Rewriting:
    """Replacements of layers in a copy of a model."""

    def __init__(self) -> None:
        self.meetings: Meetings = {}
        self.replacements: dict[nn.Module, nn.Module] = {}
        self.number = 0

    def norm(self, pair: Pair) -> bool:
        """Folds a BatchNorm into the layer before it; returns False if that is impossible."""
        layer, norm = pair
        if not isinstance(norm, _BatchNorm) or not isinstance(layer, Weighted) or hasattr(layer, "parametrizations"):
            return False
        layer.weight = nn.Parameter(layer.weight.detach().clone())  # another layer may have the same
        layer.bias = nn.Parameter(
            torch.zeros_like(cast(Tensor, norm.running_mean)) if layer.bias is None else layer.bias.clone()
        )
        merge(layer, norm, layer)
        rest = {name: part for name, part in norm.named_children() if not isinstance(part, nn.Identity)}
        self._meet(pair, layer, rest)
        return True

    def pooling(self, pair: Pair) -> None:
        """max(relu(a), relu(b)) = relu(max(a, b)), with the same gradient: swaps the two layers."""
        relu, pool = pair
        if type(relu) is nn.ReLU and isinstance(pool, _Pooling) and not pool.return_indices:
            self.replacements[relu] = pool
            self._meet(pair, pool, {"act": nn.ReLU(inplace=True)})

    def over(self, pair: Pair) -> None:
        """Lets a ReLU write over the output of layers whose own gradient does not need it."""
        before = self.replacements.get(pair.first, pair.first)
        bare = isinstance(before, _Second) and not before._modules and isinstance(pair.first, _BatchNorm)
        plain = isinstance(before, Weighted | _Pooling) and before is pair.first
        if type(pair.second) is nn.ReLU and pair.second not in self.replacements and (bare or plain):
            self._meet(pair, before, {"act": nn.ReLU(inplace=True)})

    def _meet(self, pair: Pair, first: Any, rest: dict[str, nn.Module]) -> None:  # noqa: ANN401 -- gets attributes
        self.number += 1
        first.__class__ = _first(type(first))
        first.meetings, first.meeting = self.meetings, self.number
        self.replacements[pair.second] = _Second(self.meetings, self.number, rest)


@torch.no_grad()
def merge(layer: Weighted, norm: _BatchNorm, merged: Weighted) -> None:
    """w' = w * scale,  b' = (b - mean) * scale + beta,  scale = gamma / sqrt(var + eps), per output channel.

    Args:
        layer: has w and maybe b.
        norm: the BatchNorm after it, in eval mode, with running statistics.
        merged: gets w' and b'; may be the layer itself.
    """
    mean, var, bias = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var), cast(Tensor, merged.bias)
    scale = (var + norm.eps).rsqrt_()
    if norm.affine:
        scale.mul_(norm.weight)
    offset = -mean if layer.bias is None else layer.bias - mean
    merged.weight.copy_(layer.weight * scale.view(-1, *[1] * (layer.weight.ndim - 1)))
    bias.copy_(offset.mul_(scale))
    if norm.affine:
        bias.add_(norm.bias)


def _put(copied: nn.Module, replacements: dict[nn.Module, nn.Module]) -> None:
    """Puts layers into their places, under every name, and removes BatchNorms of routes that are not in use."""
    for part in list(copied.modules()):
        for name, child in part._modules.items():
            if child in replacements:
                part._modules[name] = replacements[child]
    for routed in routed_parts(copied):
        for name, child in [("main", routed.main), *routed.aux.named_children()]:
            if child is not routed.taken:
                (routed if name == "main" else routed.aux).add_module(name, nn.Identity())
