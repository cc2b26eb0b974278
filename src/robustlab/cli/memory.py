"""Reuse of freed memory: on Linux, to return and allocate big tensors again costs more than some passes do."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = (1 << 31) - 1


def keep_freed_memory() -> None:
    """Makes the C library of this process use freed memory again; does nothing where it is not glibc.

    For a process of our own, such as the command; a library must not decide this for its caller.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, _NEVER)
