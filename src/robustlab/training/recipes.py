"""How one training step is done: recipes are values, what they remember is in their state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import Attack, Batch, Images, Labels, Logits, Metrics, Recipe, RecipeState
from robustlab.training.follower import following, forget

Backward: TypeAlias = Callable[[Tensor], None]
NormMode: TypeAlias = Literal["eval", "train"]


def standard() -> Recipe:
    """Training on the data as they are: the mean cross-entropy of each batch."""
    return Standard()


def adversarial(attack: Attack, *, mix: float = 1.0, norm_mode: NormMode = "eval") -> Recipe:
    """Training on what an attack makes of the data: FGSM training with ``FGSM``, Madry's with ``PGD``.

        loss = (1 - mix) * mean CE(model(x), y) + mix * mean CE(model(x_adv), y)

    Args:
        attack: makes x_adv, at full strength; its draws follow the step and the ids of the examples.
        mix: share of the loss that is on adversarial inputs, in [0, 1]: 1 is Madry's, 0.5 Goodfellow's half and half.
        norm_mode: what the model is while x_adv is made. "eval": norm layers use their running statistics and nothing
            is dropped out, as TRADES and most later work do, which is also the faster. "train": batch statistics, as
            in Madry's loop, but without a change of the running ones.

    Source: Madry et al., ICLR 2018, equation 2.1; Goodfellow et al., ICLR 2015, section 6.
    """
    return Adversarial(attack, mix, norm_mode)


@dataclass(frozen=True)
class Standard:
    """The recipe that ``standard`` makes."""

    replays: ClassVar[int] = 1

    def init(self, model: nn.Module) -> RecipeState:  # noqa: ARG002 -- the signature of a recipe
        """Nothing to be remembered."""
        return {}

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:  # noqa: ARG002
        """One pass over the batch."""
        logits, loss = _forward(model, batch.x, batch.y)
        backward(loss)
        return _measured(logits, loss, batch.y)


@dataclass(frozen=True)
class Adversarial:
    """The recipe that ``adversarial`` makes.

    Raises: ValueError for a mix outside [0, 1], or an unknown norm mode.
    """

    attack: Attack
    mix: float = 1.0
    norm_mode: NormMode = "eval"
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.mix <= 1.0:
            raise ValueError(f"mix is the share of the loss on adversarial inputs, in [0, 1], got {self.mix}")
        if self.norm_mode not in ("eval", "train"):
            raise ValueError(f"norm_mode must be 'eval' or 'train', got {self.norm_mode!r}")

    def init(self, model: nn.Module) -> RecipeState:
        """Nothing to be remembered."""
        forget(model)
        return {}

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """Makes x_adv, then one pass over each kind of input that has a share in the loss."""
        if self.mix == 0.0:
            return Standard().step(model, batch, state, backward)
        x_adv = self.craft(model, batch)
        if self.mix == 1.0:
            return Standard().step(model, batch._replace(x=x_adv), state, backward)
        parts = {}
        for name, x, share in (("clean", batch.x, 1 - self.mix), ("adversarial", x_adv, self.mix)):
            logits, loss = _forward(model, x, batch.y)
            backward(share * loss)
            parts[name] = _measured(logits, loss, batch.y)
        clean, hard = parts["clean"], parts["adversarial"]
        mixed = {name: (1 - self.mix) * clean[name] + self.mix * hard[name] for name in clean}
        return {**mixed, "clean_accuracy": clean["accuracy"], "adversarial_accuracy": hard["accuracy"]}

    def craft(self, model: nn.Module, batch: Batch) -> Images:
        """The adversarial inputs of a batch (N, ...); the model is left as it was."""
        with _in_eval_mode(model) if self.norm_mode == "eval" else nullcontext():
            twin = following(model, batch.x)
            return self.attack(twin, batch.x, batch.y, stop="never", seed=batch.seed, ids=batch.ids)


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Puts every sub-module that is in training mode into eval mode, for the block."""
    changed = [part for part in model.modules() if part.training]
    for part in changed:
        part.training = False
    try:
        yield
    finally:
        for part in changed:
            part.training = True


def _forward(model: nn.Module, x: Images, y: Labels) -> tuple[Logits, Tensor]:
    logits: Logits = model(x)
    return logits, F.cross_entropy(logits, y)


def _measured(logits: Logits, loss: Tensor, y: Labels) -> Metrics:
    with torch.no_grad():
        correct = (logits.argmax(dim=1) == y).float().mean()
        # One transfer for both numbers: each would wait for the GPU.
        values: list[float] = torch.stack([loss.detach().float(), correct]).tolist()
    return {"loss": values[0], "accuracy": values[1]}
