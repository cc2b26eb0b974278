# %% [markdown]
# # Fast and free
#
# **Can a network become robust at the cost of ordinary training?**
#
# PGD training with seven steps needs eight forward and backward passes for each image, where standard training needs
# one. With a single attack step it would be two. For years single-step training was believed to fail. It does fail in
# some cases, in a way that an evaluation with FGSM does not detect. We reproduce this failure, examine its cause, and
# apply three remedies: a random start (Fast), aligned gradients (GradAlign), and a perturbation that needs no
# additional passes (Free).

# %%
import copy
import os
import time

import matplotlib.pyplot as plt
import torch

from robustlab import data
from robustlab.attacks import FGSM, PGD
from robustlab.core import Linf, Streams, ThreatModel, cross_entropy, misclassified
from robustlab.models import ShallowCNN
from robustlab.report import figure_style
from robustlab.studies import known, words
from robustlab.training import Settings, adversarial, fast, fit, free, grad_align, madry, overfitting_alarm

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# ## One step, and a large budget
#
# The attacker may change each pixel by 0.2. Each batch is replaced by its FGSM examples, without a random start; over
# the first third of the training the budget grows from 0. An `overfitting_alarm` around the recipe attacks the same 128
# training images at intervals, with FGSM and with PGD with ten steps, and warns when accuracy under FGSM rises while
# accuracy under PGD falls.

# %%
train, test = (data.load("fashion-mnist", split=split) for split in ("train", "test"))
train, test = data.sample(train, 5000 if QUICK else 20000), data.sample(test, 300 if QUICK else 2000)
large = ThreatModel(Linf(), 0.2)


# %%
def trained(recipe, *, epochs, images=None, progress=None):
    """The same first weights each time; also the seconds of processor time."""
    torch.manual_seed(SEED)
    model, part, started = ShallowCNN(), data.sample(train, images or len(train)), time.process_time()
    fit(model, recipe, part, Settings(epochs=epochs, seed=SEED), progress=progress)
    return model.requires_grad_(requires_grad=False), time.process_time() - started


# %%
recorded = []


def keep(at):
    """Keeps what the alarm measures."""
    if at.summary is None and "probe_pgd_accuracy" in at.metrics:
        names = ("probe_fgsm_accuracy", "probe_pgd_accuracy", "catastrophic_overfitting")
        recorded.append(tuple(at.metrics[name] for name in names))


# %%
every = 40 if QUICK else 160
watched = overfitting_alarm(adversarial(FGSM(large), eps_warmup=0.3), large, every=every, examples=128, drop=0.1)
deceived, _ = trained(watched, epochs=14, progress=keep)

# %%
# alt: Accuracy on the 128 images over the training steps: under FGSM it keeps rising, under PGD-10 it rises first and
#   then falls, and the alarm is shaded from there on.
figure, axis = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
under_fgsm, under_pgd, alarms = zip(*recorded, strict=True)
when = range(0, every * len(recorded), every)
for curve, label in ((under_fgsm, "under FGSM"), (under_pgd, "under PGD-10")):
    axis.plot(when, curve, "o-", ms=3, label=label)
axis.fill_between(when, 0, alarms, color="C3", alpha=0.15, step="mid", label="alarm")
axis.set(xlabel="training step", ylabel="accuracy, 128 images", ylim=(-0.02, 1))
axis.legend()
plt.show()

# %%
x, y, ids = test.batch(torch.arange(len(test)))[:3]


def right(model, attack=None):
    """Accuracy on the test images, clean or under an attack."""
    moved = x if attack is None else attack(model, x, y, ids=ids)
    return (~misclassified(model(moved), y)).double().mean().item()


weak, strong = FGSM(large), PGD(large, steps=20)
print(f"clean {right(deceived):.1%}, FGSM {right(deceived, weak):.1%}, PGD-20 {right(deceived, strong):.1%}")

# %%
assert right(deceived, weak) > right(deceived, strong) + 0.2
assert max(under_pgd) > under_pgd[-1] + 0.05
assert any(alarms)

# %% [markdown]
# At first both rise. Then they diverge: accuracy under FGSM keeps rising, while accuracy under PGD falls. Wong, Rice
# and Kolter (2020) called this **catastrophic overfitting**: the network becomes robust only to *one step of this
# length*. On larger networks accuracy under PGD falls to zero within an epoch.
#
# ## The cause of catastrophic overfitting
#
# FGSM uses the gradient at the image for one long step. PGD computes it again along the way and ends elsewhere. We move
# from each test image along straight lines to both end points, and to a random corner of the ball, and compute the loss
# along the lines.

