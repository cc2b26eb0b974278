"""The evaluation under corruptions: right numbers, the same whatever the batch, resumable, and honest about itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypedDict, Unpack

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import DataError, RunError
from robustlab.corruptions import corruption
from robustlab.data import InMemory
from robustlab.evaluation import (
    Baseline,
    CorruptedSets,
    CorruptionEvaluation,
    CorruptionSettings,
    corrupted_sets,
    corruption_pictures,
    evaluate,
    evaluate_corruptions,
    read_corruptions,
)
from robustlab.evaluation.corruptions.corrupted_set import Corruptions
from robustlab.evaluation.corruptions.plan import normaliser

NAMES = ("gaussian_noise", "contrast", "brightness")
Given = tuple[Tensor, Tensor]


class Digits(Protocol):
    """Data set of the fixture."""

    x_test: Tensor
    y_test: Tensor


class Asked(TypedDict, total=False):
    corruptions: Corruptions | None
    severities: Sequence[int] | None
    n: int
    out: Path
    settings: CorruptionSettings


def small(digits: Digits, n: int = 60) -> Given:
    return digits.x_test[:n], digits.y_test[:n]


def measured(model: nn.Module, data: Given | CorruptedSets, **more: Unpack[Asked]) -> CorruptionEvaluation:
    asked: Asked = {"corruptions": NAMES, "severities": (1, 4), **more}
    return evaluate_corruptions(model, data, **asked)


def counts(evaluation: CorruptionEvaluation) -> dict[tuple[str, int], int]:
    return {(cell.corruption, cell.severity): cell.accuracy.count for cell in evaluation.cells}


def test_accuracies_are_those_of_corrupted_images(standard: nn.Module, digits: Digits) -> None:
    x, y = small(digits)
    found = measured(standard, (x, y), settings=CorruptionSettings(seed=3))
    for name in NAMES:
        for severity in (1, 4):
            with torch.no_grad():
                logits = standard(corruption(name)(x, severity=severity, seed=3))
            cell = found.cell(name, severity)
            assert cell.accuracy.count == int((logits.argmax(1) == y).sum())
            sure = logits.double().softmax(1).amax(1).mean()
            assert cell.mean_confidence == pytest.approx(float(sure), abs=1e-6)
    assert found.clean is not None
    assert found.clean.accuracy.count == int((standard(x).argmax(1) == y).sum())
    mean = sum(1 - cell.accuracy.value for cell in found.cells) / 6
    assert found.errors.mean_error.value == pytest.approx(mean)
    assert found.mean_accuracy.value == pytest.approx(1 - mean)
    assert [s.accuracy.value for s in found.severities] == pytest.approx(
        [sum(found.cell(name, s).accuracy.value for name in NAMES) / 3 for s in (1, 4)]
    )
    by_family = {family.family: family for family in found.families}
    assert by_family["weather"].corruptions == ("brightness",)
    assert by_family["weather"].accuracy.value == pytest.approx(
        (found.cell("brightness", 1).accuracy.value + found.cell("brightness", 4).accuracy.value) / 2
    )


def test_classes_say_what_harms_them_most(standard: nn.Module, digits: Digits) -> None:
    x, y = small(digits)
    found = measured(standard, (x, y))
    one = found.per_class[3]
    rights = {}
    for name in NAMES:
        both = [standard(corruption(name)(x, severity=s, ids=torch.arange(60))).argmax(1) == y for s in (1, 4)]
        rights[name] = float(torch.stack(both)[:, y == 3].double().mean())
    assert one.n == int((y == 3).sum())
    assert one.worst == min(rights, key=rights.__getitem__)
    assert one.worst_accuracy == pytest.approx(min(rights.values()))
    assert one.corrupted == pytest.approx(sum(rights.values()) / 3)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_changes_no_number(batch_size: int, standard: nn.Module, digits: Digits) -> None:
    first = measured(standard, small(digits))
    other = measured(standard, small(digits), settings=CorruptionSettings(batch_size=batch_size))
    assert counts(first) == counts(other)
    assert first.errors == other.errors
    assert first.data.sha256 == other.data.sha256
    assert [s.prediction for s in first.gallery] == [s.prediction for s in other.gallery]


@pytest.mark.slow
def test_several_threads_make_the_same_images_and_ask_one_at_a_time(standard: nn.Module, digits: Digits) -> None:
    first, seen = measured(standard, small(digits)), set[str]()

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.add(threading.current_thread().name)
            logits: Tensor = standard(x)
            return logits

    torch.set_num_threads(2)
    second = measured(Watched(), small(digits), settings=CorruptionSettings(batch_size=20))
    assert torch.get_num_threads() == 2
    assert counts(second) == counts(first)
    assert seen == {threading.current_thread().name}


@pytest.mark.slow
def test_what_is_not_ours_is_called_by_one_thread(standard: nn.Module, digits: Digits) -> None:
    seen = set[str]()

    class Watched:
        def __call__(self, x: Tensor, *, severity: int, seed: int = 0, ids: Tensor | None = None) -> Tensor:
            del severity, seed, ids
            seen.add(threading.current_thread().name)
            return x

    torch.set_num_threads(2)
    measured(standard, small(digits), corruptions={"a": Watched(), "b": Watched()})
    assert seen == {threading.current_thread().name}


def test_a_sample_is_that_of_the_evaluation_under_attack(standard: nn.Module, digits: Digits) -> None:
    from robustlab.attacks import FGSM
    from robustlab.core import Linf, ThreatModel

    natural = measured(standard, small(digits), n=20)
    attacked = evaluate(standard, small(digits), attacks=[FGSM(ThreatModel(Linf(), 0.1))], n=20)
    assert natural.data.sha256 == attacked.data.sha256
    assert natural.clean is not None
    assert natural.clean.accuracy == attacked.clean.accuracy
    assert any("40 of the 60 examples were left out" in caveat for caveat in natural.caveats)


def test_the_model_is_asked_in_eval_mode_and_left_as_it_was(standard: nn.Module, digits: Digits) -> None:
    model = nn.Sequential(nn.Dropout(0.9), standard)
    model.train()
    standard.eval()
    before = [part.training for part in model.modules()]
    found = measured(model, small(digits))
    assert [part.training for part in model.modules()] == before
    assert counts(found) == counts(measured(standard, small(digits)))
    assert "training-mode" in {finding.code for finding in found.findings}


def test_images_corrupted_before_give_the_same(standard: nn.Module, digits: Digits) -> None:
    x, y = small(digits)
    views = corrupted_sets((x, y), NAMES, (1, 4), seed=5)
    ids = torch.arange(60)
    classes = tuple(map(str, range(10)))
    cells = {cell: InMemory("made", classes, view.batch(ids).x, y) for cell, view in views.cells.items()}
    ready = CorruptedSets("digits-c", cells, views.corruptions, clean=InMemory("digits", classes, x, y))
    found = measured(standard, ready)
    streamed = measured(standard, (x, y), settings=CorruptionSettings(seed=5))
    assert counts(found) == counts(streamed)
    assert found.variant == "ready-made"
    only = measured(standard, ready, corruptions=["contrast"], severities=[4])
    assert counts(only) == {("contrast", 4): counts(found)["contrast", 4]}
    without = measured(standard, CorruptedSets("digits-c", cells, views.corruptions))
    assert without.clean is None
    assert counts(without) == counts(found)
    with pytest.raises(ValueError, match="digits-c has no fog; it has gaussian_noise, contrast, brightness"):
        measured(standard, ready, corruptions=["fog"])
    mixed = {**cells, ("contrast", 4): InMemory("mixed", classes, x, y.flip(0))}
    with pytest.raises(DataError, match="contrast at severity 4 has other labels"):
        measured(standard, CorruptedSets("digits-c", mixed, views.corruptions))


def test_own_corruptions_are_taken_by_the_names_given(standard: nn.Module, digits: Digits) -> None:
    class Darker:
        def __call__(self, x: Tensor, *, severity: int, seed: int = 0, ids: Tensor | None = None) -> Tensor:
            del seed, ids
            return x / (1 + severity)

    x, y = small(digits)
    found = measured(standard, (x, y), corruptions={"night": Darker()}, severities=[2])
    assert found.cell("night", 2).accuracy.count == int((standard(x / 3).argmax(1) == y).sum())
    assert found.corruptions[0].family == "own"
    assert "night, as it is no corruption of a benchmark" in found.caveats[0]


def test_a_baseline_divides_and_none_says_that_nothing_does(
    standard: nn.Module, hardened: nn.Module, digits: Digits, tmp_path: Path
) -> None:
    data = small(digits)
    plain = measured(standard, data, out=tmp_path / "a")
    assert plain.errors.mce is None
    assert "not the mCE" in plain.caveats[0]
    itself = measured(standard, data, settings=CorruptionSettings(baseline=tmp_path / "a"))
    assert itself.errors.mce is not None
    assert itself.errors.mce.value == pytest.approx(1)
    assert "Sequential on 60 images of tensors" in itself.normalised_by
    other = measured(hardened, data, settings=CorruptionSettings(baseline=plain))
    sums = [
        sum(1 - e.cell(name, s).accuracy.value for s in (1, 4)) for name in NAMES for e in (other, plain)
    ]  # fmt: skip
    assert other.errors.mce is not None
    expected = sum(a / b for a, b in zip(sums[::2], sums[1::2], strict=True)) / 3
    assert other.errors.mce.value == pytest.approx(expected)
    later = measured(standard, data, out=tmp_path / "a", settings=CorruptionSettings(baseline=other))
    assert later.errors.baseline == "Sequential"
    assert read_corruptions(tmp_path / "a") == later, "a baseline is no part of the answers"
    with pytest.raises(ValueError, match="baseline x has no error for gaussian_noise at severity 1"):
        measured(standard, data, settings=CorruptionSettings(baseline=Baseline("x")))


@pytest.mark.parametrize(
    ("side", "classes", "names", "known"),
    [
        (224, 1000, ("fog", "saturate"), True),
        (32, 1000, ("fog",), False),
        (224, 10, ("fog",), False),
    ],
)
def test_alexnet_divides_on_imagenet_alone(side: int, classes: int, names: tuple[str, ...], known: bool) -> None:
    data = InMemory("i", tuple(map(str, range(classes))), torch.zeros(1, 3, side, side), torch.tensor([0]))
    found, said = normaliser(None, corrupted_sets(data, names), (3, side, side))
    assert (found is not None) == known
    assert ("AlexNet" in said) == known
    cifar, _ = normaliser(None, corrupted_sets(data, names, variant="cifar-c"), (3, side, side))
    assert cifar is None


def test_subsets_stand_beside_the_rest(standard: nn.Module, digits: Digits) -> None:
    x, y = small(digits)
    hard = torch.tensor([3, 5, 8, 13, 21])
    found = measured(standard, (x, y), settings=CorruptionSettings(subsets={"hard": hard}))
    (one,) = found.subsets
    by_hand = [
        corruption(name)(x, severity=s, ids=torch.arange(60))[hard] for name in NAMES for s in (1, 4)
    ]  # fmt: skip
    rights = [standard(images).argmax(1) == y[hard] for images in by_hand]
    assert (one.name, one.n) == ("hard", 5)
    assert one.corrupted.value == pytest.approx(float(torch.stack(rights).double().mean()))
    assert one.clean is not None
    assert one.clean.count == int((standard(x[hard]).argmax(1) == y[hard]).sum())
    with pytest.raises(ValueError, match="none of the 1 examples of 'gone' was evaluated"):
        measured(standard, (x, y), settings=CorruptionSettings(subsets={"gone": torch.tensor([77])}))


def test_the_gallery_shows_images_that_were_asked_about(standard: nn.Module, digits: Digits, tmp_path: Path) -> None:
    x, y = small(digits)
    found = measured(standard, (x, y), out=tmp_path)
    items = [item for item in found.gallery if item.corruption == "contrast"]
    assert {item.id for item in found.gallery} == {item.id for item in items}
    assert len(found.gallery) == 4 * 4
    ids = torch.tensor([item.id for item in items])
    expected = corruption("contrast")(x, severity=items[0].severity, ids=torch.arange(60))[ids]
    assert torch.allclose(corruption_pictures(found, items), expected, atol=1e-6)
    assert [item.prediction for item in items] == standard(expected).argmax(1).tolist()
    assert [item.label for item in items] == y[ids].tolist()
    with pytest.raises(RunError, match="no run directory"):
        corruption_pictures(replace(found, directory=None), items)


def test_the_record_survives_json_and_is_refused_in_another_version(standard: nn.Module, digits: Digits) -> None:
    found = measured(standard, small(digits))
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert CorruptionEvaluation.from_json(record) == found
    with pytest.raises(ValueError, match="schema 99"):
        CorruptionEvaluation.from_json({**record, "schema": 99})


def test_what_is_not_comparable_is_labelled(digits: Digits) -> None:
    sets = corrupted_sets(small(digits))
    labelled = [info.name for info in sets.corruptions if info.not_comparable]
    assert labelled == ["frost"]
    mended = corrupted_sets(small(digits), variant="corrected")
    assert all(info.not_comparable for info in mended.corruptions), "the published code is another"


def test_bad_input_is_one_clear_sentence(standard: nn.Module, digits: Digits, tmp_path: Path) -> None:
    x, y = small(digits)
    with pytest.raises(ValueError, match="severities are whole numbers from 1 to 5, got 6"):
        measured(standard, (x, y), severities=[6])
    with pytest.raises(ValueError, match="did you mean gaussian_noise"):
        measured(standard, (x, y), corruptions=["gausian_noise"])
    with pytest.raises(ValueError, match="Divide images by 255"):
        measured(standard, (x * 255, y))
    with pytest.raises(ValueError, match="Labels run from 0 to 9, but the model has 3 classes"):
        measured(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), (x, y))
    with pytest.raises(ValueError, match=r"8 pixels on a side; defocus_blur, .* need at least 21: leave these"):
        measured(standard, (x, y), corruptions=None, out=tmp_path / "none", severities=None)
    assert not (tmp_path / "none").exists()
    with pytest.raises(ValueError, match="no corruptions were given"):
        measured(standard, (x, y), corruptions=[])
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        CorruptionSettings(batch_size=-1)


def test_an_mce_of_other_images_than_imagenets_says_so() -> None:
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    data = InMemory("photos", tuple(map(str, range(1000))), x, torch.tensor([1, 2]))

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(dim=(1, 2, 3))[:, None] * torch.arange(1000)

    found = evaluate_corruptions(Mean(), data, corruptions=["contrast", "brightness"])
    assert found.errors.mce is not None
    assert found.normalised_by == "AlexNet's errors on ImageNet-C, as published"
    said = " ".join(found.caveats)
    assert "saved as JPEG at quality 85" in said
    assert "validation images; of these 2 others an mCE is not comparable" in said
