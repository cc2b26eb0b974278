# %% [markdown]
# # Projected gradient descent
#
# **How robust is a network really, when the attacker takes many steps?**
#
# FGSM uses one gradient for the whole budget. On the small network of the last notebook this was accurate for a few
# grey values. For a deep network a single long step overshoots, and an evaluation with FGSM alone overestimates its
# robustness. Here the attacker takes many short steps and computes the gradient again after each. We first do this with
# photographs and a network trained on ImageNet, then measure many images.

# %%
import copy
import os

import matplotlib.pyplot as plt
import torch

from robustlab import data
from robustlab.attacks import BIM, FGSM, PGD, Restarts
from robustlab.core import Linf, ThreatModel, cross_entropy, misclassified, subset
from robustlab.evaluation import evaluate
from robustlab.models import ShallowCNN, efficientnet_lite0
from robustlab.report import figure_style
from robustlab.training import Settings, fit, standard

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# ## Two photographs
#
# EfficientNet-Lite0 has 1,000 classes. Normalisation is its first layer, so images are in [0, 1], and a budget of 1/255
# is one grey value.

# %%
net = efficientnet_lite0().eval().requires_grad_(requires_grad=False)
names = data.imagenet_classes()
photos = [data.photographs()[name] for name in ("chelsea", "coffee")]
x = torch.cat([photo.x for photo in photos])
y = net(x).argmax(dim=1)

# %%
# alt: Two photographs, a cat and an espresso, each with the two most likely classes and their probabilities.
probs = net(x).softmax(dim=1)
figure, axes = plt.subplots(1, 2, figsize=(7, 3.8), layout="constrained")
for axis, image, p in zip(axes, x, probs, strict=True):
    axis.imshow(image.permute(1, 2, 0))
    axis.set_title("\n".join(f"{names[k]} {p[k]:.0%}" for k in p.argsort(descending=True)[:2]))
    axis.axis("off")
plt.show()

# %%
assert all(int(k) in (photo.label, *photo.also) for k, photo in zip(y, photos, strict=True))

# %% [markdown]
# We use the predictions of the network as labels `y`. For the cat, *Egyptian cat* and *tiger cat* have similar
# probabilities and both are acceptable, so "misclassified" means little here. We use the loss instead.
#
# ## One step overshoots
#
# If the network were linear, a budget four times as large would raise the loss four times as much.

# %%
budgets = [0.5 / 255, 1 / 255, 2 / 255, 4 / 255]
one_step = []
for eps in budgets:
    x_fgsm = FGSM(ThreatModel(Linf(), eps))(net, x, y, stop="never")
    one_step.append(cross_entropy(net(x_fgsm), y))
    print(
        f"eps {eps * 255:3.1f}/255:", *(f"{p.name} {loss:.2f}  " for p, loss in zip(photos, one_step[-1], strict=True))
    )

# %%
clean_loss = cross_entropy(net(x), y)
growth = (one_step[3] - clean_loss) / (one_step[1] - clean_loss)
assert (growth < 2.5).all()

# %% [markdown]
# It does not. The gradient at the photograph is valid only for a fraction of a grey value.
#
# ## The idea
#
# Take short steps of length $\alpha < \varepsilon$ and compute the gradient again after each. After each step, project
# onto the nearest point that the budget and the range of grey values allow:
#
# $$x_{t+1} = \Pi\big(x_t + \alpha\,\mathrm{sign}\,\nabla_x J(x_t, y)\big), \qquad
# \Pi(z) = \text{nearest point to } z \text{ with } \|z - x\|_\infty \le \varepsilon,\; 0 \le z \le 1 .$$
#
# For the $L_\infty$ ball, $\Pi$ is two clamps. Started at $x$, this is the *basic iterative method*; started at a
# random point of the ball, it is *projected gradient descent* (PGD; Madry et al., 2018), the standard attack for
# measuring defences.

# %% [markdown]
# ## By hand


