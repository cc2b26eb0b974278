"""Types, norms, losses and random draws that every other room uses; needs torch only."""

from robustlab.core.errors import CheckpointError, DataError, RobustlabError, RunError, UserCodeError
from robustlab.core.losses import (
    Objective,
    Score,
    at_target,
    cross_entropy,
    dlr,
    kl,
    margin,
    misclassified,
    targeted,
    unfinished,
    untargeted,
)
from robustlab.core.modes import frozen
from robustlab.core.norms import L1, L2, Linf, Norm
from robustlab.core.random import Streams, fold_in, subset
from robustlab.core.routes import Routed, taking
from robustlab.core.smooth import SmoothGradient, smooth_gradients
from robustlab.core.threat import Region, ThreatModel
from robustlab.core.twin import Observation, Passes, Twin, as_twin, own_twin, search_twin
from robustlab.core.types import (
    Attack,
    Batch,
    Corruption,
    Examples,
    Images,
    Labels,
    Logits,
    Metrics,
    Model,
    Recipe,
    RecipeState,
    Scores,
    Stop,
    Text,
    TextModel,
)

__all__ = [
    "L1", "L2", "Attack", "Batch", "CheckpointError", "Corruption", "DataError", "Examples", "Images", "Labels", "Linf",
    "Logits", "Metrics", "Model", "Norm", "Objective", "Observation", "Passes", "Recipe", "RecipeState", "Region",
    "RobustlabError", "Routed", "RunError", "Score", "Scores", "SmoothGradient", "Stop", "Streams", "Text",
    "TextModel", "ThreatModel", "Twin", "UserCodeError", "as_twin", "at_target", "cross_entropy", "dlr", "fold_in",
    "frozen", "kl", "margin", "misclassified", "own_twin", "search_twin", "smooth_gradients", "subset", "taking",
    "targeted", "unfinished", "untargeted",
]  # fmt: skip
