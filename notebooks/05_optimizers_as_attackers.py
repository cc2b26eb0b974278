# %% [markdown]
# # Optimizers as attackers
#
# **Which optimizer breaks a network with the least budget, and how much must one know to use it?**
#
# PGD increases the loss around an image with the sign of the gradient. Training decreases the loss over the weights,
# usually with momentum, Adam or RMSprop instead of the sign. Are these optimizers also better attackers? A simple
# comparison runs each one with the same learning rate. We do this, see why it is unfair, tune the learning rate of each
# optimizer, and compare again.

# %%
import os
import tempfile

import matplotlib.pyplot as plt
import torch

from robustlab import data
from robustlab.attacks import PGD, SGD, Adagrad, Adam, OptimizerPGD, RMSprop, TorchOptimizer
from robustlab.core import Linf, ThreatModel, cross_entropy, misclassified, subset
from robustlab.models import ShallowCNN
from robustlab.report import figure_style
from robustlab.studies import sweep
from robustlab.training import Settings, fit, standard

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# ## A network to attack
#
# The small network of the other notebooks. The attacker may change each pixel by 0.05.

# %%
torch.manual_seed(SEED)
model = ShallowCNN()

# %%
train = data.load("fashion-mnist", split="train")
examples = data.sample(train, 20000, seed=SEED) if QUICK else train
fit(model, standard(), examples, Settings(epochs=1 if QUICK else 3, seed=SEED))
model = model.requires_grad_(requires_grad=False)

# %%
test = data.load("fashion-mnist", split="test")
at = ThreatModel(Linf(), 0.05)

# %%
x, y, ids, *_ = test.batch(subset(len(test), 300 if QUICK else 1000, seed=SEED))
right = ~misclassified(model(x), y)
x, y, ids = x[right], y[right], ids[right]
assert right.double().mean() > 0.75

# %% [markdown]
# ## What a step rule is
#
# Every attack here starts at the same random point $x_0$ of the ball. Each step computes the gradient $g$ of the loss,
# moves by $d$, and projects onto the ball. Only $d$ differs:
#
# | rule | remembers | move $d$ |
# |---|---|---|
# | sign (PGD) | nothing | $\eta\,\mathrm{sign}(g)$ |
# | SGD | nothing | $\eta\,g$ |
# | momentum | $m \leftarrow 0.9\,m + g$ | $\eta\,m$ |
# | RMSprop | $v \leftarrow 0.99\,v + 0.01\,g^2$ | $\eta\,g / \sqrt v$ |
# | Adagrad | $v \leftarrow v + g^2$ | $\eta\,g / \sqrt v$ |
# | Adam | running means of $g$ and $g^2$, bias-corrected | $\eta\,\hat m / \sqrt{\hat v}$ |
#
# The last three divide by the size of past gradients, pixel by pixel: like the sign, they do not depend on the scale of
# $g$. SGD and momentum do. `OptimizerPGD` takes any of them, and any optimizer of `torch.optim`.

# %% [markdown]
# ## The length of a gradient
#
# If all images had gradients of the same size, the scale would not matter: the learning rate could absorb it.

# %%
leaf = x.clone().requires_grad_()
(gradients,) = torch.autograd.grad(cross_entropy(model(leaf), y).sum(), leaf)
sizes = gradients.abs().amax(dim=(1, 2, 3))

# %%
# alt: Histogram of the size of gradients on a logarithmic axis: it stretches over many orders of magnitude, with
#   a dashed line at the median.
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
axis.hist(sizes.clamp_min(1e-12).log10(), bins=40)
axis.axvline(sizes.median().log10(), color="black", ls="--", label="median")
axis.set(xlabel="log10 of the largest entry of the gradient", ylabel="images")
axis.legend()
plt.show()

# %%
low, high = sizes.quantile(0.1), sizes.quantile(0.9)
print(f"one image in ten is below {low:.2g}, one in ten above {high:.2g}")
assert high > 50 * low

