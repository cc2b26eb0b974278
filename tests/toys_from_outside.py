"""The text of a module that adds a toy member of each kind, as CONTRIBUTING.md says."""

from __future__ import annotations

TOY = '''
"""A toy member of each kind, as a user or another package would write it."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

import typer

from robustlab import corruptions, data, evaluation, models, report, studies
from robustlab.attacks import ATTACKS, AttackSpec, Step, at_input
from robustlab.attacks.call import craft
from robustlab.attacks.maximise import Plan, search
from robustlab.cli import options, show
from robustlab.cli.commands import register_command
from robustlab.cli.fields import from_fields
from robustlab.core import ThreatModel, cross_entropy
from robustlab.core.architecture import described
from robustlab.data import DataSet, Description, InMemory
from robustlab.evaluation import Finding, FindingSpec
from robustlab.explain import CHECKS, METHODS, NUMBERS, MethodSpec, NumberSpec
from robustlab.explain.checks import CheckOutcome, CheckSpec
from robustlab.report import Content, Section
from robustlab.studies import Arm, Claim, Effect, Term
from robustlab.studies.claim_engine.measures import Clean
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.sweep import OptimizerSpec, Regime, Rule, register_optimizer, register_regime, register_rule
from robustlab.text import Greedy, TextRecipe, Untargeted
from robustlab.text.recipes import TEXT_RECIPES, RecipeSpec
from robustlab.training import Option, register_recipe, standard, tuned


def signs(size):
    """A step rule: the same length along each sign of the gradient."""
    return Step(lambda start: (), lambda grad, state: (size * grad.sign(), state))


@dataclass(frozen=True)
class ToyAttack:
    """Three steps of that rule."""

    threat: ThreatModel

    label = "three toy steps"

    def plan(self):
        """From the input itself."""
        return Plan(self.threat, signs(self.threat.eps / 2), 3, at_input, cross_entropy)

    search = search
    __call__ = craft


ATTACKS.register("toy-steps", AttackSpec(ToyAttack, "three toy steps"))


@dataclass(frozen=True)
class ToyWord:
    """A transformation of words."""

    name: str = "toy in place of tool"

    def options(self, word):
        return ["toy"] if word == "tool" else []


def toy_texts(_):
    return TextRecipe("toy", Untargeted(), (ToyWord(),), (), Greedy())


TEXT_RECIPES.register("toy-texts", RecipeSpec(toy_texts, "puts toys in the place of tools", "our toy box"))


class ToyOptimizer(torch.optim.SGD):
    """An optimizer of torch."""


@register_recipe("toy-recipe", "does what standard training does")
@dataclass(frozen=True)
class ToyOptions:
    """Options of the recipe."""

    toys: Annotated[int, Option("how many toys to buy")] = 3

    def recipe(self):
        """Standard training."""
        return standard()


def darker(x, draws, constants):
    """Multiplies by a share."""
    return x * constants[0]


corruptions.register(
    corruptions.Kind("toy_dark", "own", darker, constants=((0.9,), (0.7,), (0.5,), (0.3,), (0.1,)))
)


def stripes(request):
    """Bright and dark images."""
    y = torch.arange(40) % 2
    x = (0.25 + 0.5 * y.float()).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).clone()
    return InMemory(f"toy stripes {request.path} {request.split}", ("dark", "bright"), x, y, "made here")


def description(root):
    return Description("toy-stripes:WIDTH", "bright and dark images", "CC0", None, "made here")


data.register("toy-stripes", DataSet(stripes, description, fill_in="WIDTH", splits=("test",), training=False))


def model():
    """A network that tells bright from dark."""
    linear = nn.Linear(16, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 16))
        linear.bias.copy_(torch.tensor([8.0, -8.0]))
    return nn.Sequential(nn.Flatten(), linear)


class ToyNet(nn.Module):
    """One linear layer."""

    def __init__(self, classes=10, channels=1, size=28):
        super().__init__()
        self.linear = nn.Linear(channels * size * size, classes)
        described(self, {"name": "toy-net", "classes": classes, "channels": channels, "size": size})

    def forward(self, x):
        return self.linear(x.flatten(1))


models.register("toy-net", ToyNet)
register_rule(Rule("toy-rule", "a toy rule", lambda threat, steps, lr: ToyAttack(threat), 0.1))
register_optimizer(OptimizerSpec("toy-sgd", "toy SGD", lambda lr: tuned(ToyOptimizer, lr=lr), range(-3, 0)))
register_regime(Regime("toy-regime", "standard training", standard(), None, (), ()))


@dataclass(frozen=True)
class ToyMap:
    """Twice the gradient."""

    def __call__(self, case):
        return 2 * case.gradient(case.x)


@dataclass(frozen=True)
class ToyNumber:
    """The sum of the values of each map."""

    def __call__(self, subject):
        return subject.maps.values.double().flatten(1).sum(1)


@dataclass(frozen=True)
class ToyCheck:
    """Distrusts every map."""

    def __call__(self, subject):
        return CheckOutcome(Finding("toy-doubt", "warning", "Maps of toys are drawn by hand.", {}, "Draw better."))


METHODS.register("toy-map", MethodSpec(ToyMap, "twice the gradient"))
NUMBERS.register("toy-number", NumberSpec(ToyNumber, "sum of the map", better="higher", source="our toy box"))
CHECKS.register("toy-doubt", CheckSpec(ToyCheck, "distrusts every map"))


def suspicious(case):
    """Reports every case."""
    return Finding("toy-suspicion", "serious", "The doctor distrusts toys.", {"n": len(case.ids)}, "Take no toys.")


evaluation.register_finding(FindingSpec("toy-suspicion", rank=0.5, probe=suspicious))


def content(evaluations):
    """A line for each model."""
    return Content("Toy note <b>", ("Model", "n"), tuple((e.model.name, str(e.data.n)) for e in evaluations))


report.register_section("toy-section", Section("Toy section", content))
report.register_export("toy.txt", lambda evaluations: f"{len(evaluations)} toys")

studies.register_claim(
    Claim(
        name="toy-claim",
        statement="Toys are accurate.",
        paper="nobody",
        published="1",
        ours="the same",
        arms=(Arm("toy", Network(standard(), epochs=1)),),
        measures=(Clean(10),),
        effects=(Effect("accuracy of the toy", Term("toy", "clean_accuracy"), smallest=0.5),),
        minutes=1,
    )
)


@dataclass(frozen=True)
class Shop:
    """Options of one command, and one that several have."""

    toys: Annotated[int, typer.Option("--toys", min=1, help="Toys to buy.", rich_help_panel=options.INPUT)] = 3
    json: options.Json = False


@from_fields
def toy_command(name: Annotated[str, typer.Argument(help="Who buys.")], shop: Shop):
    """Buys toys."""
    show.machine({name: shop.toys}) if shop.json else show.say(f"{name} buys {shop.toys} toys")


register_command("toy-command", toy_command, example="robustlab toy-command Ada --toys 4")
'''
