"""robustlab attack: adversarial examples of some images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from robustlab.cli import images as i
from robustlab.cli import options as o
from robustlab.cli import parse, show
from robustlab.cli.attack_help import List
from robustlab.cli.commands import register_command
from robustlab.cli.fields import from_fields
from robustlab.cli.run import directory

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustlab.core import Batch
    from robustlab.report import Row

EXAMPLE = "robustlab attack runs/standard --data fashion-mnist --attack targeted-pgd --eps 0.1 --limit 8"
Ids = Annotated[
    str | None,
    typer.Option(
        "--ids",
        help="Numbers of examples, with commas between them; default: a random sample.",
        rich_help_panel=o.INPUT,
    ),
]
Png = Annotated[
    bool,
    typer.Option(
        "--png",
        help="Restrict the attack to images of 8 bits; each is saved as PNG, loaded and checked.",
        rich_help_panel=o.OUTPUT,
    ),
]


@dataclass(frozen=True)
class Attacking:
    """The attack and its budget."""

    attack: Annotated[str, typer.Option("--attack", help="One of {attacks}.", rich_help_panel=o.INPUT)] = "pgd"
    eps: o.OneEps = None
    norm: o.Norm = "linf"
    steps: o.OwnSteps = None
    restarts: o.Restarts = 1


@dataclass(frozen=True)
class Chosen:
    """Numbers of the examples, or the size of a random sample."""

    limit: Annotated[int, typer.Option("--limit", min=1, help="Number of examples.", rich_help_panel=o.INPUT)] = 8
    ids: Ids = None
    seed: o.Seed = o.SEED


@from_fields
def attack(
    measured: o.Measured,
    images: i.Images,
    attacking: Attacking,
    chosen: Chosen,
    *,
    device: o.Device = o.DEVICE,
    out: Annotated[Path | None, typer.Option("--out", help="Directory to write to.", rich_help_panel=o.OUTPUT)] = None,
    png: Png = False,
    list_attacks: List = False,  # noqa: ARG001 -- its callback lists them
    json: o.Json = False,
) -> None:
    """Makes adversarial examples of some images; writes adversarial.safetensors and a sheet of images as PNG.

    The file holds x, x_adv, y, ids, prediction and prediction_adv; images are in [0, 1].
    """
    from robustlab.attacks.uint8 import in_8_bits
    from robustlab.core import frozen
    from robustlab.core.modes import seed_generators
    from robustlab.evaluation import verify_saved
    from robustlab.report import is_image_shape, sheet

    place = parse.device(device)
    threat = parse.threat(
        attacking.norm, parse.budgets([attacking.eps] if attacking.eps else parse.usual_eps(attacking.norm))[-1]
    )
    method = parse.attack(attacking.attack, threat, steps=attacking.steps, restarts=attacking.restarts)
    method = in_8_bits(method) if png else method
    model, seed = measured.model, chosen.seed
    loaded = parse.model(model, measured.architecture, measured.classes, place, size=images.size)
    examples = parse.data(measured.data, measured.split, size=images, named_model=(model, loaded))
    subject = parse.fitting(loaded, examples)
    batch = examples.batch(_chosen(chosen.ids, len(examples), chosen.limit, seed))
    x, y = batch.x.to(place), batch.y.to(place)
    with frozen(subject, training=False):
        seed_generators(seed)  # for a model that draws
        x_adv = method(subject, x, y, seed=seed, ids=batch.ids.to(place))
        crafted = Crafted(batch, x_adv.cpu(), _probabilities(subject, x), _probabilities(subject, x_adv))
    home = directory(out, attacking.attack, model)
    _write(crafted, home)
    saved = verify_saved(subject, x_adv, y, home / "png", ids=batch.ids) if png else None
    if is_image_shape(x.shape[1:]):
        sheet(_rows(crafted, examples.classes), home / "sheet.png")
    _print(crafted, examples.classes, json=json)
    if saved is not None:
        show.say(f"{int(saved.fooled.sum())} of the {len(y)} images in {home / 'png'} fool the model when loaded again")
    show.say(f"Written to {home}", "good")


class Crafted(NamedTuple):
    """Adversarial examples, and the model's probabilities before and after."""

    batch: Batch
    x_adv: Tensor
    before: Tensor
    """Softmax probabilities (N, K) of the clean inputs."""
    after: Tensor


def _chosen(ids: str | None, population: int, limit: int, seed: int) -> Tensor:
    import torch

    from robustlab.core import subset

    if ids is None:
        return subset(population, min(limit, population), seed)
    try:
        return torch.tensor([int(word) for word in ids.split(",")])
    except ValueError:
        raise typer.BadParameter(f"--ids {ids!r} is no list of numbers: write --ids 3,14,15") from None


def _probabilities(model: nn.Module, x: Tensor) -> Tensor:
    import torch

    with torch.no_grad():
        return torch.softmax(model(x), dim=1).cpu()


def _write(crafted: Crafted, home: Path) -> None:
    from robustlab.core import RunError
    from robustlab.runs.tensors import save_tensors

    tensors = {"x": crafted.batch.x, "x_adv": crafted.x_adv, "y": crafted.batch.y, "ids": crafted.batch.ids}
    tensors |= {"prediction": crafted.before.argmax(1), "prediction_adv": crafted.after.argmax(1)}
    try:
        plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_tensors(home / "adversarial.safetensors", plain)
    except OSError as error:
        raise RunError(f"cannot write to {home}: {error.strerror}; choose another directory with --out") from error


def _rows(crafted: Crafted, classes: Sequence[str]) -> list[Row]:
    from robustlab.report import Row

    return [
        Row(x, x_adv, _label(before, classes), _label(after, classes))
        for x, x_adv, before, after in zip(crafted.batch.x, crafted.x_adv, crafted.before, crafted.after, strict=True)
    ]


def _label(probabilities: Tensor, classes: Sequence[str]) -> str:
    """The predicted class and its probability."""
    number = int(probabilities.argmax())
    name = classes[number] if number < len(classes) else f"class {number}"
    return f"{name} {float(probabilities[number]):.0%}"


def _print(crafted: Crafted, classes: Sequence[str], *, json: bool) -> None:
    """Prints a line per example."""
    head = ("example", "label", "before", "after")
    rows = [
        (str(int(number)), classes[int(label)], _label(before, classes), _label(after, classes))
        for number, label, before, after in zip(
            crafted.batch.ids, crafted.batch.y, crafted.before, crafted.after, strict=True
        )
    ]
    if json:
        show.machine([dict(zip(head, row, strict=True)) for row in rows])
    else:
        show.table(head, rows)


register_command("attack", attack, example=EXAMPLE)
