"""State dicts under the names of the bare model, without those that wrappers add."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import AveragedModel

from robustlab.core.text import printable

T = TypeVar("T")
_HIDDEN = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Names that wrappers alone give to the model inside."""
_COUNTER = "n_averaged"
"""A buffer of ``AveragedModel`` beside ``module``."""
_PACKED = "_packed_params"
"""Names of weights in quantized layers of torch.ao."""
_QUANTIZED = "quantized: save the weights before they are quantized, and quantize after loading"
_OFTEN = 8  # first parts that are left out
_WIDEST = 120  # letters of a difference in a message
_LONGEST = 500  # letters of a name
_SHOWN = 3  # differences named in a message


def bare(model: nn.Module) -> nn.Module:
    """The model inside ``torch.compile``, ``DataParallel``, ``AveragedModel`` and their like, however deep.

    Args:
        model: any module; one that is no wrapper comes back itself.
    """
    while (name := _inside(model)) is not None:
        model = model._modules[name]  # type: ignore[assignment]  # a wrapper holds a module
    return model


def _inside(part: nn.Module) -> str | None:
    """Attribute name of the wrapped module; None: ``part`` is no wrapper."""
    known = isinstance(part, nn.DataParallel | DistributedDataParallel | AveragedModel)
    if known or type(part).__module__ == "timm.utils.model_ema":
        return "module"
    return next((name for name in _HIDDEN if name in part._modules), None)


def own_name(model: nn.Module, name: str) -> str | None:
    """The name of an entry of a model's state dict without wrappers; None for what is a wrapper's own."""
    part: nn.Module | None = model
    kept: list[str] = []
    for word in name.split("."):
        inside = None if part is None else _inside(part)
        if inside is not None and inside != word:
            return None
        if inside is None:
            kept.append(word)
        part = part._modules[word] if part is not None and word in part._modules else None  # no dict in TorchScript
    return ".".join(kept)


def state_of(model: nn.Module) -> dict[str, object]:
    """The state dict of a model under its names without wrappers.

    Args:
        model: wrapped as a whole, in parts, or not at all; then this is ``model.state_dict()``.

    Returns: tensors that share the model's memory, and what else the model's state is.
    """
    return renamed(model, model.state_dict())


def renamed(model: nn.Module, state: Mapping[str, T]) -> dict[str, T]:
    """Entries of a state dict, renamed as without wrappers."""
    named = ((own_name(model, name), value) for name, value in state.items())
    return {name: value for name, value in named if name is not None}


def check_plain(state: Mapping[str, object], before: str = "") -> None:
    """Checks that safetensors can hold a state dict.

    Args:
        state: by name.
        before: put in front of the message.

    Raises: ValueError that names the first entry that is no dense tensor, and says what to do.
    """
    for name, value in state.items():
        if len(name) > _LONGEST:
            raise ValueError(f"{before}a name of {len(name):,} letters, {_short(name)}: no model has such")
        fault = _QUANTIZED if _PACKED in name else _fault(value)
        if fault:
            raise ValueError(f"{before}{_short(name)}, which is {fault}" if before else f"{_short(name)} is {fault}")


def check_values(model: nn.Module) -> None:
    """Checks that the tensors of a model have values.

    Raises: ValueError for one on the meta device, or with lazy layers that no input has shaped yet.
    """
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(value):
            raise ValueError(
                f"{name} of the model is of a lazy layer and has no shape yet: call the model once with some inputs, "
                "and load its weights, if there are any, after that"
            )
        if value.is_meta:
            raise ValueError(f"{name} of the model is on the meta device, without values: load the weights first")


