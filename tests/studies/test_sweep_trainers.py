"""Optimizers as trainers: tuning on held-out training images, seeds, intervals; with and without real training."""

from __future__ import annotations

import json
import math
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from robustlab.core import Examples, RunError
from robustlab.core.registry import Registry
from robustlab.runs import Progress
from robustlab.studies import Budget, t_interval
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.network import Network, Trained
from robustlab.studies.sweep import OPTIMIZERS, OptimizerSpec, Trainers, table, trainers
from robustlab.studies.sweep.precision import kept
from robustlab.studies.sweep.rates import rate
from robustlab.studies.sweep.unit import Found
from robustlab.training import DivergedError

DRIVER = import_module("robustlab.studies.sweep.trainers")
BEST = 0.01


def options(network: Network) -> dict[str, object]:
    """Name of the optimizer."""
    found = dict(getattr(network.optimizer, "options"))  # noqa: B009 -- of a TorchOptimizer, which has them
    return {str(name): value for name, value in found.items()}


def tried(_: object, network: Network) -> Found:
    """Scores with the same best learning rate for every optimizer."""
    lr = float(str(options(network)["lr"]))
    return Found({"held_out_accuracy": 0.9 - 0.1 * abs(math.log10(lr / BEST))})


def measured(school: DRIVER.School, network: Network, seed: int) -> Found:  # type: ignore[name-defined]
    """Optimizers with momentum are a point better, and each seed is half a point better than the one before."""
    more = 0.01 if options(network).get("momentum") else 0.0
    return Found({name: 0.5 + more + 0.005 * seed for name, _ in school.regime.columns})


