# %% [markdown]
# # Optimizers as trainers
#
# **Does the optimizer that trained a network decide how easily the network is fooled?**
#
# Two optimizers can reach the same accuracy at different weights. It would be useful to know whether one of them finds
# more robust weights. Two mistakes lead to a wrong answer: a learning rate that suits only one of the two, and a single
# training run of each.

# %%
import os

import matplotlib.pyplot as plt
import torch

from robustlab import data
from robustlab.attacks import PGD
from robustlab.core import Linf, ThreatModel
from robustlab.evaluation import evaluate
from robustlab.models import load
from robustlab.report import figure_style
from robustlab.studies import sweep, t_interval
from robustlab.training import Settings, fit, standard

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# ## Eight optimizers
#
# Each step moves the weights $w$ by the gradient $g$ of the loss of one batch:
#
# | optimizer | move |
# |---|---|
# | SGD | $-\eta\,g$ |
# | momentum | $-\eta\,m$ with $m \leftarrow 0.9\,m + g$ |
# | Nesterov | the same, with the gradient from a step ahead |
# | RMSprop, Adagrad | $-\eta\,g/\sqrt v$, $v$ a running mean or the sum of $g^2$ |
# | Adam, NAdam | $-\eta\,\hat m/\sqrt{\hat v}$, NAdam with a look ahead |
# | AdamW | Adam, and each weight shrinks a little by itself |
#
# In training, `tuned(torch.optim.NAdam, lr=...)` takes any of `torch.optim`.

# %%
train, test = (data.load("fashion-mnist", split=split) for split in ("train", "test"))
both = data.parts(train, {"learn": 0.08 if QUICK else 0.16, "held out": 1 / 60}, seed=SEED)


# %%
def trained(optimizer, *, seed=SEED):
    """A small network after one short training, in evaluation mode."""
    model = load("shallow-cnn", seed=seed)
    settings = Settings(epochs=1 if QUICK else 2, batch_size=32, optimizer=optimizer, seed=seed)
    fit(model, standard(), both["learn"], settings)
    return model.eval().requires_grad_(requires_grad=False)


# %%
def accuracy(model, examples):
    batch = examples.batch(torch.arange(len(examples)))
    return float((model(batch.x).argmax(dim=1) == batch.y).double().mean())


# %% [markdown]
# ## The same learning rate for all
#
# The rate 0.001 is Adam's default. We use it for all optimizers, and measure accuracy on 1,000 held-out training
# images.

# %%
RATE = 1e-3
same = {one.title: accuracy(trained(one.make(RATE)), both["held out"]) for one in sweep.OPTIMIZERS}

# %%
# alt: Bars of accuracy on held-out images for eight optimizers at the same learning rate: the three kinds of SGD
#   are near chance, Adam and its like are far ahead.
figure, axis = plt.subplots(figsize=(8, 3.8), layout="constrained")
axis.barh(list(same), list(same.values()), color="gray")
axis.set(xlabel="accuracy on held-out images", xlim=(0, 1), title=f"learning rate {RATE} for all")
axis.invert_yaxis()
plt.show()

# %%
assert same["Adam"] > same["SGD"] + 0.2
assert abs(same["Adam"] - same["NAdam"]) < 0.1

# %% [markdown]
# This does not show that SGD cannot train this network. The length of an SGD step is proportional to the gradient, that
# of an Adam step to the learning rate. A comparison at one learning rate only favours the optimizer with the matching
# units.
#
# ## A learning rate for each
#
# We train briefly with a few learning rates and choose the best one on the held-out images. The test images are not
# used: the best of several accuracies on the test images would be biased.

# %%
wanted = [one for one in sweep.OPTIMIZERS if one.name in ("sgd", "momentum", "adam")]
rates = {"sgd": (0.1, 0.3, 1.0, 3.0), "momentum": (0.01, 0.03, 0.1, 0.3), "adam": (0.003, 0.01, 0.03, 0.1)}

# %%
curves = {one.name: {lr: accuracy(trained(one.make(lr)), both["held out"]) for lr in rates[one.name]} for one in wanted}

