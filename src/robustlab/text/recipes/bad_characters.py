"""Characters that are not seen as changes: lookalike, invisible, erased, reordered."""

from __future__ import annotations

from collections.abc import Callable

from robustlab.text.constraints import MostChanged, NoRepeat
from robustlab.text.goals import Untargeted
from robustlab.text.greedy import Greedy
from robustlab.text.parts import TextRecipe, Transformation
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeSpec
from robustlab.text.transformations import Disguise, ErasedCharacters, Homoglyphs, InvisibleCharacters, Reorderings

KINDS: dict[str, tuple[Transformation, str]] = {
    "lookalike": (Homoglyphs(), "one lookalike character"),
    "invisible": (InvisibleCharacters(), "one invisible character"),
    "erased": (ErasedCharacters(), "one erased character"),
    "reordered": (Reorderings(), "two characters stored in the other order"),
}
"""Kinds of characters, and a few words on each."""


def builder(kind: Transformation) -> Callable[[Ingredients], TextRecipe]:
    """The builder of the recipe with one kind of characters."""

    def build(_: Ingredients) -> TextRecipe:
        constraints = (NoRepeat(), MostChanged(5))
        return TextRecipe("bad-characters", Untargeted(), (kind,), constraints, Greedy("delete"))

    return build


for _name, (_kind, _help) in KINDS.items():
    TEXT_RECIPES.register(
        f"bad-characters-{_name}",
        RecipeSpec(
            builder(_kind),
            f"{_help} in each of at most 5 words, greedy",
            "Boucher et al., Bad Characters: Imperceptible NLP Attacks, IEEE S&P 2022",
            "greedy over words in place of differential evolution over the text; one change in a word",
        ),
    )


def build_viper(_: Ingredients) -> TextRecipe:
    """VIPER: words in random order, each disguised if that helps."""
    return TextRecipe("viper", Untargeted(), (Disguise(0.4),), (NoRepeat(),), Greedy("random"))


TEXT_RECIPES.register(
    "viper",
    RecipeSpec(
        build_viper,
        "lookalikes at random in words at random",
        "Eger et al., Text Processing Like Humans Do: Visually Attacking and Shielding NLP Systems, NAACL 2019",
        "stops at the first success and keeps a word only if it helps, where VIPER disguises the whole text unseen; "
        "one lookalike for each character, not neighbours among rendered characters",
    ),
)
