"""``robustlab train``: options that do not fit, early stopping, data without labels, what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustlab import data, models, training
from robustlab.attacks import PGD
from robustlab.cli import recipes
from robustlab.core import L2, Batch, Linf, Metrics, Recipe, ThreatModel
from robustlab.studies import Watch
from robustlab.training.recipes.registry import RECIPES

Command = Callable[..., Any]
AT = ThreatModel(Linf(), 0.1)
SMALL = ("batchnorm-cnn", "--data", "digits", "--limit", "60", "--batch-size", "30", "--epochs", "1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--recipe magic", "there is no recipe 'magic': choose standard, adversarial, pgd, fgsm, gaussian-noise"),
        ("--recipe pgd --beta 6", "the recipe pgd does not use --beta: it is for trades, mart, trades-awp"),
        ("--recipe pgd --labels 9", "the recipe pgd does not use --labels: it is for vat"),
        ("--recipe trades --label-smoothing 0.1", "the recipe trades does not use --label-smoothing: it is for"),
        ("--eps 0.1", "the recipe standard does not use --eps: it is for adversarial, pgd"),
        ("--robust --recipe pgd", "--robust chooses the recipe itself: leave out --recipe or --robust"),
        ("--robust --beta 6", "the recipe pgd does not use --beta"),
        ("--recipe pgd --eps 0.1,0.2", "training needs one eps, got 0.1, 0.2"),
        ("--recipe adversarial --steps 3", "--steps cannot be set for fgsm-rs, which has none"),
        ("--recipe adversarial --attack square --step-size 1", "--step-size cannot be set for square"),
        ("--recipe vat --ratio 2", "--ratio counts unlabelled examples: give the number of labelled ones"),
        ("--recipe vat --labels 61", "--labels 61 leaves no other examples: digits train (60 of 1438) has 60 examples"),
        ("--recipe vat --labels 60", "--labels 60 are all examples: none is left without label; lower it"),
        ("--recipe pgd --eps-warmup 1.5", "--eps-warmup is a fraction of the training, in [0, 1], got 1.5"),
        ("--recipe pgd --bn-mode test", "bn_mode must be one of eval, train, got 'test'"),
        ("--hold-out 60", "--hold-out 60 leaves no other examples: digits train (60 of 1438) has 60 examples"),
        ("--patience 2", "--patience counts epochs without better robust accuracy: add --hold-out N"),
        ("--accumulate 40", "batches of 30 examples cannot be cut into 40 parts (1 processes, 40 accumulated)"),
        ("--optimizer adamax2", "there is no optimizer 'adamax2'; did you mean adamax? Choose adadelta, adafactor"),
        ("--optimizer lbfgs", "lbfgs does not fit the training loop, because it evaluates the loss"),
        ("--optimizer adam --momentum 0.9", "--momentum has no effect on adam: leave it out"),
        ("--schedule steep", "there is no schedule 'steep': choose one-cycle, cosine, constant, multi-step, cyclic"),
        ("--schedule cosine --drops 0.5", "the schedule cosine does not use --drops: it is for multi-step"),
        ("--cycles 2", "the schedule one-cycle does not use --cycles: it is for cyclic"),
        ("--schedule multi-step --drops early", "--drops are fractions of all steps, as 0.5,0.75, got 'early'"),
        ("--schedule multi-step --drops 0.5,2", "drops must be rising fractions in (0, 1)"),
        ("--precision fp8", "there is no precision 'fp8': choose fp32, bf16, fp16 or auto"),
        ("--clip 0", "clip is a length of the gradient, a finite number > 0, got 0.0"),
        ("--average 1", "average is the decay of a moving average of the weights, in (0, 1), got 1.0"),
        ("--activation square", "square"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_sentence(command: Command, place: Path, words: str, message: str) -> None:
    done = command("train", *SMALL, *words.split(), "--out", "net")
    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert not list((place / "net").glob("epoch-*"))


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_weights(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", *SMALL, "--epochs", "3", "--schedule", "constant", "--out", "net")
    steps: list[int] = []
    plain = training.Standard.learn

    def learn(
        self: training.Standard, model: nn.Module, batch: Batch, x_adv: Tensor, backward: Callable[[Tensor], None]
    ) -> Metrics:
        steps.append(1)
        return plain(self, model, batch, x_adv * (float("nan") if len(steps) == 4 else 1), backward)

    monkeypatch.setattr(training.Standard, "learn", learn)
    done = command(*words)
    assert done.code == 5
    message = " ".join(done.err.split())
    assert "the loss is nan at step 2 of 2 in epoch 2, learning rate 0.1: lower the learning rate" in message
    assert "the weights of the last complete epoch are in net/epoch-0001" in message
    assert (place / "net" / "epoch-0001" / "model.safetensors").exists()
    assert not (place / "net" / "model.safetensors").exists()
    assert command(*words).code == 0, "goes on from there"


@pytest.mark.slow
def test_a_directory_of_another_run_or_of_other_data_is_refused_and_left_alone(command: Command, place: Path) -> None:
    words = ("train", "batchnorm-cnn", "--data", "digits", "--batch-size", "30", "--epochs", "1", "--out", "net")
    assert command(*words, "--limit", "60").code == 0
    before = (place / "net" / "model.safetensors").read_bytes()
    for more, message in (
        (("--limit", "60", "--recipe", "pgd"), "holds another run (recipe Standard(smoothing=0.0) there, Adv"),
        (("--limit", "59"), "holds another run (data digits train (60 of 1438), 60 examples"),
        (("--limit", "60", "--seed", "1"), "seed 0 there, 1 here"),
    ):
        done = command(*words, *more)
        assert done.code == 2
        assert message in " ".join(done.err.split())
        assert (place / "net" / "model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_what_is_held_out_is_attacked_after_each_epoch_and_the_best_weights_stay(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, str]] = []
    robustness = iter([0.5, 0.75, 0.25, 0.0])

    def watched(self: Watch, model: nn.Module) -> Metrics:
        del model
        seen.append((len(self.examples), repr(self.attack)))
        return {"clean_accuracy": 1.0, "robust_accuracy": next(robustness)}

    monkeypatch.setattr("robustlab.studies.Watch.__call__", watched)
    words = ("--recipe", "fast", "--eps", "0.1", "--hold-out", "20", "--epochs", "4", "--patience", "1", "--json")
    done = command("train", *SMALL, *words, "--out", "net")
    assert done.code == 0, done.err
    printed = json.loads(done.out)
    assert (printed["best"], len(printed["epochs"])) == (2, 3), "it ends early"
    assert set(seen) == {(20, repr(PGD(AT, 10)))}
    kept = models.load(checkpoint=place / "net" / "model.safetensors").state_dict()
    best = models.load(checkpoint=place / "net" / "epoch-0003" / "best.safetensors").state_dict()
    assert all(torch.equal(kept[name], best[name]) for name in kept)
    data_line = json.loads((place / "net" / "epoch-0003" / "state.json").read_text())["run"]["data"]
    assert data_line.startswith("digits train (60 of 1438) (without 20), 40 examples")


@pytest.mark.slow
def test_smooth_adversarial_training_has_a_smooth_activation(command: Command, place: Path) -> None:
    for more, smooth in (((), nn.SiLU), (("--activation", "gelu"), nn.GELU)):
        done = command("train", *SMALL, "--recipe", "sat", "--out", smooth.__name__, *more)
        assert done.code == 0, done.err
        parts = list(models.load(checkpoint=place / smooth.__name__ / "model.safetensors").modules())
        assert any(isinstance(part, smooth) for part in parts)
        assert not any(isinstance(part, nn.ReLU) for part in parts)


def test_holding_out_measures_recipes_without_a_budget_of_their_own(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", *SMALL, "--hold-out", "20", "--eps", "0.05", "--out", "net")
    done = command(*words, "--json")
    assert done.code == 0, done.err
    monkeypatch.setenv("COLUMNS", "80")
    shown = command(*words).out.split()
    assert shown[:7] == ["epoch", "loss", "accuracy", "held", "out", "attacked", "rate"]
    assert 0 <= json.loads(done.out)["epochs"][0]["validation_robust_accuracy"] <= 1


@pytest.mark.slow
def test_labels_beyond_those_asked_for_are_never_read(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robustlab.cli import parse

    whole = data.load("digits", split="train")
    batch = whole.batch(torch.arange(60))
    labelled = set(data.sample(data.InMemory("some", whole.classes, batch.x, batch.y), 20).rows.tolist())
    mislabelled = torch.tensor([int(y) if n in labelled else 9 - int(y) for n, y in enumerate(batch.y)])
    made = []
    for y, out in ((batch.y, "right"), (mislabelled, "wrong")):
        some = data.InMemory("some", whole.classes, batch.x, y)
        monkeypatch.setattr(parse, "data", lambda *_, some=some, **__: some)
        words = ("--recipe", "vat", "--labels", "20", "--eps", "1", "--epochs", "1", "--batch-size", "10")
        done = command("train", "batchnorm-cnn", *words, "--out", out)
        assert done.code == 0, done.err
        made.append((place / out / "model.safetensors").read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("", training.madry(AT, steps=2, step_size=0.07, bn_mode="eval")),
        ("--eps 0.2", training.madry(ThreatModel(Linf(), 0.2), steps=2, step_size=0.14, bn_mode="eval")),
        ("--norm l2", training.madry(ThreatModel(L2(), 0.5), steps=2, step_size=0.35, bn_mode="eval")),
        ("--steps 5", training.madry(AT, steps=5, bn_mode="eval")),
        ("--step-size 0.05", training.madry(AT, steps=2, step_size=0.05, bn_mode="eval")),
        ("--bn-mode train", training.madry(AT, steps=2, step_size=0.07)),
    ],
)
def test_robust_says_what_it_took_and_gives_way_to_what_is_typed(command: Command, words: str, wanted: Recipe) -> None:
    done = command("train", "--robust", *SMALL[1:], *words.split(), "--precision", "fp32", "--out", "net")
    assert done.code == 0, done.err
    message = " ".join(done.err.split())
    assert f"Recipe: {wanted!r}; epochs: 1; precision: fp32" in message


def test_curves_go_beside_the_checkpoints_where_tensorboard_is_installed(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []

    @contextmanager
    def curves(folder: Path) -> Iterator[Callable[[object], None]]:
        calls.append(folder)
        yield lambda _: None

    trackers = import_module("robustlab.training.trackers")  # as an attribute it is a function
    monkeypatch.setattr(trackers, "tensorboard", curves)
    monkeypatch.setattr(trackers, "_installed", lambda name: name == "tensorboard")
    assert command("train", *SMALL, "--out", "net").code == 0
    assert [folder.as_posix() for folder in calls] == ["net/tensorboard"]
    monkeypatch.setattr(trackers, "_installed", lambda _: False)
    assert command("train", *SMALL, "--out", "other").code == 0
    assert len(calls) == 1


def test_only_the_first_of_several_processes_speaks_and_writes(
    command: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robustlab.cli.train._first", lambda: False)
    done = command("train", *SMALL, "--out", "net")
    assert (done.code, done.out) == (0, "")
    assert not (place / "net" / "model.safetensors").exists()


def test_help_names_the_recipes_that_use_an_option(command: Command) -> None:
    shown = " ".join(command("train", "--help").out.replace("│", " ").split())
    assert "Weight of robustness. [trades, mart, trades-awp: 6]" in shown
    assert all(name in shown for name in RECIPES)
    assert recipes.users("--labels") == ["vat"]
