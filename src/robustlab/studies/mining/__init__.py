"""Natural adversarial examples mined from any data set: real, unmodified, and wrong by a whole committee of models."""

from robustlab.studies.claim_engine.network import Network
from robustlab.studies.mining.committee import COMMITTEE, HELD_OUT, network
from robustlab.studies.mining.label_errors import LabelErrors, label_errors
from robustlab.studies.mining.out_of_fold import Work
from robustlab.studies.mining.record import Judge, Mined, read
from robustlab.studies.mining.run import mine

__all__ = [
    "COMMITTEE", "HELD_OUT", "Judge", "LabelErrors", "Mined", "Network", "Work", "label_errors", "mine",
    "network", "read",
]  # fmt: skip