# %% [markdown]
# They differ by orders of magnitude. Where the network is confident the loss is flat and the gradient is tiny. A single
# learning rate moves some images out of the ball in one step and hardly moves others.
#
# ## The same learning rate for all
#
# Twenty steps, the same starts, and learning rate 0.005 for all rules.

# %%
RATE = 0.005
same = {
    "sign": PGD(at, 20, RATE),
    "SGD": OptimizerPGD(at, SGD(RATE), 20),
    "momentum": OptimizerPGD(at, SGD(RATE, 0.9), 20),
    "Adam": OptimizerPGD(at, Adam(RATE), 20),
    "RMSprop": OptimizerPGD(at, RMSprop(RATE), 20),
    "Adagrad": OptimizerPGD(at, Adagrad(RATE), 20),
}

# %%
naive = {name: float((~misclassified(model(a(model, x, y, ids=ids)), y)).double().mean()) for name, a in same.items()}

# %%
# alt: Fraction of images still robust under six rules with the same learning rate: nearly all of them under SGD, far
#   fewer under the others.
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
axis.bar(list(naive), list(naive.values()), color="gray")
axis.set(ylabel="still robust", title=f"20 steps, learning rate {RATE} for all", ylim=(0, 1))
plt.show()

# %%
assert naive["SGD"] > naive["sign"] + 0.12
assert naive["SGD"] > naive["Adam"] + 0.12

# %% [markdown]
# This does not show that SGD is a weak attacker: with this learning rate it has hardly moved from its start. A learning
# rate of 0.005 is a step of a tenth of the budget for the sign rule, and a tiny fraction of that for SGD. The bars
# compare learning rates, not rules.
#
# ## Tuned learning rates
#
# `robustlab.studies.sweep.attackers` (on the command line `robustlab sweep attackers MODEL`) tries a grid of learning
# rates for each rule, on images reserved for tuning. The best rate of each rule, for each number of steps, is then
# measured on *other* images. Measured on the tuning images, the best of many rates would be biased.

# %%
spend = sweep.Spend(tuning=200, images=400, widen=4)
if QUICK:
    spend = sweep.Spend(budgets=(3, 10), tuning=80, images=150, widen=1)
subject = sweep.Given("ShallowCNN", at, model, test)
with tempfile.TemporaryDirectory() as folder:
    found = sweep.attackers(subject, out=folder, seeds=2, spend=spend)

# %%
# alt: Robust accuracy over the learning rate for six rules: it falls to about the same level for all, at rates that
#   differ by orders of magnitude.
figure, axis = plt.subplots(figsize=(7.5, 4), layout="constrained")
for one in found.swept:
    curve = one.curve()
    axis.semilogx(list(curve), list(curve.values()), ".-", label=one.title)
axis.axvline(RATE, color="black", ls=":", lw=1)
axis.set(xlabel="learning rate", ylabel="robust accuracy", title="images for tuning, all steps")
axis.legend(fontsize="small")
plt.show()

# %%
rules = {one.rule: one for one in found.swept}
best = {name: one.course()[-1] for name, one in rules.items()}
gap = best["sgd"] - best["sign"]
print(f"SGD over the sign rule: {naive['SGD'] - naive['sign']:+.2f} at the same rate, {gap:+.2f} at its best")

# %%
assert gap < 0.5 * (naive["SGD"] - naive["sign"])
assert max(best.values()) - min(best.values()) < 0.12

# %%
lowest = {name: one.working()[0] for name, one in rules.items()}
print("lowest rate within two points of the best:", *(f"{name} {low:g}" for name, low in lowest.items()), sep="\n  ")
assert lowest["sgd"] > 10 * max(RATE, lowest["sign"])
assert max(lowest.values()) > 50 * min(lowest.values())

