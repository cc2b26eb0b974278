"""The IDX format of MNIST and its relatives."""

from __future__ import annotations

import math
import struct

import torch
from torch import Tensor

from robustlab.core.errors import DataError

_UINT8 = 0x08


def parse_idx(raw: bytes) -> Tensor:
    """Reads an IDX file of unsigned bytes.

    Two zero bytes, a type byte, the number of dimensions, each dimension as a big-endian int32, then the values.

    Returns: uint8 tensor of the file's shape.
    Raises: DataError for another header, or too few or too many values.
    """
    if len(raw) < 4 or raw[:3] != bytes([0, 0, _UINT8]) or len(raw) < 4 + 4 * raw[3]:
        raise DataError(f"not an IDX file of bytes: it starts with {raw[:4].hex() or 'nothing'}")
    start = 4 + 4 * raw[3]
    shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    if len(raw) - start != math.prod(shape):
        raise DataError(f"IDX file of shape {shape} should hold {math.prod(shape)} values, it holds {len(raw) - start}")
    return torch.frombuffer(bytearray(raw[start:]), dtype=torch.uint8).reshape(shape)
