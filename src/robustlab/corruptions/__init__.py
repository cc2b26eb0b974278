"""Common corruptions of images: values that map images in [0, 1] to corrupted images without side effects."""

from robustlab.corruptions.corrupt import VARIANTS, Corrupt, Variant, corruption
from robustlab.corruptions.kind import Kind
from robustlab.corruptions.severity import SEVERITY
from robustlab.corruptions.suite import CORRUPTIONS, EXTRA, family, names, register

__all__ = [
    "CORRUPTIONS", "EXTRA", "SEVERITY", "VARIANTS", "Corrupt", "Kind", "Variant", "corruption", "family", "names",
    "register",
]  # fmt: skip
