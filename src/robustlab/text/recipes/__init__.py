"""Recipes of attacks on texts by name."""

from robustlab.text.recipes.registry import TEXT_RECIPES, RecipeRow, RecipeSpec, recipe, recipe_table

__all__ = ["TEXT_RECIPES", "RecipeRow", "RecipeSpec", "recipe", "recipe_table"]
