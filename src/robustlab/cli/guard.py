"""Guard of the exit code: nothing ends the process with another code than the command's own.

``os._exit`` passes every ``except``; whatever else user code can do in Python comes out of ``main`` as an exception.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from robustlab.cli.codes import Code
from robustlab.cli.show import say


@contextmanager
def verdict_first() -> Iterator[None]:
    """Makes ``os._exit`` end this process with 2 and a sentence inside the block; forked ones are not changed."""
    end, home = os._exit, os.getpid()

    def ended(code: int) -> None:
        if os.getpid() == home:
            say(f"the user's code ended the program, by os._exit({code}), before it had a result", "error")
            code = Code.WRONG
        end(code)

    os._exit = ended  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = end


def keep(code: int) -> int:
    """Makes the process end with this code or another failure, whatever ``atexit`` handlers do; returns the code."""
    end, home = os._exit, os.getpid()

    def ended(other: int) -> None:
        end(code or other if os.getpid() == home else other)

    os._exit = ended  # type: ignore[assignment]
    return code
