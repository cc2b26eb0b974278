# %% [markdown]
# # Interpretability
#
# **Which pixels does a network use, and can the picture be believed?**
#
# An attribution map gives every pixel a number: how much it speaks for the class. Such maps look convincing, and this
# is the problem: a picture that looks right need not be about the network at all. We compute maps by hand, test a
# popular method and see it fail, change a map without changing the prediction, and then ask what adversarial training
# does to the pixels that a network uses.

# %%
import os

import matplotlib.pyplot as plt
import torch

from robustlab import data
from robustlab.attacks import PGD
from robustlab.core import L2, Linf, ThreatModel, subset
from robustlab.explain import (
    CheckSubject,
    GuidedBackprop,
    IntegratedGradients,
    MapAttack,
    check_maps,
    class_images,
    class_seeds,
    compare_numbers,
    explain,
    measure,
    rank_correlation,
)
from robustlab.models import ShallowCNN
from robustlab.report import figure_style
from robustlab.training import Settings as Training
from robustlab.training import adamw, fit, madry, standard

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# Two networks of one architecture: one with standard training, one trained on the worst images that PGD finds within
# 0.1 per pixel.

# %%
train, test = (data.load("fashion-mnist", split=split) for split in ("train", "test"))
images = data.sample(train, 6000 if QUICK else 30000, seed=SEED)
at = ThreatModel(Linf(), 0.1)


def trained(recipe, pairs, epochs):
    """The small network after training, always from the same weights."""
    torch.manual_seed(SEED)
    model = ShallowCNN()
    fit(model, recipe, pairs, Training(epochs, batch_size=64, optimizer=adamw(4e-3), seed=SEED))
    return model.eval().requires_grad_(requires_grad=False)


# %%
plain = trained(standard(), images, 2)
robust = trained(madry(at, steps=7, bn_mode="eval"), images, 2)

# %%
x, y, ids, *_ = test.batch(subset(len(test), 200, seed=SEED))
networks = {"plain": plain, "robust": robust}
clean = {name: (model(x).argmax(1) == y).double().mean().item() for name, model in networks.items()}
print({name: f"{accuracy:.1%}" for name, accuracy in clean.items()}, "right on 200 clean images")
assert min(clean.values()) > 0.6

# %% [markdown]
# ## Saliency by hand
#
# The simplest map is the derivative of the logit by each pixel: by how much does the score change if this pixel gets a
# little brighter?

# %%
leaf = x.clone().requires_grad_()
logits = plain(leaf)
(by_hand,) = torch.autograd.grad(logits.gather(1, y[:, None]).sum(), leaf)

# %%
maps = explain("gradient", plain, x, y)
torch.testing.assert_close(maps.values, by_hand, atol=1e-5, rtol=1e-4)

# %% [markdown]
# The library leaves the network as it was: no `.grad`, no changed mode. The maps of both networks (middle row: the
# standard one, bottom row: the robust one), purple for pixels that speak against the class, orange for those that speak
# for it:


# %%
def draw(axis, values, title=""):
    """One map on a scale that is symmetric about 0."""
    limit = values.abs().quantile(0.99).item() or 1.0
    axis.imshow(values, cmap="PuOr_r", vmin=-limit, vmax=limit)
    axis.set_title(title)
    axis.axis("off")


# %%
# alt: Six clothes in the top row; below them the gradient maps of the standard network, which look like noise, and of
#   the robust network, which follow the outlines of the clothes.
chosen = torch.cat([(y == k).nonzero()[:1, 0] for k in (0, 1, 2, 7, 8, 9)])
both = {name: explain("gradient", model, x, y) for name, model in networks.items()}
figure, axes = plt.subplots(3, 6, figsize=(7.5, 4.2), layout="constrained")
for column, n in zip(axes.T, chosen.tolist(), strict=True):
    column[0].imshow(x[n, 0], cmap="gray")
    column[0].set_title(test.classes[int(y[n])])
    column[0].axis("off")
    draw(column[1], both["plain"].per_pixel[n])
    draw(column[2], both["robust"].per_pixel[n])