def only(optimizer: OptimizerSpec) -> Registry[OptimizerSpec]:
    """A registry of one optimizer."""
    found: Registry[OptimizerSpec] = Registry("optimizer of training")
    found.register(optimizer.name, optimizer)
    return found


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores without training."""
    monkeypatch.setattr(DRIVER.School, "_tried", tried)
    monkeypatch.setattr(DRIVER.School, "_measured", measured)


@pytest.mark.usefixtures("untrained")
def test_every_optimizer_has_its_best_rate_also_beyond_its_grid(tmp_path: Path) -> None:
    found = trainers(out=tmp_path, device="cpu")
    assert {one.optimizer: one.rate for one in found.taught} == dict.fromkeys((t.name for t in OPTIMIZERS), BEST)
    assert not any(one.open_end for one in found.taught)
    grids = {t.name: {rate(place, 2) for place in t.places} for t in OPTIMIZERS}
    assert BEST not in grids["sgd"]
    for one in found.taught:
        assert grids[one.optimizer] <= set(one.tuning)
        assert min(one.tuning) < BEST < max(one.tuning)


@pytest.mark.usefixtures("untrained")
def test_intervals_are_over_seeds_and_differences_paired_by_them(tmp_path: Path) -> None:
    found = trainers(out=tmp_path, seeds=3, device="cpu")
    sgd, nesterov = found.taught[0], found.taught[2]
    assert nesterov.interval("fgsm_accuracy") == t_interval([0.51, 0.515, 0.52])
    difference = found.difference(sgd, "fgsm_accuracy")
    assert tuple(difference) == pytest.approx((-0.01, -0.01, -0.01))
    assert found.difference(nesterov, "fgsm_accuracy").mean == pytest.approx(0.0)
    means, over = table.trainers_tables(found)
    assert means.rows[0][:3] == ["SGD", "0.01", "50.5 [49.3, 51.7]"]
    assert [row[0] for row in over.rows] == [t.title for t in OPTIMIZERS if t.name != "momentum"]
    assert over.rows[0][1] == "\N{MINUS SIGN}1.0 [\N{MINUS SIGN}1.0, \N{MINUS SIGN}1.0] *"
    assert "*" not in over.rows[1][1]
    assert table.trainers_sentences(found)[0].startswith("clean: from ")
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["optimizers"][0]["measured"]["clean_accuracy"]["values"] == pytest.approx([0.5, 0.505, 0.51])
    assert told["optimizers"][0]["tuning"]["0.01"] == 0.9


@pytest.mark.usefixtures("untrained")
def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    found = trainers(out=tmp_path, seeds=1, device="cpu")
    assert table.trainers_tables(found)[0].rows[0][2] == "50.0"
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["optimizers"][0]["measured"]["clean_accuracy"]["low"] is None


@pytest.mark.usefixtures("untrained")
def test_finished_runs_are_not_repeated_and_more_seeds_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trainers(out=tmp_path, seeds=2, device="cpu")
    files = len(list((tmp_path / "trainers-standard").iterdir()))
    done = list[int]()

    def noted(school: object, network: Network, seed: int) -> Found:
        done.append(seed)
        return measured(school, network, seed)

    def never(*_: object) -> Found:
        raise AssertionError("tuned again")

    monkeypatch.setattr(DRIVER.School, "_tried", never)
    monkeypatch.setattr(DRIVER.School, "_measured", noted)
    seen = list[Progress]()
    again = trainers(out=tmp_path, seeds=3, device="cpu", progress=seen.append)
    assert done == [2] * len(OPTIMIZERS)
    assert len(list((tmp_path / "trainers-standard").iterdir())) == files + len(OPTIMIZERS)
    assert [one.tuning for one in again.taught] == [one.tuning for one in first.taught]
    assert (seen[0].done, seen[-1].done) == (0, files + len(OPTIMIZERS) - 1)


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no recipe of this sweep is called 'magic': there are standard, fast"):
        trainers("magic", out=tmp_path)
    with pytest.raises(ValueError, match="at least one seed is needed, got 0"):
        trainers(out=tmp_path, seeds=0)


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["standard", "fast"])
def test_real_training_tunes_on_training_images_and_reports_on_test_images(
    regime: str, tiny: Budget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robustlab.data.digits import digits

    asked = list[tuple[str, int]]()

    def fetched(lab: Lab, split: str) -> Examples:
        asked.append((split, lab.seed))
        return digits(split, enlarged=True)

    monkeypatch.setattr(Lab, "data", fetched)
    monkeypatch.setattr(DRIVER, "TRAINING_OPTIMIZERS", only(OPTIMIZERS[1]))
    found = trainers(regime, out=tmp_path, seeds=1, budget=tiny, device="cpu")
    (one,) = found.taught
    assert isinstance(found, Trainers)
    assert len(one.tuning) == 2
    assert {split for split, seed in asked if seed == DRIVER.TUNING_SEED} == {"train"}
    assert {split for split, seed in asked if seed == 0} == {"train", "test"}
    assert set(one.values) == {"training_seconds", *(name for name, _ in found.regime.columns)}
    assert all(0 <= one.values[name][0] <= one.values["clean_accuracy"][0] for name, _ in found.regime.columns)


def test_rate_that_diverges_is_the_worst(tiny: Budget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(_: Lab, network: Network) -> Trained:
        if float(str(options(network)["lr"])) > 0.05:
            raise DivergedError("the loss is NaN")
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        return Trained(model, model, 1.0)

    monkeypatch.setattr(Lab, "trained", train)
    monkeypatch.setattr(DRIVER.School, "_measured", measured)
    monkeypatch.setattr(DRIVER, "TRAINING_OPTIMIZERS", only(OPTIMIZERS[1]))
    (one,) = trainers(out=tmp_path, seeds=1, budget=tiny, device="cpu").taught
    assert one.rate == 0.0316
    assert one.tuning[0.0316] > one.tuning[0.1] == 0.0
    kept = json.loads((tmp_path / "tiny" / "trainers-standard" / "tuning-momentum-0.1-1000.json").read_text())
    assert kept["metrics"] == {"held_out_accuracy": 0.0, "diverged": 1.0}


@pytest.mark.parametrize("faster", [True, False])
def test_networks_of_a_sweep_keep_the_precision_of_its_beginning(
    tiny: Budget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, faster: bool
) -> None:
    seen: list[str] = []

    def train(_: Lab, network: Network) -> Trained:
        seen.append(network.precision)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        return Trained(model, model, 1.0)

    monkeypatch.setattr(Lab, "trained", train)
    monkeypatch.setattr(DRIVER.School, "_measured", lambda self, network, seed: measured_in(seen, self, network, seed))
    monkeypatch.setattr(DRIVER, "TRAINING_OPTIMIZERS", only(OPTIMIZERS[1]))
    for here in (faster, not faster):  # the second time it goes on with another seed, on another processor
        monkeypatch.setattr("robustlab.training.precision.bf16_is_faster", lambda _, here=here: here)
        trainers(out=tmp_path, seeds=1 if here == faster else 2, budget=tiny, device="cpu")
    assert set(seen) == {"bf16" if faster else "fp32"}
    (tmp_path / "precision.json").write_text("{}")
    with pytest.raises(RunError, match=r"precision\.json names no precision"):
        trainers(out=tmp_path, seeds=1, budget=tiny, device="cpu")


def measured_in(seen: list[str], school: DRIVER.School, network: Network, seed: int) -> Found:  # type: ignore[name-defined]
    seen.append(network.precision)
    return measured(school, network, seed)


def test_results_from_before_there_was_a_choice_are_of_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustlab.training.precision.bf16_is_faster", lambda _: False)
    (tmp_path / "old" / "trainers-standard").mkdir(parents=True)
    (tmp_path / "old" / "trainers-standard" / "tuning-adam-0.1-1000.json").write_text("{}")
    assert [kept(tmp_path / name, "cpu") for name in ("old", "new")] == ["bf16", "fp32"]
