"""Former names of commands and options, so that an error names the present ones."""

from __future__ import annotations

import re

_UNDER_CORRUPTIONS = "robustlab corruptions evaluate MODEL"
_COMMANDS = {"corrupt": "robustlab corruptions copy DATA"}
_OPTIONS = {"--norm-mode": "--bn-mode", "--shared-norms": "--shared-bn"}
_OF_EVALUATE = (
    "--natural", "--corruptions", "--severities", "--variant", "--clean", "--baseline", "--attacked", "--subset",
)  # fmt: skip


def present(error: BaseException, command: str) -> str | None:
    """One sentence with the present name of a command or option that no longer exists; None for any other error.

    Args:
        error: a usage error of Typer.
        command: that was typed, as ``robustlab evaluate``.
    """
    option = getattr(error, "option_name", "")
    if command == "robustlab evaluate" and option in _OF_EVALUATE:
        return f"robustlab evaluate has no {option}: corruptions are evaluated with {_UNDER_CORRUPTIONS}"
    if option in _OPTIONS:
        return f"{option} is now {_OPTIONS[option]}"
    word = re.match(r"No such command '([\w-]+)'", str(getattr(error, "message", "")))
    if word and word[1] in _COMMANDS and command == "robustlab":
        return f"robustlab {word[1]} is now {_COMMANDS[word[1]]}"
    return None