# %%
def climb(model, x, y, *, eps, alpha, steps):
    """Points and losses of an attack that starts at x."""
    x_t, losses = x.clone(), []
    for _ in range(steps):
        leaf = x_t.requires_grad_()
        loss = cross_entropy(model(leaf), y)
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
        x_t = (leaf.detach() + alpha * gradient.sign()).clamp(x - eps, x + eps).clamp(0, 1)
        losses.append(loss.detach())
    return x_t, torch.stack([*losses, cross_entropy(model(x_t), y)])


# %%
eps = 1 / 255
x_adv, losses = climb(net, x, y, eps=eps, alpha=eps / 4, steps=10)

# %%
# alt: Loss over ten steps for both photographs: it rises far above the dashed lines, the losses under FGSM with the
#   same budget.
figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
for n, color in enumerate(("C0", "C1")):
    axis.plot(losses[:, n], "o-", color=color, label=f"{photos[n].name}, step by step")
    axis.axhline(one_step[1][n], ls="--", color=color, label=f"{photos[n].name}, FGSM")
axis.set(xlabel="steps", ylabel="loss at eps 1/255")
axis.legend()
plt.show()

# %%
assert (losses[-1] > 1.5 * one_step[1]).all()
assert (x_adv - x).abs().max() <= eps + 1e-6

# %% [markdown]
# The library takes the same steps. In float64 its points are the same. (In float32 rounding can change the sign of a
# tiny gradient. After ten steps many pixels then differ, but the loss hardly does: there are many points with almost
# the same loss.)

# %%
net64, x64 = copy.deepcopy(net).double(), x[:1].double()
by_hand, _ = climb(net64, x64, y[:1], eps=eps, alpha=eps / 4, steps=3)
attack = PGD(ThreatModel(Linf(), eps), steps=3, step_size=eps / 4, random_start=False)
ours = attack(net64, x64, y[:1], stop="never")

# %%
torch.testing.assert_close(ours, by_hand, atol=1e-9, rtol=0)
assert attack.threat.contains(x64, ours).all()

# %% [markdown]
# ## An attack with one grey value
#
# The perturbation, enlarged 60 times, and the predictions after the attack.

# %%
# alt: For each photograph the perturbation, enlarged 60 times, next to the attacked photograph and its new, wrong
#   classes.
after = net(x_adv).softmax(dim=1)
figure, axes = plt.subplots(2, 2, figsize=(6, 6.4), layout="constrained")
for row, image, change, p in zip(axes, x_adv, x_adv - x, after, strict=True):
    row[0].imshow((0.5 + 60 * change).clamp(0, 1).permute(1, 2, 0))
    row[1].imshow(image.permute(1, 2, 0))
    row[1].set_title("\n".join(f"{names[k]} {p[k]:.0%}" for k in p.argsort(descending=True)[:2]))
    row[0].axis("off")
    row[1].axis("off")
plt.show()

# %%
assert misclassified(after, y).all()
assert not misclassified(net(FGSM(ThreatModel(Linf(), eps))(net, x, y, stop="never")), y)[1]

# %% [markdown]
# Under FGSM with the same budget the espresso is still classified as an espresso, so a test with one step would count
# the network as robust on it. The new classes are close to the old ones, a cat of another kind, a soup instead of a
# coffee: an untargeted attack needs only the nearest wrong class.
#
# ## In bulk
#
# Two photographs do not characterise a network. We train the small network of the last notebook and evaluate it on many
# images.

# %%
torch.manual_seed(SEED)
model = ShallowCNN()
settings = Settings(epochs=2 if QUICK else 6, seed=SEED)
fit(model, standard(), data.load("fashion-mnist", split="train"), settings)
model.requires_grad_(requires_grad=False)
test = data.load("fashion-mnist", split="test")

# %% [markdown]
# First, for which budgets is one gradient valid, here and on the photographs? We divide the actual gain of FGSM by the
# gain that the gradient predicts, $\varepsilon\|g\|_1$. For a linear network the ratio is 1.


