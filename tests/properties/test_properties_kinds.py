"""Every public function refuses arguments of wrong kinds, each in one sentence."""

from __future__ import annotations

import importlib
import inspect
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab import attacks
from robustlab.attacks import FGSM, OptimizerPGD
from robustlab.core import Linf, Streams, ThreatModel, cross_entropy
from robustlab.core.kinds import Kind, _kinds, checked_later
from robustlab.core.losses import untargeted
from robustlab.core.user_code import spoken
from robustlab.data import InMemory
from robustlab.training import RandAugment, madry, standard

STORED = Path(__file__).parents[1] / "api_surface.json"
ROOMS = [room for room in json.loads(STORED.read_text()) if room not in ("robustlab", "robustlab.cli")]
WRONG: dict[str, object] = {
    "none": None, "text": "text", "number as text": "0.1", "half": 1.5, "nan": math.nan, "list": [], "object": object(),
    "array": np.array([0.1, 0.2]), "image": np.zeros((2, 1, 2, 2), np.float32), "dict": {}, "class": Linf,
    "function": len, "bytes": b"x", "complex": 1j,
}  # fmt: skip
X, Y = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1])
RIGHT: list[object] = [
    1, 0.5, "x", True, X, nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), ThreatModel(), FGSM(ThreatModel()), Linf(),
    (0, 1), InMemory("two", ("a", "b"), X, Y), Streams(0, torch.arange(2)), cross_entropy, [], {}, len, Path("x"),
    torch.float32, standard(), madry(ThreatModel()), RandAugment(), ThreatModel().region(X), "both", "robust",
    untargeted(nn.Flatten(), Y),
]  # fmt: skip


class Door(NamedTuple):
    """A parameter of a public function, and how to call the function with the others right."""

    name: str
    call: Callable[..., object]
    parameter: str
    kind: Kind
    others: dict[str, object]

    def __str__(self) -> str:
        return f"{self.name}-{self.parameter}"


def public() -> Iterator[tuple[str, Any]]:
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in module.__all__:
            thing = getattr(module, name)
            body: Any = vars(thing).get("__init__") if isinstance(thing, type) else thing
            if getattr(body, "__code__", None) is not None and body.__code__.co_filename.endswith("kinds.py"):
                yield name, thing


