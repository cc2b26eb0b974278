"""Choice of the faster precision: by the features of the hardware, and by one measurement where they allow bfloat16."""

from __future__ import annotations

import time
from functools import cache

import torch
from torch import Tensor, nn

_ENOUGH = 0.8
"""bf16 has to take less than this share of the time that fp32 takes: a tie is not worth the lost digits."""
_TIMES = 3
_ROWS, _CHANNELS, _SIDE = 16, 64, 14


def bf16_is_faster(device: torch.device | str = "cpu") -> bool:
    """True if a training step takes less time in bfloat16 than in float32.

    A GPU must have units for that type. A processor without instructions for it is never faster: it takes about eight
    times as long. A processor with them is timed once in each process, for some hundredths of a second: a forward and a
    backward pass of two convolutions and a linear layer on a single thread. Processor time counts, so that neither
    other programs nor the number of cores matter.

    Args:
        device: of the training; its type counts.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "cpu" and _has_units() and _measured()


def _has_units() -> bool:
    """True if the processor multiplies in bfloat16; by functions of torch that are private."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    found = [getattr(torch.cpu, name, None) for name in names]
    return any(bool(ask()) for ask in found if ask is not None)


@cache
def _measured() -> bool:
    """True if the processor is faster in bfloat16, by the fastest of a few steps in each precision."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _faster()
    finally:
        torch.set_num_threads(threads)


def _faster() -> bool:
    model, x = _work()
    wide, narrow = _seconds(model, x, narrow=False), _seconds(model, x, narrow=True)  # and everything is warm
    for _ in range(_TIMES):
        wide, narrow = min(wide, _seconds(model, x, narrow=False)), min(narrow, _seconds(model, x, narrow=True))
        if narrow > 3 * wide:
            return False
    return narrow < _ENOUGH * wide


def _work() -> tuple[nn.Module, Tensor]:
    """A small network and its inputs, made without the global generator."""
    with torch.device("meta"):
        model: nn.Module = nn.Sequential(
            nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(_CHANNELS, 16),
        )
    model = model.to_empty(device="cpu").to(memory_format=torch.channels_last)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.linspace(-0.1, 0.1, weight.numel()).view(weight.shape))
    values = torch.linspace(-1, 1, _ROWS * _CHANNELS * _SIDE**2).view(_ROWS, _CHANNELS, _SIDE, _SIDE)
    return model, values.to(memory_format=torch.channels_last)


def _seconds(model: nn.Module, x: Tensor, *, narrow: bool) -> float:
    """Seconds of processor time for one forward and one backward pass in this thread."""
    began = time.thread_time()
    with torch.enable_grad():
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            loss = model(x).float().square().mean()
        torch.autograd.grad(loss, list(model.parameters()))
    return time.thread_time() - began
