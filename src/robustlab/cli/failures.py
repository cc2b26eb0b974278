"""Errors of commands: one line on standard error for each kind, and the exit code."""

from __future__ import annotations

import errno
import os
import sys
import traceback

from robustlab.cli.codes import Code
from robustlab.cli.former import present
from robustlab.cli.show import say

_LONGEST = 1000


def report(error: BaseException, *, debug: bool) -> int:
    """Prints an error in one line on standard error.

    Args:
        error: as it came out of a command.
        debug: raise it instead, so that its traceback is shown.

    Returns: the exit code.
    Raises: the error itself if it is a fault of robustlab.
    """
    if _closed(error):
        _pacify()
        return Code.CLOSED
    if isinstance(error, SystemExit) and _from_typer(error):
        return error.code if isinstance(error.code, int) else Code.DONE
    sentence = _sentence(error)
    if sentence is None or (debug and not isinstance(error, SystemExit)):
        raise error
    say(sentence, "error")
    return Code.WRONG


def _sentence(error: BaseException) -> str | None:
    """The sentence that is printed; None for a fault of robustlab."""
    usage = getattr(error, "format_message", None)  # of errors of Typer
    if usage is not None:
        where = getattr(getattr(error, "ctx", None), "command_path", "robustlab")
        return _line(f"{(present(error, where) or usage()).rstrip('.')}. See '{where} --help'.")
    from robustlab.core.errors import RobustlabError
    from robustlab.core.user_code import spoken

    if isinstance(error, RobustlabError | ValueError) or (isinstance(error, ImportError) and spoken(error)):
        return _line(str(error) or type(error).__name__)
    return _from_outside(error)


def _from_outside(error: BaseException) -> str | None:
    """The sentence for an error of the user's code or of the machine; None for a fault of robustlab."""
    from robustlab.core.user_code import blamed, reason

    if isinstance(error, SystemExit):
        return "the user's code ended the program before it had a result; make it return or raise instead"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return _line(f"{reason(error)}: take a smaller --batch-size")
    if isinstance(error, OSError) and error.strerror:
        return _line(f"{error.filename or 'the system'}: {error.strerror}")
    code = blamed(error)
    return _line(f"{code} failed: {reason(error)}; run it on its own to find the cause") if code else None


def _line(text: str) -> str:
    from robustlab.core.user_code import plain

    return plain(text, _LONGEST)


def _closed(error: BaseException) -> bool:
    """True if standard output was closed; Typer turns that into an exit."""
    cause = error.__context__ if isinstance(error, SystemExit) else error
    return isinstance(cause, OSError) and cause.errno == errno.EPIPE and cause.filename is None


def _from_typer(error: SystemExit) -> bool:
    """True if Typer itself ended the program, after it printed or installed the completion of a shell."""
    last = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    return str(last.f_globals.get("__name__", "")).partition(".")[0] == "typer"


def _pacify() -> None:
    """Discards the rest of the output, so that Python prints no error at the end."""
    for stream in (sys.stdout, sys.__stdout__):
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]
        except (AttributeError, OSError, ValueError):
            continue
