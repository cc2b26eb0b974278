"""AdvProp: routes through BatchNorm, attacks, losses and cost."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from tests.training.places import place_of
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.attacks import PGD
from robustlab.core import L2, Batch, Linf, Model, Streams, ThreatModel, Twin, search_twin, taking
from robustlab.core.routes import routed_parts
from robustlab.data import InMemory
from robustlab.models import BatchNormCNN, ShallowCNN, load, merged, split_bn
from robustlab.training import AdvProp, Crafting, Settings, advprop, fit, standard
from robustlab.training import training_twin as follower
from robustlab.training.recipes.advprop import wrong_classes

THREAT = ThreatModel(Linf(), 0.1)
DRAW = torch.Generator().manual_seed(8)
BATCH = Batch(torch.rand(8, 1, 8, 8, generator=DRAW), torch.randint(4, (8,), generator=DRAW), torch.arange(40, 48), 21)
MakeNet = Callable[..., nn.Sequential]
Seen = list[tuple[int, bool, Tensor]]


@contextmanager
def _spied(model: nn.Module) -> Iterator[Seen]:
    """Route, mode and input of every pass through a model; there is no search twin of a model with hooks."""
    seen: Seen = []
    parts = routed_parts(model)

    def look(_: nn.Module, args: tuple[Any, ...]) -> None:
        seen.append((parts[0].route if parts else 0, parts[0].taken.training if parts else False, args[0].detach()))

    hook = model.register_forward_pre_hook(look)
    try:
        yield seen
    finally:
        hook.remove()


def _step(model: nn.Module, recipe: AdvProp, batch: Batch = BATCH) -> dict[str, float]:
    model.train()
    return recipe.step(model, batch, recipe.init(model), lambda loss: loss.backward())


def _norm(model: nn.Module, route: int) -> nn.BatchNorm2d:
    """The first BatchNorm of a route."""
    part = routed_parts(model)[0]
    return cast("nn.BatchNorm2d", part.main if route == 0 else part.aux[route - 1])


def _rows(x: Tensor) -> set[bytes]:
    return {row.contiguous().numpy().tobytes() for row in x.contiguous()}


def test_main_norms_never_see_an_adversarial_example_and_auxiliary_ones_never_a_clean_one(
    make_net: MakeNet, squares: InMemory
) -> None:
    model = split_bn(make_net(), routes=3)
    recipe = advprop([ThreatModel(Linf(), 0.02), THREAT], steps=2)
    clean = _rows(squares.batch(torch.arange(50)).x)
    with _spied(model) as seen:
        fit(model, recipe, squares, Settings(epochs=2, batch_size=16, device="cpu"))
    trained: dict[int, list[Tensor]] = {0: [], 1: [], 2: []}
    for route, training, x in seen:
        if training:
            trained[route].append(x)
        elif len(x) > 2:  # an attack, which leaves statistics alone; the loop looks at two examples first
            assert route in (1, 2)
    steps = 2 * 4
    for route, inputs in trained.items():
        assert len(inputs) == steps
        assert int(cast(Tensor, _norm(model, route).num_batches_tracked)) == steps
    assert _rows(torch.cat(trained[0])) == clean
    for route in (1, 2):
        assert not _rows(torch.cat(trained[route])) & clean


def test_statistics_are_those_of_the_inputs_of_each_route(make_net: MakeNet) -> None:
    model = split_bn(make_net(dropout=0.0))
    batches = [BATCH, BATCH._replace(x=BATCH.x.flip(0) / 2, seed=22)]
    with _spied(model) as seen:
        for batch in batches:
            _step(model, advprop(THREAT, steps=2), batch)  # no update: the weights stay
    first = cast("nn.Conv2d", cast("nn.Sequential", model)[0])
    passed = {route: [x for r, training, x in seen if training and r == route] for route in (0, 1)}
    assert all(torch.equal(x, batch.x) for x, batch in zip(passed[0], batches, strict=True))
    assert all(0 < float((x - batch.x).abs().amax()) <= 0.1 + 1e-6 for x, batch in zip(passed[1], batches, strict=True))
    for route in (0, 1):
        mean, var = torch.zeros(6), torch.ones(6)
        for x in passed[route]:
            out = first(x).detach().transpose(0, 1).flatten(1)
            mean, var = 0.9 * mean + 0.1 * out.mean(dim=1), 0.9 * var + 0.1 * out.var(dim=1)
        assert torch.allclose(cast(Tensor, _norm(model, route).running_mean), mean, atol=1e-6)
        assert torch.allclose(cast(Tensor, _norm(model, route).running_var), var, atol=1e-6)
    assert not torch.allclose(cast(Tensor, _norm(model, 0).running_mean), cast(Tensor, _norm(model, 1).running_mean))


@dataclass(frozen=True)
class Listening:
    """An attack that records its targets and the route, and returns moved inputs."""

    threat: ThreatModel = THREAT
    heard: list[tuple[Tensor | None, Tensor]] = field(default_factory=list, compare=False)

    def __call__(self, model: Model, x: Tensor, y: Tensor, *, target: Tensor | None = None, **more: object) -> Tensor:
        assert more["stop"] == "never"
        assert torch.equal(y, BATCH.y)
        self.heard.append((target, model(x).detach()))
        return (x + 0.05).clamp(0, 1)


def test_the_attacker_sees_the_auxiliary_route_with_its_running_statistics_and_a_wrong_class(make_net: MakeNet) -> None:
    model, attack = split_bn(make_net()), Listening()
    with taking(model, 1), torch.no_grad():
        model(BATCH.x + 2.0)
    recipe = AdvProp((Crafting(attack),))
    for seed in range(30):
        apart = copy.deepcopy(model).eval()
        _step(model, recipe, BATCH._replace(seed=seed))
        target, logits = attack.heard[-1]
        assert target is not None
        assert not (target == BATCH.y).any()
        with taking(apart, 1):
            assert torch.allclose(logits, apart(BATCH.x), atol=1e-5)
        assert not torch.allclose(logits, apart(BATCH.x), atol=1e-3)
    targets = torch.stack([cast(Tensor, target) for target, _ in attack.heard])
    assert all(
        set(column.tolist()) == {0, 1, 2, 3} - {label}
        for column, label in zip(targets.T, BATCH.y.tolist(), strict=True)
    )
    _step(model, AdvProp((Crafting(attack),), targeted=False))
    assert attack.heard[-1][0] is None


def test_wrong_classes_are_all_others_equally_often() -> None:
    y = torch.arange(5).repeat(4000)
    found = wrong_classes(y, 5, Streams(3, torch.arange(20_000)))
    counts = torch.stack([found[y == label].bincount(minlength=5) for label in range(5)])
    assert counts.diagonal().tolist() == [0] * 5
    others = counts[~torch.eye(5, dtype=torch.bool)]
    assert float((others - 1000).abs().max()) < 150  # five standard deviations
    assert wrong_classes(torch.tensor([0, 1]), 2, Streams(0, torch.arange(2))).tolist() == [1, 0]


def test_the_weights_get_the_gradient_of_both_losses(make_net: MakeNet) -> None:
    model = split_bn(make_net(dropout=0.0).double())
    batch = BATCH._replace(x=BATCH.x.double())
    apart, recipe = copy.deepcopy(model), advprop(THREAT, steps=2, weight=0.7, smoothing=0.1)
    with _spied(model) as seen:
        found = _step(model, recipe, batch)
    x_adv = next(x for route, training, x in seen if route == 1 and training)
    apart.train()
    clean = F.cross_entropy(apart(batch.x), batch.y, label_smoothing=0.1)
    with taking(apart, 1):
        hard = F.cross_entropy(apart(x_adv), batch.y, label_smoothing=0.1)
    (clean + 0.7 * hard).backward()
    for weight, expected in zip(model.parameters(), apart.parameters(), strict=True):
        assert torch.allclose(cast(Tensor, weight.grad), cast(Tensor, expected.grad), atol=1e-12)
    assert found["loss"] == pytest.approx((clean + 0.7 * hard).item(), rel=1e-5)
    assert found["adversarial_loss"] == pytest.approx(hard.item(), rel=1e-5)


def test_steps_are_those_of_the_paper() -> None:
    expected = {1: (1, 1.0), 2: (3, 1.0), 3: (4, 1.0), 4: (5, 1.0), 8: (9, 1.0)}
    for eps, (steps, size) in expected.items():
        attack = cast(PGD, advprop(ThreatModel(Linf(), eps / 255)).craftings[0].attack)
        assert (attack.steps, attack.random_start) == (steps, True)
        assert attack.step_size == pytest.approx(size / 255)
    one = cast(PGD, advprop(ThreatModel(Linf(), 4 / 255), steps=1).craftings[0].attack)
    assert one.step_size == pytest.approx(4 / 255)
    wide = cast(PGD, advprop(ThreatModel(Linf(), 4.0, (0.0, 255.0))).craftings[0].attack)
    assert (wide.steps, wide.step_size) == (5, 1.0)


def test_without_weight_it_is_standard_training_of_the_main_route(make_net: MakeNet, squares: InMemory) -> None:
    settings = Settings(epochs=2, batch_size=16, device="cpu")
    plain, split = make_net(), split_bn(make_net())
    fit(plain, standard(), squares, settings)
    fit(split, advprop(THREAT, weight=0.0), squares, settings)
    for name, value in merged(split).state_dict().items():
        assert torch.equal(value, plain.state_dict()[name]), name
    fit(split, advprop(THREAT, steps=1), squares, settings)
    assert not torch.equal(merged(split).state_dict()["0.weight"], plain.state_dict()["0.weight"])


def test_with_shared_norms_everything_goes_the_main_way(make_net: MakeNet) -> None:
    model = make_net()
    recipe = advprop(THREAT, steps=1, shared=True)
    _step(model, recipe)
    assert int(cast(Tensor, cast("nn.BatchNorm2d", model[1]).num_batches_tracked)) == 2
    split = split_bn(make_net())
    _step(split, recipe)
    assert [int(cast(Tensor, _norm(split, route).num_batches_tracked)) for route in (0, 1)] == [2, 0]


def test_each_kind_of_adversarial_example_has_its_own_route_and_budget(make_net: MakeNet) -> None:
    model, budgets = split_bn(make_net(), routes=3), (0.01, 0.1)
    with _spied(model) as seen:
        found = _step(model, advprop([ThreatModel(Linf(), eps) for eps in budgets], steps=1))
    passed = {route: x for route, training, x in seen if training}
    for route, eps in enumerate(budgets, start=1):
        assert eps / 2 < float((passed[route] - BATCH.x).abs().amax()) <= eps + 1e-6
    assert {"adversarial_accuracy", "adversarial_2_accuracy", "accuracy", "loss"} <= found.keys()


def test_a_search_twin_is_built_once_per_route(make_net: MakeNet, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def counted(model: Model, x: Tensor) -> Twin:
        built.append(1)
        return search_twin(model, x)

    monkeypatch.setattr(follower, "search_twin", counted)
    model = split_bn(make_net(), routes=3)
    recipe = advprop([ThreatModel(Linf(), 0.01), THREAT], steps=1)
    recipe.init(model)
    model.train()
    for _ in range(4):
        recipe.step(model, BATCH, {}, lambda loss: loss.backward())
    assert len(built) == 2


def test_attacks_from_outside_see_the_main_route(make_net: MakeNet) -> None:
    split = split_bn(make_net())
    _step(split, advprop(THREAT, steps=1))
    split.eval()
    attack = PGD(THREAT, 3)
    assert torch.equal(attack(split, BATCH.x, BATCH.y), attack(merged(split), BATCH.x, BATCH.y))


def test_a_resumed_run_ends_as_one_that_was_not_stopped_and_its_checkpoint_has_all_norms(
    squares: InMemory, tmp_path: Path
) -> None:
    recipe, settings = advprop(THREAT, steps=2), {"batch_size": 16, "device": "cpu"}

    def made() -> nn.Module:
        return split_bn(load("batchnorm-cnn", classes=4, channels=1, size=8))

    whole, halves, rest = made(), made(), made()
    fit(whole, recipe, squares, Settings(epochs=2, **cast("dict[str, Any]", settings)))

    def killed(progress: Any) -> None:  # noqa: ANN401
        if place_of(progress)[0] == 2:
            raise KeyboardInterrupt

    again = Settings(epochs=2, resume=True, **cast("dict[str, Any]", settings))
    with pytest.raises(KeyboardInterrupt):
        fit(halves, recipe, squares, again, out=tmp_path, progress=killed)
    kept = load(checkpoint=tmp_path / "epoch-0001" / "model.safetensors")
    assert {part.routes for part in routed_parts(kept)} == {2}
    fit(rest, recipe, squares, again, out=tmp_path)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, rest.state_dict()[name]), name


def test_what_it_cannot_do_it_says(make_net: MakeNet) -> None:
    recipe = advprop(THREAT)
    with pytest.raises(ValueError, match="ShallowCNN holds no BatchNorm, so it has no auxiliary ones"):
        recipe.init(ShallowCNN())
    with pytest.raises(ValueError, match=r"needs 2 routes.*BatchNormCNN has 1.*split_bn\(model, routes=2\)"):
        recipe.init(BatchNormCNN())
    with pytest.raises(ValueError, match="needs 3 routes"):
        advprop([THREAT, THREAT]).init(split_bn(make_net()))
    with pytest.raises(ValueError, match="needs at least one threat model"):
        advprop([])
    with pytest.raises(ValueError, match="counts steps in 1/255 of the range of a Linf ball: give steps"):
        advprop(ThreatModel(L2(), 1.0))
    with pytest.raises(ValueError, match="give step_size"):
        advprop(ThreatModel(L2(), 1.0), steps=3)
    with pytest.raises(ValueError, match="weight"):
        advprop(THREAT, weight=-1.0)
    with pytest.raises(ValueError, match="one eps"):
        advprop(ThreatModel(Linf(), (0.1, 0.2)))
