"""Hugging Face Accelerate, set up for one run and removed afterwards: device, precision, processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from robustlab.core.processes import launched as processes
from robustlab.training.precision import chosen
from robustlab.training.settings import Precision, Settings

if TYPE_CHECKING:
    from accelerate import Accelerator

_PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@contextmanager
def launched(settings: Settings, before: Precision | None = None) -> Iterator[tuple[Accelerator, Settings]]:
    """An accelerator for the device and precision of a run, and the settings with the precision that it takes.

    Accelerate keeps its choice in global state, which a later call could not change and which may be the user's own;
    it is put back when the block ends. Of several processes the first decides the precision for "auto".

    Args:
        settings: of the run.
        before: the precision in which the run was begun, if it was: "auto" keeps it.

    Raises: ValueError for a device that is not there.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState, PartialState
    from accelerate.utils import parse_flag_from_env

    _check(settings)
    shared = [state._shared_state for state in (PartialState, AcceleratorState, GradientState)]
    kept = [dict(state) for state in shared]
    for state in shared:
        state.clear()
    try:
        # Unless the CPU is named, Accelerate does not connect processes there, and each would train by itself.
        accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
        cpu = settings.device == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU") or not accelerated
        PartialState(cpu=cpu)
        precision = processes().by_first(lambda: chosen(settings.precision, settings.device, [before]))
        settings = replace(settings, precision=precision)
        accelerator = Accelerator(cpu=cpu, mixed_precision=_PRECISIONS[precision])
        if settings.precision == "fp16" and accelerator.device.type == "cpu":
            _scale_on_cpu(accelerator)
        yield accelerator, settings
    finally:
        for state, values in zip(shared, kept, strict=True):
            state.clear()
            state.update(values)


def _scale_on_cpu(accelerator: Accelerator) -> None:
    """Sets up autocast and the loss scaler for fp16 on a CPU, which Accelerate does on GPUs alone."""
    accelerator.native_amp = True
    accelerator.scaler = torch.amp.GradScaler("cpu")


def _check(settings: Settings) -> None:
    backends = {
        "cpu": True,
        "auto": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not backends.get(settings.device):
        there = [name for name, found in backends.items() if found]
        raise ValueError(f"there is no device {settings.device!r} here: choose one of {', '.join(there)}")
    best = next(name for name in ("cuda", "mps", "cpu") if backends[name])
    if settings.device not in ("auto", "cpu", best):
        raise ValueError(
            f"device {settings.device!r} cannot be used: Accelerate takes {best!r} here; choose that or 'cpu'"
        )


@contextmanager
def placed(model: nn.Module, device: torch.device, x: Tensor) -> Iterator[None]:
    """Puts a model on a device, and brings it back when the block ends.

    Convolutions on images run channels-last meanwhile, which is the faster layout on CPUs and in half precision.

    Args:
        model: changed in place.
        device: where it is to be trained.
        x: inputs (N, ...) like those to come.
    """
    home = next((p.device for p in model.parameters()), device)
    switch = x.ndim == 4 and all(p.is_contiguous() for p in model.parameters())
    model.to(device)
    try:
        if switch:
            model.to(memory_format=torch.channels_last)
        yield
    finally:
        if switch:
            model.to(memory_format=torch.contiguous_format)
        model.to(home)
