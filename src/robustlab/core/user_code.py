"""Calls of the user's own code: any error becomes one of ours, raised from the original."""

from __future__ import annotations

import dis
import re
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, TracebackType

import torch
from torch import Tensor, nn

from robustlab.core.errors import DataError, RobustlabError, UserCodeError
from robustlab.core.types import Batch, Examples, Model

_LONGEST = 300
_THEIRS = "the user's code"
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_LIBRARIES = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_OURS = str(Path(__file__).resolve().parents[1])


def plain(text: str, longest: int = _LONGEST) -> str:
    """A text as one line: no colour codes, no line breaks, cut where it gets long."""
    line = " ".join(_COLOURS.sub("", text).split())
    return line if len(line) <= longest else f"{line[: longest - 4].rstrip()} ..."


def reason(error: BaseException) -> str:
    """Kind and message of an error, in one line."""
    if isinstance(error, SystemExit):
        return f"it ended the program with exit code {error.code if error.code is not None else 0}"
    text = plain(_words(error)).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _words(error: BaseException) -> str:
    """Message of an error; empty if its ``str`` raises another."""
    try:
        return str(error)
    except Exception:
        return ""


@contextmanager
def called(
    what: str, given: str = "", *, kind: type[RobustlabError] = UserCodeError, advice: str = ""
) -> Iterator[None]:
    """Turns any error inside the block into one that names the call and the original error.

    An interrupt by the user passes unchanged, and so do errors of our own code (for instance a ``ValueError`` of an
    adapter inside the model).

    Args:
        what: subject of the message: "the model", "the attack", ...
        given: a phrase on its inputs, see ``inputs``; may be empty.
        kind: of the error.
        advice: remedy for the user; empty: to try the call by itself.

    Raises: the error, from the original one.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if spoken(error):
            raise
        raise kind(_sentence(what, given, error, advice)) from error


def inputs(x: Tensor, source: str = "") -> str:
    """A phrase on inputs (N, ...) and the data set that they are from."""
    return f"inputs of shape {tuple(x.shape)} {f'from {source}' if source else x.dtype}"


def spoken(error: BaseException) -> bool:
    """True for errors of our own: one of our kinds, or a ``ValueError`` or missing package raised in our own code."""
    if isinstance(error, RobustlabError):
        return True
    return isinstance(error, ValueError | TypeError | ImportError) and _raised_by_us(error.__traceback__)


def model_output(model: Model, x: Tensor, *, untouched: bool = False) -> object:
    """Output of a model for inputs (N, ...), unchecked.

    The model gets a copy of the inputs, as it may write over them without torch noticing (``x.data``, a NumPy view,
    C code). An output without a graph is copied, as the model may reuse its memory.

    Args:
        model: the model as given by the user.
        x: inputs (N, ...).
        untouched: refuses a model that changes its input in place.

    Raises: UserCodeError if it fails; ValueError if it cannot be called, or changes its input.
    """
    if not callable(model) or isinstance(model, type):
        raise ValueError(no_model(model))
    given = x.clone()
    before = None if given.is_inference() else given._version
    with torch.set_grad_enabled(torch.is_grad_enabled()), called(f"the model ({model_name(model)})", inputs(x)):
        output = model(given)  # one that switches gradients off does so for itself
    if untouched and before is not None and given._version != before:
        raise ValueError("the model changes its input in place: let it work on a copy, x = x - mean say, not x -= mean")
    return output.clone() if isinstance(output, Tensor) and not output.requires_grad else output


def batch_of(examples: Examples, ids: Tensor, *, unchecked: bool = False) -> Batch:
    """Examples (N,) of a data set by their ids.

    Args:
        examples: the data set.
        ids: of the examples (N,).
        unchecked: whether the caller checks the values, so that a data set with a method ``unchecked`` need not.

    Raises: DataError if it fails, or returns no batch.
    """
    wanted = f"called for examples {int(ids.min())} to {int(ids.max())}" if ids.numel() else "called without examples"
    with called(f"the data set {examples.name}, {wanted},", kind=DataError, advice="check its files and its code"):
        batch = getattr(examples, "unchecked", examples.batch)(ids) if unchecked else examples.batch(ids)
    if not isinstance(batch, Batch):
        raise DataError(f"batch() of {examples.name} returned a {type(batch).__name__}, expected robustlab.core.Batch")
    return batch


def model_name(model: object) -> str:
    """The class of a module or other object, the name of a function."""
    return getattr(model, "__name__", "") or type(model).__name__


def no_model(given: object) -> str:
    """Message for an object that is not a model, with the remedy."""
    problem = f"the model is a {type(given).__name__}, expected a torch module or a function from inputs to logits"
    if isinstance(given, type):
        return f"the model is the class {given.__name__}: give an instance of it, {given.__name__}()"
    if isinstance(given, str):
        return f"{problem}: load it by its name first, robustlab.models.load({given!r})"
    for method in ("predict_proba", "predict", "decision_function", "run"):
        if hasattr(given, method):
            return f"{problem}: wrap its {method} with robustlab.models.black_box"
    return problem


def output_advice(output: object, rows: int) -> str:
    """Remedy for an output that is no tensor of floating-point logits (N, K)."""
    if not isinstance(output, Tensor):
        if hasattr(output, "__array__"):
            return "give robustlab.models.black_box the function from numpy arrays to probabilities"
        return "wrap it with robustlab.models.adapted, which finds the logits in it"
    if output.shape in ((rows,), (rows, 1)) and output.is_floating_point():
        probabilities = bool(((output >= 0) & (output <= 1)).all())
        kind, single = ("probabilities", "probability p") if probabilities else ("logit", "logit z")
        return f'make one {single} into two with robustlab.models.adapted(model, output="{kind}")'
    if output.ndim > 2 and len(output) == rows:
        return "single-label classifiers only: one row of logits per input, not one per pixel or part"
    return "return floats, one row of K >= 2 logits for each input"


def user_place(error: BaseException) -> str:
    """The innermost line of the user's own code that an error passed through, as "file.py:12"; empty: none."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if _is_users(frame.f_code):
            found = f"{Path(frame.f_code.co_filename).name}:{line}"
    return found


