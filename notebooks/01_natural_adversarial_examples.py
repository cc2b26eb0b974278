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
from robustlab.evaluation import clopper_pearson, evaluate_natural
from robustlab.training import Settings, fit, standard

QUICK = os.environ.get("ROBUSTLAB_BUDGET") == "quick"
SEED = 0

# %% [markdown]
# ## A network, and images that it has not seen

# %%
train, test = (data.load("fashion-mnist", split=split) for split in ("train", "test"))
model = models.load("batchnorm-cnn", classes=10, seed=SEED)
fit(model, standard(), train, Settings(epochs=1 if QUICK else 6, seed=SEED, precision="bf16"))
model = model.eval().requires_grad_(requires_grad=False)

# %% [markdown]
# ## Fifteen ways to harm a picture
#
# Noise, blur, weather and digital damage, at five severities each, as in the benchmark ImageNet-C. A corruption is a
# value: call it with images in [0, 1].

# %%
x, y, ids, *_ = test.batch(subset(len(test), 1, seed=3))
figure, axes = plt.subplots(3, 5, figsize=(8, 5.2), layout="constrained")
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
result = evaluate_natural(model, test, n=300 if QUICK else 5000)
grid = torch.tensor([cell.accuracy.value for cell in result.cells]).reshape(len(CORRUPTIONS), 5)
figure, axis = plt.subplots(figsize=(6, 4.6), layout="constrained")
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
# are confident and wrong, and the label is beyond suspicion, the image counts as hard.

# %%
hard = data.load("fashion-mnist-a", split="test")
batch = hard.batch(torch.arange(len(hard)))
wrong = model(batch.x).argmax(dim=1) != batch.y
print(f"{len(hard)} hard images among 10,000 test images; the network gets {wrong.double().mean():.0%} of them wrong")

# %% [markdown]
# Is that only because some classes are harder than others? A control group has the same number of images of each class,
# drawn at random.

# %%
labels = test.batch(torch.arange(len(test))).y
rows = [(labels == k).nonzero()[:, 0] for k in range(10)]
counts = batch.y.bincount(minlength=10)
control = torch.cat([ids[subset(len(ids), int(n), seed=SEED)] for ids, n in zip(rows, counts, strict=True)])
usual = model(test.batch(control).x).argmax(dim=1) == test.batch(control).y
shares = [clopper_pearson(int(right.sum()), len(right)) for right in (~wrong, usual)]
for name, share in zip(("hard", "of the same classes"), shares, strict=True):
    print(f"{name:20} right: {share.value:.1%} [{share.low:.1%}, {share.high:.1%}]")

# %%
assert shares[0].high < shares[1].low

# %% [markdown]
# The network had no part in choosing them, and fails all the same: what one network cannot see, others do not see
# either. Here are 24 of them, drawn at random.

# %%
shown = batch.x[subset(len(hard), 24, seed=SEED)], batch.y[subset(len(hard), 24, seed=SEED)]
said = model(shown[0]).argmax(dim=1)
figure, axes = plt.subplots(3, 8, figsize=(9, 4.4), layout="constrained")
for axis, image, label, answer in zip(axes.flat, *shown, said, strict=True):
    axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(f"{test.classes[label]}\nseen as {test.classes[answer]}", fontsize=6)
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
cat = shots.x[:1]
figure, axes = plt.subplots(2, 5, figsize=(9, 4.2), dpi=60, layout="constrained")
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
# - Some real, unharmed images are hard for every network, also for those that did not help to choose them.
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
# **3.** Does a second network, from another seed, get the same hard images wrong?

# %% tags=["solution"]
other = models.load("batchnorm-cnn", classes=10, seed=1)
fit(other, standard(), train, Settings(epochs=1 if QUICK else 6, seed=1, precision="bf16"))
both = (other.eval()(batch.x).argmax(dim=1) != batch.y) & wrong
print(f"{both.double().mean():.0%} of the hard images are wrong for both")
