"""What a model is called and how big it is, as ``core.architecture`` keeps it."""

from __future__ import annotations

from robustlab.core.architecture import Architecture, architecture_of, described

__all__ = ["Architecture", "architecture_of", "described"]
