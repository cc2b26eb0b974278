# %% [markdown]
# # Natural adversarial examples
#
# **What fools a network when nobody tries to fool it?**
#
# The other notebooks put an attacker behind every image. This one has none: fog, noise and a poor camera do the damage,
# or nothing at all does, and an ordinary picture is simply misunderstood. Whoever wants to know what the attackers of
# the next notebooks add must first know what nature does alone.

# %%
import os

import matplotlib.pyplot as plt
import torch

from robustlab import data, models
from robustlab.core import subset
from robustlab.corruptions import CORRUPTIONS, corruption, family
from robustlab.evaluation import evaluate_natural
from robustlab.report import figure_style
from robustlab.statistics import clopper_pearson
from robustlab.training import Settings, adamw, fit, sgd, standard

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# ## A network, and images that it has not seen

# %%
train, test = (data.load("fashion-mnist", split=split) for split in ("train", "test"))
model = models.load("batchnorm-cnn", classes=10, seed=SEED)
how = Settings(epochs=1 if QUICK else 3, seed=SEED, precision="auto")
print(f"trained in {fit(model, standard(), train, how).precision}")
model = model.eval().requires_grad_(requires_grad=False)

# %% [markdown]
# ## Fifteen ways to harm a picture
#
# Noise, blur, weather and digital damage, at five severities each, as in the benchmark ImageNet-C. A corruption is a
# value: call it with images in [0, 1].

