"""The bytes of anything that a state dict can hold, for digests."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

Bytes: TypeAlias = bytes | memoryview
_CHUNK = 1 << 26  # bytes
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_CHANNELS = (torch.per_channel_affine, torch.per_channel_affine_float_qparams, torch.per_channel_symmetric)
_COMPRESSED = {
    torch.sparse_csr: ("crow_indices", "col_indices"),
    torch.sparse_bsr: ("crow_indices", "col_indices"),
    torch.sparse_csc: ("ccol_indices", "row_indices"),
    torch.sparse_bsc: ("ccol_indices", "row_indices"),
}


def titled(name: str, value: object) -> str:
    """A name with the type of its value; for a tensor, dtype and shape."""
    if isinstance(value, Tensor):
        _check_values(name, value)
        return f"{name} {value.dtype} {() if value.is_nested else tuple(value.shape)}"
    return f"{name} {type(value).__name__}"


def content(value: object, name: str = "a tensor") -> Iterator[Bytes]:
    """The bytes of a value; equal values give equal ones.

    Dense tensors of any dtype give those of their elements. Quantized ones add scales and zero points, sparse ones
    their indices. Containers, numbers, texts and packed parameters of quantized layers give those of their parts.

    Args:
        value: an entry of a state dict.
        name: of it, for errors.

    Raises: ValueError for a tensor without values: on the meta device, or of a lazy layer that was not called.
    """
    if isinstance(value, Tensor):
        _check_values(name, value)
        yield from _tensor(value.detach(), name)
    elif isinstance(value, Mapping):
        yield from _listed("mapping", [part for item in value.items() for part in item], name)
    elif isinstance(value, list | tuple | set | frozenset):
        ordered = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        yield from _listed(type(value).__name__, ordered, name)
    elif isinstance(value, bytes | bytearray | memoryview):
        yield bytes(value)
    elif isinstance(value, io.BytesIO):
        yield value.getvalue()
    elif isinstance(value, torch.ScriptObject):
        yield from content(value.__getstate__(), name)
    elif hasattr(value, "__array__"):
        yield from content(torch.as_tensor(value), name)
    else:
        yield from _object(value, name)


def _object(value: object, name: str) -> Iterator[Bytes]:
    """The bytes of a value that is neither tensor nor container: its repr or its state."""
    if is_dataclass(value) and not isinstance(value, type):
        held = {field.name: getattr(value, field.name) for field in fields(value)}
    else:
        held = {} if isinstance(value, type) else getattr(value, "__dict__", {})
    yield (type(value).__qualname__ if held else _ADDRESS.sub("", repr(value))).encode()
    if held:
        yield from content(held, name)


def _listed(kind: str, parts: Iterable[object], name: str) -> Iterator[Bytes]:
    for number, part in enumerate(parts):
        yield titled(f"{kind} {number}", part).encode()
        yield from content(part, name)


def _tensor(tensor: Tensor, name: str) -> Iterator[Bytes]:
    """The bytes of a tensor of any layout."""
    if tensor.is_quantized:
        yield str(tensor.qscheme()).encode()
        for part in _quantized(tensor):
            yield from _tensor(part, name)
    elif tensor.is_nested:
        yield from _listed("nested", tensor.unbind(), name)
    elif type(tensor) is not Tensor and hasattr(tensor, "__tensor_flatten__"):
        inner, rest = tensor.__tensor_flatten__()
        yield from _listed(type(tensor).__qualname__, [*(getattr(tensor, one) for one in inner), rest], name)
    elif tensor.layout == torch.sparse_coo:
        whole = tensor.coalesce()
        yield from _listed("sparse", (whole.indices(), whole.values()), name)
    elif tensor.layout in _COMPRESSED:
        indices = [getattr(tensor, one)() for one in _COMPRESSED[tensor.layout]]
        yield from _listed(str(tensor.layout), (*indices, tensor.values()), name)
    else:
        yield from _dense(tensor)


def _quantized(tensor: Tensor) -> tuple[Tensor, ...]:
    """Whole numbers, scales and zero points of a quantized tensor."""
    if tensor.qscheme() in _CHANNELS:
        axis = torch.tensor(tensor.q_per_channel_axis())
        return tensor.int_repr(), tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points(), axis
    entries = torch.tensor([tensor.q_scale(), tensor.q_zero_point()], dtype=torch.float64)
    return tensor.int_repr(), entries


def _dense(tensor: Tensor) -> Iterator[Bytes]:
    plain = tensor.to_dense() if tensor.layout != torch.strided else tensor
    raw = plain.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
    for start in range(0, raw.numel(), _CHUNK):
        yield raw[start : start + _CHUNK].numpy().data


def _check_values(name: str, tensor: Tensor) -> None:
    if is_lazy(tensor):
        raise ValueError(f"{name} is of a lazy layer and has no shape yet: call the model once with some inputs first")
    if tensor.is_meta:
        raise ValueError(
            f"{name} is on the meta device, which keeps shapes and no values: load the weights into the model first"
        )