plt.show()

# %% [markdown]
# ## A gradient sees only one point
#
# A logit can depend on a pixel although its derivative is 0 there, because a ReLU is off. *Integrated gradients* walk
# from a baseline, here a black image, to the image and add up the derivatives on the way:
#
# $$a_i = (x_i - b_i) \int_0^1 \frac{\partial z_k}{\partial x_i}\big(b + t\,(x - b)\big)\,dt,
# \qquad \sum_i a_i = z_k(x) - z_k(b) .$$
#
# The second equation is *completeness*: the map divides the change of the logit among the pixels, and nothing is lost.
# It is a test that needs no eyes.


# %%
def integrated(model, x, y, steps):
    """Integrated gradients from a black image, by the midpoint rule."""
    total = torch.zeros_like(x)
    for step in range(steps):
        point = ((step + 0.5) / steps * x).requires_grad_()
        total += torch.autograd.grad(model(point).gather(1, y[:, None]).sum(), point)[0]
    return x * total / steps


# %%
ours = explain(IntegratedGradients(steps=50, rule="riemann_middle"), plain, x, y)
torch.testing.assert_close(ours.values, integrated(plain, x, y, 50), atol=1e-4, rtol=1e-3)

# %%
steps = [1, 3, 10, 30, 100]
gaps = []
for count in steps:
    part = explain(IntegratedGradients(steps=count), plain, x, y)
    gaps.append((part.gap.abs() / part.change.abs()).median().item())

# %%
# alt: Median gap of completeness over the number of steps, both axes logarithmic: it falls from more than a tenth with
#   one step to less than a hundredth with thirty.
figure, axis = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
axis.loglog(steps, gaps, "o-")
axis.set(xlabel="steps", ylabel="part of the logit that is missing")
plt.show()

# %%
assert gaps[-1] < 0.01 < gaps[0]
assert gaps[-1] < gaps[2] < gaps[0]

# %% [markdown]
# ## A picture that is not about the network
#
# Adebayo et al. (2018) proposed a test that is hard to argue with: draw the weights of the network anew, layer by layer
# from the output down. A network with random weights knows nothing about clothes. If its map is still the same, the map
# was never about what the network had learned.
#
# *Guided backpropagation* makes the sharpest pictures of all: it sends back only positive values through each ReLU. The
# library runs the test for any method.

# %%
few = slice(0, 30)
reports = {
    name: check_maps(CheckSubject(method, plain, x[few], y[few]), ["randomisation-ignored"])
    for name, method in (("gradient", "gradient"), ("guided backprop", GuidedBackprop()))
}
for name, report in reports.items():
    print(f"{name}:", *[finding.title for finding in report.findings] or ["nothing found"])

# %%
# alt: Rank correlation with the first map over the layers that were drawn anew: it falls to near 0 for the gradient and
#   stays high for guided backpropagation.
figure, axis = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for name, report in reports.items():
    curve = report.curves["randomisation-ignored"]
    axis.plot(range(len(curve.points)), curve.values["signed"], "o-", label=name)
axis.set_xticks(range(len(curve.points)), curve.points, rotation=20)
axis.set(xlabel="layers with new weights, from the output down", ylabel="rank correlation")
axis.legend()
plt.show()

# %%
found = {name: report.sound for name, report in reports.items()}
last = {name: report.curves["randomisation-ignored"].values["signed"][-1] for name, report in reports.items()}
print({name: round(value, 2) for name, value in last.items()})
assert found == {"gradient": True, "guided backprop": False}
assert last["guided backprop"] > last["gradient"] + 0.2

