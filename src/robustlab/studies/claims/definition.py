"""Values as text that is the same in every process, and its hash."""

from __future__ import annotations

import hashlib
import re

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def described(*values: object) -> str:
    """The values as they write themselves, a line each, without addresses in memory."""
    return "\n".join(_ADDRESS.sub("", repr(value)) for value in values)


def fingerprint(*values: object) -> str:
    """A short hash of values."""
    return hashlib.sha256(described(*values).encode()).hexdigest()[:16]
