"""Transformations: changes of a word or a text that an attack chooses from."""

from robustlab.text.transformations.checklist import ChangeName, ChangeNumber, Contract, Expand
from robustlab.text.transformations.deletion import DeleteWord
from robustlab.text.transformations.gradient import GradientSwaps
from robustlab.text.transformations.homoglyphs import (
    Disguise,
    ErasedCharacters,
    Homoglyphs,
    InvisibleCharacters,
    Reorderings,
)
from robustlab.text.transformations.masked import MaskedModel
from robustlab.text.transformations.synonyms import Neighbours, Synonyms
from robustlab.text.transformations.typos import (
    DeleteCharacter,
    InsertCharacter,
    KeyboardNeighbours,
    OneOf,
    SubstituteCharacter,
    SwapNeighbours,
)

__all__ = [
    "ChangeName", "ChangeNumber", "Contract", "DeleteCharacter", "DeleteWord", "Disguise", "ErasedCharacters", "Expand",
    "GradientSwaps", "Homoglyphs", "InsertCharacter", "InvisibleCharacters", "KeyboardNeighbours", "MaskedModel",
    "Neighbours", "OneOf", "Reorderings", "SubstituteCharacter", "SwapNeighbours", "Synonyms",
]  # fmt: skip
