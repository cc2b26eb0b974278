"""Images on disk: what PIL reads there is what was judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import APGD, FAB, Uint8
from robustlab.core import L2, Linf, RunError, ThreatModel
from robustlab.evaluation import verify_saved


class Network(nn.Module):
    """Random weights, BatchNorm and dropout, which eval mode has to silence."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.drop, self.last = nn.BatchNorm2d(channels), nn.Dropout(0.5), nn.Linear(channels * 63, 4)
        generator = torch.Generator().manual_seed(channels)
        with torch.no_grad():
            self.last.weight.copy_(torch.randn(self.last.weight.shape, generator=generator))
            self.last.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.drop(self.norm(x)).flatten(1))
        return logits


def images(count: int, *shape: int) -> Tensor:
    return torch.randint(256, (count, *shape), generator=torch.Generator().manual_seed(0)).float() / 255


def by_pillow(path: Path) -> Tensor:
    """An independent reader: (C, H, W) in [0, 1]."""
    from PIL import Image

    with Image.open(path) as image:
        assert image.format == "PNG"
        array = np.asarray(image, dtype=np.float32) / np.float32(255)
    return torch.from_numpy(np.atleast_3d(array).transpose(2, 0, 1).copy())


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("threat", [ThreatModel(Linf(), 6 / 255), ThreatModel(L2(), 0.3)], ids=repr)
def test_8_bit_adversarial_images_fool_after_saving_and_others_often_do_not(
    threat: ThreatModel, channels: int, tmp_path: Path
) -> None:
    model, x = Network(channels).eval(), images(80, channels, 9, 7)
    y, ids = model(x).argmax(1), torch.arange(80) * 3
    fab = FAB(threat, 8)
    for attack in (fab, Uint8(fab)):
        x_adv = attack(model, x, y)
        before = model(x_adv).argmax(1) != y
        saved = verify_saved(model, x_adv, y, tmp_path / "new" / "images", ids=ids)
        assert [path.name for path in saved.paths] == [f"{i}.png" for i in ids.tolist()]
        read = torch.stack([by_pillow(path) for path in saved.paths])
        assert torch.equal(saved.x, read)
        assert torch.equal(saved.fooled, model(read).argmax(1) != y)
        assert before.sum() > 15
        if attack is fab:
            assert saved.fooled.sum() < before.sum()
        else:
            assert torch.equal(read, x_adv)
            assert torch.equal(saved.fooled, before)


def test_without_a_directory_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model, x = Network(1), images(3, 1, 9, 7)
    saved = verify_saved(model, x, torch.tensor([0, 1, 2]))
    assert saved.paths == ()
    assert not list(tmp_path.iterdir())
    assert torch.equal(saved.x, x)


def test_the_model_is_asked_in_eval_mode_and_left_as_it_was() -> None:
    model, x = Network(3).train(), images(5, 3, 9, 7)
    y = torch.tensor([0, 1, 2, 3, 0])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fooled = verify_saved(model, x, y).fooled
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(fooled, model.eval()(x).argmax(1) != y)


def test_with_a_target_only_the_target_counts() -> None:
    model, x = Network(1).eval(), images(40, 1, 9, 7)
    y = model(x).argmax(1)
    target = (y + 1) % 4
    x_adv = Uint8(APGD(ThreatModel(Linf(), 0.05), 8))(model, x, y, target=target)
    saved = verify_saved(model, x_adv, y, target=target)
    assert torch.equal(saved.fooled, model(x_adv).argmax(1) == target)
    assert 0 < saved.fooled.sum() <= verify_saved(model, x_adv, y).fooled.sum()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_grey_images_without_a_channel_and_other_precisions(dtype: torch.dtype) -> None:
    x = images(4, 9, 7).to(dtype)
    saved = verify_saved(lambda x: x.flatten(1)[:, :3], x, torch.zeros(4, dtype=torch.int64))
    assert saved.x.dtype == dtype
    assert torch.equal(saved.x, x)


def test_undefined_answers_count_as_fooled() -> None:
    saved = verify_saved(lambda x: x.flatten(1)[:, :3] * torch.nan, images(2, 1, 9, 7), torch.tensor([0, 0]))
    assert saved.fooled.all()


@pytest.mark.parametrize(
    ("x", "ids", "message"),
    [
        (images(2, 4, 9, 7), None, r"inputs \(2, 4, 9, 7\) are no images"),
        (images(2, 9), None, r"inputs \(2, 9\) are no images"),
        (images(2, 1, 9, 7) * 255, None, r"images must be floating point in \[0, 1\]"),
        (images(2, 1, 9, 7) * torch.nan, None, r"images must be floating point in \[0, 1\]"),
        (images(2, 1, 9, 7), torch.tensor([4, 4]), "a name of its own for each"),
    ],
)
def test_what_cannot_be_saved_is_refused(x: Tensor, ids: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verify_saved(Network(1), x, torch.tensor([0, 1]), ids=ids)


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write images to .*file.*choose another directory"):
        verify_saved(Network(1), images(2, 1, 9, 7), torch.tensor([0, 1]), tmp_path / "file")