def blamed(error: BaseException) -> str:
    """Part of the user's code that an error passed through, by its traceback; empty: none."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module, name = frame.f_locals.get("self"), frame.f_code.co_name
        if name == "_call_impl" and isinstance(module, nn.Module):
            return f"the model ({type(module).__name__})"
        if name == "_engine_run_backward":
            return "the gradient of the model"
    return _THEIRS if user_place(error) or isinstance(error, SystemExit) else ""


@contextmanager
def model_called() -> Iterator[None]:
    """Context of work that calls a model in many places: its errors become those of ``called``.

    Errors of other code of the user (a callback that stops a training, for instance) pass, except ``SystemExit``.

    Raises: UserCodeError from what a module or a backward pass raised.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        what = "" if spoken(error) else blamed(error)
        if not what or (what == _THEIRS and not isinstance(error, SystemExit)):
            raise
        raise UserCodeError(_sentence(what, "", error)) from error


def _sentence(what: str, given: str, error: BaseException, advice: str = "") -> str:
    place = user_place(error)
    text = f"{what} {f'cannot take {given}' if given else 'failed'}: {reason(error)}{f' ({place})' if place else ''}"
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return f"{text}; take smaller batches"
    return f"{text}; {advice or 'see whether it works by itself'}"


def _raised_by_us(trace: TracebackType | None) -> bool:
    """True if an error comes from a ``raise`` of ours, not from a failed expression."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not trace.tb_frame.f_code.co_filename.startswith(_OURS):
        return False
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def _is_users(code: CodeType) -> bool:
    """True for code of the user: neither ours nor a library's nor Python's."""
    file = code.co_filename
    return not (file.startswith((_OURS, *_LIBRARIES, "<frozen")) or "-packages" in file)
