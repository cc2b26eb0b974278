"""Features: outputs of a layer inside of a model, and a search for inputs by them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustlab.attacks import Step, maximise, steepest
from robustlab.attacks.steps import Memory
from robustlab.core import L2, Linf, Model, Objective, ThreatModel, Twin, own_twin
from robustlab.core.text import choice
from robustlab.core.user_code import called, model_name


@dataclass(frozen=True)
class Layer:
    """A layer of a model as a function from inputs to its outputs.

    Args:
        model: the user's own; it is called as a whole.
        name: of the layer, as in ``model.named_modules()``; "" for the output of the model.
        part: the layer.
    """

    model: nn.Module
    name: str
    part: nn.Module

    @staticmethod
    def of(model: Model, name: str) -> Layer:
        """The layer with that name.

        Raises: ValueError for a model that is no module, and a name that it does not have.
        """
        own = model.model if isinstance(model, Twin) else model
        own = getattr(own, "_orig_mod", own)
        if not isinstance(own, nn.Module) or isinstance(own, torch.jit.ScriptModule):
            raise ValueError(f"features are outputs of layers of a torch module, and the model is {model_name(own)}")
        parts = dict(own.named_modules())
        if name not in parts:
            raise ValueError(f"the model has no layer {name!r}{choice(name, filter(None, parts), intro='it has ')}")
        return Layer(own, name, parts[name])

    def __call__(self, x: Tensor) -> Tensor:
        """Output of the layer (N, ...), as a tensor of its own; of several calls in one pass, that of the last."""
        seen: list[object] = []

        def keep(_part: nn.Module, _given: object, out: object) -> None:
            # A copy, since the next layer may write over its input.
            seen[:] = [out.clone() if isinstance(out, Tensor) else out]

        handle = self.part.register_forward_hook(keep)
        try:
            with called("the model"):
                self.model(x)
        finally:
            handle.remove()
        return self._checked(seen, len(x))

    def _checked(self, seen: list[object], rows: int) -> Tensor:
        if not seen:
            raise ValueError(f"the model does not call its layer {self.name!r}: choose one that it does")
        (out,) = seen
        if not isinstance(out, Tensor) or not out.is_floating_point() or out.ndim < 2 or len(out) != rows:
            kind = f"{tuple(out.shape)} {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                f"layer {self.name!r} returned {kind} for {rows} inputs: features are floating-point numbers (N, ...)"
            )
        return out


def anywhere(threat: ThreatModel | None) -> ThreatModel:
    """The threat model, or all images with values in [0, 1]."""
    return ThreatModel(Linf(), 1.0) if threat is None else threat


def climb(
    objective: Objective, start: Tensor, threat: ThreatModel, *, steps: int, step_size: float | None = None
) -> Tensor:
    """Inputs of high score, by steps in L2 whose length falls to 0 in a straight line.

    Args:
        objective: whose score is maximised.
        start: first inputs (N, ...).
        threat: norm, eps and bounds, around the start.
        steps: their number, >= 1.
        step_size: length of the first; None: such that all of them are as long as a diagonal of the bounds.

    Returns: (N, ...), exactly inside budget and bounds.
    Raises: ValueError for steps that are none.
    """
    if steps < 1:
        raise ValueError(f"steps must be a whole number >= 1, got {steps}")
    if step_size is not None and not 0 < step_size < math.inf:
        raise ValueError(f"step_size must be a finite number > 0 in the units of the inputs, got {step_size}")
    size = 2 * threat.width * math.sqrt(start[0].numel()) / steps if step_size is None else step_size
    wide = start.to(torch.promote_types(start.dtype, torch.float32)).clone()
    region, step = threat.search_region(start), _fading(steepest(L2(), size), steps)
    return maximise(objective, region, wide, step, steps=steps, stop="never")


def twin_of(layer: Layer, function: Model, x: Tensor) -> Twin:
    """A function of a layer as a model to be searched with, in micro-batches where the model allows them."""
    return Twin(function, function, own_twin(layer.model, x).rows)


def _fading(step: Step[Memory], steps: int) -> Step[Memory]:
    """A step rule whose moves shrink in a straight line; its state has the number of moves of each example in front."""

    def init(x: Tensor) -> Memory:
        return (x.new_zeros(len(x), *[1] * (x.ndim - 1)), *step.init(x))

    def update(grad: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        moves, rest = step.update(grad, memory[1:])
        return moves.mul_(1 - memory[0] / steps), (memory[0] + 1, *rest)

    return Step(init, update)
