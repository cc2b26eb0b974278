"""Studies, which train and evaluate: the demo, reproductions of published claims, sweeps, mining."""

from robustlab.statistics.intervals import t_interval
from robustlab.studies import mining, sweep
from robustlab.studies.claim_engine.budget import FULL, QUICK, Budget
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.outcome import Judged, Outcome
from robustlab.studies.claim_engine.table import words
from robustlab.studies.claims import CLAIMS
from robustlab.studies.demo import Demo, demo
from robustlab.studies.mining import mine
from robustlab.studies.reproduce import known, reproduce
from robustlab.studies.robust_features import FeatureSet
from robustlab.studies.transfer import pretrained
from robustlab.studies.watch import Watch

__all__ = [
    "CLAIMS", "FULL", "QUICK", "Arm", "Budget", "Claim", "Demo", "Effect", "FeatureSet", "Judged", "Outcome", "Term",
    "Watch", "demo", "known", "mine", "mining", "pretrained", "register_claim", "reproduce", "sweep", "t_interval",
    "words",
]  # fmt: skip
