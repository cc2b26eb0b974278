"""Record of the operations in a pass of a model, to learn if another pass may differ; nothing is traced.

The model runs on tensors as usual, through the code of its authors. Two of torch's modes report the operations.
"""

from __future__ import annotations

import random
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from robustlab.core.modes import numpy_words

_LIBRARIES = ("torch.", "timm.", "torchvision.")
_USUAL = frozenset(vars(nn.Module()))
_MOST_THINGS = 10_000
_LEAVING = {
    "numpy", "tolist", "data_ptr", "__array__", "__dlpack__", "storage", "untyped_storage", "_typed_storage",
    "__reduce_ex__", "__repr__", "__format__",
}  # fmt: skip
"""Functions that pass values of a tensor to code outside torch; operations of torch itself that do so, such as ``item``
and comparisons, have a tag."""
_DECIDING = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


@dataclass
class Recording:
    """Record of a pass.

    Args:
        calls: the operations and the shapes of what they returned, in order.
        left: True if values left torch, so that other code could use them.
        drew: True if an operation got a random generator.
        touched: is called with every tensor of an operation.
    """

    calls: list[object] = field(default_factory=list)
    left: bool = False
    drew: bool = False
    touched: Callable[[Tensor], None] | None = None

    @property
    def doubtful(self) -> bool:
        """True if another pass may differ."""
        return self.left or self.drew


class _FunctionMode(TorchFunctionMode):
    """Mode that records every function of torch called from Python."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self.recording = recording

    def __torch_function__(
        self, func: Callable[..., object], _types: object, args: tuple[object, ...] = (), kwargs: object = None
    ) -> object:
        named = kwargs if isinstance(kwargs, dict) else {}
        property_of = getattr(func, "__self__", None)
        foreign = getattr(func, "__name__", "") in _LEAVING or property_of is Tensor.__cuda_array_interface__
        self.recording.left |= foreign
        _report(self.recording, (args, named))
        return func(*args, **named)


class _DispatchMode(TorchDispatchMode):
    """Mode that records every operation that torch executes."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recording = recording

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: the wrapper of torch would import its compiler, which takes more than a second."""
        return False

    def __torch_dispatch__(
        self, func: torch._ops.OpOverload, _types: object, args: tuple[object, ...] = (), kwargs: object = None
    ) -> object:
        named = kwargs if isinstance(kwargs, dict) else {}
        self.recording.left |= any(tag in func.tags for tag in _DECIDING)
        _report(self.recording, (args, named))
        result = func(*args, **named)
        self.recording.calls.append((func, [tuple(t.shape) for t in _leaves(result) if isinstance(t, Tensor)]))
        return result


@contextmanager
def listening(touched: Callable[[Tensor], None] | None = None) -> Iterator[Recording]:
    """Records the operations of torch inside the block.

    Args:
        touched: is called with every tensor that a function or operation gets, even for its shape alone.
    """
    recording = Recording(touched=touched)
    with _FunctionMode(recording), _DispatchMode(recording):
        yield recording


def _report(recording: Recording, given: object) -> None:
    for part in _leaves(given):
        if isinstance(part, torch.Generator):
            recording.drew = True
        elif isinstance(part, Tensor) and recording.touched:
            recording.touched(part)


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, dict):
        yield from _leaves(list(value.values()))
    else:
        yield value


def held(model: nn.Module) -> object:
    """State of a model besides its weights, as far as visible: numbers, names, containers of them, generators.

    Two results are equal if nothing visible has changed. The attributes of all modules are visible, and the closures
    and global names of the user's own classes and functions.
    """
    traversal = _Traversal()
    return [(_versions(part), *traversal.into(part)) for part in model.modules()]


def _versions(part: nn.Module) -> list[tuple[int, int]]:
    return [(id(tensor), tensor._version) for tensor in part._buffers.values() if tensor is not None]


def _of_library(thing: object) -> bool:
    return str(getattr(thing, "__module__", "")).startswith(_LIBRARIES)


class _Traversal:
    """Traversal of the objects that a model refers to, each once, up to a limit."""

    def __init__(self) -> None:
        self.left = _MOST_THINGS
        self.met: set[int] = set()

    def into(self, part: nn.Module) -> list[object]:
        """Attributes and code of a module; empty for layers of libraries, which hold only weights."""
        if _of_library(type(part)):
            return []
        code = [value for kind in type(part).__mro__ if not _of_library(kind) for value in vars(kind).values()]
        own = [value for name, value in vars(part).items() if name not in _USUAL]
        return [self.at(value) for value in (*own, *(c for c in code if isinstance(c, types.FunctionType)))]

    def at(self, value: object) -> object:
        """State of an object in a form that can be compared."""
        state = _state(value)
        if state is not None:
            return state
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return repr(value)
        if id(value) in self.met or self.left == 0:
            return type(value).__name__
        self.met.add(id(value))
        self.left -= 1
        return [self.at(inner) for inner in _inside(value)]


def _inside(value: object) -> Iterable[object]:
    if isinstance(value, Tensor | nn.Module | type | types.ModuleType):
        return ()
    if isinstance(value, dict):
        return (thing for pair in value.items() for thing in pair)
    if isinstance(value, list | tuple | set | frozenset | deque):
        return tuple(value)
    if isinstance(value, types.MethodType):
        return (value.__self__, value.__func__)
    if isinstance(value, partial):
        return (value.func, value.args, value.keywords)
    if isinstance(value, types.FunctionType):
        return () if _of_library(value) else _reached(value)
    return () if _of_library(type(value)) else tuple(getattr(value, "__dict__", {}).values())


def _reached(function: types.FunctionType) -> Iterator[object]:
    """Objects in the closure, defaults and globals of a function."""
    yield from (cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType())
    yield from (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    yield from (function.__globals__[name] for name in function.__code__.co_names if name in function.__globals__)


def _state(value: object) -> object:
    """The state of a generator of random numbers; None for anything else."""
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        return value.getstate()
    if isinstance(value, torch.Generator):
        return value.get_state().tolist()
    numpy = sys.modules.get("numpy")
    if numpy and isinstance(value, numpy.random.RandomState):
        return numpy_words(value.get_state(legacy=False))
    if numpy and isinstance(value, numpy.random.Generator):
        return numpy_words(value.bit_generator.state)
    return None