# %% [markdown]
# With all weights drawn anew the gradient map has lost its likeness, guided backpropagation has kept much of it: it
# reconstructs the image rather than explaining the network (Nie et al., 2018, prove this for two layers). `check_maps`
# without a second argument runs all checks.
#
# ## Another map at the same prediction
#
# Suppose that the method is sound. Is its map a property of the image? We search a point within 0.06 per pixel where
# the class is the same and its probability differs by at most 0.1, but where the map is as different as possible. This
# needs the derivative of a derivative, which is 0 or undefined in a ReLU network; the library searches with softplus in
# place of ReLU and judges with the network itself.

# %%
near = ThreatModel(Linf(), 0.06)
some = slice(0, 24)
attacked = MapAttack(near, distance="cosine", steps=40)(plain, x[some])
noise = near.project(x[some], x[some] + near.eps * torch.randn(x[some].shape, generator=torch.manual_seed(SEED)).sign())
before = attacked.before
kept = {
    "attacked": rank_correlation(before.values, attacked.after.values),
    "noise of the same size": rank_correlation(before.values, explain("gradient", plain, noise, before.target).values),
}
for name, values in kept.items():
    print(f"{name}: rank correlation with the map before {values.mean():.2f}")

# %%
assert (plain(attacked.x_adv).argmax(1) == before.target).all()
assert (attacked.change.abs() <= 0.1).all()
assert near.contains(x[some], attacked.x_adv).all()
assert kept["attacked"].mean() < kept["noise of the same size"].mean() - 0.1

# %%
# alt: For four clothes: image and map before the attack, image and map after it. The images look alike and have the
#   same class, the maps differ.
worst = kept["attacked"].argsort()[:4]
figure, axes = plt.subplots(4, 4, figsize=(6.5, 6.4), layout="constrained")
for row, n in zip(axes, worst.tolist(), strict=True):
    row[0].imshow(x[n, 0], cmap="gray")
    row[0].set_title(f"{test.classes[int(before.target[n])]}")
    row[0].axis("off")
    draw(row[1], before.per_pixel[n], "map before")
    row[2].imshow(attacked.x_adv[n, 0], cmap="gray", vmin=0, vmax=1)
    row[2].set_title("attacked, same class")
    row[2].axis("off")
    draw(row[3], attacked.after.per_pixel[n], "map after")
plt.show()

# %% [markdown]
# Noise of the same size changes the map much less. An attacker who chooses the image chooses the explanation as well;
# a map is evidence about one point only.
#
# ## What adversarial training changes
#
# Two pictures side by side convince the eye. We want numbers with intervals, for the same images under both networks:
# how well the gradient is aligned with the image (its cosine with the image), and how sparse the map is (its Gini
# index).

# %%
numbers = ("alignment-cosine", "sparsity")
first, second = (measure("gradient", model, x, y, numbers=numbers) for model in (plain, robust))
differences = compare_numbers(first, second)
for name, one in differences.items():
    gain = one.difference
    print(f"{name}: {one.first:.3f} and {one.second:.3f}, more by {gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}]")

# %%
assert differences["alignment-cosine"].difference.low > 0.05
assert differences["sparsity"].difference.low > 0

# %% [markdown]
# The interval is over images of *these two* networks. A statement about adversarial training needs several networks of
# each kind: that is a [claim](../docs/guide/claims.md).
#
# ## Images of a class
#
# What does a network take for a sneaker? Start from a blurry draw of the class and climb the probability of the class
# within a large ball. This is a targeted attack; only the budget is so large that it may change everything.

# %%
wanted = torch.tensor([0, 1, 7, 8, 9])
start = class_seeds(*images.batch(torch.arange(2000))[:2], wanted.roll(1), seed=SEED)
wide = ThreatModel(L2(), 5.0)
drawn = {name: class_images(model, wanted, start, wide, steps=60) for name, model in networks.items()}

