"""Using a model without leaving a trace: modes, gradients, buffers and random state are put back."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from robustlab.core.types import Model
from robustlab.core.weights import check_values


@contextmanager
def frozen(model: Model, *, training: bool | None = None) -> Iterator[None]:
    """Restores a model and the global random state when the block ends, however it ends.

    Restored are every sub-module's ``training`` flag, every parameter's ``requires_grad`` and ``.grad``, every buffer,
    and the global generators of torch (also of the model's GPUs), ``random`` and NumPy. Attributes of other kinds
    that a model changes by itself cannot be seen from outside.

    Args:
        model: any callable; if it is not a module, only the random state is restored.
        training: True or False puts every sub-module into that mode inside the block; None leaves the modes.

    Raises: ValueError for a model without values, see ``check_values``.
    """
    module = model if isinstance(model, nn.Module) else nn.Identity()
    check_values(module)
    with _same_random_state(module), _same_buffers(module), _same_gradients(module), _same_modes(module):
        if training is not None:
            put_in_mode(module, training=training)
        yield


def in_training(part: nn.Module) -> bool:
    """True if a module is in training mode; False if it has no modes, as frozen TorchScript."""
    return bool(getattr(part, "training", False))


def put_in_mode(module: nn.Module, *, training: bool) -> None:
    """Does what ``module.train(training)`` does, also where a part refuses that, as exported programs do."""
    try:
        module.train(training)
    except NotImplementedError:
        for part in module.modules():
            part.training = training


@contextmanager
def _same_modes(module: nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules() if hasattr(part, "training")]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def _same_gradients(module: nn.Module) -> Iterator[None]:
    """Removes every ``.grad`` inside the block, so that nothing is added to it."""
    kept = [(parameter, parameter.requires_grad, parameter.grad) for parameter in module.parameters()]
    for parameter, _, _ in kept:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, requires_grad, grad in kept:
            if parameter.requires_grad != requires_grad:  # those made in inference mode cannot be told even the same
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
    before = random_state(module)
    try:
        yield
    finally:
        torch.set_rng_state(before.cpu)
        random.setstate(before.python)
        for device, state in before.gpus:
            torch.cuda.set_rng_state(state, device)
        if before.numpy:
            sys.modules["numpy"].random.set_state(before.numpy)


class RandomState(NamedTuple):
    """State of the global generators: of torch, of the GPUs that a model is on, of ``random`` and of NumPy."""

    cpu: Tensor
    gpus: tuple[tuple[torch.device, Tensor], ...]
    python: tuple[Any, ...]
    numpy: dict[str, Any] | None

    def moved(self, now: RandomState) -> bool:
        """True if anything was drawn or seeded since."""
        gpus = zip(self.gpus, now.gpus, strict=True)
        return (
            not torch.equal(self.cpu, now.cpu)
            or self.python != now.python
            or numpy_words(self.numpy) != numpy_words(now.numpy)
            or not all(torch.equal(before, after) for (_, before), (_, after) in gpus)
        )


def numpy_words(state: dict[str, Any] | None) -> list[object]:
    """The state of one of NumPy's generators, as something that can be compared."""
    if state is None:
        return []
    values = [*state["state"].values(), *(value for name, value in state.items() if name != "state")]
    return [value.tobytes() if hasattr(value, "tobytes") else value for value in values]


def random_state(module: nn.Module) -> RandomState:
    """The state of the global generators that a model may draw from."""
    devices = {p.device for p in module.parameters() if p.device.type == "cuda"}
    gpus = tuple((device, torch.cuda.get_rng_state(device)) for device in devices)
    numpy = sys.modules.get("numpy")
    drawn = numpy.random.get_state(legacy=False) if numpy else None
    return RandomState(torch.get_rng_state(), gpus, random.getstate(), drawn)


def seed_generators(seed: int) -> None:
    """Seeds the global generators of torch, ``random`` and NumPy, for a model that draws from them.

    Inside ``frozen``, which puts them back.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy:
        numpy.random.seed(seed & 0xFFFFFFFF)
