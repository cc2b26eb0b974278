# %% [markdown]
# # Natural adversarial examples
#
# **Which unmodified images fool a network?**
#
# In most of the other notebooks an attacker changes the images. In this notebook there is no attacker: images are
# corrupted by fog, noise or a poor camera, or they are unmodified photographs that the network misclassifies. These
# errors are the baseline for the attacks in the next notebooks.

# %%
import os

import matplotlib.pyplot as plt
import torch

from robustlab import data, models
from robustlab.core import subset
from robustlab.corruptions import CORRUPTIONS, corruption, family
from robustlab.evaluation import evaluate_corruptions
from robustlab.report import figure_style
from robustlab.statistics import clopper_pearson
from robustlab.training import Settings, adamw, fit, sgd, standard

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# ## A network and test images

# %%
train, test = (data.load("fashion-mnist", split=split) for split in ("train", "test"))
model = models.load("batchnorm-cnn", classes=10, seed=SEED)
how = Settings(epochs=1 if QUICK else 3, seed=SEED, precision="auto")
print(f"trained in {fit(model, standard(), train, how).precision}")
model = model.eval().requires_grad_(requires_grad=False)

# %% [markdown]
# ## Fifteen corruptions
#
# The benchmark ImageNet-C has fifteen corruptions in four families: noise, blur, weather and digital. Each has five
# severities. In the library, a corruption is a function of images in [0, 1].

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
# Some corruptions are random, but reproducible: the random draws depend on the id of the image, not on the batch.

# %%
some = test.batch(torch.arange(8))
noise = corruption("gaussian_noise")
whole, alone = noise(some.x, severity=3, ids=some.ids), noise(some.x[5:6], severity=3, ids=some.ids[5:6])
assert bool((whole[5] == alone[0]).all())

# %% [markdown]
# How many test images does the network still classify correctly?

# %%
# alt: Table of accuracy for fifteen corruptions in rows and five severities in columns: it falls from left to right in
#   most rows, most under defocus blur, fog and contrast, and hardly under JPEG compression.
result = evaluate_corruptions(model, test, n=300 if QUICK else 600)
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
# On average over the corruptions, each severity is harder than the one before:

# %%
by_severity = [one.accuracy.value for one in result.severities]
print(", ".join(f"{value:.1%}" for value in by_severity))
assert by_severity == sorted(by_severity, reverse=True)

# %% [markdown]
# These are averages over random noise and random fog, without a search for the worst case. An attacker does. With a
# change of the same size in each pixel an attack fools far more images, as notebook 02 shows.
#
# ## Natural adversarial examples
#
# ImageNet-A consists of unmodified photographs that networks misclassify. We did the same for Fashion-MNIST: a
# committee of three kinds of networks classified all 70,000 images, and each image only by networks that were not
# trained on it. If all three are confident and wrong, and a method that detects label errors does not flag the label,
# the image counts as hard. (Some labels may still be wrong: see the pictures below.)
#
# Our network has an architecture that was part of this committee, so its errors on these images would show little. We
# therefore train two networks of other architectures that were not on the committee: one with inverted bottlenecks, and
# one that mixes patches.

# %%
hard = data.load("fashion-mnist-a", split="test")
batch = hard.batch(torch.arange(len(hard)))
print(f"{len(hard)} hard images among 10,000 test images")

# %%
rates = {"inverted-cnn": sgd(0.1), "patch-mixer": adamw(3e-3)}
others = {name: models.load(name, classes=10, seed=SEED) for name in rates}
for name, net in others.items():
    part = data.sample(train, 10_000, seed=SEED)
    fit(net, standard(), part, Settings(epochs=how.epochs, optimizer=rates[name], seed=SEED, precision="auto"))
    net.eval().requires_grad_(requires_grad=False)

# %% [markdown]
# These images could be hard only because some classes are harder than others. As a control group we draw the same
# number of images of each class at random.

# %%
labels = test.batch(torch.arange(len(test))).y
rows = [(labels == k).nonzero()[:, 0] for k in range(10)]
counts = batch.y.bincount(minlength=10)
control = torch.cat([ids[subset(len(ids), int(n), seed=SEED)] for ids, n in zip(rows, counts, strict=True)])
sets = {"hard": batch, "of the same classes": test.batch(control)}
accuracies = {}
for name, net in {"batchnorm-cnn (on the committee)": model, **others}.items():
    rights = [net(part.x).argmax(dim=1) == part.y for part in sets.values()]
    accuracies[name] = [clopper_pearson(int(right.sum()), len(right)) for right in rights]
    text = "  ".join(
        f"{k}: {s.value:.1%} [{s.low:.1%}, {s.high:.1%}]" for k, s in zip(sets, accuracies[name], strict=True)
    )
    print(f"{name}\n  accuracy {text}")