# %%
# alt: Three rows of five images: the starts, blurry clothes of another class; what the standard network is sure of,
#   the start under noise; what the robust network is sure of, with shapes of the wanted class.
figure, axes = plt.subplots(3, 5, figsize=(7, 5.2), layout="constrained")
for row, (name, shown) in zip(axes, {"start": start, **drawn}.items(), strict=True):
    for axis, image, k in zip(row, shown, wanted.tolist(), strict=True):
        axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{name}:\n{test.classes[k]}" if name != "start" else name)
        axis.axis("off")
plt.show()

# %%
assert all((model(drawn[name]).argmax(1) == wanted).all() for name, model in networks.items())

# %% [markdown]
# Both networks are sure of their images. Those of the standard network are the start under noise; those of the robust
# network have more of the shape, clearest in the sneaker. On photographs, with networks that were trained for days, the
# difference is striking (Santurkar et al., 2019); with this small network it is modest.
#
# ## Invisible features
#
# So is the noise that fools the standard network meaningless? Ilyas et al. (2019) tested it. Give every training image
# a random *wrong* label, and change it by at most 0.1 per pixel until the standard network is nearer to that label. To
# us the labels are nonsense. Train a new network on these pairs, and test it on ordinary images with their true labels:

# %%
there = images.batch(torch.arange(len(images)))
nonsense = torch.randint(10, there.y.shape, generator=torch.manual_seed(SEED))
nonsense = torch.where(nonsense == there.y, (nonsense + 1) % 10, nonsense)
altered = PGD(at, steps=20, step_size=0.02)(plain, there.x, there.y, target=nonsense, stop="never")
student = trained(standard(), (altered, nonsense), 2)

# %%
control = trained(standard(), (there.x, nonsense), 2)
held = test.batch(subset(len(test), 1000, seed=SEED))
accuracy = {
    name: (model(held.x).argmax(1) == held.y).double().mean().item()
    for name, model in (("altered images", student), ("images as they were", control))
}
print({name: f"{value:.1%}" for name, value in accuracy.items()})
assert accuracy["altered images"] > 0.3
assert accuracy["images as they were"] < 0.15

# %% [markdown]
# No image that the new network learned from had a right label, and yet it recognises ordinary clothes far better than
# by chance. The control saw the same labels without the changes: as the true class never was the label, it learned to
# avoid it. The perturbations carry features of the classes: invisible to us, but real. A network that uses them is
# accurate, is easily fooled, and has maps that look like noise *because they are right*.

# %% [markdown]
# ## What we saw
#
# - A gradient map is one line of code. Integrated gradients add the test of completeness.
# - Guided backpropagation makes sharp pictures that hardly depend on what the network has learned.
# - At the same prediction another image within a small budget has another map.
# - The maps of the robust network are better aligned with the images and sparser.
# - Perturbations that look like noise are enough to learn from.

# %% [markdown]
# ## Exercises
#
# **1.** Integrated gradients depend on the baseline. How alike are the maps from a black and from a white image?

# %% tags=["solution"]
black, white = (explain(IntegratedGradients(steps=20, baseline=level), plain, x, y) for level in (0.0, 1.0))
alike = rank_correlation(black.values, white.values).mean().item()
print(f"rank correlation {alike:.2f}")
assert alike < 0.9

# %% [markdown]
# **2.** Attack the maps of the robust network with the same budget. Are they harder to change?

# %% tags=["solution"]
harder = MapAttack(near, distance="cosine", steps=40)(robust, x[some])
print(f"robust {rank_correlation(harder.before.values, harder.after.values).mean():.2f}, ", end="")
print(f"plain {kept['attacked'].mean():.2f}")

# %% [markdown]
# **3.** Which methods pass all checks on the robust network?

# %% tags=["solution"]
for method in ("gradient", "integrated-gradients", "smoothgrad", "guided-backprop"):
    report = check_maps(CheckSubject(method, robust, x[few], y[few]))
    print(f"{method}:", *[finding.code for finding in report.findings] or ["nothing found"])
