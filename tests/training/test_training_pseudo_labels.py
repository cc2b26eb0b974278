"""Pseudo-labels: those of a teacher without noise, their files, and the choice for a student."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import Batch, RunError
from robustlab.data import InMemory, WithoutLabels, apart
from robustlab.runs import Progress
from robustlab.training import PseudoLabels, Settings, feature_store, pseudo_labels

MakeNet = Callable[..., nn.Sequential]
WAY = Settings(1, device="cpu")
DRAW = torch.Generator().manual_seed(3)
CLASSES = tuple("abcd")


class _Unreadable(Tensor):
    """A tensor that raises in every operation."""

    @classmethod
    def __torch_function__(cls, func: object, types: object, args: object = (), kwargs: object = None) -> object:
        del types, args, kwargs
        raise AssertionError(f"a label was read by {func}")


class Secret:
    """Data whose labels raise when anything is done with them."""

    def __init__(self, data: InMemory) -> None:
        self.data, self.name, self.classes = data, "secret", data.classes

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, ids: Tensor) -> Batch:
        batch = self.data.batch(ids)
        return batch._replace(y=batch.y.as_subclass(_Unreadable))


@pytest.fixture
def many() -> InMemory:
    """Random images for more than three batches."""
    x = torch.randint(256, (600, 1, 8, 8), generator=DRAW, dtype=torch.uint8)
    return InMemory("many", CLASSES, x, torch.arange(600) % 4)


def test_the_teacher_is_asked_without_noise_and_left_as_it_was(
    make_net: MakeNet, many: InMemory, tmp_path: Path
) -> None:
    net = make_net(dropout=0.5).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = pseudo_labels(net, many, CLASSES, tmp_path, WAY)
    assert all(part.training for part in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        expected = net.eval()(many.batch(torch.arange(600)).x).softmax(dim=1)
    torch.testing.assert_close(found.probs, expected, rtol=1e-5, atol=1e-6)


def test_labels_are_never_read(make_net: MakeNet, many: InMemory, tmp_path: Path) -> None:
    secret = Secret(many)
    with pytest.raises(AssertionError, match="a label was read"):
        secret.batch(torch.arange(3)).y + 1
    for name, data in (("whole", secret), ("part", apart(secret, 400)[0])):
        chosen = pseudo_labels(make_net(), data, CLASSES, tmp_path / name, WAY).chosen(threshold=0.0)
        batch = chosen.examples.batch(torch.arange(10))
        assert batch.y.tolist() == [0] * 10
        assert torch.equal(batch.x, data.batch(chosen.examples.rows[:10]).x)


def test_the_hash_of_data_without_labels_follows_the_inputs_alone(many: InMemory) -> None:
    relabelled = InMemory("many", CLASSES, many.x, (many.y + 1) % 4)
    changed = InMemory("many", CLASSES, many.x.clone(), many.y)
    changed.x[-1, 0, 7, 7] += 1
    assert WithoutLabels(many).sha256 == WithoutLabels(relabelled).sha256 != WithoutLabels(changed).sha256


def test_what_is_there_is_not_made_again_and_says_where_it_comes_from(
    make_net: MakeNet, many: InMemory, tmp_path: Path
) -> None:
    steps: list[Progress] = []
    first = pseudo_labels(make_net(), many, CLASSES, tmp_path, WAY, progress=steps.append)
    assert [(at.done, at.total) for at in steps] == [(1, 3), (2, 3), (3, 3)]
    again = pseudo_labels(make_net(), many, CLASSES, tmp_path, WAY, progress=steps.append)
    assert len(steps) == 3
    assert torch.equal(first.probs, again.probs)
    kept = json.loads((tmp_path / "provenance.json").read_text())
    assert kept == first.provenance == again.provenance
    assert WithoutLabels(many).sha256 in kept["data"]
    assert kept["made"].startswith("20")
    assert (kept["precision"], kept["classes"], len(kept["teacher"])) == ("fp32", "a, b, c, d", 67)


def test_another_teacher_or_other_data_need_another_folder(make_net: MakeNet, many: InMemory, tmp_path: Path) -> None:
    pseudo_labels(make_net(), many, CLASSES, tmp_path, WAY)
    with pytest.raises(RunError, match=r"holds another run \(teacher v2:\w+ there, v2:\w+ here\): choose another"):
        pseudo_labels(make_net(seed=1), many, CLASSES, tmp_path, WAY)
    with pytest.raises(RunError, match=r"holds another run \(data many"):
        pseudo_labels(make_net(), apart(many, 100)[0], CLASSES, tmp_path, WAY)
    (tmp_path / "provenance.json").write_text("{half")
    with pytest.raises(RunError, match=r"provenance\.json is damaged .* remove .* to make them anew"):
        pseudo_labels(make_net(), many, CLASSES, tmp_path, WAY)


def test_rows_that_nobody_knows_the_teacher_of_are_made_anew(make_net: MakeNet, many: InMemory, tmp_path: Path) -> None:
    first = pseudo_labels(make_net(), many, CLASSES, tmp_path, WAY).probs.clone()
    (tmp_path / "provenance.json").unlink()
    again = pseudo_labels(make_net(seed=1), many, CLASSES, tmp_path, WAY)
    assert not torch.allclose(first, again.probs)


def test_a_stopped_pass_goes_on_where_it_was(
    make_net: MakeNet, many: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "SECONDS", 0.0)
    whole = pseudo_labels(make_net(), many, CLASSES, tmp_path / "whole", WAY)

    def stop(at: Progress) -> None:
        if at.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pseudo_labels(make_net(), many, CLASSES, tmp_path / "part", WAY, progress=stop)
    with pytest.raises(RunError, match=r"holds another run \(teacher"):
        pseudo_labels(make_net(seed=1), many, CLASSES, tmp_path / "part", WAY)
    steps: list[Progress] = []
    part = pseudo_labels(make_net(), many, CLASSES, tmp_path / "part", WAY, progress=steps.append)
    assert len(steps) == 1
    assert torch.equal(part.probs, whole.probs)


@pytest.mark.parametrize("classes", [3, 5])
def test_a_teacher_of_other_classes_is_refused(make_net: MakeNet, many: InMemory, tmp_path: Path, classes: int) -> None:
    said = rf"the teacher has 4 classes, the data with labels have {classes}: teacher and students must"
    with pytest.raises(ValueError, match=said):
        pseudo_labels(make_net(), many, "abcde"[:classes], tmp_path, WAY)


def test_a_teacher_that_gives_nan_is_refused(make_net: MakeNet, many: InMemory, tmp_path: Path) -> None:
    net = make_net()
    next(net[8].parameters()).data[0] = torch.nan
    with pytest.raises(ValueError, match="the teacher gives NaN or infinity"):
        pseudo_labels(net, many, CLASSES, tmp_path, WAY)


def told(probs: Tensor) -> PseudoLabels:
    """Equal probabilities for all examples."""
    count, classes = probs.shape
    data = InMemory("told", tuple("abcdef"[:classes]), torch.zeros(count, 1, 2, 2), torch.zeros(count).long())
    return PseudoLabels(WithoutLabels(data), data.classes, probs, {})


def sure(label: list[int], confidence: list[float], classes: int = 3) -> PseudoLabels:
    """A teacher with a given confidence in each label; the rest is spread over the other classes."""
    probs = torch.tensor([[(1 - c) / (classes - 1)] * classes for c in confidence])
    probs[torch.arange(len(label)), label] = torch.tensor(confidence)
    return told(probs)


SAID = sure([0, 1, 0, 0, 1, 2, 0, 1], [0.9, 0.5, 0.7, 0.75, 0.95, 0.45, 0.8, 0.4])


def test_only_confident_examples_are_kept() -> None:
    assert SAID.chosen(threshold=0.5, per_class=None).examples.rows.tolist() == [0, 2, 3, 4, 6], "0.5 is not above 0.5"
    assert len(SAID.chosen(threshold=0.0, per_class=None)) == 8
    with pytest.raises(ValueError, match=r"not sure of any of the 8 .* its highest confidence is 0\.950, the thresh"):
        SAID.chosen(threshold=0.96)


def test_classes_are_brought_to_one_number_by_the_most_confident_and_by_repeats() -> None:
    chosen = SAID.chosen(per_class=2)
    assert sorted(chosen.examples.rows.tolist()) == [0, 1, 4, 5, 5, 6]
    five = SAID.chosen(per_class=5)
    assert five.counts() == {"a": 5, "b": 5, "c": 5}
    times = five.examples.rows.bincount(minlength=8)
    assert sorted(times[[0, 2, 3, 6]].tolist()) == [1, 1, 1, 2]
    assert sorted(times[[1, 4, 7]].tolist()) == [1, 2, 2]
    assert times[5] == 5
    once = {tuple(SAID.chosen(per_class=5, seed=seed).examples.rows.tolist()) for seed in range(8)}
    assert len(once) > 1, "which come once more is drawn"


def test_the_mean_number_is_of_classes_that_are_there() -> None:
    assert SAID.chosen(threshold=0.46).counts() == {"a": 3, "b": 3, "c": 0}
    assert SAID.chosen(threshold=0.46, per_class=None).counts() == {"a": 4, "b": 2, "c": 0}


def test_targets_are_probabilities_or_the_most_probable_class() -> None:
    ids = torch.tensor([1, 0])
    soft, hard = (SAID.chosen(per_class=None, soft=soft) for soft in (True, False))
    assert torch.equal(soft.targets(ids), SAID.probs[ids])
    assert hard.targets(ids).tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_what_was_chosen_is_part_of_what_it_is_called() -> None:
    ways = [{}, {"soft": False}, {"threshold": 0.42}, {"per_class": 4}]
    assert len({repr(SAID.chosen(**way)) for way in ways}) == 4  # type: ignore[arg-type]
    other = sure([0, 1, 0, 0, 1, 2, 0, 1], [0.9, 0.5, 0.7, 0.75, 0.96, 0.45, 0.8, 0.4])
    assert repr(other.chosen()) != repr(SAID.chosen()) == repr(SAID.chosen())


def test_the_summary_says_how_many_are_left() -> None:
    found = SAID.chosen(threshold=0.46, per_class=4).summary()
    assert (found["examples"], found["confident"], found["chosen"], found["different"]) == (8, 6, 8, 6)
    assert found["highest_confidence"] == 0.95


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(ValueError, match=r"threshold is the lowest confidence of the teacher, in \[0, 1\)"):
        SAID.chosen(threshold=threshold)


@pytest.mark.parametrize("count", [0, -2, 1.5, "most"])
def test_a_number_per_class_is_a_number(count: int) -> None:
    with pytest.raises(ValueError, match="per_class is the number of examples of each class, >= 1, 'mean' or"):
        SAID.chosen(per_class=count)


@pytest.mark.parametrize("file", ["x.f32", "y.i64"])
def test_rows_that_were_changed_or_come_from_another_folder_are_made_anew(
    file: str, make_net: MakeNet, many: InMemory, tmp_path: Path
) -> None:
    def labels(seed: int, name: str) -> Tensor:
        torch.manual_seed(seed)
        return pseudo_labels(make_net(seed=seed), many, CLASSES, tmp_path / name, WAY).probs.clone()

    first = labels(0, "one")
    assert not torch.equal(labels(1, "other"), first)
    held = bytearray((tmp_path / "one" / file).read_bytes())
    held[5] ^= 1
    (tmp_path / "one" / file).write_bytes(bytes(held))
    assert torch.equal(labels(0, "one"), first)
    for name in ("x.f32", "y.i64", "rows.json"):
        (tmp_path / "one" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    assert torch.equal(labels(0, "one"), first)


def test_rows_of_an_older_version_are_kept(make_net: MakeNet, many: InMemory, tmp_path: Path) -> None:
    pseudo_labels(make_net(), many, CLASSES, tmp_path, WAY)
    said = json.loads((tmp_path / "rows.json").read_text())
    del said["digests"]
    (tmp_path / "rows.json").write_text(json.dumps(said))
    told: list[Progress] = []
    pseudo_labels(make_net(), many, CLASSES, tmp_path, WAY, progress=told.append)
    assert told == []
