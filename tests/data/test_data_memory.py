"""In-memory data sets, the IDX format, the digits."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from robustlab.core.errors import DataError
from robustlab.core.types import Examples
from robustlab.data import InMemory, load
from robustlab.data.digits import digits
from robustlab.data.idx import parse_idx

BYTES = torch.arange(48, dtype=torch.uint8).reshape(4, 3, 2, 2)
LABELS = torch.tensor([0, 1, 1, 0])
IDX = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])


def two_classes(x: torch.Tensor = BYTES, y: torch.Tensor = LABELS) -> InMemory:
    return InMemory("made", ("a", "b"), x, y)


def test_bytes_come_out_in_unit_range_in_the_given_order() -> None:
    batch = two_classes().batch(torch.tensor([3, 0]))
    assert batch.x.dtype is torch.float32
    assert torch.equal(batch.x, torch.stack([BYTES[3], BYTES[0]]).double().div(255).float())
    assert batch.y.tolist() == [0, 0]
    assert batch.ids.tolist() == [3, 0]


def test_floats_come_out_as_they_are() -> None:
    x = BYTES.double().div(255)
    assert torch.equal(two_classes(x).batch(torch.arange(4)).x, x)


def test_labels_of_any_integer_type_come_out_as_int64() -> None:
    assert two_classes(y=LABELS.to(torch.uint8)).batch(torch.arange(2)).y.dtype is torch.int64


def test_it_fits_the_protocol() -> None:
    assert isinstance(two_classes(), Examples)


def test_the_hash_follows_the_content_alone() -> None:
    known = two_classes().sha256
    assert InMemory("other name", ("a", "b"), BYTES.clone(), LABELS.clone(), "elsewhere").sha256 == known
    changed = BYTES.clone()
    changed[3, 2, 1, 1] += 1
    others = [
        two_classes(changed),
        two_classes(y=LABELS.flip(0)[[1, 0, 2, 3]]),
        two_classes(BYTES.reshape(4, 12)),
        InMemory("made", ("a", "c"), BYTES, LABELS),
    ]
    assert len({known, *(other.sha256 for other in others)}) == 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: two_classes(BYTES[:0], LABELS[:0]), "at least one example"),
        (lambda: two_classes(BYTES.int()), "inputs are torch.int32: give images as uint8 in 0..255 or as floats"),
        (
            lambda: two_classes(torch.full((4, 1), torch.nan)),
            "4 of 4 inputs hold NaN or infinity, the first is number 0",
        ),
        (lambda: two_classes(y=LABELS[:3]), "labels of shape (3,) for 4 inputs"),
        (lambda: two_classes(y=LABELS.float()), "labels are torch.float32"),
        (lambda: two_classes(y=LABELS + 1), "labels run from 1 to 2, but with 2 classes they must be in 0..1"),
        (lambda: two_classes(y=LABELS - 1), "labels run from -1 to 0"),
        (lambda: two_classes().batch(torch.tensor([4])), "made has examples 0..3, got ids 4..4"),
        (lambda: two_classes().batch(torch.tensor([-1])), "got ids -1..-1"),
        (lambda: two_classes().batch(torch.tensor([0.0])), "ids must be int64"),
    ],
)
def test_invalid_inputs_and_labels_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_idx_files_are_read_in_row_order() -> None:
    assert parse_idx(IDX).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (IDX[:-1], "should hold 6 values, it holds 5"),
        (IDX + b"\0", "it holds 7"),
        (b"\0\0\x0d\x02" + IDX[4:], "starts with 00000d02"),
        (IDX[:9], "not an IDX file"),
        (b"", "starts with nothing"),
    ],
)
def test_other_files_are_no_idx_files(raw: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_idx(raw)


@pytest.mark.slow
def test_digits_are_divided_without_overlap() -> None:
    train, test, whole = (digits(split) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(whole)) == (1438, 359, 1797)
    together = torch.cat([train.x, test.x]).flatten(1)
    assert sorted(map(tuple, together.tolist())) == sorted(map(tuple, whole.x.flatten(1).tolist()))
    assert int(whole.x.max()) == 255
    with pytest.raises(ValueError, match="digits has the splits train, test, all, not 'valid'"):
        load("digits", split="valid")


def test_enlarged_digits_keep_each_pixel_as_a_block() -> None:
    small, large = digits("test"), digits("test", enlarged=True)
    assert torch.equal(cast(Any, load("digits", size=28)).x, large.x)
    assert large.x.shape == (359, 1, 28, 28)
    for row in range(3):
        assert torch.equal(large.x[:, :, 2 + row : 26 : 3, 2 + row : 26 : 3], small.x)
    assert int(large.x[:, :, :2].max()) == 0
