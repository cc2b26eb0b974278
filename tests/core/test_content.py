"""Digests of whatever a state dict can hold: equal for equal values, different for different ones, and no crash."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from robustlab.core.content import content, titled

VALUES = torch.tensor([[0.0, 1.0, -2.0], [3.0, 0.0, 5.0]])


def digest(value: object) -> str:
    return hashlib.sha256(titled("w", value).encode() + b"".join(content(value, "w"))).hexdigest()


def per_channel(values: Tensor, scales: tuple[float, float], dtype: torch.dtype = torch.qint8) -> Tensor:
    floating = dtype == torch.quint4x2
    points = torch.zeros(2) if floating else torch.zeros(2, dtype=torch.int64)
    made: Tensor = torch.quantize_per_channel(values, torch.tensor(scales), points, 0, dtype)
    return made


def packed(values: Tensor) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ops.quantized.linear_prepack(torch.quantize_per_tensor(values, 0.1, 0, torch.qint8), None)


@dataclass
class Extra:
    steps: int
    scale: Tensor


KINDS: dict[str, Callable[[Tensor], object]] = {
    "float32": lambda v: v,
    "float64": lambda v: v.double(),
    "bfloat16": lambda v: v.bfloat16(),
    "float8": lambda v: v.to(torch.float8_e4m3fn),
    "complex64": lambda v: torch.complex(v, v + 1),
    "conjugated": lambda v: torch.complex(v, v + 1).conj(),
    "bool": lambda v: v > 0.5,
    "int16": lambda v: v.short(),
    "0-dim": lambda v: v.sum(),
    "transposed": lambda v: v.t(),
    "expanded": lambda v: v[:1].expand(4, 3),
    "quantized": lambda v: torch.quantize_per_tensor(v, 0.1, 3, torch.quint8),
    "quantized to 32 bits": lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint32),
    "quantized per channel": lambda v: per_channel(v, (0.1, 0.2)),
    "quantized to 4 bits": lambda v: per_channel(v + 2, (0.5, 0.5), torch.quint4x2),
    "coo": lambda v: v.to_sparse(),
    "csr": lambda v: v.to_sparse_csr(),
    "csc": lambda v: v.to_sparse_csc(),
    "bsr": lambda v: v.repeat(2, 2).to_sparse_bsr((2, 2)),
    "mkldnn": lambda v: v.to_mkldnn(),
    "nested": lambda v: torch.nested.nested_tensor([v, v[:1]]),
    "jagged": lambda v: torch.nested.nested_tensor([v, v[:1]], layout=torch.jagged),
    "packed": packed,
    "tuple": lambda v: (torch.quantize_per_tensor(v, 0.1, 0, torch.qint8), None, 3),
    "dict": lambda v: {"scale": v, "steps": [1, 2.5, "three"]},
    "dataclass": lambda v: Extra(3, v),
    "bytes": lambda v: v.numpy().tobytes(),
    "BytesIO": lambda v: io.BytesIO(v.numpy().tobytes()),
    "array": lambda v: v.numpy(),
    "number": lambda v: float(v.sum()),
    "text": lambda v: str(v.tolist()),
}


@pytest.mark.filterwarnings("ignore")  # of torch, that sparse and nested tensors are new
@pytest.mark.parametrize("kind", KINDS)
def test_values_of_every_kind_have_a_digest_of_their_own(kind: str) -> None:
    one, again, other = (KINDS[kind](values) for values in (VALUES, VALUES.clone(), VALUES + 1))
    assert digest(one) == digest(again)
    assert digest(one) != digest(other)


def test_scales_and_zero_points_of_a_quantized_tensor_count() -> None:
    whole = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    scaled = [torch.quantize_per_tensor(whole * s, s, z, torch.quint8) for s, z in ((1.0, 0), (2.0, 0))]
    assert torch.equal(scaled[0].int_repr(), scaled[1].int_repr())
    assert digest(scaled[0]) != digest(scaled[1])
    rows = [per_channel(whole * torch.tensor(s)[:, None], s) for s in ((1.0, 1.0), (1.0, 2.0))]
    assert torch.equal(rows[0].int_repr(), rows[1].int_repr())
    assert digest(rows[0]) != digest(rows[1])


def test_layouts_and_places_of_the_same_sparse_values_count() -> None:
    with torch.sparse.check_sparse_tensor_invariants():  # said for all: some versions warn where it is said for one
        one = torch.sparse_coo_tensor(torch.tensor([[0, 1]]), torch.tensor([1.0, 2.0]), (4,))
        moved = torch.sparse_coo_tensor(torch.tensor([[0, 2]]), torch.tensor([1.0, 2.0]), (4,))
        twice = torch.sparse_coo_tensor(torch.tensor([[0, 1, 1]]), torch.tensor([1.0, 1.5, 0.5]), (4,))
    assert digest(one) != digest(moved)
    assert digest(one) == digest(twice)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.rand(3, 4),
        torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.rand(4, 3).t(),
        torch.rand(()),
    ],
    ids=["dense", "channels last", "transposed", "0-dim"],
)
def test_a_dense_tensor_is_the_bytes_of_its_elements(tensor: Tensor) -> None:
    assert b"".join(content(tensor)) == tensor.contiguous().numpy().tobytes()
    assert titled("a.b", tensor) == f"a.b torch.float32 {tuple(tensor.shape)}"


def test_nothing_is_the_bytes_of_an_empty_tensor() -> None:
    assert list(content(torch.empty(0, 3))) == []
    assert list(content({})) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.empty(3, device="meta"), "head.w is on the meta device, which keeps shapes and no values: load"),
        ((1, torch.empty(3, device="meta")), "is on the meta device"),
        (nn.parameter.UninitializedParameter(), "head.w is of a lazy layer and has no shape yet: call the model once"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_without_values_are_refused_by_name(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(content(value, "head.w"))
