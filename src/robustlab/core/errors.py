"""Errors with causes outside the library; wrong arguments are plain ``ValueError``."""


class RobustlabError(Exception):
    """One sentence on what was seen and what to do about it; the command prints it and exits with 2."""


class DataError(RobustlabError):
    """A data set or weight file is missing, damaged or unexpected."""


class RunError(RobustlabError):
    """A run directory cannot be written, resumed or read."""


class CheckpointError(RobustlabError):
    """A checkpoint is damaged or belongs to another architecture."""


class UserCodeError(RobustlabError, ValueError):
    """The user's own code (a model, a function that makes one, an attack) failed; ``__cause__`` is what it raised."""