# %%
# alt: One picture under fifteen corruptions at severity 3, among them noise, blur, fog, snow and coarse pixels.
x, y, ids, *_ = test.batch(subset(len(test), 1, seed=3))
figure, axes = plt.subplots(3, 5, figsize=(8.5, 5.8), layout="constrained")
for axis, name in zip(axes.flat, CORRUPTIONS, strict=True):
    axis.imshow(corruption(name)(x, severity=3)[0, 0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(name.replace("_", " "), fontsize="small")
    axis.axis("off")
plt.show()

# %% [markdown]
# They are random where nature is, yet the same each time: the draws follow the number of the image, not the batch.

# %%
some = test.batch(torch.arange(8))
noise = corruption("gaussian_noise")
whole, alone = noise(some.x, severity=3, ids=some.ids), noise(some.x[5:6], severity=3, ids=some.ids[5:6])
assert bool((whole[5] == alone[0]).all())

# %% [markdown]
# How many of some test images does the network still get right?

# %%
# alt: Table of accuracy for fifteen corruptions in rows and five severities in columns: it falls from left to
#   right in most rows, deepest under defocus blur, fog and contrast, and hardly under JPEG compression.
result = evaluate_natural(model, test, n=300 if QUICK else 600)
grid = torch.tensor([cell.accuracy.value for cell in result.cells]).reshape(len(CORRUPTIONS), 5)
figure, axis = plt.subplots(figsize=(8, 5.4), layout="constrained")
axis.imshow(grid, cmap="viridis", vmin=0, vmax=1, aspect="auto")
axis.set_yticks(range(len(CORRUPTIONS)), [name.replace("_", " ") for name in CORRUPTIONS])
axis.set_xticks(range(5), [f"severity {s}" for s in range(1, 6)])
for (row, column), value in zip(torch.cartesian_prod(torch.arange(15), torch.arange(5)), grid.flatten(), strict=True):
    axis.text(column, row, f"{value:.0%}", ha="center", va="center", color="white" if value < 0.6 else "black")
plt.show()

# %%
print(f"clean {result.clean.accuracy.value:.1%}, corrupted {result.mean_accuracy.value:.1%} on average")
for one in result.families:
    print(f"{one.family:8} {one.accuracy.value:.1%}")

# %% [markdown]
# Each severity is harder than the one before, on average over the corruptions:

# %%
by_severity = [one.accuracy.value for one in result.severities]
print(", ".join(f"{value:.1%}" for value in by_severity))
assert by_severity == sorted(by_severity, reverse=True)

# %% [markdown]
# Nobody looked for the worst noise or the worst fog here: these are averages over what happens to happen. An attacker
# does look. With the same size of change in each pixel he does far more harm, as notebook 02 shows.
#
# ## Hard without any harm
#
# ImageNet-A is made of photographs that nobody changed, and that networks get wrong. The same was done for
# Fashion-MNIST: three kinds of networks judged all 70,000 images, none an image it had learned from. Where all three
# are confident and wrong, and one method of finding wrong labels does not suspect the label, the image counts as hard.
# (Some labels may be wrong all the same: look at the pictures below.)
#
# Our network is of a kind that sat on this committee: it failing again would prove little. So we train two of other
# kinds, which had no part in choosing: a network of inverted bottlenecks, and one that mixes patches.

# %%
hard = data.load("fashion-mnist-a", split="test")
batch = hard.batch(torch.arange(len(hard)))
print(f"{len(hard)} hard images among 10,000 test images")

# %%
rates = {"inverted-cnn": sgd(0.1), "patch-mixer": adamw(3e-3)}
others = {name: models.load(name, classes=10, seed=SEED) for name in rates}
for name, net in others.items():
    part = data.sample(train, 10_000 if QUICK else 30_000, seed=SEED)
    fit(net, standard(), part, Settings(epochs=how.epochs, optimizer=rates[name], seed=SEED, precision="auto"))
    net.eval().requires_grad_(requires_grad=False)

# %% [markdown]
# Is that only because some classes are harder than others? A control group has the same number of images of each class,
# drawn at random.

# %%
labels = test.batch(torch.arange(len(test))).y
rows = [(labels == k).nonzero()[:, 0] for k in range(10)]
counts = batch.y.bincount(minlength=10)
control = torch.cat([ids[subset(len(ids), int(n), seed=SEED)] for ids, n in zip(rows, counts, strict=True)])
sets = {"hard": batch, "of the same classes": test.batch(control)}
shares = {}
for name, net in {"batchnorm-cnn (on the committee)": model, **others}.items():
    rights = [net(part.x).argmax(dim=1) == part.y for part in sets.values()]
    shares[name] = [clopper_pearson(int(right.sum()), len(right)) for right in rights]
    said = "  ".join(f"{k}: {s.value:.1%} [{s.low:.1%}, {s.high:.1%}]" for k, s in zip(sets, shares[name], strict=True))
    print(f"{name}\n  right {said}")

# %%
assert all(shares[name][0].high < shares[name][1].low for name in others)

# %% [markdown]
# Two networks that had no part in choosing these images fail on them far more often than on others of the same classes,
# and less often than the kind that did take part: part of what is hard is the image, part is the kind of network that
# chose. Here are 24 of them, drawn at random, with what the network of inverted bottlenecks says.

# %%
# alt: 24 hard pictures of clothes, each with its class and with what a network of another kind sees in it.
shown = batch.x[subset(len(hard), 24, seed=SEED)], batch.y[subset(len(hard), 24, seed=SEED)]
said = others["inverted-cnn"](shown[0]).argmax(dim=1)
figure, axes = plt.subplots(4, 6, figsize=(9.5, 8), layout="constrained")
for axis, image, label, answer in zip(axes.flat, *shown, said, strict=True):
    axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{test.classes[label]}\nseen as {test.classes[answer]}", fontsize="small")
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Real photographs
#
# Clothes of 28 x 28 pixels are small fare. EfficientNet-Lite0 learned 1,000 classes from ImageNet; here are photographs
# that it has never seen.

# %%
photos = data.load("photographs")
net = models.load("efficientnet-lite0")
shots = photos.batch(torch.arange(len(photos)))
with torch.no_grad():
    sure, seen = net(shots.x).softmax(dim=1).max(dim=1)
for label, share, answer in zip(shots.y, sure, seen, strict=True):
    print(f"{photos.classes[label].split(',')[0]:22} seen as {photos.classes[answer].split(',')[0]} ({share:.0%})")

# %% [markdown]
# One photograph in harsher and harsher weather:

# %%
# alt: A photograph of a cat under snow, above, and glass blur, below, at severities 1 to 5, each with what the
#   network says of it and how sure it is.
cat = shots.x[:1]
figure, axes = plt.subplots(2, 5, figsize=(10, 4.6), layout="constrained")
for row, name in zip(axes, ("snow", "glass_blur"), strict=True):
    for severity, axis in enumerate(row, start=1):
        harmed = corruption(name)(cat, severity=severity)
        with torch.no_grad():
            share, answer = net(harmed).softmax(dim=1)[0].max(dim=0)
        axis.imshow(harmed[0].permute(1, 2, 0))
        axis.set_title(f"{photos.classes[answer].split(',')[0]} ({share:.0%})", fontsize="small")
        axis.axis("off")
plt.show()

# %% [markdown]
# ## What we saw
#
# - Ordinary damage costs accuracy, the more the severer it is, and some kinds cost far more than others.
# - Some real, unharmed images are hard for networks of kinds that did not help to choose them, too.
# - Nature does not aim. An attacker who does needs far less change: notebook 02.

# %% [markdown]
# ## Exercises
#
# **1.** Which class suffers most under which corruption?

# %% tags=["solution"]
for one in sorted(result.per_class, key=lambda one: one.worst_accuracy)[:3]:
    print(f"{one.name:12} {one.clean / one.n:.0%} clean, {one.worst_accuracy:.0%} under {one.worst}")

# %% [markdown]
# **2.** Which family of corruptions changes the images most, in the sense of the mean change of a pixel, and is it the
# one that costs the most accuracy?

# %% tags=["solution"]
for kind in ("noise", "blur", "weather", "digital"):
    names = [name for name in CORRUPTIONS if family(name) == kind]
    change = [(corruption(name)(some.x, severity=3, ids=some.ids) - some.x).abs().mean().item() for name in names]
    print(f"{kind:8} {sum(change) / len(change):.3f}")

# %% [markdown]
# **3.** Do the two networks of other kinds get the *same* hard images wrong, more often than by chance?

# %% tags=["solution"]
wrongs = [net(batch.x).argmax(dim=1) != batch.y for net in others.values()]
chance = wrongs[0].double().mean() * wrongs[1].double().mean()
print(f"both wrong: {(wrongs[0] & wrongs[1]).double().mean():.0%}, if they were independent: {chance:.0%}")