# %%
corner = (x + 0.2 * large.norm.steepest(Streams(SEED, ids).normal(x.shape[1:]))).clamp(0, 1)
goals = {"to FGSM's end": weak(deceived, x, y, stop="never"), "to PGD's end": strong(deceived, x, y, stop="never")}
goals["to a random corner"] = corner
fractions = torch.linspace(0, 1, 11)
lines = {
    name: torch.stack([cross_entropy(deceived(x + fraction * (goal - x)), y).mean() for fraction in fractions])
    for name, goal in goals.items()
}

# %%
# alt: Mean loss along straight lines from the images to three end points: it rises steeply towards that of PGD, less
#   towards that of FGSM, and hardly towards a random corner.
figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
for name, line in lines.items():
    axis.plot(fractions, line, label=name)
axis.set(xlabel="fraction of the line", ylabel="mean loss over the test images", ylim=(0, None))
axis.legend()
plt.show()

# %%
ends = {name: line[-1].item() for name, line in lines.items()}
print("  ".join(f"{name} {loss:.2f}" for name, loss in ends.items()))
assert ends["to PGD's end"] > 1.5 * ends["to FGSM's end"]

# %% [markdown]
# Towards the end point of PGD the loss rises steeply, but FGSM does not find this direction. Training has made the loss
# small only in the direction of FGSM's step: the gradient at the image no longer describes its neighbourhood.
#
# To measure this, we compute how well the gradients at the image and at a random point $u$ of the ball agree:
#
# $$\cos\big(\nabla_x J(x, y),\; \nabla_x J(x + u, y)\big)$$


# %%
def alignment(model):
    """Mean cosine between the gradients at test images and at random points near them."""
    fields = []
    for point in (x, large.sample(x, Streams(SEED, ids))):
        leaf = point.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(model(leaf), y).sum(), leaf)
        fields.append(gradient.flatten(1))
    return torch.cosine_similarity(*fields).mean().item()


print(f"the gradients' cosine is {alignment(deceived):.2f}")

# %% [markdown]
# ## Gradients that agree
#
# GradAlign (Andriushchenko and Flammarion, 2020) puts that cosine into the loss,
#
# $$J(x_{\text{adv}}, y) + \lambda\,\Big(1 - \cos\big(\nabla_x J(x), \nabla_x J(x + u)\big)\Big),$$
#
# which requires differentiating two gradients. We use the same budget and the same single step without a random start:

# %%
align = grad_align(large, weight=2.0, bn_mode="eval", eps_warmup=0.3)
aligned, _ = trained(align, epochs=5, images=4000 if QUICK else 10000)

# %%
# alt: Bars for training by FGSM and with GradAlign, clean, under FGSM, under PGD-20, and the cosine of gradients: FGSM
#   training is high under FGSM and low under PGD-20, GradAlign about equal under both.
rows = {"FGSM": deceived, "GradAlign": aligned}
figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
for place, (name, model) in enumerate(rows.items()):
    values = [right(model), right(model, weak), right(model, strong), alignment(model)]
    bars = axis.bar([k + 0.4 * place - 0.2 for k in range(4)], values, 0.38, label=name)
    axis.bar_label(bars, [f"{value:.2f}" for value in values], fontsize="small")
axis.set_xticks(range(4), ["clean", "FGSM", "PGD-20", "cosine"])
axis.set(ylim=(0, 1.1), ylabel=f"{len(x)} test images")
axis.legend()
plt.show()

# %%
assert alignment(aligned) > alignment(deceived) + 0.05
assert right(aligned, weak) - right(aligned, strong) < 0.6 * (right(deceived, weak) - right(deceived, strong))

