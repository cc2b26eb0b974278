"""Virtual adversarial training against its formulas, and the draws of unlabelled examples."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import L2, Batch, Metrics, Streams, ThreatModel
from robustlab.data import InMemory
from robustlab.training import VAT, Unlabelled, standard, vat

THREAT = ThreatModel(L2(), 0.7)
DRAW = torch.Generator().manual_seed(4)
BATCH = Batch(
    0.2 + 0.6 * torch.rand(6, 1, 8, 8, generator=DRAW, dtype=torch.float64),
    torch.randint(4, (6,), generator=DRAW),
    torch.arange(30, 36),
    seed=5,
)
X, Y = BATCH.x, BATCH.y
OTHER = InMemory("others", tuple("abcd"), torch.rand(40, 1, 8, 8, generator=DRAW), torch.zeros(40).long())


@pytest.fixture
def net(make_net: Callable[..., nn.Sequential]) -> nn.Sequential:
    model = make_net(dropout=0.0).double()
    for weight in model.parameters():
        weight.data.mul_(2.0)
    model[2], model[6] = nn.Tanh(), nn.Tanh()
    model(X)
    return model


def learned(recipe: VAT, net: nn.Module, batch: Batch = BATCH) -> tuple[Metrics, list[Tensor]]:
    metrics = recipe.step(net, batch, recipe.init(net), lambda loss: loss.backward())
    return metrics, gradients(net)


def gradients(net: nn.Module) -> list[Tensor]:
    found = [weight.grad.clone() for weight in net.parameters() if weight.grad is not None]
    net.zero_grad()
    return found


def divergence(p: Tensor, z: Tensor) -> Tensor:
    terms: Tensor = p * (p.log() - F.log_softmax(z, dim=1))
    return terms.sum(dim=1)


def unit(d: Tensor) -> Tensor:
    length: Tensor = d.flatten(1).norm(dim=1)
    return d / length.reshape(-1, 1, 1, 1)


def moved(net: nn.Module, x: Tensor, ids: Tensor) -> Tensor:
    """x + r by the paper's algorithm with one iteration, in running statistics."""
    net = copy.deepcopy(net).eval()
    p = F.softmax(net(x).detach(), dim=1)
    d = unit(Streams(5, ids).fork(0x7A7).normal((1, 8, 8), dtype=torch.float64))
    leaf = (1e-6 * d).requires_grad_()
    slope: Tensor = torch.autograd.grad(divergence(p, net(x + leaf)).sum(), leaf)[0]
    near = x + 0.7 * unit(slope)
    return near.clamp(0, 1)


