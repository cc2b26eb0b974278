"""``python -m robustlab`` is the command ``robustlab``: so ``torchrun -m robustlab`` starts it in several processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from robustlab.cli import interrupt


def _leave_folder() -> None:
    """Lets no file that lies where the user stands be taken for a package: ``-m`` has put that folder first.

    A model that is typed as package.module:function is found there all the same, see ``cli.parse.reachable``.
    """
    if sys.path and sys.path[0] in ("", os.getcwd()) and Path(__file__).resolve().parents[1] != Path.cwd().resolve():
        del sys.path[0]


def main() -> int:
    """Runs the command; interrupts are taken before anything else is loaded."""
    interrupt.install()
    from robustlab.cli.guard import keep
    from robustlab.cli.main import main as command

    return keep(command())


if __name__ == "__main__":
    _leave_folder()
    sys.exit(main())
