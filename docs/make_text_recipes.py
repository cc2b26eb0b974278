"""Writes the table of recipes in docs/guide/text.md. ``python docs/make_text_recipes.py``."""

from __future__ import annotations

from pathlib import Path

GUIDE = Path(__file__).parent / "guide" / "text.md"
START, END = "<!-- recipes -->", "<!-- /recipes -->"


def table() -> str:
    """One row for each recipe and each recipe with substitutes."""
    from robustlab.text.recipes import TEXT_RECIPES, recipe_table

    lines = ["| recipe | needs | transformations | constraints | search |", "|---|---|---|---|---|"]
    for row in recipe_table():
        needs = row.needs or "nothing"
        lines.append(f"| `{row.name}` | {needs} | {row.transformation} | {row.constraints or 'none'} | {row.search} |")
    lines += ["", "| recipe | source | differs |", "|---|---|---|"]
    for name in TEXT_RECIPES:
        spec = TEXT_RECIPES[name]
        mark = "" if spec.verified else " (unverified)"
        lines.append(f"| `{name}`{mark} | {spec.source} | {spec.difference or 'in nothing we know of'} |")
    return "\n".join(lines)


def page() -> str:
    """The guide with the present table."""
    before, _, rest = GUIDE.read_text(encoding="utf-8").partition(START)
    return f"{before}{START}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    GUIDE.write_text(page(), encoding="utf-8")
