"""How much optimizers matter: as attackers, which drive PGD, and as trainers."""

from robustlab.studies.sweep.attackers import QUICK_SPEND, SEEDS, Spend, attackers, fallen, known_attackers
from robustlab.studies.sweep.ledger import At
from robustlab.studies.sweep.outcome import Attackers, Compared, Swept
from robustlab.studies.sweep.rules import RULES, Rule
from robustlab.studies.sweep.subject import SUBJECTS, Given, Own, Subject

__all__ = [
    "QUICK_SPEND", "RULES", "SEEDS", "SUBJECTS", "At", "Attackers", "Compared", "Given", "Own", "Rule", "Spend",
    "Subject", "Swept", "attackers", "fallen", "known_attackers",
]  # fmt: skip