# %%
assert all(accuracies[name][0].high < accuracies[name][1].low for name in others)

# %% [markdown]
# The two networks that were not on the committee fail on these images far more often than on other images of the same
# classes, but less often than the architecture that was on it. So part of the difficulty is in the images, and part
# depends on the architecture that selected them. Here are 24 of the images, drawn at random, with the predictions of
# the network with inverted bottlenecks.

# %%
# alt: 24 hard pictures of clothes, each with its class and with the prediction of a network of another architecture.
shown = batch.x[subset(len(hard), 24, seed=SEED)], batch.y[subset(len(hard), 24, seed=SEED)]
answers = others["inverted-cnn"](shown[0]).argmax(dim=1)
figure, axes = plt.subplots(4, 6, figsize=(9.5, 8), layout="constrained")
for axis, image, label, answer in zip(axes.flat, *shown, answers, strict=True):
    axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{test.classes[label]}\nseen as {test.classes[answer]}", fontsize="small")
    axis.axis("off")
plt.show()

# %% [markdown]
# ## Real photographs
#
# EfficientNet-Lite0 was trained on the 1,000 classes of ImageNet. Here are its predictions for photographs that it was
# not trained on.

# %%
photos = data.load("photographs")
net = models.load("efficientnet-lite0")
shots = photos.batch(torch.arange(len(photos)))
with torch.no_grad():
    sure, seen = net(shots.x).softmax(dim=1).max(dim=1)
for label, confidence, answer in zip(shots.y, sure, seen, strict=True):
    print(f"{photos.classes[label].split(',')[0]:22} seen as {photos.classes[answer].split(',')[0]} ({confidence:.0%})")

# %% [markdown]
# One photograph under corruptions of increasing severity:

# %%
# alt: A photograph of a cat under snow, above, and glass blur, below, at severities 1 to 5, each with the prediction of
#   the network and its confidence.
cat = shots.x[:1]
figure, axes = plt.subplots(2, 5, figsize=(10, 4.6), layout="constrained")
for row, name in zip(axes, ("snow", "glass_blur"), strict=True):
    for severity, axis in enumerate(row, start=1):
        harmed = corruption(name)(cat, severity=severity)
        with torch.no_grad():
            confidence, answer = net(harmed).softmax(dim=1)[0].max(dim=0)
        axis.imshow(harmed[0].permute(1, 2, 0))
        axis.set_title(f"{photos.classes[answer].split(',')[0]} ({confidence:.0%})", fontsize="small")
        axis.axis("off")
plt.show()

# %% [markdown]
# ## What we saw
#
# - Corruptions lower accuracy, more at higher severities, and some corruptions lower it far more than others.
# - Some unmodified images are also hard for networks of architectures that did not select them.
# - Corruptions are not aimed at the network. An attack is, and needs a far smaller change: notebook 02.

# %% [markdown]
# ## Exercises
#
# **1.** Which class loses most accuracy, and under which corruption?

# %% tags=["solution"]
for one in sorted(result.per_class, key=lambda one: one.worst_accuracy)[:3]:
    print(f"{one.name:12} {one.clean / one.n:.0%} clean, {one.worst_accuracy:.0%} under {one.worst}")

# %% [markdown]
# **2.** Which family of corruptions has the largest mean change of a pixel? Is it the one that lowers accuracy most?

# %% tags=["solution"]
for kind in ("noise", "blur", "weather", "digital"):
    names = [name for name in CORRUPTIONS if family(name) == kind]
    change = [(corruption(name)(some.x, severity=3, ids=some.ids) - some.x).abs().mean().item() for name in names]
    print(f"{kind:8} {sum(change) / len(change):.3f}")

# %% [markdown]
# **3.** Do the two networks of other architectures misclassify the *same* hard images more often than by chance?

# %% tags=["solution"]
wrongs = [net(batch.x).argmax(dim=1) != batch.y for net in others.values()]
chance = wrongs[0].double().mean() * wrongs[1].double().mean()
print(f"both wrong: {(wrongs[0] & wrongs[1]).double().mean():.0%}, if they were independent: {chance:.0%}")
