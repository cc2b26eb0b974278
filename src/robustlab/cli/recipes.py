"""The recipes of ``robustlab train`` by name: what each is, which options it uses, and how it is made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import typer

from robustlab.cli import natural, parse

if TYPE_CHECKING:
    from robustlab.core import Attack, Examples, Recipe, ThreatModel
    from robustlab.training import Adversarial

R = TypeVar("R")
STEPS = 7
"""Of an iterated attack in ``adversarial``, unless something else is said: as many as in PGD training."""
SIGMA = 0.25
"""Of Gaussian noise, unless something else is said: the smaller one of Cohen et al. on ImageNet."""
_FLAGS = {"smoothing": "--label-smoothing", "targeted": "--targeted", "shared": "--shared-norms"}
_BUDGET = ("eps", "norm")
_CRAFTED = ("step_size", "norm_mode", "eps_warmup")
_STEPPED = ("steps", *_CRAFTED, "steps_warmup")


@dataclass(frozen=True)
class Options:
    """What was typed about the recipe, by the names that the recipes' functions use; None: not typed.

    Then the recipe's own default counts, which is that of its paper.
    """

    attack: str | None = None
    eps: str | None = None
    norm: str | None = None
    steps: int | None = None
    step_size: float | None = None
    mix: float | None = None
    beta: float | None = None
    weight: float | None = None
    gamma: float | None = None
    replays: int | None = None
    entropy: float | None = None
    labels: int | None = None
    ratio: int | None = None
    sigma: float | None = None
    magnitude: int | None = None
    smoothing: float | None = None
    norm_mode: str | None = None
    eps_warmup: float | None = None
    steps_warmup: float | None = None
    targeted: bool | None = None
    shared: bool | None = None
    share: float | None = None

    def typed(self) -> list[str]:
        """Names of the options that were typed."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]

    def threat(self, norm: str = "linf") -> ThreatModel:
        """Norm and budget; the usual ones where none were typed."""
        return parse.threat(self.norm or norm, self.budget(norm))

    def threats(self, norm: str = "linf") -> list[ThreatModel]:
        """One per budget that was typed, the smallest first."""
        return [parse.threat(self.norm or norm, eps) for eps in self.budgets(norm)]

    def budget(self, norm: str = "linf") -> float:
        """Eps alone."""
        budgets = self.budgets(norm)
        if len(budgets) > 1:
            from robustlab.core.words import budget

            raise typer.BadParameter(f"training needs one eps, got {', '.join(map(budget, budgets))}")
        return budgets[0]

    def budgets(self, norm: str = "linf") -> tuple[float, ...]:
        """All eps, the smallest first."""
        return parse.budgets([self.eps] if self.eps else parse.usual_eps(self.norm or norm))

    def given(self, make: Callable[..., R], *first: object, names: tuple[str, ...]) -> R:
        """Calls a function with the named options that were typed, and leaves the others to its defaults."""
        values = {name: getattr(self, name) for name in names}
        return make(*first, **{name: value for name, value in values.items() if value is not None})


class Way(NamedTuple):
    """A recipe of the command."""

    make: Callable[[Options, Examples | None], Recipe]
    """From what was typed, and from the unlabelled examples, if some were set apart."""
    uses: tuple[str, ...]
    """Names of the options that it uses."""
    what: str
    """A few words for the help."""
    norm: str = "linf"
    """Of its budget, where none is typed."""
    activation: str | None = None
    """In place of ReLU, where none is typed."""
    eps: str | None = None
    """Its budget, where none is typed; None: the usual one."""
    apart: bool = False
    """Whether each of its budgets has a route with norms of its own, beside the main one."""

    @property
    def best(self) -> str:
        """What the best epoch is chosen by, if some examples are held out: what the recipe is for."""
        return "clean_accuracy" if self.apart else "robust_accuracy"

    def told(self, o: Options) -> Options:
        """What was typed, with the recipe's own budget where none was."""
        usual = self.eps is not None and o.eps is None and (o.norm or self.norm).lower() == self.norm
        return replace(o, eps=self.eps) if usual else o

    def routes(self, o: Options) -> int:
        """How many routes must lead through the model."""
        return 1 + len(self.told(o).budgets(self.norm)) if self.apart and not o.shared else 1

    def threat(self, o: Options) -> ThreatModel:
        """What the examples that are held out are attacked with: the largest budget, where there may be several."""
        return self.told(o).threats(self.norm)[-1] if self.apart else o.threat(self.norm)


