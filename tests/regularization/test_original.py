"""The original library, Neural Structured Learning 1.4.0, on fixed inputs: what it gave, and what ours gives.

Not among its cases here: decay_over_time and replicate_embeddings, which PyTorch has (schedules, repeat_interleave);
unpack_neighbor_features, as neighbours come as one tensor; zero neighbours or a zero multiplier in a graph loss, where
there is nothing to compute.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import L1, L2, Batch, Linf, Norm
from robustlab.core.losses import cross_entropy
from robustlab.regularization import (
    AdversariallyRegularized,
    AdversarialRegularization,
    CosineDistance,
    Distance,
    GraphLoss,
    JensenShannonDistance,
    KLDistance,
    L1Distance,
    Limits,
    Losses,
    Neighbourhood,
    SquaredL2Distance,
    VirtualNeighbourhood,
    adversarial_neighbour,
    distance_loss,
    target_labels,
    virtual_adversarial_loss,
)  # fmt: skip
from robustlab.regularization.distance import Reduction
from robustlab.regularization.features import FREE, Inputs, joined, split
from robustlab.regularization.neighbours import TargetMethod

HOME = Path(__file__).parent / "original"


@dataclass(frozen=True, eq=False)
class Case:
    """A call of the original: what went in and what came out."""

    group: str
    id: str
    args: dict[str, Any]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def __repr__(self) -> str:
        return self.id

    def network(self) -> nn.Sequential:
        return network(self.group, self.args["model"])

    def gradients(self) -> list[Tensor]:
        """The gradients of all weights, in their order."""
        return [self.outputs[name] for name in sorted(self.outputs) if name.startswith("grad_w")]


@cache
def _index(group: str) -> dict[str, Any]:
    index: dict[str, Any] = json.loads((HOME / f"{group}.json").read_text(encoding="utf-8"))
    return index


@cache
def _arrays(group: str) -> dict[str, Tensor]:
    with np.load(HOME / f"{group}.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def cases(group: str, prefix: str = "") -> list[Case]:
    arrays = _arrays(group)
    return [
        Case(
            group,
            case["id"],
            case["args"],
            {role: arrays[key] for role, key in case["inputs"].items()},
            {role: arrays[key] for role, key in case["outputs"].items()},
        )
        for case in _index(group)["cases"]
        if case["id"].startswith(prefix)
    ]


def network(group: str, name: str) -> nn.Sequential:
    """A network of the original; images stay (N, H, W, C) at its door."""
    model = _index(group)["models"][name]
    weights = iter(_arrays(group)[key] for key in model["weights"])
    layers: list[nn.Module] = [Apply(lambda x: x.permute(0, 3, 1, 2))] if len(model["spec"]["input_shape"]) == 3 else []
    for spec in model["spec"]["layers"]:
        layers += _layer(spec, weights)
    return nn.Sequential(*layers)


def _layer(spec: dict[str, Any], weights: Any) -> list[nn.Module]:  # noqa: ANN401 -- an iterator
    if spec["type"] == "global_average_pool":
        return [Apply(lambda x: x.mean(dim=(2, 3)))]
    if spec["type"] == "flatten_nhwc":
        return [Apply(lambda x: x.permute(0, 2, 3, 1).flatten(1))]
    if spec["type"] == "max_pool":
        return [nn.MaxPool2d(spec["size"])]
    kernel, bias = next(weights), next(weights)
    layer: nn.Linear | nn.Conv2d
    if spec["type"] == "dense":
        layer, kernel = nn.Linear(*kernel.shape), kernel.T
    else:
        kernel = kernel.permute(3, 2, 0, 1)
        layer = nn.Conv2d(kernel.shape[1], len(kernel), kernel.shape[2:], stride=spec["stride"])
    with torch.no_grad():
        layer.weight.copy_(kernel)
        assert layer.bias is not None
        layer.bias.copy_(bias)
    after = {"relu": nn.ReLU, "tanh": nn.Tanh, "linear": None}[spec["activation"]]
    return [layer] if after is None else [layer, after()]


def as_original(tensors: list[Tensor]) -> list[Tensor]:
    """Weights of ours in the layout of the original."""
    turned = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    return [tensor.permute(*turned[tensor.ndim]) for tensor in tensors]


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def close(ours: Tensor, theirs: Tensor, *, rtol: float = 1e-4, atol: float = 1e-6) -> None:
    """Fails unless the numbers agree."""
    torch.testing.assert_close(ours.detach(), theirs.reshape(ours.shape), rtol=rtol, atol=atol)


NORMS: dict[str, Norm] = {"l2": L2(), "l1": L1(), "infinity": Linf()}
FLOOR = 1e-6  # what is shorter the original divides by this; ours makes it as long as the rest
REDUCTIONS: dict[str, Reduction] = {
    "none": "none",
    "weighted_sum": "sum",
    "weighted_sum_over_batch_size": "mean",
    "weighted_mean": "weighted_mean",
    "weighted_sum_by_nonzero_weights": "mean_nonzero",
}


def distance_of(distance_type: str = "l2", transform_fn: str = "none", sum_over_axis: int | None = None) -> Distance:
    """Ours for a DistanceConfig of the original."""
    softmax, pair = transform_fn == "softmax", sum_over_axis == -1
    made: dict[str, Distance] = {
        "l1": L1Distance(pair, softmax),
        "l2": SquaredL2Distance(pair, softmax),
        "cosine": CosineDistance(softmax),
        "kl_divergence": KLDistance(softmax),
        "jensen_shannon_divergence": JensenShannonDistance(softmax),
    }
    return made[distance_type]


def configured(args: dict[str, Any]) -> Distance:
    return distance_of(**{k: args[k] for k in ("distance_type", "transform_fn", "sum_over_axis") if k in args})


def neighbourhood(args: dict[str, Any]) -> Neighbourhood:
    """Ours for an AdvNeighborConfig of the original."""
    return Neighbourhood(
        NORMS[args.get("adv_grad_norm", "l2")],
        args.get("adv_step_size", 0.001),
        args.get("pgd_iterations", 1),
        args.get("pgd_epsilon"),
    )


def limits_of(case: Case) -> Limits:
    """Ours for its masks and clip values."""

    def value(name: str) -> Any:  # noqa: ANN401 -- as the original has it
        given = case.args.get(name)
        if isinstance(given, dict):
            given = {key: torch.tensor(part) for key, part in given.items()}
            return given.get("feature", given)
        return case.inputs[name] if isinstance(given, str) else given

    return Limits(value("feature_mask"), value("clip_value_min"), value("clip_value_max"))


def squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs - y).square().mean(dim=1)


@pytest.mark.parametrize("case", [c for c in cases("adv_neighbor") if "model" in c.args], ids=repr)
def test_adversarial_neighbours_are_those_of_the_original(case: Case) -> None:
    model, x = case.network(), case.inputs["x"]
    found = adversarial_neighbour(
        lambda at: F.cross_entropy(model(at), case.inputs["labels"].long()),
        x,
        neighbourhood(case.args),
        limits=limits_of(case),
    )
    assert isinstance(found, Tensor)
    close(found, case.outputs["adv_neighbor"])


@pytest.mark.parametrize("case", cases("adv_neighbor", "dict_features"), ids=repr)
def test_neighbours_of_several_tensors_are_those_of_the_original(case: Case) -> None:
    a, b, wa, wb = (case.inputs[name] for name in ("a", "b", "wa", "wb"))
    ids = torch.arange(len(a))

    def loss_of(x: Inputs) -> Tensor:
        assert isinstance(x, dict)
        return (x["a"] @ wa + (x["b"] * wb).sum(dim=(1, 2))[:, None]).tanh().square().sum()

    x = {"a": a, "b": b, "unused": a.clone(), "ids": ids}
    found = adversarial_neighbour(loss_of, x, neighbourhood(case.args), limits=limits_of(case))
    assert isinstance(found, dict)
    for name in ("a", "b", "unused"):
        close(found[name], case.outputs[f"adv_{name}"])
    assert torch.equal(found["ids"], ids)


@pytest.mark.parametrize("case", cases("adv_neighbor", "degenerate"), ids=repr)
def test_neighbours_of_strange_gradients_are_those_of_the_original(case: Case) -> None:
    x, slope = case.inputs["x"], case.inputs["coef"]
    found = adversarial_neighbour(lambda at: (at * slope).sum(), x, neighbourhood(case.args))
    assert isinstance(found, Tensor)
    theirs, tiny = case.outputs["adv_neighbor"], torch.arange(len(x)) == 3
    close(found[~tiny], theirs[~tiny])
    if case.args["adv_grad_norm"] == "l2":  # of a gradient shorter than 1e-6 the original makes a shorter step
        length = (theirs - x)[tiny].norm()
        assert length < 0.01 * case.args["adv_step_size"]
        close((found - x)[tiny], (theirs - x)[tiny] / length * case.args["adv_step_size"], rtol=1e-3, atol=1e-4)
    else:
        close(found, theirs)


def losses_of(case: Case, model: nn.Module) -> tuple[AdversarialRegularization, Losses]:
    args, x, y = case.args, case.inputs["x"], case.inputs["labels"]
    scale = len(x) if "reduction='sum'" in args["loss"] else 1
    squared = args["loss"].startswith("MeanSquared")

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return squared_error(outputs, labels) if squared else scale * cross_entropy(outputs, labels)

    how = AdversarialRegularization(
        neighbourhood(args), args.get("multiplier", 0.2), loss, bn_mode="moving", limits=limits_of(case)
    )
    wrapped = AdversariallyRegularized(model, how)
    return how, wrapped.losses(x, y if squared else y.long(), case.inputs.get("sample_weight"))


@pytest.mark.parametrize("case", [c for c in cases("adv_reg") if "train4" not in c.id], ids=repr)
def test_regularised_losses_and_their_gradients_are_those_of_the_original(case: Case) -> None:
    model = case.network()
    how, losses = losses_of(case, model)
    close(losses.logits, case.outputs["logits"], atol=1e-5)
    close(losses.base, case.outputs["labeled_loss"])
    close(how.multiplier * losses.adversarial, case.outputs["scaled_adversarial_loss"])
    close(losses.total, case.outputs["total_loss"])
    losses.total.backward()
    ours = as_original([p.grad for p in model.parameters() if p.grad is not None])
    for found, theirs in zip(ours, case.gradients(), strict=True):
        close(found, theirs, atol=1e-5)


@pytest.mark.parametrize("case", cases("adv_reg", "train4"), ids=repr)
def test_four_steps_of_the_recipe_end_where_the_original_ends(case: Case) -> None:
    model = case.network()
    recipe = AdversarialRegularization(neighbourhood(case.args), case.args["multiplier"], bn_mode="moving")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step, (x, y) in enumerate(zip(case.inputs["x"], case.inputs["labels"].long(), strict=True)):
        optimizer.zero_grad()
        batch = Batch(x, y, torch.arange(len(x)), seed=step)
        metrics = recipe.step(model, batch, {}, lambda loss: loss.backward())
        optimizer.step()
        total, adversarial, base = case.outputs["losses"][step].tolist()
        assert metrics["loss"] == pytest.approx(total, rel=1e-3)
        assert metrics["base_loss"] == pytest.approx(base, rel=1e-3)
        assert recipe.multiplier * metrics["adversarial_loss"] == pytest.approx(adversarial, rel=1e-3)
    names = [f"w{i}" for i in range(len(list(model.parameters())))]
    for found, name in zip(as_original(list(model.parameters())), names, strict=True):
        close(found, case.outputs[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("case", [c for c in cases("distances") if not c.id.startswith("layer")], ids=repr)
def test_distances_are_those_of_the_original(case: Case) -> None:
    source, target, *rest = case.inputs.values()
    reduction = REDUCTIONS[case.args.get("reduction", "weighted_sum_by_nonzero_weights")]
    divergence = KLDistance() if "kl" in case.id else JensenShannonDistance()
    distance = divergence if case.id.startswith("fn_") else configured(case.args)
    found = distance_loss(source, target, *rest, distance=distance, reduction=reduction)
    theirs = next(iter(case.outputs.values()))
    if reduction == "none" and "axis" in case.id:
        theirs = theirs.sum(dim=-1)  # which the original leaves to the user
    close(found, theirs)


@pytest.mark.parametrize("case", cases("distances", "layer"), ids=repr)
def test_distances_to_several_neighbours_are_those_of_the_original(case: Case) -> None:
    loss = GraphLoss(configured(case.args))
    found = loss(case.inputs["sources"], case.inputs["targets"], case.inputs["weights"])
    close(found, case.outputs["distance"])


@pytest.mark.parametrize(
    "case", [c for c in cases("graph_reg") if c.args.get("max_neighbors") and c.args.get("multiplier", 0.01)], ids=repr
)
def test_graph_losses_and_their_gradients_are_those_of_the_original(case: Case) -> None:
    model, args = case.network(), case.args
    nearest = args["max_neighbors"]
    neighbours, weights = case.inputs["nbr"][:, :nearest], case.inputs["weights"][:, :nearest]
    logits = model(case.inputs["x"])
    close(logits, case.outputs["logits"], atol=1e-5)
    beside = model(neighbours.flatten(0, 1))
    close(beside, case.outputs["nbr_logits"], atol=1e-5)
    loss = GraphLoss(configured(args), REDUCTIONS[args.get("reduction", "weighted_sum_by_nonzero_weights")])
    scaled = args.get("multiplier", 0.01) * loss(logits, beside, weights)
    close(scaled, case.outputs["scaled_graph_loss"])
    total = F.cross_entropy(logits, case.inputs["labels"].long()) + scaled
    close(total, case.outputs["total_loss"])
    total.backward()
    ours = as_original([p.grad for p in model.parameters() if p.grad is not None])
    for found, theirs in zip(ours, case.gradients(), strict=True):
        close(found, theirs, atol=1e-5)


@pytest.mark.parametrize("case", cases("virtual_adv"), ids=repr)
def test_virtual_adversarial_losses_and_their_gradients_are_those_of_the_original(case: Case) -> None:
    model, args = case.network(), case.args
    how = VirtualNeighbourhood(
        NORMS[args["adv_grad_norm"]],
        args["adv_step_size"],
        args["num_approx_steps"],
        args["approx_difference"],
        configured(args["distance"]),
    )
    loss = virtual_adversarial_loss(model, case.inputs["x"], how, start=case.inputs["seed_perturbation"])
    close(loss, case.outputs["loss"], rtol=1e-3, atol=1e-5)
    loss.backward()
    # The bias of the last layer has no gradient where it is left out of a difference.
    ours = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    for found, theirs in zip(as_original(ours), case.gradients(), strict=True):
        close(found, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("case", cases("lib_utils", "target"), ids=repr)
def test_target_labels_are_those_of_the_original(case: Case) -> None:
    method: dict[str, TargetMethod] = {"second": "second", "least": "least", "ground_truth": "true"}
    labels = case.inputs["labels"].long()
    found = target_labels(case.inputs["logits"], labels, method[case.args["target_method"]])
    assert torch.equal(found, case.outputs["out"].long())


@pytest.mark.parametrize("case", cases("lib_utils", "maximize") + cases("lib_utils", "project"), ids=repr)
def test_steps_and_projections_are_those_of_the_original(case: Case) -> None:
    parts = [case.inputs[name] for name in ("t", "s") if name in case.inputs]
    norm, rows = NORMS[case.args["norm_type"]], joined(parts)
    found = norm.steepest(rows) if "radius" not in case.args else norm.project(rows, case.args["radius"])
    theirs = [case.outputs[name] for name in ("out", "out_t", "out_s") if name in case.outputs]
    kept = L2().size(rows) > FLOOR
    for ours, their in zip(split(found, parts), theirs, strict=True):
        close(ours[kept], their[kept])


@pytest.mark.parametrize("case", cases("lib_utils", "normalize"), ids=repr)
def test_unit_lengths_are_those_of_the_original(case: Case) -> None:
    given, theirs, norm = case.inputs["t"], case.outputs["out"], NORMS[case.args["norm_type"]]
    kept, found = norm.size(given) > FLOOR, norm.normalise(given)
    close(found[kept], theirs[kept])
    close(norm.size(found), (norm.size(given) > 0).float())  # below the floor the original's are shorter


@pytest.mark.parametrize("name", ["l2", "l1", "infinity"])
def test_random_starts_are_spread_like_those_of_the_original(name: str) -> None:
    theirs = json.loads((HOME / "random_in_norm_ball_stats.json").read_text(encoding="utf-8"))["stats"][name]
    norm, radius, count = NORMS[name], theirs["radius"], theirs["samples"]
    start = Neighbourhood(norm, radius, random_start=True).started(torch.zeros(count, theirs["dim"]), FREE, 0, None)
    assert isinstance(start, Tensor)
    length = norm.size(start) / radius
    assert length.mean().item() == pytest.approx(theirs["mean_norm_over_radius"], abs=0.003)
    assert length.max() <= 1
    assert start.std().item() == pytest.approx(theirs["coord_std"], rel=0.02)
    for share, theirs_at in zip((0.1, 0.5, 0.9), theirs["quantiles_10_50_90"], strict=True):
        assert length.quantile(share).item() == pytest.approx(theirs_at, abs=0.005)
