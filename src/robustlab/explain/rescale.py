"""Activations made of modules that captum's DeepLIFT has a rule for."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from robustlab.explain.layers import Rules

Pool = nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d


def rescaled() -> Rules:
    """Rules of DeepLIFT by kind of activation."""
    plain = (nn.ReLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softmax)
    return {
        **dict.fromkeys(plain, another),
        **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), _pooling),
        nn.ReLU6: _TwiceReLU,
    }


def another(part: nn.Module) -> nn.Module:
    """An activation like a given one, which does not work in place."""
    made = copy.deepcopy(part)
    vars(made).update({"inplace": False} if "inplace" in vars(made) else {})
    return made


class _TwiceReLU(nn.Module):
    """ReLU6 as two ReLUs, each with a rule: 6 - relu(6 - relu(x))."""

    def __init__(self, _part: nn.Module) -> None:
        super().__init__()
        self.lower, self.upper = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """At least 0, at most 6."""
        rest: Tensor = self.upper(6 - self.lower(x))
        return 6 - rest


def _pooling(part: nn.Module) -> nn.Module:
    part = cast("Pool", part)
    spread = _numbers(part.dilation, part) != [1] * _axes(part)
    apart = all(k <= s for k, s in zip(_numbers(part.kernel_size, part), _numbers(part.stride, part), strict=True))
    return another(part) if spread or apart or part.return_indices else _Windows(part)


class _Windows(nn.Module):
    """Max pooling of windows that overlap, as pooling of copied windows that do not.

    captum's rule for pooling keeps one of the windows that an input value is the largest in, and loses the others.
    """

    def __init__(self, part: Pool) -> None:
        super().__init__()
        self.kernel, self.stride = _numbers(part.kernel_size, part), _numbers(part.stride, part)
        self.padding, self.ceil = _numbers(part.padding, part), part.ceil_mode
        self.pool = nn.MaxPool1d(torch.Size(self.kernel).numel())

    def forward(self, x: Tensor) -> Tensor:
        """Largest value of each window (N, C, ...)."""
        edges = [(p, p + self._missing(axis, x.shape[axis + 2])) for axis, p in enumerate(self.padding)]
        x = pad(x, [size for edge in reversed(edges) for size in edge], value=torch.finfo(x.dtype).min / 4)
        for axis, (kernel, stride) in enumerate(zip(self.kernel, self.stride, strict=True)):
            x = x.unfold(axis + 2, kernel, stride)
        shape = x.shape[: 2 + len(self.kernel)]
        pooled: Tensor = self.pool(x.reshape(*shape[:2], -1))
        return pooled.reshape(shape)

    def _missing(self, axis: int, size: int) -> int:
        """Values that the last window lacks at the end, where the number of windows is rounded up."""
        kernel, stride, padding = self.kernel[axis], self.stride[axis], self.padding[axis]
        last = -(-(size + 2 * padding - kernel) // stride) * stride
        if not self.ceil or last >= size + padding:  # torch leaves out a window that begins in the padding at the end
            return 0
        return max(0, last + kernel - size - 2 * padding)


def _axes(part: Pool) -> int:
    return int(type(part).__name__[-2])


def _numbers(setting: int | tuple[int, ...], part: Pool) -> list[int]:
    return [setting] * _axes(part) if isinstance(setting, int) else list(setting)