def _standard(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import standard

    return o.given(standard, names=("smoothing",))


def _adversarial(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import adversarial

    names = ("mix", "norm_mode", "eps_warmup", "steps_warmup", "smoothing")
    return o.given(adversarial, _attack(o), names=names)


def _attack(o: Options) -> Attack:
    """The attack by its name, with steps and step size if it has them."""
    name, threat = o.attack or "fgsm-rs", o.threat()
    attack = parse.attack(name, threat, steps=o.steps or STEPS)
    if o.steps is not None and attack == parse.attack(name, threat, steps=o.steps + 1):
        raise typer.BadParameter(f"--steps says nothing to {name}: leave it out, or take pgd")
    if o.step_size is None:
        return attack
    if not hasattr(attack, "step_size"):
        raise typer.BadParameter(f"--step-size says nothing to {name}: leave it out, or take pgd")
    return replace(attack, step_size=o.step_size)  # type: ignore[type-var]  # attacks are dataclasses


def _mixed(made: Adversarial, o: Options) -> Adversarial:
    """The recipe with its share of adversarial inputs and label smoothing, if typed."""
    mix = made.mix if o.mix is None else o.mix
    return replace(made, mix=mix, smoothing=made.smoothing if o.smoothing is None else o.smoothing)


def _pgd(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import madry

    return _mixed(o.given(madry, o.threat(), names=_STEPPED), o)


def _fgsm(o: Options, _: Examples | None) -> Recipe:
    """Goodfellow's: no random start, half of the loss on the data as they are."""
    from robustlab.attacks import FGSM
    from robustlab.training import adversarial

    made = o.given(adversarial, FGSM(o.threat(), o.step_size), names=("norm_mode", "eps_warmup"))
    return _mixed(replace(made, mix=0.5), o)


def _fast(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import fast

    return o.given(fast, o.threat(), names=_CRAFTED)


def _grad_align(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import grad_align

    return o.given(grad_align, o.threat(), names=("weight", *_CRAFTED))


def _sat(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import smooth_adversarial

    return o.given(smooth_adversarial, o.threat(), names=(*_CRAFTED, "mix", "smoothing"))


def _free(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import free

    return o.given(free, o.threat(), names=("replays", "step_size", "eps_warmup"))


def _trades(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import trades

    return o.given(trades, o.threat(), names=("beta", *_STEPPED))


def _mart(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import mart

    return o.given(mart, o.threat(), names=("beta", *_STEPPED))


def _awp(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import awp, madry

    return o.given(awp, _mixed(o.given(madry, o.threat(), names=_STEPPED), o), names=("gamma",))


def _trades_awp(o: Options, _: Examples | None) -> Recipe:
    """TRADES with the gamma that its paper has for it."""
    from robustlab.training import awp, trades

    return awp(o.given(trades, o.threat(), names=("beta", *_STEPPED)), gamma=0.005 if o.gamma is None else o.gamma)


def _vat(o: Options, unlabelled: Examples | None) -> Recipe:
    from robustlab.training import Unlabelled, vat

    if unlabelled is None and o.ratio is not None:
        raise typer.BadParameter("--ratio counts unlabelled examples: say with --labels how many of them are labelled")
    beside = None if unlabelled is None else o.given(Unlabelled, unlabelled, names=("ratio",))
    made = o.given(vat, o.threat("l2"), names=("weight", "entropy", "norm_mode", "eps_warmup"))
    return replace(made, unlabelled=beside)


def _gaussian_noise(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import gaussian_noise

    return _mixed(gaussian_noise(SIGMA if o.sigma is None else o.sigma), o)


def _augmix(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import AugMix, augmix

    made = o.given(augmix, names=("weight",))
    return made if o.magnitude is None else replace(made, change=AugMix(severity=o.magnitude))


def _randaugment(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import RandAugment, augmented, standard

    return augmented(o.given(standard, names=("smoothing",)), o.given(RandAugment, names=("magnitude",)))


def _advprop(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import advprop

    threats = RECIPES["advprop"].told(o).threats()
    return o.given(advprop, threats, names=("steps", "step_size", "targeted", "weight", "shared", "smoothing"))


def _fast_advprop(o: Options, _: Examples | None) -> Recipe:
    from robustlab.training import fast_advprop

    told = RECIPES["fast-advprop"].told(o)
    return o.given(fast_advprop, told.threat(), names=("share", "step_size", "smoothing"))


_MIXED = ("mix", "smoothing")


def _nsl(o: Options, _: Examples | None) -> Recipe:
    from robustlab.regularization import AdversarialRegularization, Neighbourhood

    norm = parse.norm(o.norm or "l2")
    eps = o.threat("l2").eps if o.eps else None
    how = o.given(Neighbourhood, norm, names=("step_size", "steps"))
    made = o.given(AdversarialRegularization, replace(how, eps=eps), names=("norm_mode",))  # type: ignore[arg-type]
    return made if o.weight is None else replace(made, multiplier=o.weight)


RECIPES: dict[str, Way] = {
    "standard": Way(_standard, ("smoothing",), "on the data as they are"),
    "adversarial": Way(_adversarial, ("attack", *_BUDGET, *_STEPPED, *_MIXED), "on what any --attack makes of them"),
    "pgd": Way(_pgd, (*_BUDGET, *_STEPPED, *_MIXED), "PGD training (Madry et al.)"),
    "fgsm": Way(_fgsm, (*_BUDGET, *_CRAFTED, *_MIXED), "half FGSM, half clean (Goodfellow et al.)"),
    "fast": Way(_fast, (*_BUDGET, *_CRAFTED), "FGSM from a random start (Wong et al.), with an alarm"),
    "free": Way(_free, (*_BUDGET, "replays", "step_size", "eps_warmup"), "each batch replayed (Shafahi et al.)"),
    "grad-align": Way(_grad_align, (*_BUDGET, "weight", *_CRAFTED), "FGSM with gradients that agree"),
    "sat": Way(_sat, (*_BUDGET, *_CRAFTED, *_MIXED), "one step through smooth activations", activation="silu"),
    "trades": Way(_trades, (*_BUDGET, "beta", *_STEPPED), "accuracy traded for robustness by --beta"),
    "mart": Way(_mart, (*_BUDGET, "beta", *_STEPPED), "more weight where the clean image is misclassified"),
    "awp": Way(_awp, (*_BUDGET, "gamma", *_STEPPED, *_MIXED), "PGD training at perturbed weights"),
    "trades-awp": Way(_trades_awp, (*_BUDGET, "beta", "gamma", *_STEPPED), "TRADES at perturbed weights"),
    "vat": Way(
        _vat,
        (*_BUDGET, "weight", "entropy", "labels", "ratio", "norm_mode", "eps_warmup"),
        "virtual adversarial training; with --labels most of the data are unlabelled",
        norm="l2",
    ),
    "nsl": Way(
        _nsl,
        (*_BUDGET, "steps", "step_size", "weight", "norm_mode"),
        "adversarial regularization as in Neural Structured Learning; --eps only if the ball is not to be left",
        norm="l2",
    ),
    "gaussian-noise": Way(_gaussian_noise, ("sigma", "mix", "smoothing"), "on noisy inputs"),
    "augmix": Way(_augmix, ("magnitude", "weight"), "images and views of them seen alike (Hendrycks et al.)"),
    "advprop": Way(
        _advprop,
        (*_BUDGET, "steps", "step_size", "targeted", "weight", "shared", "smoothing"),
        "clean and adversarial images through norms of their own (Xie et al.); several --eps: one more for each",
        eps="4/255",
        apart=True,
    ),
    "fast-advprop": Way(
        _fast_advprop,
        (*_BUDGET, "share", "step_size", "smoothing"),
        "the same with one step on a share of each batch (Mei et al.)",
        eps="1/255",
        apart=True,
    ),
    "randaugment": Way(_randaugment, ("magnitude", "smoothing"), "on images changed by RandAugment"),
}
NAMES = ", ".join(RECIPES)


def flag(option: str) -> str:
    """How an option is written."""
    return _FLAGS.get(option, f"--{option.replace('_', '-')}")


def users(option: str) -> str:
    """The recipes that use an option."""
    return ", ".join(name for name, way in RECIPES.items() if option in way.uses)


def checked(name: str, o: Options, *, also: tuple[str, ...] = ()) -> Way:
    """The recipe of a name.

    Args:
        name: as typed.
        o: what was typed about it.
        also: options that something else than the recipe uses.

    Raises: typer.BadParameter for a name that there is not, or an option that it does not use.
    """
    if name not in RECIPES:
        from robustlab.core.text import choice

        raise typer.BadParameter(f"there is no recipe {name!r}{choice(name, RECIPES)}")
    way = RECIPES[name]
    for option in o.typed():
        if option not in way.uses and option not in also:
            raise typer.BadParameter(f"the recipe {name} does not use {flag(option)}: it is for {users(option)}")
    return way


def on_corrupted(
    recipe: Recipe, corruptions: Sequence[str] | None, severities: str | None, variant: str | None
) -> Recipe:
    """The recipe on corrupted images, or itself where no corruption was typed.

    Raises: typer.BadParameter for words that say nothing without corruptions; ValueError for an unknown corruption.
    """
    from robustlab.corruptions import corruption
    from robustlab.training import corrupted

    names, levels = natural.corruptions(corruptions), natural.severities(severities)
    if names is None:
        if severities is not None or variant is not None:
            raise typer.BadParameter("--severities and --variant say how images are corrupted: add --corruptions")
        return recipe
    values = [corruption(name, natural.variant(variant or natural.VARIANTS[0])) for name in names]
    return corrupted(recipe, values) if levels is None else corrupted(recipe, values, levels)
