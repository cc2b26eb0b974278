"""Resources that an evaluation on texts finds by itself: recipes by name, and instruments of the meaning audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from robustlab.core.errors import DataError
from robustlab.data.text_resources import TEXT_RESOURCES, text_resource
from robustlab.evaluation.text.meaning import Meaning
from robustlab.evaluation.text.plan import MeaningOf
from robustlab.text import TextRecipe

OPINION, ENCODER = "vader", "minilm"
"""Text resources of the audit."""


def instruments(given: MeaningOf) -> Meaning:
    """Instruments of the meaning audit."""
    if given is None:
        return Meaning()
    return found_instruments() if given == "auto" else given


def found_instruments() -> Meaning:
    """Instruments by the resources that are on this machine; nothing is fetched."""
    from robustlab.text.opinion import opinion_words_in

    opinion, encoder = _found(OPINION), _found(ENCODER)
    reads = find_spec("transformers") is not None
    places = {OPINION: opinion, ENCODER: encoder}
    missing = [TEXT_RESOURCES[name].command(name) for name, place in places.items() if not place]
    if encoder and not reads:
        missing.append("pip install 'robustlab[text]'")
    words = opinion_words_in(opinion) if opinion else None
    return Meaning(
        opinion=words.rating if words else None,
        similarity=partial(_similarities, encoder) if encoder and reads else None,
        opinion_version=version_of(OPINION),
        encoder_version=version_of(ENCODER),
        missing=tuple(missing),
    )


def _similarities(folder: Path, pairs: Sequence[tuple[str, str]]) -> Sequence[float]:
    """Sentence similarities of pairs of texts, by the encoder in a folder."""
    from robustlab.text.encoder import encoder_in

    return encoder_in(folder).similarities(pairs)


def version_of(name: str) -> str:
    """Version and digest of a text resource."""
    resource = TEXT_RESOURCES[name]
    return f"{resource.version} ({resource.sha256[:12]})"


def _found(name: str) -> Path | None:
    """The folder of a resource, if it is on this machine."""
    try:
        return text_resource(name, fetch=False)
    except DataError:
        return None


def recipes_of(recipes: Sequence[TextRecipe | str]) -> tuple[list[TextRecipe], dict[str, str]]:
    """Recipes as values, and the versions of the resources that those given by name use.

    Raises: ValueError for an unknown name.
    """
    if isinstance(recipes, str):
        raise ValueError(f"recipes must be a list, got {recipes!r}: put it in a list")
    used: dict[str, str] = {}

    def resource(name: str) -> Path:
        place = text_resource(name)
        used[name] = version_of(name)
        return place

    return [_recipe(one, resource) if isinstance(one, str) else one for one in recipes], used


def _recipe(name: str, resources: Callable[[str], Path]) -> TextRecipe:
    from robustlab.text.recipes import recipe

    return recipe(name, resources=resources)
