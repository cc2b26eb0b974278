"""Types that all rooms share: model, attack, batch, data set and recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from torch import Tensor, nn

Images: TypeAlias = Tensor
"""Inputs (N, ...), usually (N, C, H, W), any float dtype, in the units of ``bounds`` ([0, 1] for images)."""
Labels: TypeAlias = Tensor
"""Class numbers (N,), int64, in 0..K-1."""
Logits: TypeAlias = Tensor
"""Scores per class before the softmax (N, K)."""
Scores: TypeAlias = Tensor
"""One number per example (N,); larger is worse for the model."""
Stop: TypeAlias = Literal["success", "never"]
"""Stopping rule of an attack: at an example's first success (evaluation), or never early (training, transfer)."""
Model: TypeAlias = Callable[[Tensor], Tensor]
"""Anything that maps inputs (N, ...) to logits (N, K): an ``nn.Module`` or any callable."""
Text: TypeAlias = str | tuple[str, ...]
"""A text of one field, or of several: sentence pairs, of which one field is attacked."""
RecipeState: TypeAlias = dict[str, Tensor]
"""State of a recipe between steps; saved with every checkpoint."""
Metrics: TypeAlias = dict[str, float]
"""Numbers of one training step by name."""


class Batch(NamedTuple):
    """Some examples of a data set."""

    x: Tensor
    """Inputs (N, ...), float, in the units of the data set's bounds."""
    y: Tensor
    """Labels (N,), int64."""
    ids: Tensor
    """Names of the examples in their data set (N,), int64: random draws follow these."""
    seed: int = 0
    """Seed of whatever is random about this batch; the training loop gives each step its own."""
    progress: float = 1.0
    """Share of the training that is done when this batch comes, in [0, 1]: 0 at the first step; 1 outside training."""


@runtime_checkable
class Examples(Protocol):
    """A labelled data set of fixed size with access in any order."""

    @property
    def name(self) -> str:
        """Name in reports."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, in the order of their numbers."""

    def __len__(self) -> int: ...

    def batch(self, ids: Tensor) -> Batch:
        """Examples by their number 0..len-1, in the given order."""


class Attack(Protocol):
    """A value that maps inputs to adversarial inputs without side effects."""

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        stop: Stop = "success",
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        """Searches the neighbourhood of each input for one that the model gets wrong.

        Args:
            model: from inputs (N, ...) to logits (N, K); used in the modes it is in.
            x: inputs (N, ...), float, within the bounds of the threat model.
            y: true labels (N,), int64.
            target: labels to be reached (N,), int64; None: any wrong one.
            stop: "success": first success, else the point of highest score. "never": full strength, last point.
            seed: of all random draws.
            ids: names of the examples (N,), int64, that draws follow; None: 0..N-1.

        Returns: inputs (N, ...) like ``x``, inside budget and bounds exactly, without gradient.
        Raises: ValueError for what cannot be attacked, with what was seen.
        """


class Corruption(Protocol):
    """A value that maps images to corrupted images."""

    def __call__(self, x: Tensor, *, severity: int, seed: int = 0, ids: Tensor | None = None) -> Tensor:
        """Corrupts images (N, C, H, W) in [0, 1] at a severity of 1..5."""


class TextModel(Protocol):
    """A module from token numbers to logits that brings its own tokenizer."""

    @property
    def embeddings(self) -> nn.Embedding:
        """Table of the vectors of the tokens."""

    @property
    def limit(self) -> int:
        """Number of tokens after which a text is cut."""

    def encode(self, texts: Sequence[Text]) -> Tensor:
        """Token numbers (N, L), int64, of some texts, cut at the limit."""

    def spans(self, text: Text) -> list[tuple[int, int, int]]:
        """Field, first character and end of each token of a text, as ``encode`` gives it without padding.

        A token of no characters, which the model puts in by itself, has its first character at its end.
        """

    def lengths(self, texts: Sequence[Text]) -> list[int]:
        """Numbers of tokens, uncut."""

    def __call__(self, ids: Tensor) -> Logits:
        """Logits (N, K) of token numbers (N, L)."""


class Recipe(Protocol):
    """Procedure of one training step; its memory is in the state, which is saved and resumed."""

    @property
    def replays(self) -> int:
        """Number of calls of ``step`` with each batch, each followed by an update of the weights; usually 1."""

    def init(self, model: nn.Module) -> RecipeState:
        """The state before the first step; tensors may change shape later, but their names stay."""

    def step(self, model: nn.Module, batch: Batch, state: RecipeState, backward: Callable[[Tensor], None]) -> Metrics:
        """Computes the losses of one batch and calls ``backward`` on each; the loop owns optimizer and schedule.

        Args:
            model: in training mode; its gradients may hold those of earlier parts of the same update, and are added
                to by ``backward`` alone.
            batch: on the model's device; with accumulation or several processes it is a part of what an update sees.
            state: may be changed in place.
            backward: adds the gradient of a scalar loss, a mean over the batch, to the weights (scaled and weighted as
                the update needs).

        Returns: numbers to be shown and stored, at least "loss" and "accuracy", means over the batch; a name that
            comes only at some steps is averaged over those.
        """