# %%
def reach(model, x, y, levels):
    """Gain of FGSM over the predicted one, by budget in grey values."""
    leaf = x.clone().requires_grad_()
    loss = cross_entropy(model(leaf), y)
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    gains = []
    for level in levels:
        moved = FGSM(ThreatModel(Linf(), level / 255))(model, x, y, stop="never")
        predicted = ((moved - x) * gradient).flatten(1).sum(dim=1)
        gains.append(((cross_entropy(model(moved), y) - loss.detach()).mean() / predicted.mean()).item())
    return gains


# %%
levels = [0.25, 0.5, 1, 2, 4, 8]
clothes, labels, *_ = test.batch(torch.arange(500))
reaches = {"EfficientNet-Lite0, photographs": reach(net, x, y, levels)}
reaches["small network, clothes"] = reach(model, clothes, labels, levels)

# %%
# alt: Gain of the loss under FGSM as a fraction of the gain that one gradient predicts, over eps on a logarithmic axis:
#   for EfficientNet it falls to one half at one grey value and to a seventh at four, for the small network it stays
#   near 1 up to four.
figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
for name, gains in reaches.items():
    axis.semilogx(levels, gains, "o-", base=2, label=name)
axis.axhline(1, color="black", ls=":", lw=1)
axis.set(xlabel="eps, in grey values", ylabel="gain / predicted gain", ylim=(0, None))
axis.set_xticks(levels, levels)
axis.legend()
plt.show()

# %%
large, small = reaches.values()
assert large[2] < 0.65
assert 0.8 < small[2] < 1.2
assert small[4] > 3 * large[4]

# %% [markdown]
# The two networks differ: the small one is close to linear over several grey values (and then the loss grows *faster*,
# because the loss of a confident mistake is unbounded), while for the large one half of the predicted gain is lost at
# one grey value.
#
# `evaluate` draws a random subset of the test images, attacks the ones that are classified correctly, runs the doctor's
# checks, and reports every accuracy with its exact 95 % interval.

# %%
at = ThreatModel(Linf(), 0.05)
attacks = {"FGSM": FGSM(at), "PGD-40": PGD(at, steps=40)}
budgets = [0.02, 0.05, 0.1] if QUICK else [0.01, 0.02, 0.03, 0.05, 0.07, 0.1]
result = evaluate(model, test, attacks=attacks, eps=budgets, n=1000 if QUICK else 2000)

# %%
# alt: Robust accuracy over eps with 95 % intervals: the curve under PGD-40 is below the curve under FGSM, and the gap
#   grows with eps.
figure, axis = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
for curve in result.curves[:2]:
    where, accuracies = [p.eps for p in curve.points], [p.robust for p in curve.points]
    axis.plot(where, [s.value for s in accuracies], "o-", label=curve.attack)
    axis.fill_between(where, [s.low for s in accuracies], [s.high for s in accuracies], alpha=0.2)
axis.set(xlabel="eps", ylabel="robust accuracy", ylim=(0, 1))
axis.legend()
plt.show()

# %%
fgsm, pgd = ({p.eps: p.robust for p in curve.points} for curve in result.curves[:2])
print(f"eps 0.05: FGSM {fgsm[0.05].value:.1%}, PGD-40 [{pgd[0.05].low:.1%}, {pgd[0.05].high:.1%}]")
assert all(pgd[budget].value <= fgsm[budget].value for budget in budgets)
assert pgd[0.05].high < fgsm[0.05].low - 0.05
assert pgd[0.1].value < 0.5 * fgsm[0.1].value

# %% [markdown]
# The two intervals do not overlap: FGSM overestimates the robustness of this network, more so for larger budgets.
# Report the result of the strongest attack that was run.
#
# ## The number of steps
#
# An evaluation should show that more steps do not change its result.

# %%
x, y, ids, *_ = test.batch(subset(len(test), 1000, seed=SEED))
counts = [1, 2, 5, 10, 20, 40]
wrong = {n: misclassified(model(PGD(at, steps=n)(model, x, y, ids=ids)), y).double().mean().item() for n in counts}

