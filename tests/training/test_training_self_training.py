"""The rounds of Noisy Student: stages, their data, and resuming after a kill anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_training_pseudo_labels import Secret  # type: ignore[import-not-found]
from torch import Tensor, nn

from robustlab.attacks import FGSM
from robustlab.core import Batch, Linf, RunError, ThreatModel, taking
from robustlab.data import InMemory, apart
from robustlab.data import load as load_data
from robustlab.models import BatchNormCNN, at_size, load, merged, save, split_bn
from robustlab.runs import Progress
from robustlab.runs.identity import model_digest
from robustlab.training import SelfTraining, Settings, adversarial, advprop, self_train, sgd

MakeNet = Callable[..., nn.Sequential]
WAY = Settings(2, batch_size=5, optimizer=sgd(0.02), device="cpu", resume=True)
PLAN = SelfTraining(
    replace(WAY, average=0.9), WAY, replace(WAY, epochs=1, optimizer=sgd(0.001)), rounds=2, ratio=2, threshold=0.2
)
STAGES = ("teacher", "round-1/pseudo-labels", "round-1/student", "round-2/pseudo-labels", "round-2/student", "tuned")


@pytest.fixture
def divided(squares: InMemory) -> tuple[InMemory, Secret]:
    """10 with labels, 40 whose labels raise when they are read."""
    batches = [part.batch(torch.arange(len(part))) for part in apart(squares, 10)]
    labelled, rest = (InMemory("squares", squares.classes, one.x, one.y) for one in batches)
    return labelled, Secret(rest)


def weights(net: nn.Module) -> list[Tensor]:
    return list(net.state_dict().values())


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_each_round_has_the_student_of_the_one_before_as_its_teacher(
    make_net: MakeNet, divided: tuple[InMemory, Secret], tmp_path: Path
) -> None:
    stages: list[str] = []
    done = self_train(make_net, *divided, PLAN, out=tmp_path, progress=lambda at: stages.append(at.task))
    assert tuple(dict.fromkeys(stages)) == STAGES == tuple(done.seconds)
    assert done.teacher is not None
    assert done.tuning is not None
    made = [one.pseudo.source.provenance["teacher"] for one in done.rounds]
    assert len(set(made)) == 2
    first, student = make_net(), make_net(1)
    for net, folder, name in ((first, "teacher", "model"), (student, "round-1/student", "average")):
        net.load_state_dict(load_file(tmp_path / folder / "epoch-0002" / f"{name}.safetensors"))
    assert made == [model_digest(first), model_digest(student)], "the average of the weights is what goes on"
    assert not any(part.training for part in done.model.modules())
    assert json.loads((tmp_path / "tuned/epoch-0001/state.json").read_text())["run"]["recipe"].startswith("Unnoised(")
    kept = json.loads((tmp_path / "round-2" / "pseudo-labels" / "chosen.json").read_text())
    assert kept["provenance"]["teacher"] == made[1]
    assert kept["settings"] == {"threshold": 0.2, "per_class": "mean", "soft": True}
    assert kept["chosen"] == sum(kept["per_class"].values()) == len(done.rounds[1].pseudo)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_was_stopped_in_any_stage_ends_with_the_same_bits(
    make_net: MakeNet, divided: tuple[InMemory, Secret], tmp_path: Path, stage: str
) -> None:
    whole = self_train(make_net, *divided, PLAN, out=tmp_path / "whole")

    def stop(at: Progress) -> None:
        if at.task == stage and at.done == at.total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        self_train(make_net, *divided, PLAN, out=tmp_path / "part", progress=stop)
    part = self_train(make_net, *divided, PLAN, out=tmp_path / "part")
    assert same(part.model, whole.model)
    again = self_train(make_net, *divided, PLAN, out=tmp_path / "part", progress=lambda *_: pytest.fail("done before"))
    assert same(again.model, whole.model)
    with pytest.raises(RunError, match=r"holds another run \(recipe .*ratio=2.* there, .*ratio=1.* here"):
        self_train(make_net, *divided, replace(PLAN, ratio=1), out=tmp_path / "part")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_run_that_was_killed_in_one_stage_after_the_other_ends_with_the_same_bits(tmp_path: Path) -> None:
    program = Path(__file__).with_name("killed_students.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == {"kills": list(STAGES), "same": True}


def test_a_trained_teacher_is_taken_as_it_is(
    make_net: MakeNet, divided: tuple[InMemory, Secret], tmp_path: Path
) -> None:
    plan = replace(PLAN, teacher=None, tuning=None, rounds=1)
    done = self_train(make_net, *divided, plan, out=tmp_path)
    assert (done.teacher, done.tuning, tuple(done.seconds)) == (None, None, STAGES[1:3])
    assert done.rounds[0].pseudo.source.provenance["teacher"] == model_digest(make_net())
    with pytest.raises(RunError, match=r"holds another run \(teacher v2:"):
        self_train(lambda number: make_net(number + 5), *divided, plan, out=tmp_path)


def test_a_refused_plan_changes_nothing_of_a_run_that_is_done(
    make_net: MakeNet, divided: tuple[InMemory, Secret], tmp_path: Path
) -> None:
    plan = replace(PLAN, teacher=None, tuning=None, rounds=1)
    self_train(make_net, *divided, plan, out=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len({path.stat().st_mode for path in before if path.name != ".lock"}) == 1, "weights are read as JSON is"
    with pytest.raises(RunError, match=r"holds another run \(recipe "):
        self_train(make_net, *divided, replace(plan, threshold=0.25), out=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_student_that_was_fine_tuned_is_not_taken_for_that_of_a_later_round(
    make_net: MakeNet, divided: tuple[InMemory, Secret], tmp_path: Path
) -> None:
    plan = replace(PLAN, teacher=None, rounds=1)
    self_train(make_net, *divided, replace(plan, tuning=None), out=tmp_path)
    self_train(make_net, *divided, replace(plan, tuning=None, rounds=2), out=tmp_path)
    self_train(make_net, *divided, replace(plan, rounds=2), out=tmp_path)
    for rounds in (1, 3):
        with pytest.raises(RunError, match=f"its student was fine-tuned after round 2, not {rounds}. Choose another"):
            self_train(make_net, *divided, replace(plan, rounds=rounds), out=tmp_path)
    assert not (tmp_path / "round-3").exists()


def test_every_training_is_measured_on_what_is_held_out(
    make_net: MakeNet, divided: tuple[InMemory, Secret], squares: InMemory, tmp_path: Path
) -> None:
    done = self_train(make_net, *divided, replace(PLAN, rounds=1), out=tmp_path, held=squares)
    assert done.teacher is not None
    assert done.tuning is not None
    for history in (done.teacher, done.rounds[0].student, done.tuning):
        assert all(0 <= value <= 1 for value in history["validation_accuracy"])


def test_students_may_learn_by_another_recipe(
    make_net: MakeNet, divided: tuple[InMemory, Secret], tmp_path: Path
) -> None:
    fgsm = adversarial(FGSM(ThreatModel(Linf(), 0.1)))
    plan = replace(PLAN, soft=False, learning=fgsm, teaching=fgsm, rounds=1)
    done = self_train(make_net, *divided, plan, out=tmp_path)
    state = json.loads((tmp_path / "round-1/student/epoch-0002/state.json").read_text())
    assert "recipe=Adversarial(" in state["run"]["recipe"]
    assert len(done.rounds) == 1
    with pytest.raises(ValueError, match="learns classes, not probabilities: set soft=False"):
        replace(PLAN, learning=fgsm)


def test_advprop_teaches_and_learns_and_leaves_a_plain_network(
    divided: tuple[InMemory, Secret], tmp_path: Path
) -> None:
    def make(number: int) -> nn.Module:
        return split_bn(load("batchnorm-cnn", classes=4, size=8, seed=number), 2)

    recipe = advprop(ThreatModel(Linf(), 0.1), steps=1)
    plan = replace(PLAN, soft=False, learning=recipe, teaching=recipe, rounds=1, tuning=None)
    done = self_train(make, *divided, plan, out=tmp_path)
    plain, x = merged(done.model), divided[0].batch(torch.arange(8)).x
    assert type(plain) is BatchNormCNN
    torch.testing.assert_close(plain(x), done.model(x))
    with taking(done.model, 1):
        assert not torch.allclose(plain(x), done.model(x)), "the other route has norms of its own"


@pytest.mark.slow
def test_the_last_student_is_tuned_on_larger_images_and_goes_on_with_no_other_size(
    divided: tuple[InMemory, Secret], tmp_path: Path
) -> None:
    sizes: dict[int, set[int]] = {}

    def make(number: int) -> nn.Module:
        net = load("residual-cnn", classes=4, size=8, seed=number)
        net.get_submodule("stem").register_forward_pre_hook(lambda _, given: seen(number, given[0]))
        return net

    def seen(number: int, x: Tensor) -> None:
        sizes.setdefault(number, set()).add(x.shape[-1])

    def enlarge(net: nn.Module) -> nn.Module:
        made = at_size(net, side)
        made.get_submodule("model.stem").register_forward_pre_hook(lambda _, given: seen(9, given[0]))
        return made

    side, plan = 12, replace(PLAN, rounds=1, enlarge=enlarge)
    done = self_train(make, *divided, plan, out=tmp_path)
    assert sizes == {0: {8}, 1: {8}, 9: {12}}
    student = load_file(tmp_path / "round-1/student/epoch-0002/average.safetensors")
    tuned = load_file(tmp_path / "tuned/epoch-0001/model.safetensors")
    assert tuned.keys() == {f"model.{name}" for name in student}
    moved = [float((tuned[f"model.{name}"] - value).abs().max()) for name, value in student.items() if "weight" in name]
    assert 0 < max(moved) < 0.05, "it began where the student ended"
    save(done.model, tmp_path / "model.safetensors")
    x = divided[0].batch(torch.arange(8)).x
    assert torch.equal(load(checkpoint=tmp_path / "model.safetensors")(x), done.model(x))
    self_train(make, *divided, plan, out=tmp_path, progress=lambda *_: pytest.fail("done before"))
    side = 16
    with pytest.raises(RunError, match=r"holds another run \(model Sequential"):
        self_train(make, *divided, plan, out=tmp_path)


def test_a_student_that_cannot_be_enlarged_is_refused_before_anything_is_trained(
    divided: tuple[InMemory, Secret], tmp_path: Path
) -> None:
    def make(number: int) -> nn.Module:
        return load("batchnorm-cnn", classes=4, size=8, seed=number)

    plan = replace(PLAN, enlarge=partial(at_size, side=12))
    with pytest.raises(ValueError, match="batchnorm-cnn has layers for 8 pixels alone and cannot see images at 12"):
        self_train(make, *divided, plan, out=tmp_path)
    with pytest.raises(ValueError, match=r"the student that is fine-tuned cannot take inputs \(1, 8, 8\)"):
        self_train(make, *divided, replace(plan, enlarge=lambda _: nn.Linear(3, 4)), out=tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="enlarge is for the fine-tuning at the end: give settings for it, tuning="):
        replace(plan, tuning=None)


@pytest.mark.slow
def test_pseudo_labels_help_where_labels_are_few(tmp_path: Path) -> None:
    train, test = (load_data("digits", split=split) for split in ("train", "test"))
    labelled, unlabelled = apart(train, 60)

    def make(number: int) -> nn.Module:
        return load("batchnorm-cnn", classes=10, size=8, seed=number)

    way = Settings(8, batch_size=20, device="cpu")
    plan = SelfTraining(replace(way, epochs=12), way, rounds=1, ratio=5, noise=None)
    done = self_train(make, labelled, unlabelled, plan, out=tmp_path, held=test)
    assert done.teacher is not None
    assert done.rounds[0].student["validation_accuracy"][-1] > done.teacher["validation_accuracy"][-1] + 0.01


def test_the_student_is_a_plain_checkpoint(tmp_path: Path, squares: InMemory) -> None:
    def make(number: int) -> nn.Module:
        return load("batchnorm-cnn", classes=4, size=8, seed=number)

    labelled, unlabelled = apart(squares, 10)
    done = self_train(make, labelled, unlabelled, replace(PLAN, rounds=1), out=tmp_path)
    save(done.model, tmp_path / "model.safetensors")
    found = load(checkpoint=tmp_path / "model.safetensors")
    assert type(found) is BatchNormCNN
    x = squares.batch(torch.arange(8)).x
    assert torch.equal(found(x), done.model(x))


class Nothing:
    """A data set without examples."""

    name, classes = "nothing", tuple("abcd")

    def __len__(self) -> int:
        return 0

    def batch(self, ids: Tensor) -> Batch:
        raise AssertionError(ids)


def _with_odd(make_net: MakeNet, odd: int, shape: tuple[int, int]) -> Callable[[int], nn.Module]:
    """Makes good networks except for one generation."""

    def make(number: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(*shape)) if number == odd else make_net()

    return make


def test_what_cannot_be_is_refused_before_anything_is_trained(
    make_net: MakeNet, divided: tuple[InMemory, Secret], tmp_path: Path
) -> None:
    labelled, unlabelled = divided
    with pytest.raises(ValueError, match="nothing has no examples: Noisy Student learns from unlabelled ones"):
        self_train(make_net, labelled, Nothing(), PLAN, out=tmp_path)
    small = InMemory("small", labelled.classes, torch.rand(9, 1, 4, 4), torch.zeros(9).long())
    with pytest.raises(ValueError, match=r"small has inputs \(1, 4, 4\), those with labels are \(1, 8, 8\): bring"):
        self_train(make_net, labelled, small, PLAN, out=tmp_path)
    other = InMemory("other", tuple("abcde"), labelled.x, labelled.y)
    with pytest.raises(ValueError, match="the teacher has 4 classes, the data with labels have 5"):
        self_train(make_net, other, unlabelled, PLAN, out=tmp_path)
    for number, shape, said in (
        (0, (65, 4), r"the teacher cannot take inputs \(1, 8, 8\) from squares: .*; is it made for these"),
        (2, (64, 7), "the student of round 2 has 7 classes, the data with labels have 4"),
    ):
        with pytest.raises(ValueError, match=said):
            self_train(_with_odd(make_net, number, shape), *divided, PLAN, out=tmp_path)
    assert not list(tmp_path.iterdir())
    for wrong, said in (
        ({"rounds": 0}, "rounds counts students, at least 1, got 0"),
        ({"ratio": -1}, "got -1"),
        ({"threshold": 1}, "threshold is"),
    ):
        with pytest.raises(ValueError, match=said):
            replace(PLAN, **wrong)  # type: ignore[arg-type]


def test_a_smaller_student_is_warned_of(make_net: MakeNet, divided: tuple[InMemory, Secret], tmp_path: Path) -> None:
    def make(number: int) -> nn.Module:
        return make_net() if number == 0 else nn.Sequential(nn.Flatten(), nn.Linear(64, 4))

    said = "the student of round 1 has 260 parameters, its teacher 1,036: Noisy Student needs"
    with pytest.warns(UserWarning, match=said):
        self_train(make, *divided, replace(PLAN, rounds=1), out=tmp_path)