# %% [markdown]
# *Dotted: the common learning rate used before.* The lowest rates that work differ between the rules by a factor of
# more than fifty, and the common rate was far below what SGD needs. (The best rate itself says little: above the
# lowest, many rates are about equally good.) With its best rate each rule, SGD too, comes within a few points of the
# others.
#
# ## Budget: accuracy against passes
#
# Each step is one forward and one backward pass. Which rule needs the fewest?

# %%
# alt: Robust accuracy over the number of passes for six rules at their best rates: all fall steeply at first and
#   end within a few points of each other.
figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
for one in found.swept:
    course = one.course()
    axis.plot([2 * k + 1 for k in range(len(course))], course, ".-", label=one.title)
axis.set(xlabel="forward and backward passes", ylabel="robust accuracy of the reported images")
axis.legend(fontsize="small")
plt.show()

# %%
for one in found.swept:
    fraction, seen = one.robust(one.steps), found.compared(one, one.steps)
    print(
        f"{one.title:18} {fraction.value:.3f} [{fraction.low:.3f}, {fraction.high:.3f}], "
        f"over sign {seen.difference:+.3f} [{seen.low:+.3f}, {seen.high:+.3f}], p {seen.p_value:.2g}"
    )

# %%
assert all(one.course()[-1] < one.course()[0] - 0.15 for one in found.swept)
assert all(found.compared(one, one.steps).difference < 0.1 for one in found.swept)

# %% [markdown]
# Overlapping intervals of the accuracies do not mean that there is no difference: all rules attack the same images from
# the same starts. The paired difference and McNemar's exact test use only the images on which two rules disagree, and
# are more sensitive. But these are five tests, so that only a p-value below 0.01 counts (0.05 over their number), and
# they are about one small network with two sets of starts, which is not enough for a conclusion about the rules.
#
# ## At full budget
#
# These results are part of the package and were computed by `robustlab sweep attackers`: two larger networks, one with
# standard training (eps 0.05) and one with PGD training (eps 0.1), 20 steps, 1,800 images each, three seeds.

# %%
known = {name: sweep.known_attackers(name) for name in ("standard", "robust")}

# %% tags=["stored"]
for name, one in known.items():
    print(f"{name}, {one.threat}, {one.n} images, clean {one.clean.value:.3f}")
    for rule in one.swept:
        seen, p = one.compared(rule, 20), one.corrected(20).get(rule.rule, 1.0)
        print(f"  {rule.title:18} {rule.course()[-1]:.3f}, over sign {seen.difference:+.3f}, corrected p {p:.2g}")

# %%
# alt: Two panels, a standard and a robust network: robust accuracy over the number of passes; six curves that nearly
#   coincide at the end, except for SGD on the standard network, which stays higher.
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for axis, (name, one) in zip(axes, known.items(), strict=True):
    for rule in one.swept:
        axis.plot([2 * k + 1 for k in range(21)], rule.course(), label=rule.title)
    start = one.swept[0].course()[3]
    axis.set(xlabel="passes", title=f"{name}, {one.threat}", ylim=(one.lowest - 0.01, start + 0.04))
axes[0].set(ylabel="robust accuracy")
axes[0].legend(fontsize="small")
plt.show()

# %%
standard_network = {rule.rule: known["standard"].compared(rule, 20) for rule in known["standard"].swept}
assert standard_network["sgd"].low > 0.02
assert all(abs(seen.difference) < 0.015 for name, seen in standard_network.items() if name != "sgd")
assert standard_network["rmsprop"].high < 0

# %%
robust_network = known["robust"]
assert all(abs(robust_network.compared(rule, 20).difference) < 0.01 for rule in robust_network.swept)
assert min(robust_network.corrected(20).values()) > 0.05

# %% [markdown]
# On the standard network plain SGD is weaker by four points, and RMSprop is stronger than the sign rule by less than a
# point. On the robust network there is no significant difference between the rules: the images that can be fooled are
# fooled within a few steps of any rule.
#
# ## The cost of tuning
#
# We compare the range of learning rates that come within two points of the best one, on the tuning images. A wider
# range needs less tuning. (If a line ends at a dot, the grid ended there.)

