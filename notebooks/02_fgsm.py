# %% [markdown]
# # The fast gradient sign method
#
# **Why does one small step change what a network sees?**
#
# We train a small network on pictures of clothes, compute one gradient, and change every pixel by a few grey values in
# the direction of the sign of that gradient. People hardly notice the change, but the network loses much of its
# accuracy. The reason is not that networks are irregular functions. Near an image they are close to *linear*, and they
# have very many inputs. The size of this linear region depends on the network: for the small network here it is several
# grey values, for the large one of the next notebook less than one.

# %%
import os

import matplotlib.pyplot as plt
import torch

from robustlab import data
from robustlab.attacks import FGSM, RandomNoise, at_eps
from robustlab.core import L1, L2, Linf, ThreatModel, cross_entropy, margin, misclassified, subset
from robustlab.models import ShallowCNN
from robustlab.report import figure_style
from robustlab.training import Settings, fit, standard

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# ## A network to attack
#
# Two convolutions and two dense layers, 84,552 weights. The full budget trains it longer; the results below hold for
# both.

# %%
torch.manual_seed(SEED)
model = ShallowCNN()
train = data.load("fashion-mnist", split="train")
fit(model, standard(), train, Settings(epochs=2 if QUICK else 6, seed=SEED))
model = model.requires_grad_(requires_grad=False)

# %% [markdown]
# We attack 1,000 random test images. Images are in [0, 1], and the budget of an attack has the same units.

# %%
test = data.load("fashion-mnist", split="test")
x, y, ids, *_ = test.batch(subset(len(test), 1000, seed=SEED))
clean_error = misclassified(model(x), y).double().mean().item()
print(f"{clean_error:.1%} of the clean images are classified wrongly")

# %%
assert clean_error < 0.2

# %% [markdown]
# ## The idea
#
# Training uses the derivative of the loss $J$ with respect to the *weights*. The same backward pass gives the
# derivative with respect to the *input*. Near an input $x$ with label $y$, for a small perturbation $\delta$,
#
# $$J(x + \delta, y) \approx J(x, y) + \delta^\top g, \qquad g = \nabla_x J(x, y).$$
#
# Suppose that an attacker may change every pixel by at most $\varepsilon$, that is $\|\delta\|_\infty \le \varepsilon$.
# Each term $\delta_i g_i$ of the sum is then largest for $\delta_i = \varepsilon\,\mathrm{sign}(g_i)$, so
#
# $$x_\mathrm{adv} = x + \varepsilon\,\mathrm{sign}(g), \qquad
# J(x_\mathrm{adv}, y) \approx J(x, y) + \varepsilon \|g\|_1 .$$
#
# This is the *fast gradient sign method* (Goodfellow, Shlens, Szegedy, 2015).

# %% [markdown]
# ## By hand
#
# Losses are computed per example and *summed*. The gradient of one image then does not depend on the size of the batch,
# as it would with a mean.

# %%
leaf = x.clone().requires_grad_()
loss = cross_entropy(model(leaf), y)
(gradient,) = torch.autograd.grad(loss.sum(), leaf)

# %% [markdown]
# We take one step and clip to valid grey values. Clipping only makes a perturbation smaller, so it stays within the
# budget.

# %%
eps = 0.05
by_hand = (x + eps * gradient.sign()).clamp(0, 1)

# %% [markdown]
# In the library, an attack is an object that contains a threat model (norm, budget, bounds). By default, an attack
# stops for an image as soon as it is misclassified. `stop="never"` takes the full step for all images, as we did by
# hand.

# %%
threat = ThreatModel(Linf(), eps, bounds=(0.0, 1.0))
x_adv = FGSM(threat)(model, x, y, stop="never")

# %%
torch.testing.assert_close(x_adv, by_hand, atol=1e-6, rtol=0)
assert threat.contains(x, x_adv).all()

# %% [markdown]
# ## What it looks like
#
# The first image that is fooled. The perturbation is drawn from $-\varepsilon$ (blue) to $+\varepsilon$ (red).

# %%
before, after = model(x).softmax(dim=1), model(x_adv).softmax(dim=1)
fooled = (before.argmax(dim=1) == y) & (after.argmax(dim=1) != y)
n = int(fooled.nonzero()[0])


def title(probabilities: torch.Tensor) -> str:
    return f"{test.classes[probabilities.argmax()]}, {probabilities.max():.0%} sure"