# %%
# alt: Accuracy at eps 0.05 over the number of steps: it falls from 1 to 10 steps and is level afterwards.
figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
axis.semilogx(wrong.keys(), [1 - accuracy for accuracy in wrong.values()], "o-", base=2)
axis.set(xlabel="steps", ylabel="accuracy at eps 0.05")
axis.set_xticks(counts, counts)
plt.show()

# %%
assert wrong[10] > wrong[1] + 0.1
assert abs(wrong[40] - wrong[20]) < 0.03

# %% [markdown]
# ## The loss at the end, from many starts
#
# The loss is not concave, so the attack ends at a local maximum. We start 25 times at random points around each of
# eight images and compare the final losses.

# %%
starts = (~misclassified(model(x), y)).nonzero()[:8].flatten().repeat_interleave(25)
ends = {}
for steps in (1, 40):
    reached = PGD(at, steps=steps)(model, x[starts], y[starts], stop="never")
    ends[steps] = cross_entropy(model(reached), y[starts]).view(8, 25)

# %%
# alt: Final losses from 25 starts for each of eight images: after one step they are lower, after 40 steps higher
#   and mostly close together.
figure, axis = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
for (steps, losses), color in zip(ends.items(), ("gray", "C3"), strict=True):
    axis.plot(losses, ".", color=color, alpha=0.4)
    axis.plot(losses.mean(dim=1), "_", ms=14, color=color, label=f"{steps} step{'s' * (steps > 1)}")
axis.set(xlabel="image", ylabel="final loss", yscale="log")
axis.legend()
plt.show()

# %%
assert (ends[40].amin(dim=1) > ends[1].mean(dim=1)).all()
assert (ends[40].std(dim=1) / ends[40].mean(dim=1)).median() < 0.15

# %% [markdown]
# For most images the final loss is nearly the same from all starts: there are many local maxima of similar height.
# Madry et al. observed this on larger networks, and argued that PGD therefore approximates what *any* first-order
# attack can do. This is an observation, not a theorem: some defences break it on purpose.

# %% [markdown]
# ## What we saw
#
# - The gradient used by one long step becomes invalid along the step; how soon depends on the network. Many short steps
#   with projection reach a much higher loss.
# - One grey value per pixel is enough for PGD to change the prediction of a network trained on ImageNet.
# - FGSM overestimates robustness by more than the statistical error. Report the strongest attack, with its interval.
# - At some point more steps no longer help; an evaluation should show this. Most starts end at a similar loss.

# %% [markdown]
# ## Exercises
#
# **1.** How much stronger is the attack with restarts? Compare `PGD(at, steps=20)` with `Restarts` of it, 5 times, on
# the batch above.

# %% tags=["solution"]
once = misclassified(model(PGD(at, steps=20)(model, x, y, ids=ids)), y)
often = misclassified(model(Restarts(PGD(at, steps=20), 5)(model, x, y, ids=ids)), y)
print(f"wrong after one start {once.double().mean():.1%}, after five {often.double().mean():.1%}")
assert often.sum() >= once.sum()

# %% [markdown]
# **2.** The step size is $2.5\,\varepsilon / \text{steps}$ unless given. Try 20 steps of $\varepsilon/100$ and of
# $2\,\varepsilon$. What goes wrong in each case?

# %% tags=["solution"]
for factor in (0.01, 0.125, 2.0):
    moved = PGD(at, steps=20, step_size=factor * at.eps)(model, x, y, stop="never")
    print(f"{factor} eps: {misclassified(model(moved), y).double().mean():.1%} wrong")  # too short; right; bounces

# %% [markdown]
# **3.** Is the basic iterative method (`BIM`, no random start) weaker than PGD with as many steps?

# %% tags=["solution"]
still = misclassified(model(BIM(at, steps=20)(model, x, y)), y).double().mean().item()
print(f"BIM {still:.1%}, PGD {once.double().mean():.1%} wrong")
assert abs(still - once.double().mean().item()) < 0.03
