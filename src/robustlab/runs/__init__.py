"""Directories of results: atomic files, typed JSON, digests, locks, progress and provenance."""

from robustlab.runs.codec import decode, encode
from robustlab.runs.files import replace_atomically, sha256_of, write_atomically
from robustlab.runs.json_files import json_in, parsed
from robustlab.runs.progress import Progress, Report, progress_bars
from robustlab.runs.provenance import now, versions

__all__ = [
    "Progress", "Report", "decode", "encode", "json_in", "now", "parsed", "progress_bars", "replace_atomically",
    "sha256_of", "versions", "write_atomically",
]  # fmt: skip
