"""``python -m robustlab`` is the command ``robustlab``: so ``torchrun -m robustlab`` starts it in several processes."""

from __future__ import annotations

import sys

from robustlab.cli import interrupt


def main() -> int:
    """Runs the command; interrupts are taken before anything else is loaded."""
    interrupt.install()
    from robustlab.cli.guard import keep
    from robustlab.cli.main import main as command

    return keep(command())


if __name__ == "__main__":
    sys.exit(main())
