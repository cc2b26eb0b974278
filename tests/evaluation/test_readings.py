"""Examples are read once until the first attack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robustlab.attacks import FGSM
from robustlab.core import Batch, DataError, Linf, ThreatModel
from robustlab.data import examples, sample
from robustlab.evaluation import CorruptionSettings, Settings, evaluate, evaluate_corruptions
from robustlab.evaluation import readings as module
from robustlab.evaluation.input_checks import REREAD
from robustlab.evaluation.readings import Readings
from robustlab.evaluation.run import Run


class Recording:
    """Images whose readings are recorded."""

    name, classes = "recorded", ("a", "b", "c")

    def __init__(self, count: int = 80, size: int = 4) -> None:
        self.x = torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0))
        self.y = torch.arange(count) % 3
        self.calls: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, ids: Tensor) -> Batch:
        self.calls.append(ids.tolist())
        return Batch(self.x[ids], self.y[ids], ids)

    def counts(self) -> Counter[int]:
        return Counter(number for call in self.calls for number in call)


class Linear(nn.Module):
    """A small classifier of images of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))
        return logits


@pytest.mark.parametrize(("doctor", "twice"), [(True, REREAD), (False, 16)])
def test_each_image_is_read_once_before_the_first_attack_and_a_few_twice(
    monkeypatch: pytest.MonkeyPatch, *, doctor: bool, twice: int
) -> None:
    data, before, attack = Recording(), list[Counter[int]](), Run.attack

    def noticed(run: Run, number: int, eps: float, smaller: float | None, correct: Tensor) -> None:
        before.append(data.counts())
        attack(run, number, eps, smaller, correct)

    monkeypatch.setattr(Run, "attack", noticed)
    settings = Settings(batch_size=16, doctor=doctor, name="m")
    evaluate(Linear().eval(), data, attacks=[FGSM(ThreatModel(Linf(), 0.1))], settings=settings)
    assert Counter(before[0].values()) == {1: 80 - twice, 2: twice}


def test_under_corruptions_each_image_is_read_once_and_a_few_twice() -> None:
    data = Recording(size=32)
    settings = CorruptionSettings(batch_size=16, name="m")
    evaluate_corruptions(Linear().eval(), data, corruptions=["fog"], severities=[1, 2], settings=settings)
    pictures = data.calls.pop()
    assert len(pictures) < 80
    assert Counter(data.counts().values()) == {1: 80 - REREAD, 2: REREAD}


class Scans(TorchFunctionMode):
    """Counts searches for values that are no numbers in images of one shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape, self.counts = shape, Counter[str]()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 -- any function of torch
        name = getattr(func, "__name__", "")
        if name in {"isfinite", "isnan", "aminmax"} and tuple(args[0].shape) == self.shape:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def _pairs(count: int, bad: int | None = None) -> Any:  # noqa: ANN401 -- a data set of the user
    """A torch data set of float images, one of which may hold NaN."""
    data = Recording(count)
    if bad is not None:
        data.x[bad, 0, 1, 2] = torch.nan
    return [(x, int(y)) for x, y in zip(data.x, data.y, strict=True)]


@pytest.mark.parametrize("part", [False, True])
def test_a_batch_of_a_torch_data_set_is_searched_for_nan_once(*, part: bool) -> None:
    pairs = examples(_pairs(40), classes=3)
    data = sample(pairs, 40, seed=0) if part else pairs
    settings = Settings(batch_size=16, doctor=False, name="m")
    with Scans(16, 1, 4, 4) as scans:
        evaluate(Linear().eval(), data, attacks=[FGSM(ThreatModel(Linf(), 1e-6))], settings=settings)
    assert scans.counts["isfinite"] == 0, "the range that is checked anyway tells it"
    assert scans.counts["aminmax"] > 0


@pytest.mark.parametrize("doctor", [False, True])
def test_nan_in_a_torch_data_set_is_named_by_the_number_of_its_example(*, doctor: bool) -> None:
    settings = Settings(batch_size=16, doctor=doctor, name="m")
    attack = FGSM(ThreatModel(Linf(), 0.1))
    with pytest.raises(ValueError, match=r"NaN.* first (in example|is number) 21"):
        evaluate(Linear().eval(), examples(_pairs(40, bad=21), classes=3), attacks=[attack], settings=settings)
    with pytest.raises(ValueError, match="1 of 16 inputs hold NaN or infinity, the first is number 21"):
        examples(_pairs(40, bad=21), classes=3).batch(torch.arange(16, 32))


def test_what_was_read_comes_back_as_it_was_in_any_company() -> None:
    data = Recording()
    readings = Readings(data)
    readings.read(torch.tensor([3, 1, 7]))
    again, mixed = readings.read(torch.tensor([7, 3])), readings.take(torch.tensor([9, 1, 2]))
    assert torch.equal(again.x, data.x[[7, 3]])
    assert torch.equal(mixed.x, data.x[[9, 1, 2]])
    assert torch.equal(mixed.y, data.y[[9, 1, 2]])
    assert data.calls == [[3, 1, 7], [9, 2]]


def test_taken_and_forgotten_examples_are_read_again() -> None:
    data = Recording()
    readings = Readings(data)
    readings.read(torch.tensor([1, 2]))
    readings.take(torch.tensor([1]))
    readings.read(torch.tensor([1, 2]))
    readings.forget()
    readings.read(torch.tensor([2]))
    readings.read(torch.tensor([2]))
    assert data.calls == [[1, 2], [1], [2], [2]]


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Recording()
    monkeypatch.setattr(module, "_MOST", 3 * data.x[0].numel() * 4)
    readings = Readings(data)
    readings.read(torch.arange(5))
    readings.read(torch.arange(5))
    assert data.calls == [[0, 1, 2, 3, 4], [3, 4]]


def test_images_of_other_sizes_are_the_data_sets_own_to_refuse() -> None:
    class Mixed(Recording):
        def batch(self, ids: Tensor) -> Batch:
            if len({int(i) < 5 for i in ids}) > 1:
                raise DataError("two sizes")
            batch = super().batch(ids)
            return batch if int(ids[0]) < 5 else batch._replace(x=batch.x[..., :2])

    readings = Readings(Mixed())
    readings.read(torch.tensor([1]))
    with pytest.raises(DataError, match="two sizes"):
        readings.read(torch.tensor([1, 6]))
