"""Square attack: windows of any shape, the released patterns, queries counted, known optima."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import Square
from robustlab.attacks.square import Schedule
from robustlab.attacks.windows import Grid, two_peaks
from robustlab.core import L1, L2, Linf, Norm, ThreatModel, Twin, as_twin, margin

NORMS = [Linf(), L2(), L1()]
SHAPES = [(3, 6, 6), (1, 5, 9), (2, 17), (12,), (1, 1, 1), (1,), (2, 3, 4, 5), (1, 2, 40)]


class Weighted(nn.Module):
    """A linear model of inputs of any shape, which records its inputs."""

    def __init__(self, shape: tuple[int, ...], classes: int = 2, bias: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(classes, math.prod(shape), generator=generator, dtype=torch.float64)
        self.bias = torch.zeros(classes, dtype=torch.float64)
        self.bias[0] = bias
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        return x.flatten(1) @ self.weight.T.to(x.dtype) + self.bias.to(x.dtype)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def zeros(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.int64)


def test_windows_shrink_after_these_queries() -> None:
    schedule = Schedule(0.8, 1.0)
    first = {0: 1, 10: 1, 11: 2, 50: 2, 51: 4, 201: 8, 501: 16, 1001: 32, 2001: 64, 4001: 128, 4999: 128, 8001: 512}
    assert {query: round(0.8 / schedule(query)) for query in first} == first
    assert [round(0.8 / Schedule(0.8, 0.1)(query)) for query in (1, 2, 800, 810)] == [1, 2, 256, 512]


@pytest.mark.parametrize(("side", "share"), [(28, 0.8), (28, 0.0125), (32, 0.4), (224, 0.00625)])
def test_windows_of_square_images_are_squares_of_the_right_area(side: int, share: float) -> None:
    assert Grid.of((3, side, side)).window(share) == (round(math.sqrt(share * side * side)),) * 2


def test_windows_keep_the_proportions_of_the_input() -> None:
    assert Grid.of((1, 10, 40)).window(0.25) == (5, 20)
    assert Grid.of((4, 100)).window(0.25) == (25,)
    assert Grid.of((100,)) == Grid(1, (100,))
    assert Grid.of((1, 10, 10)).window(1e-9) == (1, 1)
    assert Grid.of((1, 10, 2)).window(0.16, least=3, odd=True) == (5, 2)
    assert Grid.of((1, 10, 10)).window(0.36, least=3, odd=True) == (7, 7)


def test_places_are_the_values_of_the_window() -> None:
    grid = Grid(1, (4, 5))
    places = grid.places((2, 3), torch.tensor([[0.0, 0.0], [0.999, 0.999], [0.4, 0.5]]))
    corners = [(0, 0), (2, 2), (1, 1)]
    expected = [[5 * (r + i) + c + j for i in range(2) for j in range(3)] for r, c in corners]
    assert places[:, 0].tolist() == expected


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 4, 11), (2, 23), (7,), (1, 1, 1)])
def test_tiles_lie_inside_side_by_side(shape: tuple[int, ...]) -> None:
    grid = Grid.of(shape)
    tiles = grid.tiles(5)
    places = torch.cat([grid.offsets(window, torch.device("cpu")) + first for window, first in tiles])
    assert len(tiles) == math.prod(min(5, side) for side in grid.sides)
    assert len(set(places.tolist())) == len(places)
    assert places.max() < math.prod(grid.sides)
    covered = torch.zeros(grid.sides)
    covered.view(-1)[places] = 1
    used = [int(covered.movedim(axis, 0).reshape(side, -1).any(1).sum()) for axis, side in enumerate(grid.sides)]
    assert all(side - 5 < rows <= side for rows, side in zip(used, grid.sides, strict=True))


def test_two_peaks_are_those_of_the_paper() -> None:
    across, along = two_peaks((3, 3), 2).reshape(2, 3, 3)
    top = torch.tensor([[0.25, 1.25, 0.25]], dtype=torch.float64)
    bottom = torch.tensor([[0.25, 0.25, 0.25], [0.25, 1.25, 0.25]], dtype=torch.float64)
    whole = torch.cat([top / top.norm(), -bottom / bottom.norm()]) / math.sqrt(2)
    assert torch.allclose(across, whole)
    assert torch.allclose(along, whole.T)
    assert two_peaks((5,), 1)[0].abs().sum().item() == pytest.approx(1)
    steep = two_peaks((1, 6), 1)[1]
    assert steep[:3].sum().item() == pytest.approx(0.5)
    assert (steep[1] / steep[0]).item() == pytest.approx((1 + 2**-4) / 2**-4)


def test_reaches_the_corner_of_an_linf_ball_on_a_linear_model() -> None:
    model, x = Weighted((12,)), rand(4, 12) * 0.5 + 0.25
    x_adv = Square(ThreatModel(Linf(), 0.1), queries=1500)(model, x, zeros(4), stop="never")
    slope = model.weight[1] - model.weight[0]
    assert torch.allclose(x_adv, x + 0.1 * slope.sign())


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "dual"), [(L2(), 2), (L1(), torch.inf)], ids=str)
def test_comes_near_the_optimum_of_other_balls_on_a_linear_model(norm: Norm, dual: float) -> None:
    model, x = Weighted((1, 5, 5)), rand(4, 1, 5, 5) * 0.2 + 0.4
    x_adv = Square(ThreatModel(norm, 0.3), queries=500, rescaled=True)(model, x, zeros(4), stop="never")
    gain = margin(model(x_adv), zeros(4)) - margin(model(x), zeros(4))
    best = 0.3 * float(torch.linalg.vector_norm(model.weight[1] - model.weight[0], dual))
    assert (gain > 0.65 * best).all()  # windows are never smaller than three by three
    assert (gain <= best * (1 + 1e-9)).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_queries_are_inside_budget_and_bounds_for_any_shape(norm: Norm, shape: tuple[int, ...]) -> None:
    model, x = Weighted(shape, bias=100.0), rand(5, *shape)
    threat = ThreatModel(norm, (0.3, 0.02, 0.0, 0.4, 0.1))
    x_adv = Square(threat, queries=12)(Twin(model, model), x, zeros(5))
    assert x_adv.shape == x.shape
    assert len(model.seen) == 13
    assert all(threat.contains(x, seen).all() for seen in model.seen)
    assert torch.equal(x_adv[2], x[2])
    scores = torch.stack([margin(model(seen), zeros(5)) for seen in model.seen[:13]])
    assert torch.equal(margin(model(x_adv), zeros(5)), scores.amax(0))


def test_every_place_can_be_reached_and_each_example_has_its_own_window() -> None:
    shape = (1, 5, 7)
    model, x = Weighted(shape, bias=1000.0), torch.full((1000, *shape), 0.5, dtype=torch.float64)
    Square(ThreatModel(Linf(), 0.2), queries=1, share=0.05)(Twin(model, model), x, zeros(1000))
    start, inputs = model.seen[:2]
    moved = inputs != start
    assert moved.any(0).all()
    assert len({tuple(row) for row in moved.flatten(1).tolist()}) > 10


def test_each_channel_of_a_window_goes_its_own_way() -> None:
    model, x = Weighted((2, 5, 7), bias=1000.0), torch.full((50, 2, 5, 7), 0.5, dtype=torch.float64)
    Square(ThreatModel(Linf(), 0.2), queries=1, share=1.0)(Twin(model, model), x, zeros(50))
    way = (model.seen[1] - x).sign().flatten(2)
    assert torch.equal(way, way[:, :, :1].expand_as(way))
    assert {tuple(row) for row in way[:, :, 0].tolist()} == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


@pytest.mark.parametrize(("norm", "channels"), [(L2(), 1), (L2(), 3), (L1(), 1), (L1(), 3)], ids=str)
def test_two_windows_keep_their_joint_size(norm: Norm, channels: int) -> None:
    """The size of each channel stays, and all of it that was in two windows is in one of them afterwards."""
    shape = (channels, 12, 12)
    model, x = Weighted(shape, bias=1000.0), torch.full((40, *shape), 0.5, dtype=torch.float64)
    threat = ThreatModel(norm, 2.0, (-torch.inf, torch.inf))
    Square(threat, queries=1, share=0.06)(Twin(model, model), x, zeros(40))
    before, after = ((seen - x).flatten(0, 1).flatten(1) for seen in model.seen[:2])
    untouched = (after - before).abs() < 1e-12
    if (norm, channels) == (L1(), 3):
        # As released, a window gets more than there is, and projecting takes some from everywhere.
        assert (after.abs() < before.abs() - 1e-6)[before != 0].float().mean() > 0.7
        return
    assert torch.allclose(norm.size(after), norm.size(before))
    assert (untouched.sum(1) >= 144 - 2 * 9).all()
    assert ((after == 0) & (before != 0)).any(1).float().mean() > 0.5


def test_stripes_run_along_the_first_direction() -> None:
    model, x = Weighted((3, 6, 8), bias=1000.0), torch.full((9, 3, 6, 8), 0.5, dtype=torch.float64)
    Square(ThreatModel(Linf(), 0.2), queries=1)(Twin(model, model), x, zeros(9))
    stripes = model.seen[0] - x
    assert torch.allclose(stripes.abs(), torch.full_like(x, 0.2))
    assert torch.equal(stripes, stripes[:, :, :1].expand_as(stripes))
    assert len({tuple(row) for row in (stripes[:, :, 0] > 0).flatten(0, 1).tolist()}) > 20


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_a_finished_example_has_no_more_queries(norm: Norm) -> None:
    twin = as_twin(Weighted((1, 4, 4), bias=1000.0))
    x, y = rand(6, 1, 4, 4), torch.tensor([0, 1] * 3)
    x_adv = Square(ThreatModel(norm, 0.1), queries=7)(twin, x, y)
    assert (twin.passes.forward, twin.passes.backward) == (6 + 3 * 7, 0)
    assert (x_adv != x).flatten(1).any(1).all()


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_what_one_example_gets_does_not_depend_on_the_others(norm: Norm) -> None:
    shape = (2, 4, 5)
    model, x = Weighted(shape, classes=3), rand(20, *shape)
    y = model(x).argmax(1)
    attack = Square(ThreatModel(norm, {"Linf": 0.05, "L2": 0.3, "L1": 1.5}[str(norm)]), queries=80)
    in_batch = attack(model, x, y, seed=5)
    fooled = model(in_batch).argmax(1) != y
    assert 2 < fooled.sum() < 18
    for row in (0, 7, 19):
        alone = attack(model, x[row : row + 1], y[row : row + 1], seed=5, ids=torch.tensor([row]))
        assert torch.allclose(alone[0], in_batch[row], rtol=0, atol=1e-9)
    assert not torch.equal(in_batch, attack(model, x, y, seed=6))


def test_a_target_in_the_call_is_the_only_success() -> None:
    model, x = Weighted((30,), classes=4), rand(12, 30)
    y = model(x).argmax(1)
    target = (y + 1) % 4
    x_adv = Square(ThreatModel(Linf(), 0.5), queries=400)(model, x, y, target=target)
    assert torch.equal(model(x_adv).argmax(1), target)


def test_full_strength_goes_on_after_success() -> None:
    model, x = Weighted((20,)), rand(5, 20)
    y = model(x).argmax(1)
    attack = Square(ThreatModel(Linf(), 0.6), queries=100)
    first, full = (attack(model, x, y, stop=stop) for stop in ("success", "never"))
    assert (margin(model(full), y) > margin(model(first), y)).all()


def test_nan_is_refused() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] / 0 * 0

    with pytest.raises(ValueError, match="NaN for 4 of 4 inputs"):
        Square(ThreatModel(Linf(), 0.1))(Broken(), rand(4, 6), zeros(4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"queries": 0}, "queries must be a whole number >= 1, got 0"),
        ({"share": 0.0}, r"share must be a fraction of the input in \(0, 1\], got 0.0"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Square(ThreatModel(Linf(), 0.1), **settings)  # type: ignore[arg-type]
