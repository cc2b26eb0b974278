"""Attacks with gradients of another model, or with gradients that skip the layers before the first weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeAlias

from torch import Tensor, nn

from robustlab.attacks.call import Call, craft
from robustlab.attacks.maximise import Best
from robustlab.core import Attack, Logits, Model, frozen
from robustlab.core.kinds import typed
from robustlab.core.rows import all_rows


@typed
@dataclass(frozen=True)
class Transfer:
    """An attack on a surrogate, whose adversarial inputs are tried on the model.

    They are crafted at full strength for either value of ``stop``: points just across the surrogate's boundary are
    rarely enough for the model. With ``stop="success"`` a misclassified input comes back unchanged, and so does one for
    which x_adv is no worse for the model.

    Args:
        attack: run on the surrogate.
        surrogate: from inputs (N, ...) to logits (N, K), on the device of the inputs; used in eval mode.
        name: name of the surrogate in reports.

    Source: Papernot, McDaniel, Goodfellow, Transferability in Machine Learning, 2016.
    """

    transferred: ClassVar[bool] = True
    attack: Attack
    surrogate: Model = field(repr=False)
    name: str = "surrogate"

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call."""
        with frozen(self.surrogate, training=False):
            crafted = call.by(self.attack, twin=self.surrogate, stop="never")
        if call.stop == "never":
            return crafted
        best, rows, judge = Best.of(call.x), all_rows(call.x), call.judge()
        score, finished = judge(call.x.clone())
        best.update(rows, call.x, score, finished)
        going = rows[~finished]
        if going.numel():
            best.update(going, crafted[going], *judge.take(going)(crafted[going]))
        return best.x_adv

    __call__ = craft


@typed
@dataclass(frozen=True)
class StraightThrough:
    """An attack whose gradients pass straight through everything before the first weights of a model.

    The forward pass is unchanged; the backward pass takes the input of the first layer with weights for the input of
    the model. This attacks preprocessing without useful gradients, such as JPEG or fewer bits, which changes inputs
    little. If the model is no module, or its first layer takes another number of values, gradients are unchanged.

    Args:
        attack: run with these gradients.

    Source: Athalye, Carlini, Wagner, Obfuscated Gradients Give a False Sense of Security, ICML 2018, section 4.1
    (backward pass differentiable approximation with the identity).
    """

    attack: Attack

    def search(self, call: Call) -> Tensor:
        """The adversarial inputs (N, ...) of a call."""
        return call.by(self.attack, twin=replace(call.twin, search=_Straight(call.twin.model)))

    __call__ = craft


@dataclass(frozen=True)
class _Straight:
    """A model whose gradient takes the input of its first layer with weights for its own input."""

    model: Model

    def __call__(self, x: Tensor) -> Logits:
        x = x.view_as(x)  # no leaf of the graph any more

        def straight(seen: Tensor) -> Tensor:
            if seen.shape[0] != x.shape[0] or seen.numel() != x.numel():
                return seen
            same = x.reshape(seen.shape)
            return same + (seen - same).detach()

        with first_weights(self.model, straight):
            return self.model(x)


Change: TypeAlias = Callable[[Tensor], Tensor]


@contextmanager
def first_weights(model: Model, change: Change) -> Iterator[None]:
    """Changes the input of the first layer with weights of its own by a function, once within the block.

    Leaves that a graph is grown from are passed over: a model that optimises something for itself needs them.

    Args:
        model: any callable; nothing happens if it is no module, or has no weights.
        change: from the first argument of that layer to its replacement.
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
    """A forward pre-hook that changes the first tensor that reaches any of its modules."""

    def __init__(self, change: Change) -> None:
        self.change, self.done = change, False

    def __call__(self, module: nn.Module, args: tuple[object, ...]) -> tuple[object, ...] | None:
        """Changes the first argument, once."""
        del module
        if self.done or not args or not isinstance(args[0], Tensor) or (args[0].requires_grad and args[0].is_leaf):
            return None
        self.done = True
        return (self.change(args[0]), *args[1:])