# %%
# alt: Accuracy on held-out images over the learning rate for SGD, momentum and Adam: each has its best at a rate
#   of its own, and they are about equally high.
figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
for name, curve in curves.items():
    axis.semilogx(list(curve), list(curve.values()), "o-", label=name)
axis.axvline(RATE, color="black", ls=":", lw=1)
axis.set(xlabel="learning rate", ylabel="accuracy on held-out images")
axis.legend()
plt.show()

# %%
best = {name: max(curve, key=curve.get) for name, curve in curves.items()}
heights = {name: curve[best[name]] for name, curve in curves.items()}
print(*(f"{name}: {heights[name]:.3f} at {best[name]:g}" for name in best), sep="\n")

# %%
assert best["sgd"] >= 10 * best["adam"]
assert max(heights.values()) - min(heights.values()) < 0.5 * (same["Adam"] - same["SGD"])

# %% [markdown]
# With its own learning rate, SGD reaches a similar accuracy.
#
# ## One training run is not enough
#
# Momentum against Adam, each at its best rate, three seeds, which set the initial weights and the order of the images.
# We measure robust accuracy under PGD at a small eps, because no network was trained adversarially.

# %%
attack = PGD(ThreatModel(Linf(), 0.02), steps=10)
n, seeds = (200, 3) if QUICK else (1000, 5)
makers = {one.name: one.make for one in wanted if one.name != "sgd"}


# %%
def robust(name, seed):
    model = trained(makers[name](best[name]), seed=seed)
    return evaluate(model, test, attacks=[attack], n=n).worst[-1].robust.value


# %%
accuracies = {name: [robust(name, seed) for seed in range(seeds)] for name in makers}

# %%
differences = [a - b for a, b in zip(accuracies["adam"], accuracies["momentum"], strict=True)]
interval = t_interval(differences)

# %%
# alt: Lines from the robust accuracy with momentum to that with Adam, one for each seed: their slopes differ
#   from seed to seed.
figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
for seed in range(seeds):
    axis.plot([0, 1], [accuracies["momentum"][seed], accuracies["adam"][seed]], "o-", label=f"seed {seed}")
axis.set_xticks([0, 1], ["momentum", "Adam"])
axis.set(ylabel="robust accuracy", xlim=(-0.4, 1.4))
axis.legend(fontsize="small")
plt.show()

# %%
print(f"Adam over momentum, by seed: {', '.join(f'{d:+.3f}' for d in differences)}")
print(f"mean {interval.mean:+.3f}, 95 % t-interval [{interval.low:+.3f}, {interval.high:+.3f}]")

# %%
assert interval.high - interval.low > max(differences) - min(differences)

# %% [markdown]
# Each line is the result of a single seed. An experiment with one seed would report only one of these lines. Student's
# t-interval combines the seeds; with three seeds it is wide, as it should be.
#
# ## At full budget
#
# `robustlab sweep trainers` does this for eight optimizers: learning rates chosen on held-out training images, then
# three seeds, 20,000 images, two epochs, 400 test images for each seed. The results are part of the package.

# %%
known = sweep.known_trainers("standard")
names = dict(known.regime.columns)
means = torch.tensor([[one.interval(name).mean for name in names] for one in known.taught])

# %%
# alt: Table of accuracy of eight optimizers, clean and under five attacks, as means of three seeds.
figure, axis = plt.subplots(figsize=(9, 5), layout="constrained")
axis.imshow(means, cmap="viridis", vmin=0.3, vmax=1.2, aspect="auto")
axis.set_xticks(range(len(names)), list(names.values()), rotation=30, ha="right")
axis.set_yticks(range(len(known.taught)), [f"{one.title} ({one.rate:g})" for one in known.taught])
for row, column in torch.cartesian_prod(*map(torch.arange, means.shape)).tolist():
    axis.text(column, row, f"{100 * means[row, column]:.1f}", ha="center", va="center", color="white")
axis.set_title("accuracy in per cent, mean of three seeds")
plt.show()

# %% [markdown]
# And the differences to SGD with momentum, paired by seed, under the strongest of these attacks at that eps:

# %%
pgd = {one.title: known.difference(one, "pgd_20_accuracy") for one in known.taught if one.optimizer != "momentum"}

