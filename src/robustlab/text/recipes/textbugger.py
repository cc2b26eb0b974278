"""TextBugger: typos, lookalikes and neighbours among word vectors."""

from __future__ import annotations

from robustlab.text.goals import Untargeted
from robustlab.text.greedy import Greedy
from robustlab.text.parts import TextRecipe
from robustlab.text.recipes.ingredients import Ingredients
from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeSpec
from robustlab.text.transformations import DeleteCharacter, Homoglyphs, InsertCharacter, OneOf, SwapNeighbours


def build(use: Ingredients) -> TextRecipe:
    """The recipe from its ingredients."""
    bugs = (
        OneOf(InsertCharacter(inner=True, letters=" ")),
        OneOf(DeleteCharacter(inner=True)),
        OneOf(SwapNeighbours(inner=True)),
        Homoglyphs(),
        use.neighbours(5, "glove"),
    )
    constraints = (*use.untouched(), use.similarity(0.8))
    return TextRecipe("textbugger", Untargeted(), bugs, constraints, Greedy("delete", closest=True))


TEXT_RECIPES.register(
    "textbugger",
    RecipeSpec(
        build,
        "typos, lookalikes and neighbours in GloVe, similar sentences, greedy",
        "Li et al., TextBugger: Generating Adversarial Text Against Real-world Applications, NDSS 2019 (black box)",
        "words are ranked within the whole text, not sentence by sentence; our own table of lookalikes; typos are "
        "drawn once for each example and word",
        ("glove", "use"),
    ),
)
