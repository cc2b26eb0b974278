"""Interrupts: Ctrl-C ends the command with 130 at any moment, also while modules are being loaded.

Needs Python's own modules only, so that it can be in place before anything else is loaded.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import _exit as _leave
from types import FrameType
from typing import NoReturn

_STOPPED = 130


class _Seen:
    """State of interrupts in this process."""

    interrupted = False
    last_words = ""


def interrupted() -> bool:
    """True if the command was interrupted."""
    return _Seen.interrupted


def install() -> None:
    """Handles interrupts, unless they are ignored (``nohup``) or have another handler already."""
    if threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):
        signal.signal(signal.SIGINT, _stop)


@contextmanager
def taken() -> Iterator[None]:
    """Handles interrupts inside the block; afterwards the former handler is back, and no interrupt is recorded."""
    before = signal.getsignal(signal.SIGINT)
    install()
    try:
        yield
    finally:
        _Seen.interrupted = False
        if signal.getsignal(signal.SIGINT) is not before and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


@contextmanager
def parting(words: str) -> Iterator[None]:
    """Sets the words that are printed if an interrupt ends the process inside the block."""
    _Seen.last_words = words
    try:
        yield
    finally:
        _Seen.last_words = ""


def _stop(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt; ends the process at once where modules are being loaded.

    A module that is left half loaded answers the next import with errors of all kinds, which hide the interrupt.
    Nothing is lost: a run can be resumed after any end.
    """
    _Seen.interrupted = True
    if _loading(frame):
        _end()
    signal.default_int_handler(number, frame)


def _loading(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _end() -> NoReturn:
    words = f"Warning: {_Seen.last_words}\n" if _Seen.last_words else "Stopped.\n"
    with suppress(Exception):  # the interrupt may come in the middle of a line
        sys.stdout.flush()
    os.write(2, words.encode())
    _leave(_STOPPED)
