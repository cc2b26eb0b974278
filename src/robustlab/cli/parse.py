"""Values of words on the command line: eps, norms, attacks, models, data sets, devices."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from robustlab.cli.images import Images
    from robustlab.core import Attack, Examples, Norm, ThreatModel

_SWITCHES = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}
EPS = {"linf": "8/255", "l2": "0.5", "l1": "12"}
"""Default budgets by norm: those of comparisons on CIFAR-10."""


def budgets(values: Sequence[str]) -> tuple[float, ...]:
    """Eps as typed: "0.1", "8/255", several with commas between them or by repeating the option.

    >>> budgets(["1/4,0.5"])
    (0.25, 0.5)
    """
    found = [_number(word) for value in values for word in value.split(",") if word.strip()]
    if not found:
        raise typer.BadParameter("no eps was given: write --eps 0.1 or --eps 8/255")
    return tuple(dict.fromkeys(sorted(found)))


def _number(word: str, what: str = "eps") -> float:
    above, slash, below = word.strip().partition("/")
    try:
        value = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        one = "; it is one number for all inputs, not one per channel" if set(word) & set("([{:;") else ""
        raise typer.BadParameter(f"{what} {word.strip()!r} is no number: write 0.1 or 8/255{one}") from None
    if not (math.isfinite(value) and value >= 0):
        raise typer.BadParameter(f"{what} {word.strip()} must be a finite number, 0 or more")
    return value


def usual_eps(norm: str) -> list[str]:
    """The default budget."""
    return [EPS.get(norm.lower(), EPS["linf"])]


def norm(name: str) -> Norm:
    """linf, l2 or l1."""
    from robustlab.core import L1, L2, Linf

    norms: dict[str, Norm] = {"linf": Linf(), "l2": L2(), "l1": L1()}
    if name.lower() not in norms:
        raise typer.BadParameter(f"there is no norm {name!r}: choose linf, l2 or l1")
    return norms[name.lower()]


def threat(name: str, eps: float) -> ThreatModel:
    """A threat model for images in [0, 1]."""
    from robustlab.core import ThreatModel

    return ThreatModel(norm(name), eps)


def attacks(words: Sequence[str], threat: ThreatModel, *, steps: int | None, restarts: int = 1) -> list[Attack]:
    """Attacks by their names on the command line, see ``attack``."""
    names = [name.strip().lower() for word in words for name in word.split(",") if name.strip()]
    if not names:
        raise typer.BadParameter("no attack was given: write --attack autoattack")
    return [attack(name, threat, steps=steps, restarts=restarts) for name in names]


def attack(name: str, threat: ThreatModel, *, steps: int | None = None, restarts: int = 1) -> Attack:
    """One attack by its name.

    Args:
        name: of ``robustlab.attacks.ATTACKS``, maybe with ``targeted-`` in front and options of its own behind, as in
            square:queries=1000.
        threat: norm, eps and bounds.
        steps: of an attack that takes steps; None: its default.
        restarts: of an attack that starts at random.
    """
    from robustlab.attacks.registry import TOWARDS, attack_spec, make_attack

    bare, *typed = name.split(":")
    kind = bare.removeprefix(TOWARDS)
    try:
        known = attack_spec(kind).options
        options = dict(_option(kind, word, known) for word in typed)
        if "steps" in known:
            options.setdefault("steps", steps)
        return make_attack(bare, threat, restarts=restarts, **options)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _option(kind: str, typed: str, known: Mapping[str, object]) -> tuple[str, object]:
    """An option of an attack and its value, which is of the kind of its default."""
    from robustlab.attacks.registry import no_option

    word, equals, value = typed.partition("=")
    word = word.strip().replace("-", "_")
    if not equals:
        raise typer.BadParameter(f"{typed!r} is no option of {kind}: write {kind}:steps=10")
    if word not in known:
        raise no_option(kind, word, known)
    if isinstance(known[word], str):
        return word, value
    if isinstance(known[word], bool):
        if value not in _SWITCHES:
            raise typer.BadParameter(f"{word} of {kind} is on or off, got {value!r}")
        return word, _SWITCHES[value]
    if value.lstrip("-").isdecimal():
        return word, int(value)
    return word, _number(value, f"{word} of {kind}")


def device(name: str) -> torch.device:
    """The device by name; "auto" takes the accelerator if there is one, else the CPU."""
    import torch

    found = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if name == "auto":
        return found
    if name.partition(":")[0] not in {"cpu", found.type}:
        there = ", ".join(dict.fromkeys(("auto", "cpu", found.type)))
        raise typer.BadParameter(f"there is no device {name!r} here: choose {there}")
    return torch.device(name)


def data(
    name: str,
    split: str,
    *,
    size: int | Images | None = None,
    limit: int | None = None,
    seed: int = 0,
    named_model: tuple[str, nn.Module] | None = None,
) -> Examples:
    """A data set by name, or the folder of images per class at a path; a random sample of it with a limit.

    Args:
        name: of the data set, or a path.
        split: of it.
        size: of images, or all options about them.
        limit: size of the sample; None: all.
        seed: of the sample.
        named_model: name of the model that the images are for, and the model.
    """
    from robustlab.cli.images import Images, NamedModel, read
    from robustlab.cli.show import bars
    from robustlab.data import sample

    known = f"folder:{name}" if Path(name).is_dir() else name
    with bars() as report:
        images = size if isinstance(size, Images) else Images(size)
        found = read(known, split, images, report, None if named_model is None else NamedModel(*named_model))
    return found if limit is None or limit >= len(found) else sample(found, limit, seed=seed)


def at_most(limit: int | None, population: int) -> int | None:
    """Number of examples to draw: a limit beyond what there is means all, as for the data of a training."""
    return None if limit is None else min(limit, population)


def learned_part(name: str) -> str:
    """The split of a data set for training; "all" where nothing is divided."""
    from robustlab.data.named import DATA_SETS

    folder = Path(name.removeprefix("folder:")).expanduser()
    if name.startswith("folder:") or folder.is_dir():
        return "train" if (folder / "train").is_dir() else "all"
    word = name.partition(":")[0]
    return "all" if word in DATA_SETS and not DATA_SETS[word].training else "train"


def overlapping(one: tuple[str, str], other: tuple[str, str]) -> bool:
    """True if two data sets, by name and split, share images because they are splits of one set."""
    names = [Path(name.removeprefix("folder:")).expanduser().resolve() for name, _ in (one, other)]
    return names[0] == names[1] and (one[1] == other[1] or "all" in (one[1], other[1]))


def apart(flag: str, size: int, examples: Examples, seed: int) -> tuple[Examples, Examples]:
    """A random sample of the size of an option, and the rest."""
    from robustlab import data

    if size >= len(examples):
        raise typer.BadParameter(
            f"{flag} {size} leaves no other examples: {examples.name} has {len(examples)} examples"
        )
    return data.apart(examples, size, seed=seed)


def reachable(name: str) -> str:
    """The name of a model; for a function, adds the working directory to the path of Python's modules.

    Not earlier: no module that is there by chance, or came with downloaded files, is imported unless it is named.
    """
    if ":" in name and not name.startswith("timm:") and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return name


def untrained(name: str, examples: Examples, seed: int) -> nn.Module:
    """A network without published weights, for inputs and classes like these."""
    import torch

    from robustlab.models import load

    shape = examples.batch(torch.tensor([0])).x.shape[1:]
    channels, side = (shape[0], shape[-1]) if len(shape) == 3 else (None, None)
    return load(reachable(name), classes=len(examples.classes), channels=channels, size=side, seed=seed)


def model(
    name: str, architecture: str | None, classes: int | None, place: torch.device, *, size: int | None = None
) -> nn.Module:
    """A model by Python path, timm name, checkpoint, NAME=CHECKPOINT, or the directory of a training run.

    Args:
        name: of the model, or a path.
        architecture: of a checkpoint that does not name it.
        classes: their number; None: as published, or of the checkpoint.
        place: device of the model.
        size: of the images, for networks by name; None: as published.
    """
    from robustlab.models import load

    named, file = named_file(name, architecture)
    if named is not None:
        return load(reachable(named), classes=classes, checkpoint=file, size=size).to(place)
    return load(reachable(file), classes=classes, size=None if Path(file).exists() else size).to(place)


def named_file(typed: str, architecture: str | None) -> tuple[str | None, str]:
    """The architecture that was typed, if any, in front of a checkpoint or by its option, and the file or name."""
    before, sign, after = typed.rpartition("=")
    if architecture is None and sign and not Path(typed).exists() and Path(after).exists():
        architecture, typed = before, after
    return architecture, str(weights(Path(typed))) if Path(typed).is_dir() else typed


def weights(run: Path) -> Path:
    """The weights in the directory of a training run: the finished ones, else those of its last complete epoch."""
    from robustlab.training import latest

    last = latest(run)
    for found in (run / "model.safetensors", *([last / "model.safetensors"] if last else [])):
        if found.is_file():
            return found
    raise typer.BadParameter(f"{run} holds no checkpoint: give a file, or the directory of a training run")


def fitting(model: nn.Module, examples: Examples) -> nn.Module:
    """The model, after it has taken one of the examples."""
    import torch

    from robustlab.core import frozen
    from robustlab.core.twin import checked_logits
    from robustlab.core.user_code import batch_of, called, inputs

    x = batch_of(examples, torch.tensor([0])).x
    home = next((p.device for p in model.parameters()), x.device)
    with frozen(model, training=False), torch.no_grad():
        wrong = _channels(model, x)
        advice = f"{f'{wrong}; ' if wrong else ''}check --data and --size"
        with called("the model", inputs(x, examples.name), advice=advice):
            checked_logits(model(x.to(home)), x)
    return model


def _channels(model: nn.Module, x: Tensor) -> str:
    """A sentence if the images do not have the channels of the first layer, else nothing."""
    from torch import nn

    first = next((part for part in model.modules() if isinstance(part, nn.Conv2d)), None)
    if first is None or x.ndim != 4 or first.in_channels == x.shape[1]:
        return ""
    return f"it takes images with {first.in_channels} channels, these have {x.shape[1]}"
