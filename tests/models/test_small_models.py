"""The two small networks, normalisation, and what adapts other classifiers."""

from __future__ import annotations

import re
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.models import BatchNormCNN, Normalise, ShallowCNN, adapted, black_box, normalised

X = torch.rand(4, 1, 28, 28)


def test_the_shallow_cnn_is_the_workshops() -> None:
    model = ShallowCNN()
    kinds = [type(part).__name__ for part in (*model.features, *model.head)]
    convolution = ["Conv2d", "ReLU", "MaxPool2d"]
    assert kinds == [*convolution, *convolution, "Flatten", "Linear", "ReLU", "Linear"]
    assert sum(weight.numel() for weight in model.parameters()) == 84_552
    shapes = [tuple(weight.shape) for weight in model.parameters() if weight.ndim > 1]
    assert shapes == [(32, 1, 3, 3), (62, 32, 3, 3), (256, 248), (10, 256)]
    assert model(X).shape == (4, 10)


def test_the_batchnorm_cnn_has_the_documented_size() -> None:
    model = BatchNormCNN()
    assert sum(weight.numel() for weight in model.parameters()) == 468_010
    assert sum(isinstance(part, nn.BatchNorm2d) for part in model.modules()) == 4
    assert model(X).shape == (4, 10)


@pytest.mark.parametrize("size", [11, 28, 33, 64])
@pytest.mark.parametrize("make", [ShallowCNN, BatchNormCNN])
def test_other_images_and_classes_fit(make: type[ShallowCNN] | type[BatchNormCNN], size: int) -> None:
    assert make(classes=3, channels=2, size=size)(torch.rand(2, 2, size, size)).shape == (2, 3)


def test_images_too_small_for_the_poolings_are_refused() -> None:
    with pytest.raises(ValueError, match="10x10 are too small for the shallow CNN: it needs 11x11"):
        ShallowCNN(size=10)


def test_normalisation_comes_first_and_the_model_is_shared() -> None:
    model = nn.Flatten()
    whole = normalised(model, (0.5, 0.25), (0.5, 2.0))
    x = torch.rand(2, 2, 1, 1)
    expected = torch.stack([(x[:, 0] - 0.5) / 0.5, (x[:, 1] - 0.25) / 2.0], dim=1).flatten(1)
    torch.testing.assert_close(whole(x), expected)
    assert whole.model is model


def test_normalising_keeps_the_modes() -> None:
    model = ShallowCNN().eval()
    model.features.train()
    whole = normalised(model, (0.5,), (0.5,))
    assert (whole.training, model.training, model.features.training) == (False, False, True)


def test_normalising_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="normalises its inputs already"):
        normalised(normalised(ShallowCNN(), (0.5,), (0.5,)), (0.5,), (0.5,))


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (0.5, 0.5)), ((0.5,), (0.0,))])
def test_mean_and_std_must_go_together(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="one of each per channel, every std > 0"):
        Normalise(mean, std)


@dataclass
class Answer:
    """As Hugging Face models answer."""

    loss: None
    logits: Tensor


Pair = namedtuple("Pair", ["scores", "features"])
LOGITS = torch.tensor([[1.0, -2.0, 0.5]])


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        (LOGITS, None),
        (Answer(None, LOGITS), None),
        ({"logits": LOGITS, "hidden": torch.zeros(1)}, None),
        ({"output": LOGITS, "loss": None}, None),
        ((LOGITS,), None),
        ((torch.zeros(1), LOGITS), 1),
        (Pair(LOGITS, torch.zeros(1)), "scores"),
        (Answer(None, LOGITS), "logits"),
        ({"a": torch.zeros(1), "b": LOGITS}, "b"),
    ],
)
def test_the_logits_are_found_in_the_output_of_a_model(answer: object, field: str | int | None) -> None:
    assert torch.equal(adapted(lambda _: answer, field=field)(X), LOGITS)


@pytest.mark.parametrize(
    ("answer", "field", "message"),
    [
        ((LOGITS, LOGITS), None, "the model returned a tuple; give field= one of 0 (Tensor), 1 (Tensor)"),
        ({"a": LOGITS}, "b", "the model returned a dict; field='b' is no tensor in it: one of 'a' (Tensor)"),
        (3.0, None, "the model returned a float; give field= one of nothing inside"),
    ],
)
def test_missing_logits_are_an_error(answer: object, field: str | int | None, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        adapted(lambda _: answer, field=field)(X)


def test_probabilities_become_logits_with_the_same_softmax_and_gradients() -> None:
    model = adapted(lambda x: x.softmax(dim=1), output="probabilities")
    x = LOGITS.clone().requires_grad_()
    logits = model(x)
    torch.testing.assert_close(logits, LOGITS.log_softmax(dim=1))
    (found,) = torch.autograd.grad(logits[0, 0], x)
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0, 0.0]]) - LOGITS.softmax(dim=1))
    assert adapted(lambda x: x, output="probabilities")(torch.tensor([[1.0, 0.0]])).isfinite().all()
    with pytest.raises(ValueError, match="output must be one of logits, probabilities, logit, got 'probs'"):
        adapted(lambda x: x, output="probs")  # type: ignore[arg-type]


def test_an_adapted_module_is_still_reached_by_eval() -> None:
    dropout = nn.Dropout()
    assert not adapted(dropout).eval().model.training  # type: ignore[union-attr]
    assert not dropout.training


def test_a_numpy_function_answers_but_has_no_gradients() -> None:
    seen = []

    def predict(
        x: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        seen.append((x.dtype, x.shape))
        return np.stack([1 - x.mean((1, 2, 3)), x.mean((1, 2, 3))], axis=1).astype(np.float64)

    model = black_box(predict)
    x = X.clone().requires_grad_()
    logits = model(x)
    torch.testing.assert_close(logits.exp()[:, 1], X.mean((1, 2, 3)))
    assert seen == [(np.dtype("float32"), (4, 1, 28, 28))]
    with pytest.raises(ValueError, match="black box without gradients: use RandomNoise"):
        torch.autograd.grad(logits.sum(), x)
    with pytest.raises(ValueError, match=re.escape("predict returned shape (4,) for 4 inputs, expected (N, K)")):
        black_box(lambda x: np.zeros(len(x)))(X)
