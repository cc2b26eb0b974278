"""Constraints: limits on what an attack may change."""

from robustlab.text.constraints.edits import EditDistance, WordEdits
from robustlab.text.constraints.meaning import AgainstBefore, KeepOpinion, MeanVector, WordCosine, WordDistance
from robustlab.text.constraints.models import Likelihood, PartOfSpeech, Similarity
from robustlab.text.constraints.positions import MinLength, MostChanged, NoRepeat, StopWords

__all__ = [
    "AgainstBefore", "EditDistance", "KeepOpinion", "Likelihood", "MeanVector", "MinLength", "MostChanged", "NoRepeat",
    "PartOfSpeech", "Similarity", "StopWords", "WordCosine", "WordDistance", "WordEdits",
]  # fmt: skip
