"""Models with a known fault, made from sound ones, to teach and to test the diagnosis of evaluations.

Each function takes a model in eval mode and returns one with about the same clean accuracy (``label_order`` only on
sorted data). An evaluation doctor has to detect the faults; none makes a model robust.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx

Answer = Callable[[nn.Module, Tensor], Tensor]


class Faulty(nn.Module):
    """A sound model inside a faulty function of the model and its inputs."""

    def __init__(self, model: nn.Module, answer: Answer) -> None:
        super().__init__()
        self.model, self.answer = model, answer

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, K) for inputs (N, ...)."""
        return self.answer(self.model, x)


def divided(model: nn.Module, by: float = 1e41) -> nn.Module:
    """Divides logits until gradients underflow in float32."""
    return Faulty(model, lambda inner, x: inner(x) / by**0.5 / by**0.5)


def scaled(model: nn.Module, temperature: float = 1e-3) -> nn.Module:
    """Temperature scaling, far below 1: the softmax is 1 at the first class, and the cross-entropy is flat."""
    return Faulty(model, lambda inner, x: inner(x) / temperature)


def probabilities(model: nn.Module) -> nn.Module:
    """Returns probabilities where logits are expected."""
    return Faulty(model, lambda inner, x: inner(x).softmax(dim=1))


def stochastic(model: nn.Module, noise: float = 0.1) -> nn.Module:
    """A stochastic layer: adds normal noise to the inputs, new at each pass."""
    return Faulty(model, lambda inner, x: inner(x + noise * torch.randn_like(x)))


def rounding(model: nn.Module, levels: int = 4) -> nn.Module:
    """A rounding layer in front of the last linear layer: no gradient passes it."""
    model = copy.deepcopy(model)
    name = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    place = model.get_submodule(parent)
    setattr(place, child, nn.Sequential(_Rounding(levels), getattr(place, child)))
    return model


class _Rounding(nn.Module):
    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.levels).round() / self.levels


def fewer_bits(model: nn.Module, levels: int = 7) -> nn.Module:
    """Bit depth: rounds inputs in [0, 1] to a few values (7 steps: 3 bits)."""
    return Faulty(model, lambda inner, x: inner((x * levels).round() / levels))


def jpeg(model: nn.Module, quality: int = 75) -> nn.Module:
    """Saves inputs in [0, 1], (N, 1 or 3, H, W), as JPEG and loads them again."""
    return Faulty(model, lambda inner, x: inner(_through_jpeg(x, quality)))


def soft_jpeg(model: nn.Module, quality: int = 75, levels: int = 255) -> nn.Module:
    """JPEG with the gradient of a smooth version of rounding, which has the wrong sign at the values of images."""
    return Faulty(model, lambda inner, x: inner(_Soft.apply(x, quality, levels)))


def _through_jpeg(x: Tensor, quality: int) -> Tensor:
    from PIL import Image

    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"only images (N, 1 or 3, H, W) can be saved as JPEG, got inputs of shape {tuple(x.shape)}")

    def saved(image: Tensor) -> Tensor:
        values = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        file = io.BytesIO()
        Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values).save(file, "JPEG", quality=quality)
        loaded = torch.from_numpy(np.array(Image.open(file)))
        return (loaded[None] if loaded.ndim == 2 else loaded.permute(2, 0, 1)) / 255

    return torch.stack([saved(image) for image in x.detach()]).to(x)


class _Soft(Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, quality: int, levels: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.levels = levels  # type: ignore[attr-defined]  # a context takes any attribute
        return _through_jpeg(x, quality)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,) = cast("Iterable[Tensor]", ctx.saved_tensors)  # type: ignore[attr-defined]
        levels = ctx.levels  # type: ignore[attr-defined]
        return grads[0] * (1 - 1.5 * torch.cos(2 * torch.pi * levels * x)), None, None


def optimising(model: nn.Module, steps: int = 3, step_size: float = 0.02) -> nn.Module:
    """Test-time optimisation: moves each input to raise the model's confidence, then classifies it."""

    def answer(inner: nn.Module, x: Tensor) -> Tensor:
        moved = x.detach().clone()
        for _ in range(steps):
            with torch.enable_grad():
                moved.requires_grad_()
                sure = inner(moved).log_softmax(dim=1).amax(dim=1).sum()
                (grad,) = torch.autograd.grad(sure, moved)
            moved = (moved + step_size * grad.sign()).clamp(0, 1).detach()
        logits: Tensor = inner(x + (moved - x).detach())
        return logits

    return Faulty(model, answer)


def detector(model: nn.Module, levels: int = 255) -> nn.Module:
    """Returns NaN for inputs that are no images of so many levels, as those changed by an attack."""

    def answer(inner: nn.Module, x: Tensor) -> Tensor:
        off = ((x * levels) - (x * levels).round()).abs().flatten(1).amax(dim=1) > 0.01
        logits: Tensor = inner(x)
        return logits.masked_fill(off[:, None], torch.nan)

    return Faulty(model, answer)


class _Stuck(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def train(self, mode: bool = True) -> _Stuck:  # noqa: FBT001, FBT002 -- as torch has it
        super().train(mode)
        self.model.train()
        return self

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits


def training_mode(model: nn.Module) -> nn.Module:
    """Keeps BatchNorm of a copy in training mode despite ``eval``; its statistics change with every pass."""
    return _Stuck(copy.deepcopy(model)).eval()


def label_order(model: nn.Module, weight: float = 0.6) -> nn.Module:
    """Uses the neighbours in the batch, which have the same label in sorted data."""

    def answer(inner: nn.Module, x: Tensor) -> Tensor:
        own: Tensor = inner(x)
        return own + weight * (own.roll(1, dims=0) + own.roll(-1, dims=0))

    return Faulty(model, answer)
