# %% [markdown]
# # AdvProp
#
# **Can adversarial examples improve a network on clean images?**
#
# Adversarial training increases robust accuracy and lowers clean accuracy (notebook 12). Xie and others (2020)
# explained the loss by one detail: clean and adversarial images come from different distributions, and BatchNorm mixes
# them. With a separate, auxiliary BatchNorm for adversarial images the same examples improve the network:
# EfficientNet-B7 gained 0.7 points on ImageNet and 6.5 points of mCE under corruptions. We check whether the
# distributions differ, build the training step by hand, train small networks, and discuss what the results show.

# %%
import copy
import os

import matplotlib.pyplot as plt
import timm
import torch
from torch import nn

from robustlab import data, evaluation, studies, training
from robustlab.attacks import PGD
from robustlab.core import Batch, Linf, ThreatModel, cross_entropy, taking
from robustlab.models import exported, load, merged, split_bn
from robustlab.report import figure_style
from robustlab.training import adamw, advprop, fast_advprop, fit, standard

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0
NETWORK = "batchnorm-cnn"

# %% [markdown]
# ## Two distributions
#
# BatchNorm subtracts the mean of each channel and divides by its deviation. In training these are those of the batch,
# and a running average of them is kept for later: the *running statistics*. A network with standard training:

# %%
train, test = (data.load("fashion-mnist", split=split) for split in ("train", "test"))
train = data.sample(train, 3_000, seed=SEED)
settings = training.Settings(3 if QUICK else 5, 64, adamw(2e-3), seed=SEED, precision="auto")
at = ThreatModel(Linf(), 8 / 255)


# %%
def fresh():
    return load(NETWORK, classes=10, channels=1, size=28, seed=SEED)


plain = fresh()
history = fit(plain, standard(), train, settings)
print(f"trained in {history.precision}")

# %% [markdown]
# We compare the inputs of its BatchNorm layers for clean images and for the same images under attack, and, as a
# reference, for other clean images.


# %%
def entering(model, x):
    """Mean and deviation of each channel that comes into each BatchNorm."""
    found, norms = [], [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]

    def keep(_norm, given):
        found.append((given[0].mean(dim=(0, 2, 3)), given[0].std(dim=(0, 2, 3))))

    hooks = [norm.register_forward_pre_hook(keep) for norm in norms]
    with torch.no_grad():
        model.eval()(x)
    for hook in hooks:
        hook.remove()
    return found


# %%
batch, others = test.batch(torch.arange(500)), test.batch(torch.arange(500, 1000))

# %%
clean, populations = entering(plain, batch.x), {"other clean images": entering(plain, others.x)}
for levels in (8, 25):
    attack = PGD(ThreatModel(Linf(), levels / 255), steps=5)
    attacked = attack(plain.eval(), batch.x, batch.y, stop="never")
    populations[f"the same, attacked with {levels}/255"] = entering(plain, attacked)


# %%
def shifts(these):
    """How far the means are from those of the clean images, in deviations, averaged over the channels of a norm."""
    return [((one[0] - own[0]).abs() / own[1]).mean().item() for one, own in zip(these, clean, strict=True)]


# %%
# alt: Left, shift of the means by BatchNorm layer: attacked images are shifted more than other clean ones, more for
#   larger budgets; right, the shift of each channel in the last BatchNorm.
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, these in populations.items():
    axes[0].plot(range(1, len(clean) + 1), shifts(these), "o-", label=name)
    axes[1].plot(clean[-1][0], these[-1][0] - clean[-1][0], ".")
axes[0].xaxis.get_major_locator().set_params(integer=True)
axes[0].set(xlabel="BatchNorm layer, from the input", ylabel="shift of the means, in deviations", ylim=(0, None))
axes[1].axhline(0, color="gray", lw=0.8)
axes[1].set(xlabel="mean of a channel, clean images", ylabel="shift of that mean", title="last BatchNorm")
axes[0].legend(fontsize="small")
plt.show()

# %%
last = [shifts(these)[-1] for these in populations.values()]
print("last BatchNorm:", *(f"{name} {shift:.3f}" for name, shift in zip(populations, last, strict=True)), sep="\n  ")
assert last[2] > 2.5 * last[0]
assert last[2] > last[1] > last[0]

# %% [markdown]
# The pixels have hardly changed, but attacked images have a different distribution: after the first BatchNorm, their
# means differ more from those of the clean images than the means of other clean images do, and more for larger budgets.
# A single pair of running statistics has to average over both.
#
# ## Auxiliary BatchNorm
#
# `split_bn` replaces every BatchNorm by a *main* and an *auxiliary* one; all other weights are shared. Each pass
# uses one of the two routes. The main route is used for testing.
#
# $$L = \ell\big(f_{\text{main}}(x), y\big) + \ell\big(f_{\text{aux}}(x_{\text{adv}}), y\big), \qquad
# x_{\text{adv}} = \text{PGD against } f_{\text{aux}} \text{ towards a random wrong class.}$$

