"""Using a model without leaving a trace: modes, gradients, buffers and random state are put back."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from robustlab.core.types import Model


@contextmanager
def frozen(model: Model, *, training: bool | None = None) -> Iterator[None]:
    """Restores a model and the global random state when the block ends, however it ends.

    Restored are every sub-module's ``training`` flag, every parameter's ``requires_grad`` and ``.grad``, every buffer,
    and the global generators of torch (also of the model's GPUs), ``random`` and NumPy. Attributes of other kinds
    that a model changes by itself cannot be seen from outside.

    Args:
        model: any callable; only the random state is looked after if it is not a module.
        training: True or False puts every sub-module into that mode inside the block; None leaves the modes.
    """
    module = model if isinstance(model, nn.Module) else nn.Identity()
    with _same_random_state(module), _same_buffers(module), _same_gradients(module), _same_modes(module):
        if training is not None:
            module.train(training)
        yield


@contextmanager
def _same_modes(module: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def _same_gradients(module: nn.Module) -> Iterator[None]:
    """Takes every ``.grad`` away for the time being: nothing can be added to what is not there."""
    kept = [(parameter, parameter.requires_grad, parameter.grad) for parameter in module.parameters()]
    for parameter, _, _ in kept:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, requires_grad, grad in kept:
            parameter.requires_grad_(requires_grad)
            parameter.grad = grad


@contextmanager
def _same_buffers(module: nn.Module) -> Iterator[None]:
    """Writes every buffer back, past the version counter: BatchNorm writes its statistics without counting it.

    A write that is counted would break a graph of the caller's that still needs the buffer.
    """
    kept: list[tuple[nn.Module, str, Tensor, Tensor]] = [
        (part, name, buffer, buffer.detach().clone())
        for part in module.modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for part, name, buffer, values in kept:
            buffer.data.copy_(values)
            part._buffers[name] = buffer


@contextmanager
def _same_random_state(module: nn.Module) -> Iterator[None]:
    devices = {p.device for p in module.parameters() if p.device.type == "cuda"}
    cuda = [(device, torch.cuda.get_rng_state(device)) for device in devices]
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    numpy = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy else None
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        random.setstate(python_state)
        for device, state in cuda:
            torch.cuda.set_rng_state(state, device)
        if numpy:
            numpy.random.set_state(numpy_state)
