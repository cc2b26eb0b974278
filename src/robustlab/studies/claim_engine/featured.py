"""Training examples made with another network: sets of robust or non-robust features."""

from __future__ import annotations

from dataclasses import dataclass, replace

from robustlab.core import Examples
from robustlab.studies.claim_engine.definition import fingerprint
from robustlab.studies.claim_engine.network import Network, Site
from robustlab.studies.robust_features import FeatureSet


@dataclass(frozen=True)
class Featured:
    """A set of features, made once with another network of the same seed and stored beside it.

    Args:
        made: the set.
        against: the network.
    """

    made: FeatureSet
    against: Network

    def examples(self, lab: Site) -> Examples:
        """The set, within the budget; a stop in the middle costs one batch."""
        whole = lab.data("train")
        size = min(n for n in (self.made.n, len(whole), lab.budget.images) if n is not None)
        made = replace(self.made, n=size)
        place = lab.home / f"{fingerprint(made, self.against, lab.budget)}-{lab.seed}"
        return made.make(lab.trained(self.against).last, whole, place, seed=lab.seed, report=lab.report)
