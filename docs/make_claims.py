"""Writes docs/guide/claims.md: what is claimed and what came out. ``python docs/make_claims.py [DIR]``.

With the directory of ``robustlab reproduce --out DIR``, results there that count are first taken over into the package.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from robustlab.studies import CLAIMS, known
from robustlab.studies.claims.outcome import outcome
from robustlab.studies.claims.record import PUBLISHED
from robustlab.studies.claims.table import page

GUIDE = Path(__file__).parent / "guide" / "claims.md"


def take_over(source: Path) -> None:
    """Copies results that fit the present definitions."""
    for claim in CLAIMS:
        for unit in outcome(claim, source).units:
            name = f"{unit.arm}-{unit.seed}.json"
            (PUBLISHED / claim.name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / claim.name / name, PUBLISHED / claim.name / name)


if __name__ == "__main__":
    for given in sys.argv[1:]:
        take_over(Path(given))
    GUIDE.write_text(page(known()), encoding="utf-8")