# %%
split = split_bn(plain)
sizes = [sum(parameter.numel() for parameter in net.parameters()) for net in (plain, split)]
print(f"{sizes[1] - sizes[0]:,} weights more, {sizes[1] / sizes[0] - 1:.2%}")
torch.testing.assert_close(split(batch.x), plain(batch.x), rtol=0, atol=0)
assert sizes[1] < 1.05 * sizes[0]

# %% [markdown]
# ## One step by hand
#
# For a tiny network in double precision. The attack uses the auxiliary route in eval mode, so that it does not change
# any running statistics. Then each batch is passed through its own route in training mode, and the gradients are added.

# %%
torch.manual_seed(SEED)
tiny = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.SiLU(), nn.Flatten(), nn.Linear(676, 10))
tiny = split_bn(tiny.double())

# %%
some = Batch(batch.x[:32].double(), batch.y[:32], torch.arange(32), seed=7)
recipe = advprop(at, steps=2, step_size=4 / 255)
wrong = recipe.target(some, 10, 1)
assert (wrong != some.y).all()

# %%
hand = copy.deepcopy(tiny).train()
cross_entropy(hand(some.x), some.y).mean().backward()

# %%
with taking(hand, 1):
    attack = PGD(at, steps=2, step_size=4 / 255)
    x_adv = attack(hand.eval(), some.x, some.y, target=wrong, stop="never", seed=some.seed, ids=some.ids)
    cross_entropy(hand.train()(x_adv), some.y).mean().backward()

# %%
recipe.step(tiny.train(), some, recipe.init(tiny), lambda loss: loss.backward())
for ours, theirs in zip(hand.parameters(), tiny.parameters(), strict=True):
    torch.testing.assert_close(ours.grad, theirs.grad)
for ours, theirs in zip(hand.buffers(), tiny.buffers(), strict=True):
    torch.testing.assert_close(ours, theirs)

# %% [markdown]
# ## Four networks
#
# The same first weights, the same images, the same number of updates:
#
# - **standard**: clean images alone;
# - **AdvProp**, with one attack step (the paper uses five): about three times the cost;
# - **Fast AdvProp** (Mei and others, 2022): a fifth of each batch is perturbed, and the pass that yields the attacker's
#   gradient trains the weights as well: 1.2 times the cost;
# - **shared bn**: AdvProp without the auxiliary BatchNorm; all images use the main BatchNorm.

# %%
recipes = {
    "AdvProp": (advprop(at, steps=1, step_size=at.eps), split_bn(fresh())),
    "Fast AdvProp": (fast_advprop(at), split_bn(fresh())),
    "shared bn": (advprop(at, steps=1, step_size=at.eps, shared=True), fresh()),
}

# %%
nets = {"standard": plain}
for name, (recipe, net) in recipes.items():
    fit(net, recipe, train, settings)
    nets[name] = net

# %% [markdown]
# Did an adversarial example ever pass through a main BatchNorm? Each BatchNorm counts the batches that updated its
# statistics:

# %%
updates = settings.epochs * -(-len(train) // settings.batch_size)
counts = {
    name: {key: int(value) for key, value in net.state_dict().items() if key.endswith("num_batches_tracked")}
    for name, net in nets.items()
}

# %%
for name, found in counts.items():
    main, aux = ({n for key, n in found.items() if (".aux." in key) == side} for side in (False, True))
    print(f"{name:13} main BatchNorm {main}, auxiliary {aux or '-'}, updates {updates}")

# %%
assert set(counts["AdvProp"].values()) == {updates}
assert {n for key, n in counts["Fast AdvProp"].items() if ".aux." not in key} == {updates}
assert {n for key, n in counts["Fast AdvProp"].items() if ".aux." in key} == {2 * updates}
assert set(counts["shared bn"].values()) == {2 * updates}

# %% [markdown]
# The main BatchNorm of AdvProp was updated once per step; a shared BatchNorm was updated twice. To verify that the
# clean batch updates it, we take one step from the same weights: the main statistics after a step of AdvProp are
# bit-identical to those after a step of standard training.


# %%
def moved(recipe, net):
    """Statistics of the main BatchNorm layers after one step."""
    net = copy.deepcopy(net).train()
    recipe.step(net, batch, recipe.init(net), lambda loss: loss.backward())
    return [value for key, value in merged(net).state_dict().items() if "running" in key]


# %%
usual, ours, mixed = (moved(how, split) for how in (standard(), recipes["AdvProp"][0], recipes["shared bn"][0]))
assert all(torch.equal(one, same) for one, same in zip(usual, ours, strict=True))
assert not any(torch.equal(one, same) for one, same in zip(usual, mixed, strict=True))

# %% [markdown]
# ## Results
#
# Clean images, five corruptions, and a weak attack (PGD with ten steps, half the budget of training).

# %%
n = 400 if QUICK else 1000
harm = ["gaussian_noise", "defocus_blur", "fog", "contrast", "jpeg_compression"]
small = PGD(ThreatModel(Linf(), 4 / 255), steps=10)

# %%
table = {}
for name, net in nets.items():
    seen = evaluation.evaluate(net, test, attacks=[small], n=n, settings=evaluation.Settings(doctor=False))
    corrupted = evaluation.evaluate_corruptions(net, test, corruptions=harm, severities=[3], n=n)
    table[name] = [seen.clean.accuracy, corrupted.mean_accuracy, seen.results[0].robust]

# %%
# alt: Bars with intervals for four networks, clean, corrupted and under PGD: within each group most intervals
#   overlap.
figure, axis = plt.subplots(figsize=(9.5, 4), layout="constrained")
for place, (name, row) in enumerate(table.items()):
    errors = [[one.value - one.low for one in row], [one.high - one.value for one in row]]
    spots = [k + 0.2 * place - 0.3 for k in range(3)]
    axis.bar(spots, [one.value for one in row], 0.18, yerr=errors, capsize=2, label=name)
    print(f"{name:13}", "  ".join(f"{one.value:.1%} [{one.low:.1%}, {one.high:.1%}]" for one in row))
axis.set_xticks(range(3), ["clean", "corrupted", "PGD, eps 4/255"])
axis.set(ylim=(0, 1.15), ylabel="accuracy")
axis.legend(ncols=4, fontsize="small")
plt.show()

# %%
clean_fractions = [row[0] for row in table.values()]
assert min(one.value for one in clean_fractions) > 0.7
assert max(one.value for one in clean_fractions) - min(one.value for one in clean_fractions) < 0.08
assert all(row[2].value < row[0].value - 0.02 for row in table.values())

# %% [markdown]
# The intervals are over *images*; they do not include the differences between training seeds. Most networks here are
# closer together than the intervals are wide: a run of a minute does not show whether AdvProp improves a network. The
# paper's gains are about one point of clean accuracy, on more than a million photographs; ours is a small network that
# has seen a few thousand images a few times.
#
# The claims test this over seeds, with a small EfficientNet, and with the smallest effect that counts written down
# before the first run (see docs/guide/claims.md). The results so far:

# %% tags=["stored"]
for outcome in studies.known(["advprop", "fast-advprop", "auxiliary-norms"]):
    print("\n".join(studies.words(outcome)), end="\n\n")

# %% [markdown]
# ## Exporting the weights
#
# The auxiliary BatchNorm is used only in training. `exported` removes it and returns the weights of the plain network
# under timm's names. Here for an EfficientNet-B0 after two steps of AdvProp:

# %%
large = split_bn(load("timm:efficientnet_b0,stride=2", classes=10, channels=1, size=28, seed=SEED))
step = advprop(at, steps=1, step_size=at.eps)
fit(large, step, data.sample(train, 64, seed=SEED), training.Settings(1, 32, adamw(), seed=SEED))
elsewhere = timm.create_model("efficientnet_b0", num_classes=10, in_chans=1).eval()
missing = elsewhere.load_state_dict(exported(large))
assert not missing.missing_keys

# %%
x = batch.x[:64]
with torch.no_grad():
    torch.testing.assert_close(elsewhere(large.normalise(x)), large.eval()(x))
    with taking(large, 1):
        assert not torch.allclose(elsewhere(large.normalise(x)), large(x), atol=1e-4)

# %% [markdown]
# timm has no routes and gives the same logits as the main route; those of the auxiliary route differ. The normalisation
# has to be exported with the weights: the published ones of AdvProp (`tf_efficientnet_b0.ap_in1k` and so on) need mean
# and standard deviation 0.5, not ImageNet's, and lose accuracy without an error otherwise (notebook 19).
#
# ## What we saw
#
# - Attacked images have different statistics from clean images.
# - AdvProp is standard training plus a second pass through an auxiliary BatchNorm; the attack uses the same route.
# - Adversarial examples never change the main statistics, and the exported network is a plain one.
# - A minute of training does not show whether it helps. The claims test this over seeds.

# %% [markdown]
# ## Exercises
#
# **1.** Which route is harder to fool? Attack each route with its own gradients.

# %% tags=["solution"]
for route, name in enumerate(("main", "auxiliary")):
    with taking(nets["AdvProp"], route):
        seen = evaluation.evaluate(
            nets["AdvProp"], test, attacks=[small], n=n, settings=evaluation.Settings(doctor=False)
        )
    print(f"{name:9} clean {seen.clean.accuracy.value:.1%}, PGD {seen.results[0].robust.value:.1%}")

# %% [markdown]
# **2.** Fine-grained AdvProp has a route for each budget: `advprop([weak, strong])` on `split_bn(net, routes=3)`.
# How far apart are the running statistics of the two auxiliary routes after training?
#
# **3.** Train with `weight=0`. Which network do you get, and how can you verify this without measuring accuracy?