def plain(state: Mapping[str, object]) -> dict[str, Tensor]:
    """Copies of the tensors of a state dict, on the CPU, each with memory of its own, as safetensors wants them.

    Raises: ValueError as ``check_plain``.
    """
    check_plain(state)
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _fault(value: object) -> str:
    """Fault of an entry of a state dict that must be a dense tensor with values; empty: none."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}, not a tensor, and weight files hold tensors alone: save it elsewhere"
    if is_lazy(value):
        return "of a lazy layer and has no shape yet: call the model once with some inputs first"
    if value.is_meta:
        return "on the meta device, which keeps shapes and no values: load the weights into the model first"
    if value.is_quantized:
        return _QUANTIZED
    if value.is_nested or value.layout != torch.strided or value.dtype == torch.complex128:
        kind = "nested" if value.is_nested else str(value.layout if value.layout != torch.strided else value.dtype)
        return f"a tensor of kind {kind.removeprefix('torch.')}, which weight files cannot hold: make it dense float32"
    return ""


def fitted(weights: Mapping[str, T], goal: Iterable[str]) -> dict[str, T]:
    """Weights under the names of another state dict, with any wrappers on either side.

    Names that fit already stay. Else those parts are left out, of the weights' names and of the goal's, that
    wrappers add (``_orig_mod``, ``module``, ``n_averaged``), in any order and at any depth, or one part that all names
    begin with (``model``, ``net``): the first form in which both have the same names counts.

    Args:
        weights: by name.
        goal: names of a model's state dict.

    Returns: under the goal's names if they fit; else under the names that have most in common with them.
    """
    wanted = list(goal)
    theirs, ours = list(_forms(weights)), list(_forms(wanted))
    for form in theirs:
        for own in ours:
            if form.keys() == own.keys():
                return {own[name]: weights[raw] for name, raw in form.items()}
    closest = max(theirs, key=lambda form: len(form.keys() & set(wanted)), default={})
    return {name: weights[raw] for name, raw in closest.items()}


def _forms(names: Iterable[str]) -> Iterator[dict[str, str]]:
    """Names in simpler and simpler forms, each with the original name."""
    there = {name: name for name in names}
    yield from _stripped(there)
    yield from _stripped(_unwrapped(there))


def _unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Names without the parts that wrappers add: special ones, and ``module`` where it is the only child.

    Returns: none at all if two names became one.
    """
    beside: dict[tuple[str, ...], set[str]] = {}
    for name in names:
        words = tuple(name.split("."))
        for depth, word in enumerate(words):
            beside.setdefault(words[:depth], set()).add(word)
    alone = {before for before, words in beside.items() if words - {_COUNTER} == {"module"}}
    kept = {name: words for name in names if not _counts(words := tuple(name.split(".")), alone)}
    short = {".".join(_without_wrappers(words, alone)): name for name, words in kept.items()}
    return short if len(short) == len(kept) else {}


def _counts(words: tuple[str, ...], alone: Collection[tuple[str, ...]]) -> bool:
    """True for the counter of an ``AveragedModel``."""
    return words[-1] == _COUNTER and words[:-1] in alone


def _without_wrappers(words: tuple[str, ...], alone: Collection[tuple[str, ...]]) -> Iterator[str]:
    for depth, word in enumerate(words):
        if word not in _HIDDEN and not (word == "module" and words[:depth] in alone):
            yield word


def _stripped(names: dict[str, str]) -> Iterator[dict[str, str]]:
    """Names, then the same without the first part that all of them have, as long as there is one."""
    times = 0
    while names and times <= _OFTEN:
        yield names
        parts = [name.partition(".") for name in names]
        if len({first for first, _, _ in parts}) > 1 or not all(rest for _, _, rest in parts):
            return
        times += 1
        names = {rest: raw for (_, _, rest), raw in zip(parts, names.values(), strict=True)}


def differences(weights: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Differences between weights and a state dict, in words; empty: they fit."""
    both = weights.keys() & state.keys()
    shapes = [
        f"{key} is {tuple(weights[key].shape)}, not {tuple(state[key].shape)}"
        for key in state
        if key in both and not is_lazy(state[key]) and weights[key].shape != state[key].shape
    ]
    kinds = [
        f"{key} holds {weights[key].dtype}, not {state[key].dtype}"
        for key in state
        if key in both and _odd(weights[key], state[key])
    ]
    groups = {
        "lacks": [key for key in state if key not in both],
        "has besides": [key for key in weights if key not in both],
        "differs in shape:": shapes,
        "differs in kind:": kinds,
    }
    return [f"it {verb} {_enumerated(found)}" for verb, found in groups.items() if found]


def _odd(given: Tensor, wanted: Tensor) -> bool:
    """True if copying would change the meaning of the values."""
    return given.is_complex() != wanted.is_complex() or (
        wanted.is_floating_point() and not given.is_floating_point() and not given.is_complex()
    )


def _enumerated(found: list[str]) -> str:
    more, shown = len(found) - _SHOWN, [_short(one) for one in found[:_SHOWN]]
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _short(text: str) -> str:
    """A text with names from a file, short and on one line."""
    line = " ".join(printable(text).split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 3]}..."


def put_in(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Copies weights into a model if names, shapes and kinds agree, with any wrappers on either side.

    Args:
        model: wrapped or not.
        weights: by name, dense.

    Returns: the differences in words, with the model unchanged; empty: the weights were copied.
    """
    state = tensors_of(model)
    named = fitted(weights, state)
    found = differences(named, state)
    if not found:
        model.load_state_dict(named, strict=False)  # strictly compared above, but for a wrapper's own counter
    return found


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Tensors of a model's state dict under its own names, without counters of wrappers."""
    state = model.state_dict()
    return {k: v for k, v in state.items() if isinstance(v, Tensor) and own_name(model, k) is not None}
