"""Invalid arguments of regularisers are refused in a sentence: labels, ids, weights and inputs of wrong kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import PGD
from robustlab.core import Batch, DataError, Linf, ThreatModel
from robustlab.regularization import (
    AdversariallyRegularized,
    AdversarialRegularization,
    Graph,
    GraphLoss,
    Neighbourhood,
    adversarial_neighbour,
    distance_loss,
    read_graph,
    target_labels,
    virtual_adversarial_loss,
)  # fmt: skip

X = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 0])
NAN, INF = torch.nan, torch.inf
RANDOM = AdversarialRegularization(Neighbourhood(random_start=True))


class Words(nn.Module):
    """Reads whole numbers, by themselves or by name."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.last = nn.Embedding(10, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor | dict[str, Tensor]) -> Tensor:
        tokens = x["words"] if isinstance(x, dict) else x
        logits: Tensor = self.last(self.embedding(tokens.long()).mean(1))
        return logits


def model() -> nn.Module:
    return nn.Linear(6, 3)


def losses(y: object = Y, **more: object) -> object:
    return AdversariallyRegularized(model()).losses(X, y, **more)  # type: ignore[arg-type] # that is the fault


LABELS = {
    "floats": (Y.float(), r"got \(4,\) torch.float32"),
    "bools": (Y.bool(), r"got \(4,\) torch.bool"),
    "one-hot": (torch.eye(3, dtype=torch.int64)[Y], r"got \(4, 3\)"),
    "negative": (-1 - Y, r"class numbers 0..K-1, got -3"),
    "a column": (Y[:, None], r"got \(4, 1\)"),
    "few": (Y[:2], r"labels must .* got (2|\(2,\))$"),
    "too large": (Y + 5, "labels go up to 7, but the model has 3 classes"),
    "a list": (Y.tolist(), "labels must .* got a list"),
    "an array": (Y.numpy(), "labels must .* got"),
    "none": (None, "labels must .* got a NoneType"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_another_kind_are_refused(kind: str) -> None:
    y, message = LABELS[kind]
    threat = ThreatModel(Linf(), 0.1)
    calls: list[Callable[[], object]] = [
        lambda: losses(y),
        lambda: AdversariallyRegularized(model(), AdversarialRegularization(target="least")).losses(X, y),  # type: ignore[arg-type]
        lambda: target_labels(model()(X), y, "random"),  # type: ignore[arg-type]
        lambda: target_labels(model()(X), y),  # type: ignore[arg-type]
        lambda: PGD(threat, 2)(model(), X, y),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


def test_labels_may_be_probabilities_or_bytes() -> None:
    torch.manual_seed(0)
    regularized = AdversariallyRegularized(model())
    given = [regularized.losses(X, y).total for y in (Y, Y.to(torch.uint8), torch.eye(3)[Y])]
    assert torch.allclose(torch.stack(given), given[0])


IDS = {
    "floats": (torch.arange(4.0), r"whole numbers, one per example, got \(4,\) torch.float32"),
    "bools": (torch.tensor([True, False, True, True]), r"whole numbers, one per example, got \(4,\) torch.bool"),
    "names": (list("abcd"), "whole numbers, one per example, got a list"),
    "few": (torch.arange(3), r"ids must .* got \(3,\)"),
    "a column": (torch.arange(4)[:, None], r"ids must .* got \(4, 1\)"),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_another_kind_are_refused(kind: str) -> None:
    ids, message = IDS[kind]
    calls: list[Callable[[], object]] = [
        lambda: AdversariallyRegularized(model(), RANDOM).losses(X, Y, ids=ids),  # type: ignore[arg-type]
        lambda: adversarial_neighbour(lambda x: x.sum(), X, RANDOM.how, ids=ids),  # type: ignore[arg-type]
        lambda: virtual_adversarial_loss(model(), X, ids=ids),  # type: ignore[arg-type]
        lambda: target_labels(model()(X), Y, "random", ids=ids),  # type: ignore[arg-type]
        lambda: PGD(ThreatModel(Linf(), 0.1), 2)(model(), X, Y, ids=ids),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_inputs_without_a_float_have_no_neighbours(dtype: torch.dtype, *, random_start: bool) -> None:
    tokens = torch.ones(4, 5, dtype=dtype)
    recipe = AdversarialRegularization(Neighbourhood(random_start=random_start))
    calls: list[Callable[[], object]] = [
        lambda: AdversariallyRegularized(Words(), recipe).losses(tokens, Y),
        lambda: AdversariallyRegularized(Words(), recipe).losses({"words": tokens}, Y),
        lambda: recipe.step(Words(), Batch(tokens, Y, torch.arange(4)), {}, lambda loss: loss.backward()),
        lambda: virtual_adversarial_loss(Words(), tokens),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=rf"inputs are {dtype}, which have no neighbours nearby"):
            call()
    plain = AdversarialRegularization(multiplier=0.0)
    assert AdversariallyRegularized(Words(), plain).losses(tokens, Y).total.isfinite()


def test_inputs_that_are_no_tensors_are_refused() -> None:
    for x in (X.tolist(), X.numpy(), {"a": X.numpy()}, (X.tolist(),)):
        with pytest.raises(ValueError, match=r"inputs are tensors with examples first, got (list|ndarray)"):
            AdversariallyRegularized(model()).losses(x, Y)  # type: ignore[arg-type] # that is the fault


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_weights_that_are_not_finite_are_refused(bad: float, tmp_path: Path) -> None:
    outputs, weights = torch.rand(4, 3), torch.tensor([[1.0, bad]] * 4)
    calls: list[Callable[[], object]] = [
        lambda: losses(weights=torch.tensor([1.0, bad, 1.0, 1.0])),
        lambda: GraphLoss()(outputs, torch.rand(4, 2, 3), weights),
        lambda: GraphLoss()(outputs, torch.rand(4, 2, 3), bad),
        lambda: distance_loss(outputs, outputs, torch.tensor([bad, 1.0, 1.0, 1.0])),
        lambda: Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([1.0, bad]), 3),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"1 of \d weights are NaN or infinite|4 of 8 weights are NaN or infinite"):
            call()
    path = tmp_path / "graph.tsv"
    path.write_text(f"a\tb\t0.5\nb\tc\t{bad}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"graph.tsv, line 2: the weight of an edge is a finite number, got 'b\\tc\\t"):
        read_graph(path)


def test_ends_of_edges_are_whole_numbers() -> None:
    with pytest.raises(ValueError, match=r"ends of edges are numbers of nodes, int64, got torch.float32"):
        Graph(torch.tensor([0.0, 1.0]), torch.tensor([1, 2]), torch.ones(2), 3)
