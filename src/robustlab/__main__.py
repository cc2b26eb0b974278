"""``python -m robustlab`` is the command ``robustlab``: so ``torchrun -m robustlab`` starts it in several processes."""

from __future__ import annotations

import sys

from robustlab.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
