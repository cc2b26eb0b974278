"""Writes docs/guide/claims.md: what is claimed and what came out; and the tables of docs/guide/pretraining.md.

``python docs/make_claims.py [DIR]``.

With the directory of ``robustlab reproduce --out DIR``, results there that count are first taken over into the package.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from robustlab.studies import CLAIMS, known
from robustlab.studies.claim_engine.outcome import outcome
from robustlab.studies.claim_engine.pretraining import filled
from robustlab.studies.claim_engine.record import PUBLISHED
from robustlab.studies.claim_engine.table import page

GUIDE = Path(__file__).parent / "guide"
CLAIMS_PAGE, PRETRAINING_PAGE = GUIDE / "claims.md", GUIDE / "pretraining.md"


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
    outcomes = known()
    CLAIMS_PAGE.write_text(page(outcomes), encoding="utf-8")
    PRETRAINING_PAGE.write_text(filled(PRETRAINING_PAGE.read_text(encoding="utf-8"), outcomes), encoding="utf-8")
