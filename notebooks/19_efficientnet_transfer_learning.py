# %% [markdown]
# # EfficientNet and transfer learning
#
# **What does a network trained on a million photographs know about clothes?**
#
# A large network learns little from a few hundred labels. A pretrained one may need only a new last layer. We examine
# how EfficientNets are built, adapt one with ImageNet weights to Fashion-MNIST, demonstrate the most common mistake,
# and measure whether the result is robust.

# %%
import copy
import math
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from robustlab import attacks, data, evaluation, models, statistics, studies, training
from robustlab.core import Linf, ThreatModel
from robustlab.report import figure_style

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# ## EfficientNet
#
# A stack of *MBConv* blocks (mobile inverted bottleneck). An ordinary convolution of kxk combines neighbouring pixels
# and mixes all $C$ channels at once, which takes $k^2 C^2$ multiplications per pixel. The block separates these:
#
# 1. **expand**: a convolution of 1x1 makes six times as many channels;
# 2. **depthwise**: a convolution of kxk in each channel alone, $k^2$ multiplications per pixel and channel;
# 3. **squeeze and excite**: the mean of each channel goes through two small layers that compute its weight;
# 4. **project**: a convolution of 1x1 back to few channels; the input of the block is added.
#
# Here is one from EfficientNet-B0, by hand:

# %%
torch.manual_seed(SEED)
block = timm.create_model("efficientnet_b0").blocks[2][1].eval().requires_grad_(requires_grad=False)
x = torch.randn(1, 40, 28, 28)
wide = block.bn1(block.conv_pw(x))
seen = block.bn2(block.conv_dw(wide))
gates = block.se.conv_expand(nn.functional.silu(block.se.conv_reduce(seen.mean(dim=(2, 3), keepdim=True))))
made = x + block.bn3(block.conv_pwl(seen * gates.sigmoid()))
torch.testing.assert_close(made, block(x))
print(f"{x.shape[1]} channels, {wide.shape[1]} inside, back to {made.shape[1]}")


# %%
def multiply_adds(net, image):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(image)
    return counter.get_total_flops() / 2


# %%
ordinary = multiply_adds(nn.Conv2d(240, 240, 5, padding=2), wide)
print(f"block {multiply_adds(block, x):,.0f} multiply-adds, one ordinary 5x5 convolution inside {ordinary:,.0f}")
assert multiply_adds(block, x) < 0.05 * ordinary

# %% [markdown]
# ## Compound scaling
#
# A network grows in depth (more blocks), in width (more channels) or in resolution (larger images). Tan and Le (2019)
# scale all three at once, by one number $\phi$:
#
# $$\text{depth} = \alpha^\phi, \quad \text{width} = \beta^\phi, \quad \text{resolution} = \gamma^\phi, \qquad
# \alpha = 1.2,\ \beta = 1.1,\ \gamma = 1.15 .$$
#
# Multiply-adds grow with depth, and with the square of width and of resolution; $\alpha\beta^2\gamma^2 \approx 2$, so
# that each step of $\phi$ doubles them. The released networks round factors, and numbers of layers upwards: B0 to B7
# have these widths, depths and pixels. We count weights and multiply-adds without loading weights or computing
# anything.

# %%
scales = [
    (1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 300),
    (1.4, 1.8, 380), (1.6, 2.2, 456), (1.8, 2.6, 528), (2.0, 3.1, 600),
]  # fmt: skip

# %%
weights, work = [], []
for number, (_, _, side) in enumerate(scales):
    with torch.device("meta"):
        net = timm.create_model(f"efficientnet_b{number}").eval()
        work.append(multiply_adds(net, torch.zeros(1, 3, side, side)) / 1e9)
    weights.append(sum(parameter.numel() for parameter in net.parameters()) / 1e6)
published = {"weights": [5.3, 7.8, 9.2, 12, 19, 30, 43, 66], "work": [0.39, 0.70, 1.0, 1.8, 4.2, 9.9, 19, 37]}
product = [work[0] * width**2 * depth * (side / 224) ** 2 for width, depth, side in scales]

# %%
# alt: Two panels for EfficientNet B0 to B7, weights and multiply-adds on logarithmic axes: the counts agree with the
#   published values and lie near the dotted rule of compound scaling.
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for axis, name, counted in zip(axes, published, (weights, work), strict=True):
    axis.semilogy(counted, "o-", label="counted")
    axis.semilogy(published[name], "kx", ms=9, label="published")
    axis.set_xticks(range(8), [f"B{number}" for number in range(8)])