def doors() -> Iterator[Door]:
    for name, thing in public():
        body: Any = vars(thing).get("__init__") if isinstance(thing, type) else thing
        kinds = _kinds(body.__wrapped__)
        every = inspect.signature(thing).parameters.values()
        parameters = [p for p in every if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        rights = {p.name: right(kinds[p.name]) for p in parameters if p.default is p.empty and p.name in kinds}
        for p in parameters:
            if p.name in kinds and not checked_later(p.name, kinds[p.name]):
                others = {key: value for key, value in rights.items() if key != p.name}
                yield Door(name, thing, p.name, kinds[p.name], others)


def right(kind: Kind) -> object:
    """Something of a kind; of a class that is not easily made, an empty instance."""
    empty = (cast("Any", one).__new__(one) for one in kind.types if isinstance(one, type))
    return next(value for value in (*RIGHT, *empty) if kind.fits(value))


DOORS = list(doors())


def test_every_public_function_and_setting_is_checked() -> None:
    """All but records, which the library makes, and what says itself that an argument is wrong."""
    checked, free = {name for name, _ in public()}, set()
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in module.__all__:
            thing = getattr(module, name)
            a_setting = (
                isinstance(thing, type)
                and is_dataclass(thing)
                and not room.endswith(("evaluation", "studies", "report"))
            )
            if (inspect.isfunction(thing) or a_setting) and inspect.signature(thing).parameters:
                free |= {name} - checked
    by_themselves = {"AWP", "SmoothIn", "Streams", "ThreatModel", "awp", "fold_in", "smooth_in", "threat_of"}
    records = {"History", "Kind", "Passes", "Photograph", "PseudoLabels", "SelfTrained"}
    records |= {"Calibration", "Detection", "Estimate", "Interval", "PairedMeans"}
    called_by_the_library = {"decode", "encode", "frozen", "json_in", "parsed", "replace_atomically", "sha256_of"}
    called_by_the_library |= {"Case", "write_atomically"}
    records |= {"OpinionWords", "PaddingFaults", "SentenceEncoder", "Sentences", "Tagger", "Task", "TextOutcome"}
    records |= {"Vectors", "Victim", "WordNet"}
    # parts of attacks on texts: a plan checks that each has the methods of a part; their arguments are other parts,
    # functions, or a name
    parts_of_recipes = {
        "AgainstBefore", "ChangeName", "Contract", "DeleteWord", "Driver", "ErasedCharacters", "Expand",
        "GradientSwaps", "Homoglyphs", "InvisibleCharacters", "KeepOpinion", "Likelihood", "MaskedModel", "MeanVector",
        "Neighbours", "NoRepeat", "OneOf", "PartOfSpeech", "Reorderings", "Similarity", "StopWords", "Synonyms",
        "TextRecipe", "Untargeted", "WordCosine", "WordDistance", "tfidf_from",
    }  # fmt: skip
    assert free == by_themselves | records | called_by_the_library | parts_of_recipes


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_a_wrong_kind_is_refused_in_a_sentence(door: Door) -> None:
    tried = 0
    for value in WRONG.values():
        if door.kind.fits(value):
            continue
        tried += 1
        with pytest.raises(ValueError, match=rf"^{door.name}: {door.parameter} must be .*, got ") as caught:
            door.call(**door.others, **{door.parameter: value})
        assert spoken(caught.value)
        assert str(caught.value).isprintable()
        assert "\n" not in str(caught.value)
    assert tried >= 3


NAMED = {name: getattr(attacks, name) for name in attacks.__all__ if isinstance(getattr(attacks, name), type)}
ATTACKS = [
    kind for name, kind in NAMED.items()
    if is_dataclass(kind) and "__call__" in vars(kind)
    and name not in ("SGD", "Adagrad", "Adam", "RMSprop", "TorchOptimizer")
]  # fmt: skip
OPTIMIZERS = [attacks.SGD, attacks.Adagrad, attacks.Adam, attacks.RMSprop]
NUMBERS = [-1, 0, -0.5, 1 << 70, math.inf, math.nan, 1e300, 1e-300]
THREAT = ThreatModel(Linf(), 0.1)
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
FEW = ("steps", "queries", "draws")
NEEDED: dict[str, object] = {
    "threat": THREAT, "attack": FGSM(THREAT), "attacks": (FGSM(THREAT),), "count": 2, "lr": 0.1, "surrogate": MODEL,
    "names": ("a",), "steps": 3, "queries": 3, "draws": 2,
}  # fmt: skip


def answer(kind: Callable[..., object], given: dict[str, object]) -> Tensor | ValueError:
    """Adversarial inputs, or why there are none."""
    try:
        made = kind(**given)
        attack = OptimizerPGD(THREAT, made, 2) if kind in OPTIMIZERS else made  # type: ignore[arg-type]
        return cast("attacks.PGD", attack)(MODEL, X, Y)
    except ValueError as error:
        return error


@pytest.mark.parametrize("kind", [*ATTACKS, *OPTIMIZERS], ids=lambda kind: kind.__name__)
def test_a_number_out_of_range_is_refused_in_a_sentence_or_works(kind: type) -> None:
    kinds = _kinds(kind.__init__.__wrapped__)  # type: ignore[misc]
    given = {one.name: NEEDED[one.name] for one in fields(kind) if one.default is MISSING or one.name in FEW}
    for key, value in product(kinds, NUMBERS):
        if key and kinds[key].types & {int, float} and kinds[key].fits(value):
            found = answer(kind, {**given, key: value})
            if isinstance(found, ValueError):
                assert spoken(found), f"{key}={value}: {found}"
            else:
                assert bool(THREAT.contains(X, found).all()), f"{key}={value}"


@pytest.mark.parametrize("seed", [-(1 << 63), -1, 0, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_every_seed_of_64_bits_works(seed: int) -> None:
    attacks.PGD(THREAT, 2)(MODEL, X, Y, seed=seed)


@pytest.mark.parametrize("name", WRONG)
def test_a_threat_model_refuses_what_is_none(name: str) -> None:
    value: Any = WRONG[name]
    for given in ((value, 0.1), (Linf(), value), (Linf(), 0.1, value)):
        if name == "array" and given[0] is not value:
            continue  # one eps per example; two bounds
        with pytest.raises(ValueError, match=r"(norm|eps|bounds|eps=\S+) (must|is) ") as caught:
            ThreatModel(*given)
        assert spoken(caught.value)


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    plain = attacks.PGD(ThreatModel(Linf(), 0.5), steps=3, step_size=0.25)
    made = attacks.PGD(ThreatModel(Linf(), np.float64(0.5)), steps=np.int64(3), step_size=torch.tensor(0.25))  # type: ignore[arg-type]
    assert repr(made) == repr(plain)
    assert [type(made.steps), type(made.step_size)] == [int, float]
