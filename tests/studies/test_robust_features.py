"""Data sets of robust and non-robust features: labels and budgets, resuming, and files that training reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from robustlab.core import L2, RunError, ThreatModel, subset
from robustlab.data import InMemory
from robustlab.data import examples as data_at
from robustlab.runs import Progress
from robustlab.studies.claim_engine.budget import Budget
from robustlab.studies.claim_engine.featured import Featured
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.robust_features import FeatureKind, FeatureSet
from robustlab.training import Settings, fit, standard

BUDGET = ThreatModel(L2(), 1.0)


@pytest.fixture
def data() -> InMemory:
    x = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    return InMemory("noise", ("a", "b", "c"), x, torch.arange(40) % 3)


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)
    )


def features(kind: FeatureKind, batch_size: int = 4, n: int = 10) -> FeatureSet:
    return FeatureSet(kind, n=n, layer="4", threat=BUDGET, steps=10, batch_size=batch_size)


@pytest.mark.parametrize("kind", ["non-robust-random", "non-robust-next"])
def test_perturbed_images_are_near_their_own_and_have_the_label_of_the_target(
    kind: FeatureKind, data: InMemory, network: nn.Sequential, tmp_path: Path
) -> None:
    made = features(kind).make(network, data, tmp_path / "set", seed=3)
    own = data.batch(subset(40, 10, seed=3))
    assert bool(BUDGET.contains(own.x, made.x).all())
    if kind == "non-robust-next":
        assert torch.equal(made.y, (own.y + 1) % 3)
    else:
        assert not torch.equal(made.y, own.y)
    gain = [network.eval()(x).log_softmax(1).gather(1, made.y[:, None]) for x in (made.x, own.x)]
    assert bool((gain[0] > gain[1]).all())


def test_robust_features_keep_the_representation_and_the_label(
    data: InMemory, network: nn.Sequential, tmp_path: Path
) -> None:
    made = features("robust").make(network, data, tmp_path / "set", seed=3)
    own = data.batch(subset(40, 10, seed=3))
    assert torch.equal(made.y, own.y)
    read = network.eval()[:5]
    near, far = ((read(x) - read(own.x)).detach().norm(dim=1) for x in (made.x, data.x[:10]))
    assert float(near.mean()) < 0.5 * float(far.mean())
    assert float(made.x.min()) >= 0
    assert float(made.x.max()) <= 1


@pytest.mark.parametrize("kind", ["robust", "non-robust-random"])
def test_images_do_not_depend_on_the_batches(
    kind: FeatureKind, data: InMemory, network: nn.Sequential, tmp_path: Path
) -> None:
    few, many = (features(kind, size).make(network, data, tmp_path / str(size)) for size in (3, 10))
    assert torch.equal(few.y, many.y)
    assert torch.allclose(few.x, many.x, atol=1e-4)


def test_a_set_that_was_stopped_goes_on_where_it_ended(data: InMemory, network: nn.Sequential, tmp_path: Path) -> None:
    whole = features("robust").make(network, data, tmp_path / "whole")

    def stop(at: Progress) -> None:
        if at.done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features("robust").make(network, data, tmp_path / "cut", report=stop)
    first = tmp_path / "cut" / "part-00000.safetensors"
    before = first.stat().st_mtime_ns
    assert not (tmp_path / "cut" / "part-00002.safetensors").exists()
    (tmp_path / "cut" / "part-00002.safetensors.part-of-a-killed-process").touch()
    again = features("robust").make(network, data, tmp_path / "cut")
    assert torch.equal(again.x, whole.x)
    assert first.stat().st_mtime_ns == before
    first.write_bytes(first.read_bytes()[:100])
    with pytest.raises(RunError, match=r"part-00000.safetensors cannot be read .*: remove it"):
        features("robust").make(network, data, tmp_path / "cut")


def test_another_set_in_the_same_place_is_refused(data: InMemory, network: nn.Sequential, tmp_path: Path) -> None:
    features("non-robust-next").make(network, data, tmp_path)
    with pytest.raises(RunError, match="holds another run"):
        features("non-robust-random").make(network, data, tmp_path)
    with torch.no_grad():
        next(network.parameters()).add_(1)
    with pytest.raises(RunError, match=r"holds another run .*model"):
        features("non-robust-next").make(network, data, tmp_path)


def test_the_stored_set_is_read_and_trained_on(data: InMemory, network: nn.Sequential, tmp_path: Path) -> None:
    made = features("non-robust-next", n=12).make(network, data, tmp_path / "set")
    stored = data_at(tmp_path / "set" / "data.npz")
    batch = stored.batch(torch.arange(12))
    assert torch.equal(batch.x, made.x)
    assert torch.equal(batch.y, made.y)
    history = fit(network, standard(), stored, Settings(epochs=1, batch_size=6, device="cpu"))
    assert len(history["loss"]) == 1


def test_bad_settings_are_refused_in_a_sentence(data: InMemory, network: nn.Sequential, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind must be one of robust, non-robust-random"):
        FeatureSet("fragile")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n, steps and batch_size must be 1 or more, got 0"):
        FeatureSet("robust", n=0)
    with pytest.raises(ValueError, match="cannot draw 50 of 40"):
        features("robust", n=50).make(network, data, tmp_path / "a")
    with pytest.raises(ValueError, match="has no layer 'nine'"):
        FeatureSet("robust", n=4, layer="nine").make(network, data, tmp_path / "b")


def test_a_set_of_a_claim_is_made_with_the_network_of_the_lab(data: InMemory, tmp_path: Path) -> None:
    lab = Lab(tmp_path, 2, Budget("tiny", images=12, epochs=1), "cpu", examples=enlarged(data))
    against = Network(standard(), architecture="shallow-cnn", batch_size=6)
    made = Featured(FeatureSet("non-robust-next", threat=BUDGET, steps=2), against)
    found = made.examples(lab).batch(torch.arange(12))
    own = enlarged(data).batch(subset(40, 12, seed=2))
    assert torch.equal(found.y, (own.y + 1) % 3)
    assert bool(BUDGET.contains(own.x, found.x).all())
    assert len(list(tmp_path.glob("*-2/data.npz"))) == 1


def enlarged(data: InMemory) -> InMemory:
    return InMemory("noise", data.classes, data.x.repeat(1, 1, 3, 3), data.y)