axes[1].semilogy(product, ":", label="depth x width² x resolution²")
axes[0].set(title="million weights")
axes[1].set(title="billion multiply-adds per image")
axes[1].legend(fontsize="small")
plt.show()

# %%
for name, counted in (("weights", weights), ("work", work)):
    assert all(abs(math.log(own / theirs)) < 0.06 for own, theirs in zip(counted, published[name], strict=True))
assert all(2 / 3 < own / rule < 3 / 2 for own, rule in zip(work, product, strict=True))
assert abs(1.2 * 1.1**2 * 1.15**2 - 2) < 0.1

# %% [markdown]
# For images of 28x28 pixels even B0 is large: it halves them five times. Options after the name fit a network to them:
# the stride of the first convolution, the width of all layers, and noise in training (dropout, stochastic depth).

# %%
for name in ("efficientnet_b0", "efficientnet_b0,stride=2", "efficientnet_b0,stride=2,width=0.5"):
    small = models.load(f"timm:{name}", classes=10, channels=1, size=28, seed=SEED)
    count = sum(parameter.numel() for parameter in small.parameters()) / 1e6
    cost = multiply_adds(small, torch.zeros(1, 1, 28, 28)) / 1e6
    print(f"{name:35} {count:.1f} million weights, {cost:5.1f} million multiply-adds")

# %%
assert count < 1.5
assert cost < 5

# %% [markdown]
# (Without a stride the image is enlarged to 64x64 first, inside the model.)
#
# ## A few labelled images
#
# A few hundred images for training, some more to decide when to stop, and test images that are used once.

# %%
few = data.sample(data.load("fashion-mnist", split="train"), 800 if QUICK else 2_000, seed=SEED)
held, train = data.apart(few, 100 if QUICK else 500, seed=SEED)
test = data.load("fashion-mnist", split="test")
drawn = data.sample(test, 350 if QUICK else 1_000, seed=SEED)


# %%
def accuracy(net):
    """Share of the test images that are classified correctly, with its interval."""
    count = round(training.HeldOut(drawn)(net.eval())["accuracy"] * len(drawn))
    return statistics.clopper_pearson(count, len(drawn))


# %% [markdown]
# `pretrained` takes EfficientNet-Lite0 (B0 without squeeze and excite, and with ReLU6 in place of SiLU) with its
# ImageNet weights, gives it a new last layer for our ten classes, and puts first layers in front that make a grey
# image of 28 pixels a coloured one of 64: the model takes our images unchanged.

# %%
model = studies.pretrained("efficientnet-lite0", train, seed=SEED)
groups = training.layer_groups(model)
print(" > ".join(group.name.removeprefix("model.model.") for group in groups))

# %% [markdown]
# ## First the head
#
# All but the last layer, the *head*, is frozen. The input of the head is then constant: 1,280 features per image. They
# are computed once and stored on disk, so an epoch is very fast. Training stops when held-out accuracy has not improved
# for five epochs, and restores the best epoch.

# %%
folder = tempfile.TemporaryDirectory()
rooms = Path(folder.name)
head = training.Settings(30, 32, training.adamw(2e-3), seed=SEED, best="accuracy", patience=5)

# %%
seen_by_the_network = []


def watch(at):
    if at.task == "features":
        seen_by_the_network.append(at.metrics["images"])


# %%
plan = training.Plan(head=head, body=None, cache=rooms / "features")
done = training.finetune(model, training.standard(), train, plan, out=rooms / "head", held=held, progress=watch).head
frozen = accuracy(model)
print(f"{len(done.epochs)} epochs, the best was {done.best}; test images right: {frozen.value:.1%}")

# %%
assert sum(seen_by_the_network) == len(train)
assert len(done.epochs) > 5

# %% [markdown]
# Every image passed through the network only once, for all epochs of the head.
#
# ## Then the body, from the top down
#
# Now the network itself is trained (Howard and Ruder, 2018). Low layers detect edges and textures, which clothes have
# as well; high layers detect ImageNet's classes. So groups of layers are unfrozen one after the other from the top,
# each with 0.7 times the learning rate of the one above.

# %%
tuned = copy.deepcopy(model)
groups, opened = training.layer_groups(tuned), []


def keep(_at):
    opened.append([all(parameter.requires_grad for parameter in group.parameters) for group in groups])


# %%
body = training.Settings(3, 32, training.adamw(2e-3), seed=SEED, best="accuracy")
plan = training.Plan(head=None, body=body, decay=0.7, fraction=0.3)
done = training.finetune(tuned, training.standard(), train, plan, out=rooms / "body", held=held, progress=keep).body
print("held-out images right after each epoch:", *(f"{value:.0%}" for value in done["validation_accuracy"]))