# %%
# alt: Three pictures side by side: the original, the change of every pixel in red and blue, and the attacked picture,
#   which looks the same and is classified differently.
figure, axes = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained")
axes[0].imshow(x[n, 0], cmap="gray", vmin=0, vmax=1)
axes[1].imshow((x_adv - x)[n, 0], cmap="coolwarm", vmin=-eps, vmax=eps)
axes[2].imshow(x_adv[n, 0], cmap="gray", vmin=0, vmax=1)
for axis, text in zip(axes, (title(before[n]), "the change", title(after[n])), strict=True):
    axis.set_title(text)
    axis.axis("off")
plt.show()

# %%
assert (x_adv - x).abs().max() <= eps + 1e-6
assert fooled.double().mean() > 0.2

# %% [markdown]
# ## Linearity of the network near an image
#
# The formula predicts the loss at the attacked images from one gradient. We compare the prediction with the actual loss
# of the network for increasing budgets, and with *random noise* of the same budget.

# %%
budgets = [0.004, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1]
losses: dict[str, list[float]] = {"predicted": [], "FGSM": [], "noise": []}
for budget in budgets:
    at = ThreatModel(Linf(), budget)
    moved = FGSM(at)(model, x, y, stop="never")
    noisy = RandomNoise(at)(model, x, y, stop="never")
    losses["predicted"].append((loss + ((moved - x) * gradient).flatten(1).sum(dim=1)).mean().item())
    losses["FGSM"].append(cross_entropy(model(moved), y).mean().item())
    losses["noise"].append(cross_entropy(model(noisy), y).mean().item())

# %%
# alt: Mean loss over eps: the prediction by one gradient and the loss under FGSM rise together and FGSM ends higher;
#   under noise the loss stays flat.
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, style in (("predicted", "--"), ("FGSM", "o-"), ("noise", "s-")):
    axis.plot(budgets, losses[name], style, label=name)
axis.set(xlabel="eps", ylabel="mean loss")
axis.legend()
plt.show()

# %%
gain = {name: [value - loss.mean().item() for value in values] for name, values in losses.items()}
assert 0.8 < gain["FGSM"][0] / gain["predicted"][0] < 1.3
assert all(step > 10 * noise for step, noise in zip(gain["FGSM"], gain["noise"], strict=True))

# %% [markdown]
# For small budgets the prediction is accurate: around its inputs this network is close to linear. For larger budgets
# the loss grows even faster, because the cross-entropy of a confident mistake is unbounded. Noise has almost no effect
# at any budget: its terms $\delta_i g_i$ have random signs and cancel, while in the attack all of them have the same
# sign.
#
# The size of this effect depends on the number of inputs. Take a linear score $w^\top x$ with random weights of length
# one. The attack gains $\varepsilon\|w\|_1$, which grows with the root of the number of inputs; noise does not.

# %%
inputs = torch.logspace(1, 5, 9).long().tolist()
weights = [torch.nn.functional.normalize(torch.randn(n), dim=0) for n in inputs]
attacked = [eps * w.norm(p=1).item() for w in weights]
noise = [(w @ (eps * (2 * torch.rand(len(w), 200) - 1))).std().item() for w in weights]

# %%
# alt: Change of a linear score over the number of inputs, both axes logarithmic: the sign of the gradient gains
#   with the root of the number of inputs, noise does not.
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
axis.loglog(inputs, attacked, "o-", label="sign of the gradient")
axis.loglog(inputs, noise, "s-", label="noise (standard deviation)")
axis.set(xlabel="number of inputs", ylabel="change of the score")
axis.legend()
plt.show()

# %%
assert attacked[-1] / attacked[0] > 50
assert noise[-1] / noise[0] < 3

# %% [markdown]
# ## The security curve
#
# A single budget gives an incomplete picture. The security curve shows accuracy as a function of the budget. `at_eps`
# returns the same attack with another budget.

# %%
curve = [0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1]
errors = {}
for attack in (FGSM(threat), RandomNoise(threat)):
    points = [at_eps(attack, budget)(model, x, y, ids=ids) for budget in curve]
    errors[type(attack).__name__] = [misclassified(model(p), y).double().mean().item() for p in points]