# %%
# alt: Intervals of the difference to momentum in accuracy under PGD-20 for seven optimizers: all but plain SGD
#   lie below zero, Adam and AdamW furthest.
figure, axis = plt.subplots(figsize=(8, 3.8), layout="constrained")
for row, (mean, low, high) in enumerate(pgd.values()):
    axis.plot([low, high], [row, row], color="C0")
    axis.plot(mean, row, "o", color="C0")
axis.axvline(0, color="black", lw=1)
axis.set_yticks(range(len(pgd)), list(pgd))
axis.set(xlabel="accuracy under PGD-20, over momentum")
plt.show()

# %% tags=["stored"]
by_name = {one.optimizer: one for one in known.taught}
adam_clean = known.difference(by_name["adam"], "clean_accuracy")
print(f"Adam over momentum: clean {adam_clean.mean:+.3f}, PGD-20 {pgd['Adam'].mean:+.3f}")
assert abs(adam_clean.mean) < 0.02
assert pgd["Adam"].high < -0.03

# %% [markdown]
# Here the interval is far from 0. Adam and momentum reach the same clean accuracy, and under PGD the network trained
# with Adam is less accurate, with every seed. So the optimizer has an effect on robustness. It is not a defence: each
# pixel may change by only 0.03, and even for the best of these networks the attack fools a third of the correctly
# classified images.
#
# The table does not explain the cause. Two epochs are short: an optimizer that converges faster may have lost
# robustness for this reason. And each learning rate was chosen once, for clean accuracy, on a thousand images.

# %% tags=["stored"]
hard = {name: one.values["pgd_20_accuracy"] for name, one in by_name.items()}
over_seeds = max(max(values) - min(values) for values in hard.values())
low, high = map(float, means[:, list(names).index("pgd_20_accuracy")].aminmax())
print(f"over seeds up to {over_seeds:.3f}, over optimizers {high - low:.3f}")
assert over_seeds < high - low
assert high < 0.7 * means[:, 0].max()

# %% [markdown]
# ## What we saw
#
# - A common learning rate gives no fair comparison of optimizers, because its units differ.
# - Choose the learning rate on images that are used neither for training nor for the reported result.
# - One training run of each is not enough: in our short runs the sign of a difference changed from seed to seed, or
#   could have. At full budget the spread over seeds is small enough to show differences between optimizers.
# - At the same clean accuracy, networks trained with different optimizers differ in robustness to small perturbations;
#   here SGD and momentum are better than Adam. None of them is robust.

# %% [markdown]
# ## Exercises
#
# **1.** Are the more accurate networks the more robust ones? Plot accuracy under PGD-20 against clean accuracy, for all
# optimizers and seeds of the committed results.

# %% tags=["solution"]
clean, attacked = (
    torch.tensor([v for one in known.taught for v in one.values[name]])
    for name in ("clean_accuracy", "pgd_20_accuracy")
)

# %% tags=["solution"]
# alt: Accuracy under PGD-20 over clean accuracy, one dot for each optimizer and seed.
plt.figure(figsize=(5.5, 3.6), layout="constrained")
plt.plot(clean, attacked, ".")
plt.xlabel("clean accuracy")
plt.ylabel("accuracy under PGD-20")
plt.show()

# %% tags=["solution"]
print(f"correlation {torch.corrcoef(torch.stack([clean, attacked]))[0, 1]:+.2f}")

# %% [markdown]
# **2.** With three seeds, plain SGD does not differ significantly from momentum under PGD-20. How many seeds would be
# needed if mean and spread of the differences stayed the same? The half-width of a t-interval shrinks with the root of
# the number of seeds, and Student's quantile shrinks, too.

# %% tags=["solution"]
pairs = zip(hard["sgd"], hard["momentum"], strict=True)
seen = [a - b for a, b in pairs]

# %% tags=["solution"]
for times in (1, 2, 4, 8):  # the same differences again and again: mean and spread stay
    mean, low, high = t_interval(seen * times)
    print(f"{3 * times:2} seeds: {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
assert t_interval(seen).high > 0 > t_interval(seen * 8).high
