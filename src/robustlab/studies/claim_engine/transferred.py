"""Measures of a network after it was fine-tuned on other data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory

from torch import nn

from robustlab.core import Attack, Metrics, subset
from robustlab.data.digits import digits
from robustlab.data.splits import Part
from robustlab.models import merged
from robustlab.runs.progress import Progress
from robustlab.studies.claim_engine.measures import attacked
from robustlab.studies.claim_engine.network import Site
from robustlab.training import Plan, Settings, adamw, finetune, new_head, standard


@dataclass(frozen=True)
class OnDigits:
    """Fine-tunes a copy of the network on handwritten digits, as usual, and attacks it there.

    Gives ``clean_accuracy`` and for each attack ``NAME_accuracy``, on held-out digits.

    Args:
        attacks: by name.
        head: epochs of the new last layer alone, on kept features.
        body: epochs in which the network is opened from the top down.
    """

    attacks: tuple[tuple[str, Attack], ...]
    head: int = 10
    body: int = 10

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        """Fine-tunes within the budget, then attacks all test digits that it allows."""
        train, test = (_some(split, most, lab) for split, most in zip(("train", "test"), _most(lab), strict=True))
        tuned = new_head(merged(model), len(train.classes), seed=lab.seed)
        usual = Settings(1, 64, adamw(1e-3), seed=lab.seed, device=str(next(model.parameters()).device))
        head, body = (
            replace(usual, epochs=min(epochs, lab.budget.epochs or epochs)) for epochs in (self.head, self.body)
        )
        lab.report(Progress("fine-tune", 0, 1, detail="on digits"))
        with TemporaryDirectory() as folder:
            finetune(tuned, standard(), train, Plan(head, body), out=folder)
        found = attacked(tuned, test, dict(self.attacks), lab)
        return {"clean_accuracy": found.clean.accuracy.value} | {
            f"{one.attack}_accuracy": one.robust.value for one in found.results
        }


def _most(lab: Site) -> tuple[int | None, int | None]:
    return lab.budget.images, lab.budget.test


def _some(split: str, most: int | None, lab: Site) -> Part:
    """Digits as large as Fashion-MNIST's images, within the budget."""
    whole = digits(split, enlarged=True)
    size = min(len(whole), most or len(whole))
    return Part(f"{whole.name} ({size})", whole, subset(len(whole), size, seed=lab.seed))