# %%
# alt: Accuracy over eps: under FGSM it falls steeply, under random noise it hardly moves.
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for name, values in errors.items():
    axis.plot(curve, [1 - value for value in values], "o-", label=name)
axis.set(xlabel="eps", ylabel="accuracy", ylim=(0, 1))
axis.legend()
plt.show()

# %%
assert errors["FGSM"][0] == errors["RandomNoise"][0] == clean_error
assert errors["FGSM"][-1] > clean_error + 0.5
assert errors["RandomNoise"][-1] < clean_error + 0.1

# %% [markdown]
# ## Other norms
#
# The sign is specific to the $L_\infty$ ball. In general the best perturbation of size $\varepsilon$ for a linear
# function is $\varepsilon$ times the *steepest direction* of the norm: $g / \|g\|_2$ for $L_2$; for $L_1$ the whole
# budget goes to the pixels with the largest $|g_i|$. In code, only the norm object changes.

# %%
# alt: The change of one picture in three norms: every pixel by the same amount for Linf, a soft pattern for L2,
#   one or a few single pixels for L1.
threats = [ThreatModel(Linf(), 0.05), ThreatModel(L2(), 1.0), ThreatModel(L1(), 4.0)]
deltas = [FGSM(t)(model, x, y, stop="never") - x for t in threats]
figure, axes = plt.subplots(1, 3, figsize=(8, 2.8), layout="constrained")
for axis, t, delta in zip(axes, threats, deltas, strict=True):
    top = delta[n].abs().max()
    axis.imshow(delta[n, 0], cmap="coolwarm", vmin=-top, vmax=top)
    axis.set_title(f"{t.norm}, eps {t.eps:g}\npixels changed: {(delta[n].abs() > 1e-6).sum()}")
    axis.axis("off")
plt.show()

# %%
touched = [(delta[n].abs() > 1e-6).sum().item() for delta in deltas]
assert touched[2] < 10 < touched[0]
assert all((t.norm.size(d.double()) <= t.eps + 1e-6).all() for t, d in zip(threats, deltas, strict=True))

# %% [markdown]
# ## What we saw
#
# - One gradient with respect to the input is enough for an attack: FGSM is the optimal attack on a *linear* network.
# - Our network is close to linear: one gradient predicts the initial growth of the loss. Noise of the same size has
#   almost no effect.
# - The gain adds up over the inputs: many small changes with the right sign give a large change of the loss.
# - A budget belongs to a norm, and robustness is a curve over budgets, not a number.
#
# The prediction is not exact, so an attacker can do better than one step. The next notebook measures how far one
# gradient is valid, for this network and for a large one, and takes many short steps instead.

# %% [markdown]
# ## Exercises
#
# **1.** Which two classes lose most accuracy under FGSM at the budget above? Guess first.

# %% tags=["solution"]
wrong = misclassified(model(x_adv), y)
lost = [(wrong & (y == k)).sum().item() / (y == k).sum().item() for k in range(10)]
most = sorted(range(10), key=lost.__getitem__)[-2:]
print([f"{test.classes[k]}: {lost[k]:.0%} wrong" for k in most])

# %% [markdown]
# **2.** The attack increases the cross-entropy. Another score, the *negative margin* $\max_{k \ne y} z_k - z_y$ of the
# logits $z$, is positive exactly if the network is wrong. Use it for the attack (`FGSM(threat, score=margin)`). Is the
# attack stronger?

# %% tags=["solution"]
by_margin = misclassified(model(FGSM(threat, score=margin)(model, x, y, stop="never")), y).double().mean().item()
print(f"cross-entropy: {wrong.double().mean():.1%} wrong, margin: {by_margin:.1%} wrong")
assert abs(by_margin - wrong.double().mean().item()) < 0.15

# %% [markdown]
# **3.** Pictures are stored with 8 bits per pixel. Round the attacked images to multiples of 1/255. Are they still
# misclassified? What happens with an attack with a budget of 0.4/255?

# %% tags=["solution"]
for budget in (eps, 0.4 / 255):
    moved = at_eps(FGSM(threat), budget)(model, x, y, stop="never")
    stored = (moved * 255).round() / 255
    print(f"eps {budget:.4f}:", *(f"{misclassified(model(v), y).double().mean():.1%} wrong" for v in (moved, stored)))
assert torch.equal(misclassified(model(stored), y), misclassified(model(x), y))