def check(got: tuple[Metrics, list[Tensor]], net: nn.Module, loss: Tensor) -> None:
    loss.backward()
    assert got[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(got[1], gradients(net), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("weight", "entropy"), [(0.0, 0.0), (1.0, 0.0), (3.0, 0.5)])
def test_supervised_vat_smooths_around_the_batch(net: nn.Sequential, weight: float, entropy: float) -> None:
    near = moved(net, X, BATCH.ids)
    got = learned(vat(THREAT, weight=weight, entropy=entropy, bn_mode="eval"), net)
    z = net(X)
    p = F.softmax(z, dim=1)
    smooth, disorder = divergence(p.detach(), net(near)).mean(), -(p * p.log()).sum(dim=1).mean()
    assert got[0]["divergence"] == pytest.approx(smooth.item(), rel=1e-4)
    assert smooth.item() > 1e-3
    check(got, net, F.cross_entropy(z, Y) + weight * smooth + entropy * disorder)


@pytest.mark.parametrize("entropy", [0.0, 1.0])
def test_semi_supervised_vat_smooths_around_unlabelled_examples(net: nn.Sequential, entropy: float) -> None:
    unlabelled = Unlabelled(OTHER, ratio=3)
    found = unlabelled.draw(BATCH)
    near = moved(net, found.x, found.ids)
    got = learned(vat(THREAT, unlabelled=unlabelled, entropy=entropy, bn_mode="eval"), net)
    z = net(found.x)
    p = F.softmax(z, dim=1)
    disorder = -(p * p.log()).sum(dim=1).mean()
    loss = F.cross_entropy(net(X), Y) + divergence(p.detach(), net(near)).mean() + entropy * disorder
    check(got, net, loss)


@pytest.mark.parametrize("unlabelled", [None, Unlabelled(OTHER)], ids=["supervised", "semi"])
def test_only_the_labelled_pass_moves_running_statistics(net: nn.Sequential, unlabelled: Unlabelled | None) -> None:
    plain = copy.deepcopy(net)
    learned(vat(THREAT, unlabelled=unlabelled), net)
    standard().step(plain, BATCH, {}, lambda loss: loss.backward())
    for name, value in net.named_buffers():
        assert torch.equal(value, plain.get_buffer(name))


def test_without_weight_it_is_standard_training(net: nn.Sequential) -> None:
    got = learned(vat(THREAT, weight=0.0, unlabelled=Unlabelled(OTHER)), net)[1]
    standard().step(net, BATCH, {}, lambda loss: loss.backward())
    for one, other in zip(got, gradients(net), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


def test_labels_of_unlabelled_examples_are_not_looked_at(net: nn.Sequential) -> None:
    relabelled = InMemory("others", tuple("abcd"), OTHER.x, (OTHER.y + 3) % 4)
    one, other = (learned(vat(THREAT, unlabelled=Unlabelled(data)), net) for data in (OTHER, relabelled))
    assert one[0] == other[0]


def test_unlabelled_examples_follow_the_labelled_ones_and_the_step() -> None:
    unlabelled = Unlabelled(OTHER, ratio=2)
    whole = unlabelled.draw(BATCH)
    assert torch.equal(whole.x.float(), OTHER.x[whole.ids])
    assert whole.x.dtype == torch.float64
    part = unlabelled.draw(Batch(X[2:], Y[2:], BATCH.ids[2:], BATCH.seed))
    assert torch.equal(part.ids, whole.ids[4:])
    assert not torch.equal(unlabelled.draw(BATCH._replace(seed=6)).ids, whole.ids)
    drawn = torch.cat([unlabelled.draw(BATCH._replace(seed=seed)).ids for seed in range(40)])
    assert set(drawn.tolist()) == set(range(40))


def test_what_cannot_be_is_refused(net: nn.Sequential) -> None:
    with pytest.raises(ValueError, match=r"ratio is the number of unlabelled examples .* got 0"):
        Unlabelled(OTHER, ratio=0)
    small = InMemory("small", ("a",), torch.rand(3, 1, 4, 4), torch.zeros(3).long())
    with pytest.raises(ValueError, match=r"small has inputs \(1, 4, 4\), labelled ones are \(1, 8, 8\): bring them"):
        learned(vat(THREAT, unlabelled=Unlabelled(small)), net)
    with pytest.raises(ValueError, match=r"entropy is the weight of a loss, a finite number >= 0, got -1\.0"):
        vat(THREAT, entropy=-1.0)


class Empty:
    """A data set without examples."""

    name, classes = "nothing", ("a",)

    def __len__(self) -> int:
        return 0

    def batch(self, ids: Tensor) -> Batch:
        raise AssertionError(ids)


def test_an_empty_unlabelled_set_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing has no examples: training without unlabelled ones is plain vat"):
        Unlabelled(Empty())


def test_the_unlabelled_set_is_part_of_what_the_recipe_is() -> None:
    changed = InMemory("others", tuple("abcd"), OTHER.x + 0.01, OTHER.y)
    one, other = (repr(vat(THREAT, unlabelled=Unlabelled(data))) for data in (OTHER, changed))
    assert "Unlabelled(others, 40 examples, " in one
    assert one != other
    assert "tensor" not in one