# %%
# alt: Map of layers over steps: the head learns from the start at the highest rate, layers below join one after
#   the other at lower rates, and white ones are frozen.
rates = torch.tensor([2e-3 * 0.7 ** (len(groups) - 1 - k) for k in range(len(groups))]).unsqueeze(1)
when = torch.tensor(opened).T
figure, axis = plt.subplots(figsize=(9.5, 4), layout="constrained")
picture = axis.imshow((rates * when).where(when, math.nan), aspect="auto", origin="lower", interpolation="nearest")
axis.set_yticks(range(len(groups)), [group.name.removeprefix("model.model.") for group in groups])
axis.set(xlabel="step", title="which layers learn when, and the highest rate of each")
figure.colorbar(picture)
plt.show()

# %%
assert when[-2:].all()
assert when[:, -1].all()
assert (when[:, 1:].int() >= when[:, :-1].int()).all()
assert not when[0, : when.shape[1] // 5].any()
assert accuracy(tuned).value > frozen.value - 0.03

# %% [markdown]
# White layers are frozen; the head is at the top. On so few images the second stage gains a few points or none; with
# more images it gains more (`ROBUSTLAB_BUDGET=full`). A plan with both stages runs them in one call; if the second is
# worse on held-out images, the weights of the first are restored. `robustlab finetune` does the same.
#
# ## The same images, from scratch
#
# As a baseline we train two networks on the few images alone, with more passes than the fine-tuning had: to the
# EfficientNet of half the width from above, and to the small network of the other notebooks, made for images like
# these.

# %%
light = models.load("shallow-cnn", seed=SEED)
alone = {"EfficientNet from scratch": (small, 4), "small network from scratch": (light, 20)}
found = {"head on frozen features": frozen, "fine-tuned": accuracy(tuned)}

# %%
for name, (net, epochs) in alone.items():
    usual = training.Settings(epochs, 32, training.adamw(2e-3), seed=SEED)
    training.fit(net, training.standard(), train, usual)
    found[name] = accuracy(net)

# %%
# alt: Bars of test accuracy with intervals: frozen features, the fine-tuned network and the small network are
#   ahead of the EfficientNet from scratch.
figure, axis = plt.subplots(figsize=(9, 2.8), layout="constrained")
for row, (name, fraction) in enumerate(found.items()):
    axis.barh(row, fraction.value, xerr=[[fraction.value - fraction.low], [fraction.high - fraction.value]], capsize=2)
    print(f"{name:28} {fraction.value:.1%} [{fraction.low:.1%}, {fraction.high:.1%}]")
axis.set_yticks(range(len(found)), found)
axis.set(xlim=(0, 1), xlabel=f"test accuracy after {len(train)} labelled images")
axis.invert_yaxis()
plt.show()

# %%
assert found["fine-tuned"].low > found["EfficientNet from scratch"].high
assert found["head on frozen features"].low > found["EfficientNet from scratch"].high
assert found["small network from scratch"].low > found["EfficientNet from scratch"].high

# %% [markdown]
# A network of a million weights learns little from a few hundred images. The small one, with 85,000, does far better,
# and is close to a new last layer on pretrained features. So state the baseline: transfer easily beats training from
# scratch for a network that is too large for its data. The comparison of EfficientNet with plain networks over seeds is
# in the claims `efficientnet-equal-work` and `efficientnet-equal-time` (docs/guide/claims.md).
#
# ## A common mistake: wrong normalisation
#
# Weights expect normalised inputs, $(x - \text{mean}) / \text{std}$, but do not store mean and std. Lite0 needs 0.5 and
# 0.5, most other networks ImageNet's values, some inputs in 0..255. A wrong one raises no error, but costs accuracy:


# %%
def normalising(net, mean, std):
    """The same weights behind another first layer."""
    wrong = copy.deepcopy(net)
    layer = next(part for part in wrong.modules() if isinstance(part, models.Normalise))
    layer.mean.fill_(mean), layer.std.fill_(std)
    return wrong


# %%
normalisations = {"its own": (0.5, 0.5), "ImageNet's": (0.449, 0.226), "none": (0.0, 1.0), "0..255": (0.0, 1 / 255)}
costs = {name: accuracy(normalising(tuned, *constants)) for name, constants in normalisations.items()}
for name, fraction in costs.items():
    print(f"{name:11} {fraction.value:.1%} [{fraction.low:.1%}, {fraction.high:.1%}]")

# %%
assert costs["its own"].low > costs["0..255"].high + 0.05
assert costs["its own"].value > max(fraction.value for fraction in costs.values()) - 0.03

# %% [markdown]
# The largest loss is easy to notice. A loss of a few points is not, if there is no other result to compare with. So
# robustlab keeps the normalisation in the model, as its first layer, and checks that it matches the weights. A function
# with a wrong normalisation is refused:


# %%
def careless():
    """The weights of ImageNet, behind a first layer that is right for other networks."""
    network = models.load("efficientnet-lite0", pretrained=True).get_submodule("model")
    return models.normalised(network, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


# %%
refused = ""
try:
    studies.pretrained("__main__:careless", data.load("photographs"))
except ValueError as error:
    refused = str(error)
print(refused)
assert "mean 0.5" in refused

# %% [markdown]
# In other cases the input doctor, which runs before each evaluation, tests the model on the same images in other units:

# %%
findings = evaluation.inspect_inputs(normalising(tuned, *normalisations["ImageNet's"]), drawn)
for finding in findings:
    print(f"{finding.code} ({finding.severity}): {finding.title}\n{finding.advice}")
assert "model-normalises-otherwise" in {finding.code for finding in findings}

# %% [markdown]
# ## Robustness of the fine-tuned network
#
# The features were learned from a million photographs and generalise. Are they robust? We attack with one step (FGSM)
# and ten (PGD); a pixel may change by 2 or 4 of 255 levels.

# %%
budgets = [2, 4]
within = [ThreatModel(Linf(), eps / 255) for eps in budgets]
both = [attack for at in within for attack in (attacks.FGSM(at), attacks.PGD(at, 10))]
quick = evaluation.Settings(doctor=not QUICK)
seen = evaluation.evaluate(tuned, test, attacks=both, n=50 if QUICK else 200, settings=quick)
robust = {name: [one.robust for one in seen.results[start::2]] for start, name in enumerate(("FGSM", "PGD"))}
for name, fractions in robust.items():
    texts = (
        f"{s.value:.0%} [{s.low:.0%}, {s.high:.0%}] at {eps}/255" for eps, s in zip(budgets, fractions, strict=True)
    )
    print(f"{name:5}", *texts, sep="  ")

# %%
# alt: Accuracy over eps under FGSM and PGD with intervals: under FGSM it falls slowly, under PGD to little at 4
#   levels of 255.
figure, axis = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
for name, fractions in robust.items():
    fractions = [seen.clean.accuracy, *fractions]
    values = [fraction.value for fraction in fractions]
    bars = [[s.value - s.low for s in fractions], [s.high - s.value for s in fractions]]
    axis.errorbar([0, *budgets], values, bars, fmt="o-", capsize=2, label=name)
axis.set(xlabel="eps, in levels of 255", ylabel="accuracy", ylim=(0, 1), xticks=[0, *budgets])
axis.legend()
plt.show()

# %%
assert robust["PGD"][-1].high < seen.clean.accuracy.low
assert robust["PGD"][-1].value < 0.35
assert robust["PGD"][-1].value < robust["FGSM"][-1].value - 0.1

# %% [markdown]
# The network is accurate, but not robust: an invisible change is enough, and FGSM alone overestimates robustness. The
# pretrained weights were not robust either. Robustness needs adversarial training (notebooks 10 to 13). Notebook 20
# uses adversarial examples for another purpose, accuracy.
#
# ## What we saw
#
# - An EfficientNet factorises convolutions and scales depth, width and resolution together.
# - With a frozen network, features are computed once; the head is trained in seconds.
# - Then layers are unfrozen from the top, each with a lower learning rate than the one above.
# - A wrong normalisation raises no error, but costs accuracy. Check it.
# - The fine-tuned network is accurate, and is fooled by invisible changes.

# %% [markdown]
# ## Exercises
#
# **1.** How many labelled images does the frozen network need? The features are there already.

# %% tags=["solution"]
features = training.cached_features(model, train, rooms / "features", head)
tested = training.cached_features(model, drawn, rooms / "features", head)
for count in (25, 50, 100, 200, len(train)):
    torch.manual_seed(SEED)
    line, part = nn.Linear(1280, 10), data.sample(features, count, seed=SEED)
    training.fit(line, training.standard(), part, training.Settings(30, 32, training.adamw(2e-3), seed=SEED))
    print(f"{count:4} images: {(line(tested.x).argmax(dim=1) == tested.y).double().mean():.1%}")

# %% [markdown]
# **2.** How much do layer-wise learning rates and gradual unfreezing help? Fine-tune with `decay=1` and `fraction=0`,
# from several seeds.
#
# **3.** Fine-tune on attacked images: give `finetune` the recipe `training.madry(ThreatModel(Linf(), 4 / 255))`. What
# does it cost in clean accuracy?
