"""Checkpoints: killed and resumed runs end like uninterrupted ones, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from filelock import FileLock
from tests.training.places import place_of
from torch import Tensor, nn

from robustlab.attacks import FGSM
from robustlab.core import L2, Batch, CheckpointError, Linf, Metrics, Recipe, RecipeState, RunError, ThreatModel
from robustlab.data import InMemory
from robustlab.models import ShallowCNN, load
from robustlab.runs import Progress
from robustlab.training import (
    DivergedError,
    History,
    RandAugment,
    Settings,
    Unlabelled,
    adamw,
    adversarial,
    augmented,
    augmix,
    awp,
    checkpoint,
    corrupted,
    fast,
    fit,
    free,
    gaussian_noise,
    grad_align,
    latest,
    madry,
    mart,
    overfitting_alarm,
    sgd,
    standard,
    trades,
    tuned,
    vat,
)

MakeNet = Callable[..., nn.Sequential]
NONE = torch.zeros(30, dtype=torch.int64)
FGSM_TRAINING = adversarial(FGSM(ThreatModel(Linf(), 0.05), random_start=True), mix=0.5)
THREAT = ThreatModel(Linf(), 0.05)
ROUND = ThreatModel(L2(), 0.5)
NOISE = InMemory("noise", tuple("abcd"), torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(2)), NONE)
RECIPES: dict[str, Recipe] = {
    "standard": standard(smoothing=0.1),
    "madry": madry(THREAT, steps=2, eps_warmup=0.5, steps_warmup=0.5),
    "trades": trades(THREAT, steps=2),
    "mart": mart(THREAT, steps=2),
    "free": free(THREAT, replays=2),
    "fast": overfitting_alarm(fast(THREAT).recipe, THREAT, every=2, examples=8),
    "grad_align": grad_align(THREAT),
    "awp": awp(trades(THREAT, steps=2), warmup=0.4),
    "vat": vat(ROUND, unlabelled=Unlabelled(NOISE, ratio=2), entropy=1.0),
    "noise": gaussian_noise(0.1),
    "augmented": augmented(free(THREAT, replays=2), RandAugment()),
    "augmix": augmix(),
    "corrupted": corrupted(standard(), ["shot_noise", "fog"]),
}


class KilledError(Exception):
    """The run is stopped from outside."""


@dataclass(frozen=True)
class Carrying:
    """A recipe with a state: the inputs are moved by sums of earlier steps."""

    replays: ClassVar[int] = 1

    def init(self, model: nn.Module) -> RecipeState:
        del model
        return {"offset": torch.rand(1, 8, 8), "steps": torch.zeros((), dtype=torch.int64)}

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Callable[[Tensor], None]) -> Metrics:
        x = (batch.x + 0.1 * state["offset"]).detach().requires_grad_()
        metrics = standard().step(model, batch._replace(x=x), state, backward)
        assert x.grad is not None
        state["offset"] = state["offset"].lerp(x.grad.mean(0).sign() + torch.randn(1, 8, 8), 0.3)
        state["steps"] += 1
        return metrics


def stop_at(epoch: int, step: int) -> Callable[[Progress], None]:
    def show(at: Progress) -> None:
        if place_of(at) == (epoch, step):
            raise KilledError

    return show


def outcome(model: nn.Module, history: History) -> tuple[list[bytes], list[dict[str, float]]]:
    """Exact weights and buffers, and the history without times."""
    bits = [value.contiguous().numpy().tobytes() for value in model.state_dict().values()]
    return bits, [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in history.epochs]


class Slowing(torch.optim.Optimizer):
    """An optimizer with plain numbers in its state: updates of each weight, and an option that it changes itself."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "pace": 1.0, "range": (0.0, 1.0)})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        del closure
        for group in self.param_groups:
            group["pace"] *= 0.9
            for weight in group["params"]:
                moves = self.state[weight]["moves"] = self.state[weight].get("moves", 0) + 1
                weight.sub_(weight.grad, alpha=group["lr"] * group["pace"] / moves)