# %% [markdown]
# The gradients agree, and the accuracies under FGSM and PGD are nearly equal again. Both are modest, because the budget
# is large and the network very small, but FGSM no longer overestimates robustness. The aligned gradients cost clean
# accuracy; $\lambda$ controls the trade-off.
#
# ## A random start
#
# At a moderate budget a cheaper remedy is enough: start at a random point of the ball, take one step of 1.25 times the
# budget, and project. This is **Fast** adversarial training. The step ends at a different point each time.
#
# ## Free adversarial training
#
# **Free** adversarial training (Shafahi and others, 2019) uses the fact that one backward pass gives two gradients:
# with respect to the weights and with respect to the image. Each batch is replayed $m$ times; each pass updates the
# weights *and* the perturbation, which is carried over to the next batch. The number of epochs is divided by $m$, so
# the cost is that of standard training.
#
# We compare at a budget of 0.1: PGD-7, Fast with as many epochs, and Free with as many passes as Fast.

# %%
at = ThreatModel(Linf(), 0.1)
epochs = 2 if QUICK else 4
recipes = {
    "PGD-7": (madry(at, bn_mode="eval"), epochs, 8 * epochs),
    "Fast": (fast(at, bn_mode="eval"), epochs, 2 * epochs),
    "Free, m = 4": (free(at, replays=4), epochs // 2, 2 * epochs),
}

# %%
found = {}
for name, (recipe, rounds, passes) in recipes.items():
    model, seconds = trained(recipe, epochs=rounds, images=3000 if QUICK else 10000)
    found[name] = right(model), right(model, PGD(at, steps=20)), seconds
    print(f"{name:12} {passes:3} passes per image, {seconds:5.1f} s of processor time, clean {found[name][0]:.1%}")

# %%
# alt: Accuracy under PGD-20 over seconds of training for PGD-7, Fast and Free: Fast and Free take a fraction of
#   the time of PGD-7.
figure, axis = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for name, (_, robust, seconds) in found.items():
    axis.plot(seconds, robust, "o", ms=9, label=name)
axis.set(xlabel="seconds of processor time", ylabel="accuracy under PGD-20, eps 0.1", ylim=(0, 1), xlim=(0, None))
axis.legend(loc="lower right")
plt.show()

# %%
pgd_seconds, pgd_robust = found["PGD-7"][2], found["PGD-7"][1]
for name in ("Fast", "Free, m = 4"):
    assert found[name][2] < 0.75 * pgd_seconds
    assert found[name][1] > pgd_robust - 0.2

# %% [markdown]
# Fast and Free take a fraction of the time of PGD training. One seed and a few images do not show how close their
# robust accuracy is to that of PGD training. Training with single steps should be monitored with PGD; the alarm does
# this, and `fast` includes one.
#
# ## With all images, and several seeds
#
# The claims about this topic, each with the smallest effect that counts written down before the first run, and the
# results so far:

# %% tags=["stored"]
for outcome in known(["catastrophic-overfitting", "grad-align", "fast-and-free"]):
    print("\n".join(words(outcome)), end="\n\n")

# %% [markdown]
# ## What we saw
#
# - Training on single steps at a large budget makes a network robust to single steps only. FGSM does not show this; PGD
#   does.
# - The loss becomes small only in the direction of FGSM's step; the gradient at the image no longer describes the ball.
# - GradAlign keeps the gradients aligned. A random start helps as long as the budget is moderate.
# - Fast and Free cost a fraction of PGD training. Monitor them with PGD during training.

# %% [markdown]
# ## Exercises
#
# **1.** Is a shorter step a better attack? Give FGSM a `step_size`, and find the single step that lowers the accuracy
# of `deceived` most.

# %% tags=["solution"]
for size in (0.05, 0.1, 0.15, 0.2):
    print(f"one step of {size}: {right(deceived, FGSM(large, step_size=size)):.1%} right")

# %% [markdown]
# **2.** Can a network recover? Continue to train `deceived` with PGD for an epoch.

# %% tags=["solution"]
healed = copy.deepcopy(deceived).requires_grad_(requires_grad=True)
fit(healed, madry(large, bn_mode="eval", steps=5), data.sample(train, 2500), Settings(epochs=1, seed=SEED))
print(f"FGSM {right(healed, weak):.1%}, PGD-20 {right(healed, strong):.1%}")

# %% [markdown]
# **3.** Does a random start help at 0.2? Train `fast(large).recipe` and measure accuracy under PGD.

# %% tags=["solution"]
started, _ = trained(fast(large, bn_mode="eval", eps_warmup=0.3).recipe, epochs=3)
print(f"FGSM {right(started, weak):.1%}, PGD-20 {right(started, strong):.1%}")
