"""The lab of claims: data, trained networks and budget of their experiments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from robustlab import training
from robustlab.core import Examples, Metrics, RunError
from robustlab.data import Sentences, movie_sentences
from robustlab.data import load as load_data
from robustlab.data.movie_sentences import Split
from robustlab.runs.progress import Report
from robustlab.runs.tensors import tensors_in
from robustlab.studies.claim_engine.budget import FULL, Budget
from robustlab.studies.claim_engine.definition import fingerprint
from robustlab.studies.claim_engine.measures import attacked
from robustlab.studies.claim_engine.network import HARD, Fitted, Learner, Network, Sampled, Trained


@dataclass(frozen=True)
class Lab:
    """Experiments with one seed; a network of several claims is trained once.

    Args:
        home: directory of the trained networks, each of which can be resumed.
        seed: of weights, training, samples and attacks.
        budget: limits of each experiment.
        device: "auto" takes the accelerator if there is one; or its name, or "cpu".
        report: called with the progress.
        examples: data in place of every split of Fashion-MNIST; None: that.
    """

    home: Path
    seed: int
    budget: Budget = FULL
    device: str = "auto"
    report: Report = lambda _: None
    examples: Examples | None = None

    def data(self, split: str) -> Examples:
        """The data set: "train", "test", or ``HARD``."""
        return _fetched(split) if self.examples is None else self.examples

    def sentences(self, split: Split) -> Sentences:
        """The movie sentences."""
        return _read(split)

    def trained(self, network: Learner | Fitted) -> Trained:
        """A network after its training, which is done once."""
        if isinstance(network, Fitted):
            return network.fitted(self)
        watched = network.watch is not None
        settings = training.Settings(
            min(network.epochs, self.budget.epochs or network.epochs),
            network.batch_size,
            network.optimizer,
            network.schedule,
            seed=self.seed,
            best="accuracy" if watched else None,
            precision=network.precision,
            device=self.device,
            resume=True,
            keep=1,
        )
        model = network.fresh(self)
        history = training.fit(
            model,
            network.recipe_for(self),
            network.examples(model, self),
            settings,
            out=self.home / f"{fingerprint(network, self.budget)}-{self.seed}",
            validate=partial(_watched, network, self) if watched else None,
            progress=self.report,
        )
        model = model.to(self.place())
        last = _filled(network.fresh(self), history).to(self.place()) if watched else model
        return Trained(last, model, sum(history["seconds"]), history.precision)

    def place(self) -> torch.device:
        """The device that measures networks."""
        if self.device != "auto":
            return torch.device(self.device)
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def _watched(network: Learner, lab: Lab, model: nn.Module) -> Metrics:
    """Robust accuracy on held-out images."""
    if network.watch is None or not isinstance(network, Network) or not isinstance(network.data, Sampled):
        raise ValueError("early stopping needs an attack to watch, and training data with held-out images")
    found = attacked(model, network.data.held_out(lab), {"held-out": network.watch}, lab)
    return {"accuracy": found.worst[-1].robust.value}


def _filled(model: nn.Module, history: training.History) -> nn.Module:
    """The model with the weights that training ended with."""
    if history.checkpoint is None:
        raise RunError("training left no checkpoint")
    model.load_state_dict(tensors_in(history.checkpoint / "model.safetensors")[0])
    return model


@cache
def _fetched(split: str) -> Examples:
    return load_data("fashion-mnist-a", split="all") if split == HARD else load_data("fashion-mnist", split=split)


@cache
def _read(split: Split) -> Sentences:
    return movie_sentences(split)
