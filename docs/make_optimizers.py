"""Writes docs/guide/optimizers.md: how much optimizers matter. ``python docs/make_optimizers.py [DIR]``.

With the directory of ``robustlab sweep ... --out DIR``, its complete sweeps are first taken over into the package.
"""

from __future__ import annotations

import sys
from pathlib import Path

from robustlab.studies.sweep.page import page
from robustlab.studies.sweep.publish import take_over

GUIDE = Path(__file__).parent / "guide" / "optimizers.md"

if __name__ == "__main__":
    for given in sys.argv[1:]:
        take_over(Path(given))
    GUIDE.write_text(page(), encoding="utf-8")
