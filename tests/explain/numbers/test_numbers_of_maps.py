"""Numbers of maps alone: closed forms of alignment, sparsity and roughness, at several sizes."""

from __future__ import annotations

import math

import pytest
import torch
from tests.explain.numbers.numbers_models import linear
from torch import Tensor

from robustlab.explain import Case, measure
from robustlab.explain.numbers import Alignment, Roughness, Sparsity

ONE = torch.zeros(1, dtype=torch.int64)


def number_of_map(number: Sparsity | Roughness, values: Tensor) -> float:
    """The number of one map (...)."""

    def method(case: Case) -> Tensor:
        return values.expand_as(case.x)

    x = torch.rand(1, *values.shape, dtype=torch.float64)
    model = linear(*torch.rand(2, *values.shape, dtype=torch.float64))
    return float(measure(method, model, x, ONE, {"it": number})["it"].values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(7,), (1, 1, 1), (3, 5, 4), (3, 32, 32)])
def test_alignment_of_a_linear_model(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weights, x = torch.randn(3, *shape, dtype=dtype), torch.rand(4, *shape, dtype=dtype)
    y = torch.tensor([0, 2, 1, 0])
    found = measure("gradient", linear(*weights), x, y, {"a": Alignment(), "c": Alignment(cosine=True)})
    inner = [float((x[i] * weights[y[i]]).double().sum().abs() / weights[y[i]].double().norm()) for i in range(4)]
    assert found["a"].values.tolist() == pytest.approx(inner, rel=1e-6)
    lengths = x.double().flatten(1).norm(dim=1).tolist()
    assert found["c"].values.tolist() == pytest.approx([a / b for a, b in zip(inner, lengths, strict=True)], rel=1e-6)


def test_alignment_by_the_margin_is_the_distance_to_the_boundary_of_two_classes() -> None:
    torch.manual_seed(1)
    weights, x = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.rand(5, 3, 4, 4, dtype=torch.float64)
    model = linear(*weights)
    distance = (model(x)[:, 0] - model(x)[:, 1]).abs() / (weights[0] - weights[1]).norm()
    found = measure("gradient", model, x, torch.zeros(5, dtype=torch.int64), {"a": Alignment("margin")})
    assert torch.allclose(found["a"].values, distance, rtol=1e-12)


def test_alignment_is_undefined_without_a_gradient_and_needs_no_scale() -> None:
    weights, x = torch.zeros(2, 1, 2, 2), torch.rand(1, 1, 2, 2)
    flat = measure("gradient", linear(*weights), x, ONE, ["alignment", "alignment-cosine"])
    assert [one.undefined for one in flat.values()] == [1, 1]
    tiny = measure("gradient", linear(*(weights + 1e-30)), x, ONE, ["alignment"])["alignment"]
    assert tiny.mean == pytest.approx(float(x.sum()) / 2, rel=1e-6)


@pytest.mark.parametrize("shape", [(5,), (1, 1, 1), (2, 3, 3), (3, 20, 10)])
def test_the_gini_index_of_equal_values_of_one_value_and_of_a_ramp(shape: tuple[int, ...]) -> None:
    size = math.prod(shape)
    assert number_of_map(Sparsity(), torch.full(shape, -2.5)) == pytest.approx(0, abs=1e-12)
    single = torch.zeros(size)
    single[size // 2] = -3.0
    assert number_of_map(Sparsity(), single.reshape(shape)) == pytest.approx(1 - 1 / size)
    ramp = torch.arange(1.0, size + 1)[torch.randperm(size)].reshape(shape)
    assert number_of_map(Sparsity(), ramp) == pytest.approx((size - 1) / (3 * size))  # Gini index of 1..D
    assert math.isnan(number_of_map(Sparsity(), torch.zeros(shape)))


def test_the_gini_index_is_the_mean_difference_of_pairs() -> None:
    torch.manual_seed(2)
    values = torch.randn(2, 4, 5, dtype=torch.float64)
    v = values.abs().flatten()
    pairs = (v[:, None] - v[None]).abs().sum() / (2 * len(v) * v.sum())
    assert number_of_map(Sparsity(), values) == pytest.approx(float(pairs), rel=1e-12)
    p = values.sum(0).abs().flatten()
    pairs = (p[:, None] - p[None]).abs().sum() / (2 * len(p) * p.sum())
    assert number_of_map(Sparsity(pixels=True), values) == pytest.approx(float(pairs), rel=1e-12)


@pytest.mark.parametrize("size", [2, 3, 8, 17])
@pytest.mark.parametrize("scale", [1.0, -1e-30])
def test_roughness_of_constant_maps_ramps_stripes_and_boards(size: int, scale: float) -> None:
    ones, row = torch.ones(3, size, size) * scale, torch.arange(size) % 2
    assert number_of_map(Roughness(), ones) == 0
    ramp = torch.arange(1.0, size + 1).expand(1, size, size)
    assert number_of_map(Roughness(), ramp * scale) == pytest.approx((size - 1) / (size * (size + 1) / 2), rel=1e-6)
    lines = row.expand(1, size, size)
    assert number_of_map(Roughness(), lines * scale) == pytest.approx((size - 1) / (size // 2), rel=1e-6)
    board = (row[:, None] + row) % 2
    expected = 2 * size * (size - 1) / int(board.sum())
    assert number_of_map(Roughness(), board.expand(3, size, size) * scale) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(6,), (3, 1, 1)])
def test_roughness_needs_neighbours(shape: tuple[int, ...]) -> None:
    assert math.isnan(number_of_map(Roughness(), torch.rand(shape)))
    assert math.isnan(number_of_map(Roughness(), torch.zeros(1, 4, 4)))