OPTIMIZERS = {
    "sgd": sgd(0.05),
    "adamw": adamw(0.01),
    "nadam": tuned(torch.optim.NAdam, lr=0.01),
    "slowing": tuned(Slowing, lr=0.1),
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [standard(), FGSM_TRAINING, Carrying()], ids=["standard", "fgsm", "carrying"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stopped_run_ends_bit_for_bit_like_an_uninterrupted_one(
    squares: InMemory, make_net: MakeNet, tmp_path: Path, recipe: Recipe, optimizer: str
) -> None:
    settings = Settings(3, batch_size=20, optimizer=OPTIMIZERS[optimizer], resume=True)
    whole = make_net()
    expected = outcome(whole, fit(whole, recipe, squares, settings, out=tmp_path / "whole"))
    for number, place in enumerate([(1, 2), (2, 1), (2, 3), (3, 2)]):
        out = tmp_path / str(number)
        with pytest.raises(KilledError):
            fit(make_net(), recipe, squares, settings, out=out, progress=stop_at(*place))
        again = make_net(seed=9)
        # Without a complete epoch there is nothing to resume, and the same first weights are needed.
        model = again if place[0] > 1 else make_net()
        history = fit(model, recipe, squares, settings, out=out)
        assert outcome(model, history) == expected, f"stopped at {place}"


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_goes_on_as_if_nothing_had_happened(
    squares: InMemory, make_net: MakeNet, tmp_path: Path, name: str
) -> None:
    settings, recipe = Settings(3, batch_size=17, optimizer=sgd(0.05), resume=True), RECIPES[name]
    whole = make_net()
    expected = outcome(whole, fit(whole, recipe, squares, settings, out=tmp_path / "whole"))
    for number, place in enumerate([(2, 1), (3, 2)]):
        out = tmp_path / str(number)
        with pytest.raises(KilledError):
            fit(make_net(), recipe, squares, settings, out=out, progress=stop_at(*place))
        again = make_net(seed=9)
        assert outcome(again, fit(again, recipe, squares, settings, out=out)) == expected, f"stopped at {place}"
        for file in ("model.safetensors", "state.safetensors"):
            ends = [tmp_path / run / "epoch-0003" / file for run in ("whole", str(number))]
            assert ends[0].read_bytes() == ends[1].read_bytes()


PROGRAM = """
import json, os, signal, sys, torch
from pathlib import Path
from torch import nn
torch.set_num_threads(1)
from robustlab.core import Linf, ThreatModel
from robustlab.data import InMemory
from robustlab.training import Settings, fit, free, overfitting_alarm, sgd
killed, whole = map(Path, sys.argv[1:])
draw = torch.Generator().manual_seed(0)
data = InMemory("noise", ("a", "b"), torch.rand(30, 1, 8, 8, generator=draw), torch.arange(30) % 2)
def make():
    torch.manual_seed(0)
    head = (nn.Dropout(), nn.Flatten(), nn.Linear(144, 2))
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *head)
rename = os.replace
def dying_rename(source, target):
    if kill in str(target): os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
os.replace = dying_rename
def show(at):
    epoch, epochs = map(int, at.part.removeprefix("epoch ").split("/"))
    step = round(at.done - (epoch - 1) * at.total / epochs)
    if kill == f"step {step} of epoch {epoch}": os.kill(os.getpid(), signal.SIGKILL)
threat = ThreatModel(Linf(), 0.05)
recipe = overfitting_alarm(free(threat, replays=2), threat, every=2, examples=5)
settings = Settings(4, batch_size=10, optimizer=sgd(0.02), resume=True)
def left(moment):
    global kill
    child, kill = os.fork(), moment
    if child == 0:
        fit(make(), recipe, data, settings, out=killed, progress=show)
        os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return [status, sorted(p.name.rpartition(".part")[0][:11] or p.name for p in killed.iterdir() if "epoch" in p.name)]
ends = [left("step 2 of epoch 3"), left("epoch-0003")]
kill = "never"
for out in (killed, whole):
    fit(make(), recipe, data, settings, out=out, progress=show)
print(json.dumps(ends))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_process_killed_in_a_step_and_in_saving_leaves_a_run_that_another_ends(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    words = [sys.executable, "-c", PROGRAM, str(killed), str(whole)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = ["epoch-0001", "epoch-0002"]
    assert json.loads(done.stdout) == [[-9, kept], [-9, [".epoch-0003", *kept]]]
    for file in ("model.safetensors", "state.safetensors"):
        assert (killed / "epoch-0004" / file).read_bytes() == (whole / "epoch-0004" / file).read_bytes()
    assert not list(killed.glob(".epoch*"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_every_recipe_with_a_memory_survives_kills_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    program = Path(__file__).with_name("killed_fits.py")
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([root, *sys.path])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    names = ("free", "fast", "grad_align", "awp", "vat", "augmented", "carrying")
    assert json.loads(done.stdout) == dict.fromkeys(names, True)


@pytest.fixture
def two_epochs(squares: InMemory, make_net: MakeNet, tmp_path: Path) -> Path:
    """A run of three epochs that stopped after two."""
    with pytest.raises(KilledError):
        fit(make_net(), standard(), squares, Settings(3), out=tmp_path, progress=stop_at(3, 1))
    return tmp_path


def test_the_directory_holds_no_pickles_and_only_the_last_epochs(two_epochs: Path) -> None:
    assert sorted(path.name for path in two_epochs.glob("epoch-*")) == ["epoch-0001", "epoch-0002"]
    assert {path.suffix for path in two_epochs.rglob("*") if path.is_file()} <= {".safetensors", ".json", ""}
    assert latest(two_epochs) == two_epochs / "epoch-0002"
    assert latest(two_epochs / "nothing") is None


def test_old_checkpoints_go_when_there_are_more_than_are_kept(
    squares: InMemory, make_net: MakeNet, tmp_path: Path
) -> None:
    history = fit(make_net(), standard(), squares, Settings(4, keep=1), out=tmp_path)
    assert [path.name for path in tmp_path.glob("epoch-*")] == ["epoch-0004"]
    assert history.checkpoint == tmp_path / "epoch-0004"


def test_a_finished_run_is_not_trained_again(squares: InMemory, make_net: MakeNet, tmp_path: Path) -> None:
    first, again = make_net(), make_net(1)
    history = fit(first, standard(), squares, Settings(2, resume=True), out=tmp_path)
    repeated = fit(again, standard(), squares, Settings(2, resume=True), out=tmp_path)
    assert repeated == history
    assert outcome(again, repeated) == outcome(first, history)


def test_models_load_the_weights_by_architecture(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    data = InMemory("noise", tuple("abc"), torch.rand(12, 1, 28, 28, generator=draw), torch.arange(12) % 3)
    model = ShallowCNN(classes=3)
    saved = fit(model, standard(), data, Settings(1), out=tmp_path).checkpoint
    assert saved == tmp_path / "epoch-0001"
    again = load(checkpoint=tmp_path / "epoch-0001" / "model.safetensors")
    assert type(again) is ShallowCNN
    assert torch.equal(again(data.x), model(data.x))


def test_an_earlier_run_is_not_overwritten_without_being_asked(
    squares: InMemory, make_net: MakeNet, two_epochs: Path
) -> None:
    before = (two_epochs / "epoch-0002" / "model.safetensors").read_bytes()
    with pytest.raises(RunError, match="already holds epoch-0002: resume that run, or choose another directory"):
        fit(make_net(), standard(), squares, Settings(3), out=two_epochs)
    assert (two_epochs / "epoch-0002" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"settings": Settings(4, resume=True)}, "epochs 3 there, 4 here"),
        ({"settings": Settings(3, seed=5, resume=True)}, "seed 0 there, 5 here"),
        (
            {"recipe": FGSM_TRAINING},
            r"recipe Standard\(.*\) there, Adversarial\(crafting=Crafting\(attack=FGSM",
        ),
        ({"model": nn.Sequential(nn.Flatten(), nn.Linear(64, 4))}, "model Sequential, 15 tensors, .* there, Seq"),
        ({"data": "other"}, "data squares, 50 examples, .* there, squares, 50 examples"),
    ],
    ids=["epochs", "seed", "recipe", "model", "data"],
)
def test_a_checkpoint_of_another_run_is_refused(
    squares: InMemory, make_net: MakeNet, two_epochs: Path, changed: dict[str, object], message: str
) -> None:
    data = squares if "data" not in changed else InMemory(squares.name, squares.classes, squares.x + 1, squares.y)
    parts = {"model": make_net(), "recipe": standard(), "settings": Settings(3, resume=True), **changed}
    with pytest.raises(RunError, match=rf"epoch-0002 holds another run \({message}"):
        fit(parts["model"], parts["recipe"], data, parts["settings"], out=two_epochs)  # type: ignore[arg-type]


@pytest.mark.parametrize("file", ["model.safetensors", "state.safetensors", "state.json"])
def test_a_truncated_checkpoint_is_refused_and_the_one_before_it_still_works(
    squares: InMemory, make_net: MakeNet, two_epochs: Path, file: str
) -> None:
    whole = (two_epochs / "epoch-0002" / file).read_bytes()
    (two_epochs / "epoch-0002" / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"epoch-0002 is truncated or damaged .*: remove it to resume from"):
        fit(make_net(), standard(), squares, Settings(3, resume=True), out=two_epochs)
    (two_epochs / "epoch-0002").rename(two_epochs / "damaged")
    history = fit(make_net(), standard(), squares, Settings(3, resume=True), out=two_epochs)
    assert history["epoch"] == [1, 2, 3]


def test_another_version_of_the_format_is_refused(squares: InMemory, make_net: MakeNet, two_epochs: Path) -> None:
    numbers = two_epochs / "epoch-0002" / "state.json"
    numbers.write_text(json.dumps({**json.loads(numbers.read_text()), "format": 99}))
    with pytest.raises(CheckpointError, match="epoch-0002 was written by another version of robustlab"):
        fit(make_net(), standard(), squares, Settings(3, resume=True), out=two_epochs)


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(
    squares: InMemory, make_net: MakeNet, tmp_path: Path
) -> None:
    settings = Settings(3, batch_size=10, optimizer=sgd(1e25), schedule=lambda step, _steps: float(step >= 7))
    with pytest.raises(DivergedError, match=r"weights of the last complete epoch are in .*epoch-0001"):
        fit(make_net(), standard(), squares, settings, out=tmp_path)
    kept = latest(tmp_path)
    assert kept == tmp_path / "epoch-0001"
    model = make_net()
    checkpoint.read(kept, model, {})
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_a_full_disk_loses_nothing(
    squares: InMemory, make_net: MakeNet, two_epochs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (two_epochs / "epoch-0002" / "model.safetensors").read_bytes()

    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.save_file", full)
        with pytest.raises(CheckpointError, match="epoch-0003 cannot be written: No space left on device"):
            fit(make_net(), standard(), squares, Settings(3, resume=True), out=two_epochs)
    assert sorted(path.name for path in two_epochs.iterdir() if path.is_dir()) == ["epoch-0001", "epoch-0002"]
    assert (two_epochs / "epoch-0002" / "model.safetensors").read_bytes() == before


def test_a_directory_that_cannot_be_written_is_refused_before_training(
    squares: InMemory, make_net: MakeNet, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    steps: list[Progress] = []
    with pytest.raises(RunError, match=r"cannot be written to .*Not a directory"):
        fit(make_net(), standard(), squares, Settings(1), out=tmp_path / "file" / "run", progress=steps.append)
    assert steps == []


def test_two_runs_in_one_directory_are_refused(squares: InMemory, make_net: MakeNet, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(RunError, match="another process is writing to"):
        fit(make_net(), standard(), squares, Settings(1), out=tmp_path)
    fit(make_net(), standard(), squares, Settings(1), out=tmp_path)


def test_other_threads_are_told_but_not_refused(
    squares: InMemory, make_net: MakeNet, two_epochs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.set_num_threads(2)
    fit(make_net(), standard(), squares, Settings(3, resume=True), out=two_epochs)
    assert "may differ in the last bits: threads 1 there, 2 here" in caplog.text
