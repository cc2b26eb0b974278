"""Adversarial training on texts: the present model is attacked now and then, and learns from what fooled it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import nn

from robustlab.core import Batch, Metrics, RecipeState, Streams, TextModel, fold_in
from robustlab.core.kinds import typed
from robustlab.core.metrics import measured
from robustlab.data import Sentences
from robustlab.text import AttackSettings, Driver, TextRecipe, attack, victim
from robustlab.training.crafting import Backward
from robustlab.training.recipes.cross_entropy import passed

_MADE, _TEXTS, _ROUND = "made", "texts", "round"
_BATCH = 4096
"""Tokens of the victim's batches: fixed, as a measured size would make the last bits depend on the clock."""
_NEAR = 1e-6  # of an epoch, for rounding of the progress


@typed
@dataclass(frozen=True)
class AdversarialTexts:
    """Training on texts and on adversarial versions of some of them.

        loss = mean CE(model(x), y) + weight * n_adv / n * mean CE(model(x_adv), y)

    After ``start`` epochs, and then after every ``every``, the present model is attacked on a random fraction of the
    training texts. The adversarial versions that fool it are trained on beside all originals until the next attack.
    They are part of each checkpoint, so that a resumed run is the same.

    Args:
        recipe: the attack on texts.
        sentences: the training data, in the order of the data set that ``fit`` gets.
        epochs: of the whole training, as in its settings.
        start: epochs on the originals alone before the first attack.
        every: epochs between attacks.
        fraction: of the texts that are attacked each time, in (0, 1].
        weight: factor of the loss on adversarial texts.
        queries: that the attack may use for a text; None: any number.
        seed: of the choice of the texts and of searches that draw.

    Raises: ValueError for numbers that no run can have.

    Source: Yoo and Qi, Towards Improving Adversarial Training of NLP Models (A2T), Findings of EMNLP 2021, algorithm 1,
        with one clean epoch, an attack in each later one, and a fifth of the texts; there the attack runs until a fifth
        was *successful*, and each text has one adversarial version.
    """

    recipe: TextRecipe = field(repr=False)
    sentences: Sentences = field(repr=False)
    epochs: int
    start: int = 1
    every: int = 1
    fraction: float = 0.2
    weight: float = 1.0
    queries: int | None = None
    seed: int = 0
    replays: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction is the part of the texts that is attacked, in (0, 1], got {self.fraction}")
        if self.every < 1 or not 0 <= self.start < self.epochs:
            raise ValueError(
                f"the first attack is after start = {self.start} of {self.epochs} epochs, the next after every = "
                f"{self.every} more: give start in 0..{self.epochs - 1} and every of at least 1"
            )
        if self.weight < 0:
            raise ValueError(f"weight is the factor of the loss on adversarial texts, at least 0, got {self.weight}")

    def __repr__(self) -> str:
        """Everything that decides the result; a run may be resumed only with the same."""
        numbers = f"epochs={self.epochs}, start={self.start}, every={self.every}, fraction={self.fraction}"
        more = f"weight={self.weight}, queries={self.queries}, seed={self.seed}"
        return f"AdversarialTexts({self.recipe.name!r}, {self.sentences.sha256[:16]}, {numbers}, {more})"

    def init(self, model: nn.Module) -> RecipeState:
        """No adversarial text, and no attack yet."""
        del model
        count = len(self.sentences)
        return {
            _MADE: torch.zeros(count, dtype=torch.bool),
            _TEXTS: torch.zeros(count, 0, dtype=torch.int64),  # its length is known later
            _ROUND: torch.zeros((), dtype=torch.int64),
        }

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Backward) -> Metrics:
        """A pass over the originals, and one over those that have an adversarial version."""
        due = self.attacks_due(batch.progress)
        if due > int(state[_ROUND]):
            self.craft(model, state, due)
        logits, loss = passed(model, batch.x, batch.y)
        backward(loss)
        metrics = measured(logits, loss, batch.y)
        ids = batch.ids.cpu()
        rows = state[_MADE][ids]
        if not bool(rows.any()) or not self.weight:
            return metrics
        here = rows.to(batch.y.device)
        x_adv = state[_TEXTS][ids[rows]].to(batch.x.device)
        hard, loss = passed(model, x_adv, batch.y[here])
        backward(loss * (self.weight * float(rows.double().mean())))
        return {**metrics, "adversarial_accuracy": measured(hard, loss, batch.y[here])["accuracy"]}

    def attacks_due(self, progress: float) -> int:
        """Number of attacks that belong before a point of the training, in [0, 1]."""
        epochs = progress * self.epochs - self.start + _NEAR
        return 0 if epochs < 0 else 1 + int(epochs / self.every)

    def craft(self, model: nn.Module, state: RecipeState, number: int) -> None:
        """Attacks the present model, and puts the adversarial versions that fool it into the state."""
        rows = self._chosen(number)
        target = victim(model)
        outcomes = attack(
            target,
            [self.sentences.texts[row] for row in rows],
            [int(self.sentences.labels[row]) for row in rows],
            self.recipe,
            ids=rows,
            settings=AttackSettings(fold_in(self.seed, number), self.queries, driver=Driver(target, _BATCH)),
        )
        found = [one for one in outcomes if one.status == "successful"]
        made = torch.zeros(len(self.sentences), dtype=torch.bool)
        state[_ROUND] = torch.tensor(number)
        state[_MADE] = made
        if not found:
            return
        ids = cast(TextModel, model).encode([one.adversarial for one in found])
        places = torch.tensor([one.id for one in found])
        made[places] = True
        texts = torch.zeros(len(self.sentences), ids.shape[1], dtype=torch.int64)
        texts[places] = ids
        state[_TEXTS] = texts

    def _chosen(self, number: int) -> list[int]:
        """The rows that one attack is on, in order."""
        count = len(self.sentences)
        draws = Streams(fold_in(self.seed, number), torch.arange(count)).uniform((1,), dtype=torch.float64)[:, 0]
        rows: list[int] = draws.argsort(stable=True)[: max(1, round(self.fraction * count))].sort().values.tolist()
        return rows
