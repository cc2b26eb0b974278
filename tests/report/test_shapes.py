"""Inputs of every number of axes through the rooms: measured, drawn, trained on, or refused in a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustlab import training
from robustlab.attacks import PGD, Square
from robustlab.core import L2, Linf, Recipe, ThreatModel
from robustlab.corruptions import corruption
from robustlab.data import examples
from robustlab.evaluation import corrupted_sets, evaluate, evaluate_corruptions, inspect_inputs, write_corrupted
from robustlab.evaluation.png import verify_saved
from robustlab.models import faults
from robustlab.report import write
from robustlab.report.pictures import gallery

SHAPES = [(1,), (6,), (2, 9), (3, 9), (5, 5), (1, 5, 6), (3, 6, 5), (4, 5, 5), (2, 3, 4, 5)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
THREAT = ThreatModel(Linf(), 0.3)
EVERYWHERE = (-math.inf, math.inf)


def data(shape: tuple[int, ...]) -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model of three classes, and what it gets right."""
    generator, values = torch.Generator().manual_seed(0), math.prod(shape)
    linear = nn.Linear(values, 3)
    linear.weight.data, linear.bias.data = torch.randn(3, values, generator=generator), torch.zeros(3)
    model, x = nn.Sequential(nn.Flatten(), linear).eval(), torch.rand(24, *shape, generator=generator)
    linear.bias.data -= model(x).mean(dim=0).detach()
    y: Tensor = model(x).argmax(dim=1)
    y[:3] = torch.arange(3)
    return model, x, y


@pytest.mark.slow
@every_shape
def test_is_measured_and_reported(shape: tuple[int, ...], tmp_path: Path) -> None:
    model, x, y = data(shape)
    found = evaluate(model, (x, y), attacks=[PGD(THREAT, 2), Square(THREAT, 5)], out=tmp_path)
    assert [attack.outside for attack in found.results] == [0, 0]
    drawn = gallery(found, 3, None)
    assert bool(drawn) == (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3)))
    assert write([found], tmp_path).is_file()
    inspect_inputs(model, (x, y), THREAT)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 6, 5), (5, 5)], ids=str)
@pytest.mark.parametrize("bounds", [EVERYWHERE, (0.0, math.inf), (-3.0, 3.0), (0.0, 255.0)], ids=str)
def test_pictures_use_the_range_of_the_inputs(
    shape: tuple[int, ...], bounds: tuple[float, float], tmp_path: Path
) -> None:
    from robustlab.report.pictures import _black_and_white, amplification

    model, x, y = data(shape)
    found = evaluate(model, (x, y), attacks=[PGD(ThreatModel(L2(), 1.0, bounds), 3)], out=tmp_path)
    assert len({one.clean.uri for one in gallery(found, 3, None)}) > 1  # not all black
    low, high = _black_and_white(bounds, [x])
    assert (low, high) == tuple(b if math.isfinite(b) else float(e) for b, e in zip(bounds, x.aminmax(), strict=True))
    change = 0.0099 * (high - low)
    assert amplification([torch.tensor([change])], high - low) == 50


NO_IMAGES = [shape for shape in SHAPES if not (len(shape) == 3 and shape[0] in (1, 3))]
REFUSING: dict[str, Callable[[nn.Module, Tensor, Tensor, Path], object]] = {
    "corruption": lambda _, x, __, ___: corruption("brightness")(x, severity=1),
    "evaluate_corruptions": lambda m, x, y, _: evaluate_corruptions(m, (x, y), corruptions=["brightness", "fog"]),
    "write_corrupted": lambda _, x, y, path: write_corrupted((x, y), path, corruptions=["brightness"]),
    "corrupted training": lambda m, x, y, _: trained(m, training.corrupted(training.standard(), ["fog"]), x, y),
    "augmix": lambda m, x, y, _: trained(m, training.augmix(), x, y),
    "jpeg": lambda m, x, _, __: faults.jpeg(m)(x),
}


def trained(model: nn.Module, recipe: Recipe, x: Tensor, y: Tensor) -> None:
    """One epoch."""
    training.fit(model, recipe, examples((x, y)), training.Settings(epochs=1, batch_size=8, optimizer=training.sgd()))


@pytest.mark.slow
@pytest.mark.parametrize("room", REFUSING)
@pytest.mark.parametrize("shape", NO_IMAGES, ids=str)
def test_functions_for_images_refuse_other_shapes(room: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    model, x, y = data(shape)
    with pytest.raises(ValueError, match=r"images"):
        REFUSING[room](model, x, y, tmp_path)


@pytest.mark.parametrize("shape", [(6,), (4, 5, 5), (2, 3, 4, 5)], ids=str)
def test_only_images_are_saved_as_such(shape: tuple[int, ...]) -> None:
    model, x, y = data(shape)
    with pytest.raises(ValueError, match="are no images"):
        verify_saved(model, x, y, None)


def test_own_corruptions_may_be_of_other_inputs() -> None:
    model, x, y = data((2, 9))

    def louder(x: Tensor, *, severity: int, seed: int = 0, ids: Tensor | None = None) -> Tensor:
        del seed, ids
        return (x * (1 + severity)).clamp(0, 1)

    found = evaluate_corruptions(model, corrupted_sets((x, y), {"louder": louder}, [1, 2]))
    assert {cell.corruption for cell in found.cells if cell.corruption} == {"louder"}


@pytest.mark.slow
@every_shape
@pytest.mark.parametrize(
    "recipe",
    [training.madry(THREAT, steps=1), training.free(THREAT, replays=2), training.trades(THREAT, steps=1),
     training.vat(ThreatModel(L2(), 0.5))],
    ids=lambda recipe: type(recipe).__name__,
)  # fmt: skip
def test_is_trained_on(shape: tuple[int, ...], recipe: Recipe) -> None:
    model, x, y = data(shape)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    trained(model, recipe, x, y)
    assert not all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
