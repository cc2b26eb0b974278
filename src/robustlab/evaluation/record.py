"""Record of an evaluation: frozen values, written to and read from ``report.json``.

A run directory holds

    manifest.json                     model, data, attacks, versions and settings: enough to run it again
    outcomes.sqlite                   a row per example, attack, eps, stage and restart (``schema.SCHEMA``)
    adversarial/*.safetensors         x_adv per batch; adversarial/gallery.safetensors for the pictures of a report
    report.json                       ``Evaluation.to_json()``

All eps and sizes are in input units ([0, 1] for images). Fractions are between 0 and 1. A fraction of no examples
is NaN in Python and null in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from robustlab.core.finding import Finding
from robustlab.evaluation.upgrade import SCHEMA_VERSION, upgraded
from robustlab.runs.codec import decode, encode
from robustlab.statistics.intervals import Interval

WORST = "worst case"
"""Name of the curve over the worst of all attacks."""


@dataclass(frozen=True)
class ModelInfo:
    """The model that was evaluated."""

    name: str
    parameters: int
    sha256: str
    """Digest of parameters and buffers; of the logits on the first batch ("logits:...") for a plain callable."""
    classes: int
    """Width of the logits."""
    dtype: str


@dataclass(frozen=True)
class DataInfo:
    """The examples that it was evaluated on."""

    name: str
    split: str  # empty where the data set does not say
    n: int
    population: int
    """Size of the data set that the n were drawn from."""
    drawn: str
    """One phrase on how they were drawn, such as "simple random sample by a hash of the id, seed 0"."""
    classes: tuple[str, ...]
    sha256: str
    """Digest of inputs and labels in the order of their ids."""
    shape: tuple[int, ...]
    framing: str = ""
    """Preprocessing that gave images this shape, in words; empty: none."""


@dataclass(frozen=True)
class ThreatInfo:
    """Norm and bounds of the threat model; each result has its eps."""

    norm: str
    bounds: tuple[float, float]


@dataclass(frozen=True)
class RunInfo:
    """Facts that are needed to run it again."""

    id: str
    created: str
    """ISO 8601, UTC."""
    command: str
    """Command as typed, or the call from Python."""
    versions: dict[str, str]
    seed: int
    batch_size: int
    batch_plan: str
    """One phrase on how examples are put into batches."""
    threads: int
    device: str
    dtype: str
    search_dtype: str
    """Precision of the search twin; equal to dtype unless another was chosen."""
    hardware: str
    seconds: float
    """Wall seconds of all sessions of the run together."""
    sessions: int = 1
    """More than one if the run was interrupted and resumed."""


@dataclass(frozen=True)
class ClassResult:
    """One class: how many of its examples, and how many of them are classified correctly."""

    label: int
    name: str
    n: int
    clean: int
    robust: int


@dataclass(frozen=True)
class Confusion:
    """Counts of predictions by true class; only pairs that occurred, so that K may be large."""

    cells: tuple[tuple[int, int, int], ...]
    """(true, predicted, count), sorted. Predicted is -1 where the logits were not finite."""


@dataclass(frozen=True)
class Spread:
    """Mean, median and maximum of something over examples; NaN over none."""

    mean: float
    median: float
    max: float


@dataclass(frozen=True)
class Sizes:
    """Sizes of x_adv - x, flattened per example, over the fooled examples of a result."""

    linf: Spread
    l2: Spread
    l1: Spread
    n: int


@dataclass(frozen=True)
class Queries:
    """Passes of one example through the model, averaged over the examples that were attacked."""

    forward: float
    backward: float


@dataclass(frozen=True)
class StageResult:
    """One stage or restart of an attack: the examples it was run on, and those it fooled."""

    stage: str
    attacked: int
    fooled: int
    """Those that nothing before had fooled."""
    still_robust: int
    """Examples that are correct on x and not fooled by this stage or before it, of all n."""
    queries: Queries
    seconds: float


@dataclass(frozen=True)
class CleanResult:
    """The model on unmodified inputs."""

    accuracy: Interval
    per_class: tuple[ClassResult, ...]
    """With ``robust == clean``."""
    confusion: Confusion
    mean_confidence: float
    """Mean softmax probability of the predicted class."""
    nonfinite: int
    """Examples with a NaN or infinite logit; they count as wrong."""
    seconds: float


@dataclass(frozen=True)
class AttackResult:
    """One attack at one eps."""

    attack: str
    """Its name in this evaluation (``AttackInfo.name``)."""
    eps: float
    robust: Interval
    """Correct on x and on x_adv, over all n."""
    success: Interval
    """Misclassified on x_adv, among those correct on x."""
    target_reached: Interval | None
    """Fraction at the target, for a targeted attack, among those correct on x."""
    attacked: int
    """Examples that the attack was run on: correct on x, and not fooled at a smaller eps already."""
    reused: int
    """Examples counted as fooled because they were at a smaller eps; included in robust and success."""
    nonfinite: int
    """Examples with a NaN or infinite logit at x_adv; they count as fooled."""
    outside: int
    """Examples whose x_adv broke budget or bounds; x_adv was refused and the example counts as not fooled."""
    sizes: Sizes
    queries: Queries
    seconds: float
    per_class: tuple[ClassResult, ...]
    confusion: Confusion
    """After the attack; before it see ``CleanResult.confusion``."""
    mean_confidence: float
    """Mean softmax probability of the (wrong) predicted class over the fooled; NaN if none."""
    stages: tuple[StageResult, ...] = ()


@dataclass(frozen=True)
class WorstCase:
    """All attacks of one eps together: an example is robust if no attack fooled it."""

    eps: float
    attacks: tuple[str, ...]
    robust: Interval
    success: Interval
    per_class: tuple[ClassResult, ...]


@dataclass(frozen=True)
class Recheck:
    """Examples that were counted as fooled by reuse and attacked after all."""

    n: int
    disagreements: int
    """Those that the attack did not fool at the larger eps."""


@dataclass(frozen=True)
class CurvePoint:
    """Robust accuracy at one eps."""

    eps: float
    robust: Interval
    reused: int
    recheck: Recheck | None = None


@dataclass(frozen=True)
class Curve:
    """The security curve of one attack, or of the worst case; the first point is the clean accuracy at eps 0."""

    attack: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class AttackInfo:
    """One attack of the evaluation."""

    name: str
    """Short and unique here, such as "PGD-40"."""
    repr: str
    """The attack as a value, with its own eps."""
    targeted: bool = False
    left_out: tuple[str, ...] = ()
    """Stages of the whole suite that a quick evaluation leaves out, so that robust accuracy is an upper bound."""


@dataclass(frozen=True)
class GalleryItem:
    """One fooled example, with its pictures in a file of the run directory.

    ``file`` is relative to the run directory; in it the tensors ``x`` and ``x_adv`` (G, ...) hold the clean and the
    adversarial input at index ``row`` (``gallery.pictures`` reads them).
    """

    file: str
    row: int
    id: int
    attack: str
    eps: float
    label: int
    clean_prediction: int
    clean_confidence: float
    prediction: int
    confidence: float
    linf: float
    l2: float
    l1: float
    target: int | None = None
    source: str = ""
    """Path of the file that the example comes from; empty where the data are no files."""


@dataclass(frozen=True)
class TracePoint:
    """One point that an attack evaluated."""

    point: int
    """From 0: the start, then one for each step or query."""
    score: float
    """Objective of the attack."""
    margin: float
    """Logit of the best wrong class minus that of the label; above 0 the example is fooled."""
    size: float
    """Size of the perturbation, in the norm of the threat model."""
    gradient_norm: float
    """Euclidean, of the score by the input; NaN where no gradient was computed."""


@dataclass(frozen=True)
class TraceRecord:
    """Trace of the first stage of the strongest attack on one example (see ``traces.traces``)."""

    which: Literal["hardest", "easiest"]
    attack: str
    stage: str
    eps: float
    id: int
    label: int
    fooled_at: int | None
    """Number of the first point that was a success; None: still robust."""
    points_seen: int
    """Number of points; of many points only some are kept."""
    points: tuple[TracePoint, ...]


@dataclass(frozen=True)
class Evaluation:
    """The result of ``evaluate``: everything that a report draws."""

    model: ModelInfo
    data: DataInfo
    threat: ThreatInfo
    run: RunInfo
    attacks: tuple[AttackInfo, ...]
    clean: CleanResult
    results: tuple[AttackResult, ...]
    """By attack in the order of ``attacks``, then by eps ascending."""
    worst: tuple[WorstCase, ...]
    """By eps ascending; its last entry is the headline."""
    curves: tuple[Curve, ...]
    """One per attack, then the worst case (``WORST``) if there is more than one attack."""
    findings: tuple[Finding, ...]
    """Serious first."""
    gallery: tuple[GalleryItem, ...]
    traces: tuple[TraceRecord, ...] = ()
    """The hardest and the easiest example of the strongest attack at its largest eps."""
    caveats: tuple[str, ...] = ()
    """Limits of the numbers in sentences, such as the stages that a quick evaluation leaves out."""
    schema: int = SCHEMA_VERSION
    directory: Path | None = field(default=None, compare=False)
    """The run directory; not written to JSON."""

    def to_json(self) -> dict[str, object]:
        """Plain dicts, lists, strings and finite numbers; NaN becomes None."""
        return encode(self)

    @classmethod
    def from_json(cls, data: Mapping[str, object], directory: Path | None = None) -> Evaluation:
        """Reads the output of ``to_json``.

        Raises: ValueError for another schema version, or where something is missing.
        """
        return replace(decode(cls, upgraded(data)), directory=directory)

    def to_frame(self) -> object:
        """A row per example, attack and eps: the fields of ``evaluation.Outcome``.

        Returns: a pandas frame; a list of dicts where pandas is not installed.
        Raises: RunError if the run directory is missing.
        """
        from robustlab.evaluation.outcomes import frame_of

        return frame_of(self.directory)

    def result(self, attack: str, eps: float | None = None) -> AttackResult:
        """The result of an attack by name, at its largest eps unless one is given.

        Raises: ValueError if there is none.
        """
        found = [r for r in self.results if r.attack == attack and eps in (None, r.eps)]
        if not found:
            raise ValueError(
                f"there is no result of {attack!r} at eps {eps}; there are {[a.name for a in self.attacks]}"
            )
        return found[-1]