# %%
# alt: Two panels, a standard and a robust network: for each rule a bar over the learning rates that come within two
#   points of the best; their positions differ by factors of thousands.
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained", sharey=True)
for axis, (name, one) in zip(axes, known.items(), strict=True):
    for row, rule in enumerate(one.swept):
        axis.plot(list(rule.tuning), [row] * len(rule.tuning), ".", color="lightgray")
        axis.plot(rule.working(), [row, row], lw=4, color="C0", solid_capstyle="butt")
    axis.set(xscale="log", xlabel="learning rate", title=name)
axes[0].set_yticks(range(6), [rule.title for rule in one.swept])
plt.show()

# %% tags=["stored"]
widths = {rule.rule: rule.working()[1] / rule.working()[0] for rule in known["standard"].swept}
print(*(f"{name}: a factor of {width:,.0f}" for name, width in widths.items()), sep="\n")

# %%
assert widths["adam"] > 4 * widths["sign"]
assert widths["rmsprop"] > 2 * widths["sign"]
assert all(rule.passes_to(one.lowest + 0.01) <= one.swept[0].passes_to(one.lowest + 0.01) for rule in one.swept[1:])

# %% [markdown]
# On the standard network the step of the sign rule must be within a factor of ten; rules that divide by past gradients
# have a wider range. On the robust network any step that is long enough works. SGD and momentum have an unbounded
# plateau on both networks: once every move is longer than the budget, the projection moves it to a corner of the ball,
# and the learning rate no longer matters.

# %% [markdown]
# ## What we saw
#
# - The learning rate has different units for each rule, so a common learning rate gives no fair comparison.
# - Tuned on some images and measured on others, most rules end within a point of each other. The choice of the rule
#   matters less than the choice of its learning rate.
# - Plain SGD is weaker on the standard network. There the gradients of different images differ by orders of magnitude,
#   so no single learning rate fits all of them.
# - The adaptive rules are less sensitive to the learning rate than the sign rule, and need no more passes.
# - On the adversarially trained network, all rules end at the same accuracy.
# - Such small differences can be detected only with paired tests on many images.

# %% [markdown]
# ## Exercises
#
# **1.** `TorchOptimizer` makes a step rule of any class of `torch.optim`. Tune `NAdam` on the first half of `x` and
# measure it on the second. Does it beat the sign rule there, at 20 steps of 0.01?

# %% tags=["solution"]
half = len(x) // 2


def still_robust(attack, rows):
    x_adv = attack(model, x[rows], y[rows], ids=ids[rows])
    return float((~misclassified(model(x_adv), y[rows])).double().mean())


nadam = {lr: OptimizerPGD(at, TorchOptimizer(torch.optim.NAdam, {"lr": lr}), 20) for lr in (0.003, 0.01, 0.03)}

# %% tags=["solution"]
lr = min(nadam, key=lambda lr: still_robust(nadam[lr], slice(None, half)))
rest = slice(half, None)
print(f"NAdam at {lr}: {still_robust(nadam[lr], rest):.3f}, sign rule: {still_robust(PGD(at, 20, 0.01), rest):.3f}")
assert abs(still_robust(nadam[lr], rest) - still_robust(PGD(at, 20, 0.01), rest)) < 0.08

# %% [markdown]
# **2.** Use SGD with a learning rate of one million. Where in the ball do the images end, and why does the attack still
# work?

# %% tags=["solution"]
x_adv = OptimizerPGD(at, SGD(1e6), 20)(model, x, y, ids=ids, stop="never")
inside = (x > at.eps) & (x < 1 - at.eps)  # elsewhere the range of grey values cuts the change
at_corner = ((x_adv - x).abs() > 0.999 * at.eps)[inside].double().mean()
print(f"{at_corner:.0%} of the free pixels are at a bound of the ball: only the sign of the gradient matters")
assert at_corner > 0.9
