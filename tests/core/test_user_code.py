"""Calls of the user's code: whatever it raises becomes one sentence of ours, and nothing else does."""

from __future__ import annotations

import asyncio
import re
import warnings

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import DataError, UserCodeError
from robustlab.core.user_code import batch_of, called, model_called, model_output, output_advice, plain, reason


class OwnError(BaseException):
    """An error that no ``except Exception`` sees."""


class Speechless(Exception):
    """An error that fails when it is to be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Raises(nn.Module):
    """A model that fails."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        """Raises."""
        del x
        raise self.error


ERRORS = [
    AssertionError("Input height (8) doesn't match model (224)."),
    TypeError("forward() missing 1 required positional argument: 'mask'"),
    KeyError("logits"),
    ValueError("Exception encountered\n\n\x1b[1mInput 0\x1b[0m is\twrong"),
    StopIteration(),
    RecursionError("maximum recursion depth exceeded"),
    MemoryError(),
    UserWarning("a warning as an error"),
    asyncio.CancelledError(),
    GeneratorExit(),
    SystemExit(0),
    SystemExit(None),
    SystemExit("good bye"),
    OwnError("theirs"),
    Speechless(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_any_error_of_a_model_becomes_one_sentence_from_the_original(error: BaseException) -> None:
    with pytest.raises(UserCodeError) as caught:
        model_output(Raises(error), torch.zeros(2, 1, 8, 8))
    said = str(caught.value)
    assert caught.value.__cause__ is error
    assert said.startswith("the model (Raises) cannot take inputs of shape (2, 1, 8, 8) torch.float32: ")
    assert f"(test_user_code.py:{Raises.forward.__code__.co_firstlineno + 3})" in said
    assert said.isprintable()
    assert isinstance(caught.value, ValueError)
    if isinstance(error, SystemExit):
        assert "it ended the program with exit code" in said
    else:
        assert type(error).__name__ in said


class Unwritten(Speechless):
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("error", [Speechless(), Unwritten()], ids=lambda error: type(error).__name__)
def test_an_error_without_a_message_is_named_by_its_kind(error: Exception) -> None:
    with pytest.raises(UserCodeError, match=rf"float32: {type(error).__name__} \(test_user_code.py") as caught:
        model_output(Raises(error), torch.zeros(2, 1, 8, 8))
    assert caught.value.__cause__ is error


def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        model_output(Raises(KeyboardInterrupt()), torch.zeros(2, 1))
    with pytest.raises(KeyboardInterrupt), model_called():
        Raises(KeyboardInterrupt())(torch.zeros(2, 1))


def test_messages_of_our_own_code_pass_but_not_its_faults() -> None:
    from robustlab.models import adapted

    with pytest.raises(ValueError, match=r"^the model returned a tuple; give field="):
        model_output(adapted(lambda x: (x, x)), torch.zeros(2, 3))
    with pytest.raises(UserCodeError, match=r"'mask'"), called("theirs"):
        _calls(lambda mask: mask)


def _calls(theirs: object) -> None:
    theirs()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Linear, r"the model is the class Linear: give an instance of it, Linear\(\)"),
        ("resnet18", r"the model is a str, .*robustlab.models.load\('resnet18'\)"),
        (None, "the model is a NoneType, expected a torch module or a function"),
        (3, "the model is a int, expected a torch module or a function"),
    ],
)
def test_objects_that_cannot_be_called_are_no_models(model: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        model_output(model, torch.zeros(2, 3))  # type: ignore[arg-type]


def test_the_message_for_a_scikit_learn_model_names_the_adapter() -> None:
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(ValueError, match=r"a LogisticRegression, .*wrap its predict_proba with .*black_box"):
        model_output(LogisticRegression(), torch.zeros(2, 3))


class Broken(torch.autograd.Function):
    """A layer whose backward pass fails."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # noqa: ARG004
        """The values."""
        return x.clone()

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:  # noqa: ARG004
        """Raises."""
        raise KeyError("slope")


def test_errors_name_the_code_that_they_came_through() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    slope = "the gradient of the model failed: "
    for work, said in (
        (lambda: nn.Linear(4, 2)(x), "the model (Linear) failed: RuntimeError: "),
        (lambda: Broken.apply(x).sum().backward(), f"{slope}KeyError"),
        (lambda: torch.zeros(2).sum().backward(), f"{slope}RuntimeError"),
        (_exits, "the user's code failed: it ended the program with exit code 0 (test_user_code.py:"),
    ):
        with pytest.raises(UserCodeError, match=f"^{re.escape(said)}"), model_called():
            _calls(work)


def test_errors_of_a_callback_pass() -> None:
    with pytest.raises(OwnError), model_called():
        _calls(_stops)
    with pytest.raises(KeyError, match="lost"), model_called():
        _calls(lambda: {"kept": 1}["lost"])


def _exits() -> None:
    raise SystemExit(0)


def _stops() -> None:
    raise OwnError


def test_a_data_set_that_fails_or_returns_something_else_is_a_data_error() -> None:
    class Theirs:
        name, classes = "theirs", ("a", "b")

        def __len__(self) -> int:
            return 9

        def batch(self, ids: Tensor) -> object:
            return {"x": ids}[self.key]

        key = "lost"

    ids = torch.tensor([3, 7])
    with pytest.raises(DataError, match=r"theirs, called for examples 3 to 7, failed: KeyError: 'lost' \(test_user_"):
        batch_of(Theirs(), ids)  # type: ignore[arg-type]
    Theirs.key = "x"
    with pytest.raises(DataError, match=r"batch.. of theirs returned a Tensor, expected robustlab.core.Batch"):
        batch_of(Theirs(), ids)  # type: ignore[arg-type]


def test_a_text_is_one_plain_line() -> None:
    assert plain("\x1b[1;31mred\x1b[0m\n\n and\t more\x07 ") == "red and more"
    assert plain("x" * 500, 20) == "x" * 16 + " ..."
    assert reason(ValueError("it ends.")) == "ValueError: it ends"
    assert reason(ValueError()) == "ValueError"


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (torch.tensor([[0.5], [3.0]]), r'adapted\(model, output="logit"\)'),
        (torch.tensor([0.5, -3.0]), r'adapted\(model, output="logit"\)'),
        (torch.tensor([0.5, 0.9]), r'adapted\(model, output="probabilities"\)'),
        (torch.zeros(2, 4, 8, 8), "single-label classifiers only"),
        (torch.zeros(2, 7, 4), "single-label classifiers only"),
        (torch.zeros(2, 3, dtype=torch.int64), "return floats"),
        (torch.zeros(1, 3), "one row of K >= 2 logits for each input"),
        (torch.zeros(2, 3).numpy(), "black_box"),
        ({"logits": 0}, "robustlab.models.adapted"),
    ],
)
def test_each_kind_of_output_has_its_advice(output: object, said: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert re.search(said, output_advice(output, 2))
