"""Graphs: those of the original library, edges near the threshold, bounds, files, neighbours packed together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from robustlab.core import Batch, DataError
from robustlab.data import InMemory
from robustlab.regularization import (
    CosineDistance,
    Graph,
    GraphLoss,
    GraphRegularization,
    KLDistance,
    build_graph,
    pack_neighbours,
    read_graph,
    write_graph,
)
from robustlab.regularization import build as build_module

HOME = Path(__file__).parent / "original"
BUILT: dict[str, Any] = json.loads((HOME / "build_graph.json").read_text(encoding="utf-8"))
PACKED: dict[str, Any] = json.loads((HOME / "pack_nbrs.json").read_text(encoding="utf-8"))
EXACT = [case for case in BUILT["cases"] if not case["args"].get("lsh_splits")]
HASHED = [case for case in BUILT["cases"] if case["args"].get("lsh_splits")]


def embeddings(count: int = 300, width: int = 16, seed: int = 0) -> Tensor:
    """Points around a dozen centres."""
    draws = torch.Generator().manual_seed(seed)
    centres = torch.randn(12, width, generator=draws)
    return centres[torch.randint(12, (count,), generator=draws)] + 0.5 * torch.randn(count, width, generator=draws)


def edges(graph: Graph) -> dict[tuple[int, int], float]:
    return dict(zip(zip(graph.source.tolist(), graph.target.tolist(), strict=True), graph.weight.tolist(), strict=True))


def cosines(x: Tensor) -> Tensor:
    return F.normalize(x.double(), dim=1) @ F.normalize(x.double(), dim=1).T


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case["id"])
def test_graph_is_that_of_the_original(case: dict[str, Any]) -> None:
    names = tuple(BUILT["ids"])
    graph = build_graph(torch.tensor(BUILT["embeddings"]), case["args"]["similarity_threshold"], names=names)
    ours = {(names[a], names[b]): weight for (a, b), weight in edges(graph).items()}
    theirs = {(a, b): weight for a, b, weight in case["edges"]}
    assert ours.keys() == theirs.keys()
    assert ours == pytest.approx(theirs, abs=2e-6)


@pytest.mark.parametrize("case", HASHED, ids=lambda case: case["id"])
def test_edges_of_the_original_are_in_the_exact_graph(case: dict[str, Any]) -> None:
    names = tuple(BUILT["ids"])
    graph = build_graph(torch.tensor(BUILT["embeddings"]), case["args"]["similarity_threshold"], names=names)
    assert {(a, b) for a, b, _ in case["edges"]} <= {(names[a], names[b]) for a, b in edges(graph)}


def test_blocks_equal_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    x = embeddings()
    whole = edges(build_graph(x, 0.6))
    near = cosines(x)
    near.fill_diagonal_(-2)
    assert whole.keys() == set(map(tuple, (near >= 0.6).nonzero().tolist()))
    monkeypatch.setattr(build_module, "_BLOCK", 7 * len(x))
    assert edges(build_graph(x, 0.6)) == whole


def test_an_edge_at_the_threshold_is_decided_in_double_precision() -> None:
    angle = torch.tensor([0.0, 0.7, 0.7 + 1e-9, 0.7 - 1e-9], dtype=torch.float64)
    x = torch.stack([angle.cos(), angle.sin()], dim=1)
    threshold = float(x[0] @ x[1])
    found = edges(build_graph(x, threshold)).keys()
    assert {(0, 1), (0, 3)} <= found
    assert (0, 2) not in found


def test_top_k_keeps_the_strongest_edges_of_each_node() -> None:
    x = embeddings()
    near = cosines(x)
    near.fill_diagonal_(-2)
    graph = build_graph(x, -1.0, top_k=5)
    for node in range(0, len(x), 17):
        assert set(graph.target[graph.source == node].tolist()) == set(near[node].topk(5).indices.tolist())
    assert len(build_graph(x, 0.9, top_k=5)) < len(graph) == 5 * len(x)


def test_approximate_graph_finds_most_neighbours() -> None:
    pytest.importorskip("faiss")
    x = embeddings(2000)
    exact, found = (edges(build_graph(x, 0.5, top_k=5, method=method)) for method in ("exact", "approximate"))
    assert len(exact.keys() & found.keys()) > 0.9 * len(exact)
    assert max(abs(found[edge] - exact[edge]) for edge in exact.keys() & found.keys()) < 1e-5


def test_too_many_edges_are_refused_with_their_number() -> None:
    x = torch.ones(2000, 3)
    with pytest.raises(ValueError, match=r"about 3,998,000 edges, more than 1,000,000: raise it, keep fewer"):
        build_graph(x, 0.5, most_edges=1_000_000)
    assert len(build_graph(x, 0.5, top_k=3, most_edges=1_000_000)) == 6000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 1.5}, r"a cosine, in \[-1, 1\], got 1.5"),
        ({"top_k": 0}, "top_k is a number of neighbours, at least 1, got 0"),
        ({"method": "hashing"}, "method must be one of exact, approximate, got 'hashing'"),
        ({"embeddings": torch.tensor([[1.0, torch.nan]])}, "finite floats"),
        ({"embeddings": torch.ones(3)}, r"finite floats \(N, D\), got torch.float32 \(3,\)"),
        ({"method": "approximate"}, "needs top_k"),
    ],
)
def test_invalid_graphs_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_graph(**{"embeddings": embeddings(10), **change})


def test_graph_comes_back_from_its_file(tmp_path: Path) -> None:
    graph = build_graph(embeddings(50), 0.5, names=tuple(f"n{i:02}" for i in range(50)))
    write_graph(graph, tmp_path / "graph.tsv")
    assert (tmp_path / "graph.tsv").read_text().splitlines()[0].count("\t") == 2
    again = read_graph(tmp_path / "graph.tsv", graph.names)
    assert edges(again) == pytest.approx(edges(graph), abs=1e-6)


def test_file_of_the_original_is_read_and_invalid_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "graph.tsv"
    path.write_text("b\ta\t0.5\nc\ta\n\n")
    graph = read_graph(path)
    assert graph.names == ("a", "b", "c")
    assert edges(graph) == {(1, 0): 0.5, (2, 0): 1.0}
    assert edges(read_graph(path, ("a", "b"))) == {(1, 0): 0.5}
    path.write_text("b\ta\t0.5\nb a 0.5\n")
    with pytest.raises(DataError, match=r"graph.tsv, line 2: an edge is source, target and weight"):
        read_graph(path)


def pool_of_the_original() -> tuple[InMemory, tuple[str, ...], int]:
    rows = PACKED["labeled"] + PACKED["unlabeled"]
    labels = torch.tensor([row.get("label", 0) for row in rows])
    x = torch.tensor([row["feat"] for row in rows])
    return InMemory("pool", ("0", "1", "2"), x, labels), tuple(row["id"] for row in rows), len(PACKED["labeled"])


@pytest.mark.parametrize("case", PACKED["cases"], ids=lambda case: case["id"])
def test_packed_neighbours_are_those_of_the_original(case: dict[str, Any], tmp_path: Path) -> None:
    pool, names, labelled = pool_of_the_original()
    (tmp_path / "graph.tsv").write_text("".join("\t".join(edge) + "\n" for edge in PACKED["edges"]))
    examples = InMemory("labelled", pool.classes, pool.x[:labelled], pool.y[:labelled])
    if case["args"].get("unlabeled_examples_path") == "":
        pool, names = examples, names[:labelled]
    graph = read_graph(tmp_path / "graph.tsv", names)
    if case["args"].get("add_undirected_edges"):
        graph = graph.undirected()
    most = case["args"]["max_nbrs"] or 20
    packed = pack_neighbours(examples, graph, most, pool=pool)
    theirs = {row["id"][0]: row for row in case["examples"]}
    for number, name in enumerate(names[:labelled]):
        item, row = packed[number], theirs[name]
        count = row["NL_num_nbrs"][0]
        assert int((item.weights != 0).sum()) == count
        assert item.y.item() == row["label"][0]
        for place in range(count):
            assert names[packed.found.nodes[number, place]] == row[f"NL_nbr_{place}_id"][0]
            assert item.weights[place].item() == pytest.approx(row[f"NL_nbr_{place}_weight"][0])
            assert item.neighbours[place].tolist() == pytest.approx(row[f"NL_nbr_{place}_feat"])
        assert torch.equal(item.neighbours[count:], item.x.expand_as(item.neighbours[count:]))


def small() -> tuple[InMemory, Graph]:
    x = embeddings(40, 6)
    data = InMemory("points", ("a", "b", "c"), x, torch.arange(40) % 3)
    return data, build_graph(x, 0.5, top_k=3)


def test_loader_stacks_packed_examples() -> None:
    data, graph = small()
    packed = pack_neighbours(data, graph, 3)
    x, y, neighbours, weights = next(iter(DataLoader(packed, batch_size=8)))
    assert (x.shape, y.shape, neighbours.shape, weights.shape) == ((8, 6), (8,), (8, 3, 6), (8, 3))
    assert torch.equal(packed[-1].x, packed[39].x)
    with pytest.raises(IndexError, match="example 40 does not exist: there are 40"):
        packed[40]


@pytest.mark.parametrize("distance", [None, KLDistance(softmax=True), CosineDistance()], ids=str)
def test_step_of_the_recipe_is_the_sum_of_both_losses(distance: KLDistance | CosineDistance | None) -> None:
    torch.manual_seed(0)
    data, graph = small()
    graph_loss = GraphLoss() if distance is None else GraphLoss(distance)
    recipe = GraphRegularization(data, graph, 3, multiplier=0.5, graph_loss=graph_loss)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    batch = data.batch(torch.tensor([0, 7, 13, 21, 39]))
    metrics = recipe.step(model, batch, {}, lambda loss: loss.backward())
    ours = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    packed = [pack_neighbours(data, graph, 3)[int(i)] for i in batch.ids]
    beside = model(torch.stack([item.neighbours for item in packed]).flatten(0, 1))
    weights = torch.stack([item.weights for item in packed])
    apart = graph_loss(model(batch.x), beside, weights)
    total = F.cross_entropy(model(batch.x), batch.y) + 0.5 * apart
    total.backward()
    assert metrics["graph_loss"] == pytest.approx(apart.item(), rel=1e-5)
    assert metrics["loss"] == pytest.approx(total.item(), rel=1e-5)
    for found, parameter in zip(ours, model.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad)


def test_edges_of_further_examples_count_on_request() -> None:
    torch.manual_seed(0)
    data, graph = small()
    model, batch = nn.Linear(6, 3), data.batch(torch.tensor([0, 7]))
    recipe = GraphRegularization(data, graph, 3, unlabelled=4)
    seen: list[Tensor] = []
    model.register_forward_hook(lambda _module, inputs, _out: seen.append(inputs[0]))
    metrics = recipe.step(model, batch, {}, lambda loss: loss.backward())
    drawn = [int((data.x == row).all(dim=1).nonzero()[0, 0]) for row in seen[1]]
    assert len(drawn) == 8
    packed = [pack_neighbours(data, graph, 3)[i] for i in (0, 7, *drawn)]
    said = model(torch.stack([item.x for item in packed]))
    beside = model(torch.stack([item.neighbours for item in packed]).flatten(0, 1))
    expected = GraphLoss()(said, beside, torch.stack([item.weights for item in packed]))
    assert metrics["graph_loss"] == pytest.approx(expected.item(), rel=1e-5)
    recipe.step(model, batch._replace(seed=1), {}, lambda loss: loss.backward())
    assert not torch.equal(seen[1], seen[-2])
    with pytest.raises(ValueError, match="unlabelled is the number of examples per labelled one, >= 0, got -1"):
        GraphRegularization(data, graph, 3, unlabelled=-1)


def test_multiplier_of_zero_leaves_the_plain_loss_bit_for_bit() -> None:
    data, graph = small()
    model, batch = nn.Linear(6, 3), data.batch(torch.arange(9))
    seen: list[Tensor] = []
    GraphRegularization(data, graph, 2, multiplier=0.0).step(model, batch, {}, seen.append)
    assert len(seen) == 1
    assert torch.equal(seen[0], F.cross_entropy(model(batch.x), batch.y, reduction="none").mean())


def test_neighbours_that_are_not_there_cost_no_pass() -> None:
    data, _ = small()
    lonely = Graph(torch.tensor([0]), torch.tensor([5]), torch.tensor([1.0]), len(data))
    rows: list[int] = []
    model = nn.Linear(6, 3)
    model.register_forward_hook(lambda _module, inputs, _out: rows.append(len(inputs[0])))
    recipe = GraphRegularization(data, lonely, 4)
    recipe.step(model, data.batch(torch.tensor([0, 1, 2])), {}, lambda loss: loss.backward())
    recipe.step(model, data.batch(torch.tensor([1, 2])), {}, lambda loss: loss.backward())
    assert rows == [3, 1, 2]


def test_graph_that_would_regularise_nothing_or_does_not_fit_is_refused() -> None:
    (data, graph), nothing = small(), torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="a graph with 0 neighbours regularises nothing: use one or more"):
        pack_neighbours(data, graph, 0)
    with pytest.raises(ValueError, match="a graph of 7 nodes does not fit a pool of 40 examples"):
        GraphRegularization(data, Graph(nothing, nothing, torch.zeros(0), 7), 2)
    with pytest.raises(ValueError, match="40 examples need as many numbers in the pool of 40, got 3"):
        pack_neighbours(data, graph, 2, nodes=torch.arange(3))
    with pytest.raises(ValueError, match="edges of nodes 3 to 9 among 5"):
        Graph(torch.tensor([3, 9]), torch.tensor([0, 1]), torch.ones(2), 5)


def test_repr_of_the_recipe_names_its_graph() -> None:
    data, graph = small()
    one, other = GraphRegularization(data, graph, 2), GraphRegularization(data, graph.kept(torch.arange(9)), 2)
    assert repr(one) == repr(GraphRegularization(data, graph, 2)) != repr(other)


def test_labels_of_the_pool_are_never_read() -> None:
    data, graph = small()
    other = InMemory("points", data.classes, data.x, (data.y + 1) % 3)
    model, batch = nn.Linear(6, 3), Batch(data.x[:5], data.y[:5], torch.arange(5))
    ours, theirs = (
        GraphRegularization(pool, graph, 2).step(model, batch, {}, lambda loss: loss.backward())
        for pool in (data, other)
    )
    assert ours == theirs
