"""AugMix and its consistency loss."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import Batch
from robustlab.data import InMemory
from robustlab.training import Augmented, AugMix, Settings, augmented, augmix, fit, standard
from robustlab.training.recipes.augmix import jensen_shannon

MakeNet = Callable[..., nn.Sequential]


@pytest.fixture
def batch(squares: InMemory) -> Batch:
    found = squares.batch(torch.arange(10, 22))
    return found._replace(x=found.x.double(), seed=7)


def shifted(image: Tensor) -> Tensor:
    """Brightens an image by a random amount."""
    return image.int().add(torch.randint(60, ())).clamp(0, 255).to(torch.uint8)


class Recorder(nn.Module):
    """A network that records its inputs."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.given = net, list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        self.given.append(x.detach().clone())
        logits: Tensor = self.net(x)
        return logits


def gradients(model: nn.Module) -> list[Tensor]:
    found = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()
    return found


@pytest.mark.parametrize(("weight", "views"), [(12.0, 2), (0.0, 2), (3.0, 1)])
def test_the_loss_is_cross_entropy_on_images_and_divergence_of_their_views(
    make_net: MakeNet, batch: Batch, weight: float, views: int
) -> None:
    model = Recorder(make_net(dropout=0.0).double())
    recipe = augmix(weight=weight, views=views, change=shifted)
    metrics = recipe.step(model, batch, recipe.init(model), lambda loss: loss.backward())
    got = gradients(model)
    (given,) = model.given
    clean, *made = given.split(len(batch.x))
    assert torch.equal(clean, batch.x)
    assert len(made) == views
    probs = F.softmax(make_net(dropout=0.0).double()(given).detach(), dim=1).reshape(1 + views, len(batch.x), 4)
    total = (probs * (probs / probs.mean(dim=0)).log()).sum(dim=2).mean()
    twin = Recorder(make_net(dropout=0.0).double())
    parts = twin(given).split(len(batch.x))
    mixture = torch.stack([F.softmax(z, dim=1) for z in parts]).mean(dim=0).clamp(1e-7, 1).log()
    loss = F.cross_entropy(parts[0], batch.y)
    for z in parts:
        loss = loss + weight * F.kl_div(mixture, F.softmax(z, dim=1), reduction="batchmean") / (1 + views)
    loss.backward()
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert metrics["divergence"] == pytest.approx(total.item(), rel=1e-6)
    assert metrics["divergence"] > 1e-6
    assert metrics["accuracy"] == pytest.approx((parts[0].argmax(1) == batch.y).double().mean().item())
    torch.testing.assert_close(got, gradients(twin), rtol=1e-8, atol=1e-11)


def test_views_differ_and_follow_image_and_step_alone(make_net: MakeNet, batch: Batch) -> None:
    def views(some: Batch) -> tuple[Tensor, ...]:
        model = Recorder(make_net(dropout=0.0).double())
        augmix().step(model, some, {}, lambda loss: loss.backward())
        clean, *made = model.given[0].split(len(some.x))
        return clean, *made

    whole, rows = views(batch), torch.tensor([7, 2])
    assert not any(torch.equal(whole[a], whole[b]) for a, b in ((0, 1), (1, 2), (2, 0)))
    part = views(Batch(batch.x[rows], batch.y[rows], batch.ids[rows], batch.seed))
    assert all(torch.equal(a, b[rows]) for a, b in zip(part, whole, strict=True))
    other = views(batch._replace(seed=8))
    assert not any(torch.equal(a, b) for a, b in zip(other[1:], whole[1:], strict=True))


def test_views_that_are_the_image_itself_leave_plain_training(squares: InMemory, make_net: MakeNet) -> None:
    plain, consistent = (make_net(dropout=0.0).eval() for _ in range(2))
    batch = squares.batch(torch.arange(20))
    standard().step(plain, batch, {}, lambda loss: loss.backward())
    metrics = augmix(change=lambda image: image).step(consistent, batch, {}, lambda loss: loss.backward())
    assert metrics["divergence"] == pytest.approx(0.0, abs=1e-7)
    torch.testing.assert_close(gradients(consistent), gradients(plain), rtol=1e-4, atol=1e-6)


def test_the_divergence_of_predictions_is_that_from_their_mean() -> None:
    sure = torch.tensor([[200.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    found = jensen_shannon(sure, sure.flip(1))
    torch.testing.assert_close(found, torch.tensor([2.0, 1.0]).double().log())
    assert jensen_shannon(sure.half() / 4, sure.half() / 4).abs().max() < 1e-6


def test_views_agree_after_training(squares: InMemory, make_net: MakeNet) -> None:
    settings = Settings(12, batch_size=25)
    plain = fit(make_net(dropout=0.0), augmix(weight=0.0, change=shifted), squares, settings)
    history = fit(make_net(dropout=0.0), augmix(change=shifted), squares, settings)
    assert history["divergence"][-1] < 0.5 * plain["divergence"][-1]
    assert history["accuracy"][-1] > 0.9


def test_what_augmix_can_be(batch: Batch, make_net: MakeNet) -> None:
    assert augmix().change == AugMix()
    assert isinstance(augmented(augmix(), shifted), Augmented)
    with pytest.raises(ValueError, match=r"weight is the weight of a loss, a finite number >= 0, got -1\.0"):
        augmix(weight=-1.0)
    with pytest.raises(ValueError, match="views is the number of changed images for each, at least 1, got 0"):
        augmix(views=0)
    with pytest.raises(ValueError, match="only images"):
        augmix().step(make_net(), batch._replace(x=batch.x.flatten(1)), {}, lambda loss: loss.backward())
