"""Attacks that take their gradients elsewhere: from another model, or around what comes before the first weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

from robustlab.attacks.call import checked_inputs, prepared
from robustlab.attacks.maximise import Best
from robustlab.attacks.wrappers import threat_of
from robustlab.core import Attack, Logits, Model, Stop, frozen, margin, targeted, untargeted


@dataclass(frozen=True)
class Transfer:
    """An attack on a surrogate, whose adversarial inputs are tried on the model.

    They are crafted at full strength whatever ``stop`` says: to be just across the surrogate's boundary is not enough
    for the model. With ``stop="success"`` an input that the model gets wrong already comes back as it is, and so does
    one for which x_adv is no worse for the model.

    Args:
        attack: run on the surrogate.
        surrogate: from inputs (N, ...) to logits (N, K), on the device of the inputs; used in eval mode.
        name: what reports call it.

    Source: Papernot, McDaniel, Goodfellow, Transferability in Machine Learning, 2016.
    """

    attack: Attack
    surrogate: Model = field(repr=False)
    name: str = "surrogate"

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        stop: Stop = "success",
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        """Runs the attack on the surrogate, as ``robustlab.core.Attack`` says."""
        ids = checked_inputs(x, y, threat_of(self), target=target, ids=ids, stop=stop)
        with prepared(model, x) as (twin, _), frozen(self.surrogate, training=False):
            x = x.detach().clone()
            crafted = self.attack(self.surrogate, x, y, target=target, stop="never", seed=seed, ids=ids)
            if stop == "never":
                return crafted
            best, rows = Best.of(x), torch.arange(x.shape[0], device=x.device)
            goal = untargeted(twin.own, y, margin) if target is None else targeted(twin.own, target, margin)
            score, finished = goal(x)
            best.update(rows, x, score, finished)
            going = (~finished).nonzero()[:, 0]
            if going.numel():
                best.update(going, crafted[going], *goal.take(going)(crafted[going]))
            return best.x_adv


@dataclass(frozen=True)
class StraightThrough:
    """An attack whose gradients pass straight through whatever a model does before its first weights.

    Forward, everything is as it is; backward, what the first layer with weights is given counts as the input itself.
    That is how to attack preprocessing without useful gradients, such as JPEG or fewer bits, which changes inputs
    little. Where the model is no module, or its first layer takes another number of values, gradients stay as they are.

    Args:
        attack: run with these gradients.

    Source: Athalye, Carlini, Wagner, Obfuscated Gradients Give a False Sense of Security, ICML 2018, section 4.1
    (backward pass differentiable approximation with the identity).
    """

    attack: Attack

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        stop: Stop = "success",
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        """Runs the attack, as ``robustlab.core.Attack`` says."""
        checked_inputs(x, y, threat_of(self), target=target, ids=ids, stop=stop)
        with prepared(model, x) as (twin, _):
            around = replace(twin, search=_Straight(twin.model))
            return self.attack(around, x, y, target=target, stop=stop, seed=seed, ids=ids)


@dataclass(frozen=True)
class _Straight:
    """A model whose gradient takes what its first layer with weights is given for the input itself."""

    model: Model

    def __call__(self, x: Tensor) -> Logits:
        x = x.view_as(x)  # no leaf of the graph any more

        def passed(seen: Tensor) -> Tensor:
            if seen.shape[0] != x.shape[0] or seen.numel() != x.numel():
                return seen
            same = x.reshape(seen.shape)
            return same + (seen - same).detach()

        with first_weights(self.model, passed):
            return self.model(x)


Change: TypeAlias = Callable[[Tensor], Tensor]


@contextmanager
def first_weights(model: Model, change: Change) -> Iterator[None]:
    """Within the block, a function changes what the first layer with weights of its own is given, once.

    Leaves that a graph is grown from are passed over: a model that optimises something for itself needs them.

    Args:
        model: any callable; nothing happens if it is no module, or has no weights.
        change: from the first argument of that layer to what it gets instead.
    """
    parts = [part for part in model.modules() if _weighted(part)] if isinstance(model, nn.Module) else []
    once = _Once(change)
    hooks = [part.register_forward_pre_hook(once) for part in parts]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _weighted(part: nn.Module) -> bool:
    return any(p.is_floating_point() for p in part.parameters(recurse=False))


class _Once:
    """A forward pre-hook that changes the first tensor that any of its modules is given."""

    def __init__(self, change: Change) -> None:
        self.change, self.done = change, False

    def __call__(self, module: nn.Module, args: tuple[object, ...]) -> tuple[object, ...] | None:
        """Changes the first argument, once."""
        del module
        if self.done or not args or not isinstance(args[0], Tensor) or (args[0].requires_grad and args[0].is_leaf):
            return None
        self.done = True
        return (self.change(args[0]), *args[1:])
