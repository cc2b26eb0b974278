# %% [markdown]
# # Adversarial regularization
#
# **If a network also learns from its own adversarial neighbours, does it become robust?**
#
# Neural Structured Learning adds a term to the loss: the prediction for an example should also hold for the neighbours
# of that example. A neighbour may come from a graph (notebook 18), or be made: one step from the example in the
# direction in which the loss grows most. Older course material stopped when accuracy under that one step had risen. We
# also evaluate with the stronger attacks of the previous notebooks.

# %%
import os

import matplotlib.pyplot as plt
import torch

from robustlab import data
from robustlab import regularization as nsl
from robustlab.attacks import FGSM, PGD, autoattack
from robustlab.core import L2, Linf, ThreatModel, cross_entropy
from robustlab.evaluation import compare, evaluate
from robustlab.models import ShallowCNN, Shape, efficientnet_lite0
from robustlab.report import figure_style
from robustlab.training import Settings, adamw, fit, standard

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# ## The idea
#
# $$L(w) = \underbrace{\ell(f_w(x), y)}_{\text{labelled}} +
# \lambda\, \underbrace{\ell(f_w(x^\ast), y)}_{\text{neighbour}},$$
#
# $$x^\ast = x + s \cdot \arg\max_{\|d\| \le 1} \langle d, \nabla_x \ell(f_w(x), y)\rangle .$$
#
# The neighbour $x^\ast$ is a constant: nothing is differentiated twice. The direction $d$ depends on the norm: for
# $L_2$ it is the normalised gradient; for $L_\infty$ its sign; for $L_1$ it changes only the value with the largest
# gradient.

# %%
slope = torch.tensor([[3.0, -1.0, 2.0]])
x = torch.zeros(1, 3)
for norm in (L2(), Linf()):
    neighbour = nsl.adversarial_neighbour(lambda at: (at * slope).sum(), x, nsl.Neighbourhood(norm, step_size=0.2))
    gain = (neighbour * slope).sum()
    print(f"{norm}: {neighbour.numpy().round(3)}, the loss grows by {gain:.3f}")

# %%
expected = 0.2 * slope.abs().sum()
torch.testing.assert_close(gain, expected)

# %% [markdown]
# ## By hand
#
# One step of training with $\lambda = 0.2$ and $s = 0.2$ in $L_\infty$, the settings of the original's tutorial,
# written out. The library's recipe computes the same gradient for every weight.

# %%
train = data.sample(data.load("fashion-mnist", split="train"), 4_000 if QUICK else 20_000, seed=SEED)
batch = train.batch(torch.arange(64))
torch.manual_seed(SEED)
net = ShallowCNN()

# %%
leaf = batch.x.clone().requires_grad_()
(gradient,) = torch.autograd.grad(cross_entropy(net(leaf), batch.y).mean(), leaf)
near = batch.x + 0.2 * gradient.sign()
total = cross_entropy(net(batch.x), batch.y).mean() + 0.2 * cross_entropy(net(near), batch.y).mean()
total.backward()
by_hand = [weight.grad.clone() for weight in net.parameters()]

# %%
how = nsl.AdversarialRegularization(nsl.Neighbourhood(Linf(), step_size=0.2), multiplier=0.2)
net.zero_grad()
how.step(net, batch, how.init(net), backward=lambda loss: loss.backward())
for weight, expected in zip(net.parameters(), by_hand, strict=True):
    torch.testing.assert_close(weight.grad, expected)

# %% [markdown]
# In a training loop of your own, `AdversariallyRegularized` gives one loss to be differentiated, and its parts.

# %%
losses = nsl.AdversariallyRegularized(net, how).losses(batch.x, batch.y)
print(f"total {losses.total:.3f} = {losses.base:.3f} + 0.2 * {losses.adversarial:.3f}")
assert torch.isclose(losses.total, losses.base + 0.2 * losses.adversarial)

# %% [markdown]
# ## Three networks
#
# The same network without regularization, with the default step of the original (0.001 in $L_2$, which is invisible),
# and with the step of its tutorial.

# %%
recipes = {
    "base": standard(),
    "step 0.001, L2": nsl.AdversarialRegularization(),
    "step 0.2, Linf": how,
}
settings = Settings(epochs=6 if QUICK else 8, optimizer=adamw(2e-3), seed=SEED)
nets = {}
for name, recipe in recipes.items():
    torch.manual_seed(SEED)
    nets[name] = ShallowCNN()
    fit(nets[name], recipe, train, settings)

# %%
# alt: Six pictures above and their adversarial neighbours below, which carry a strong noise-like pattern.
image = data.load("fashion-mnist", split="test").batch(torch.arange(6))
figure, axes = plt.subplots(2, 6, figsize=(9, 3.2), layout="constrained")
step = nsl.Neighbourhood(Linf(), 0.2)
near = nsl.adversarial_neighbour(lambda at: cross_entropy(nets["base"](at), image.y), image.x, step).clamp(0, 1)
for column, pair in zip(axes.T, zip(image.x, near, strict=True), strict=True):
    for axis, picture in zip(column, pair, strict=True):
        axis.imshow(picture[0], cmap="gray", vmin=0, vmax=1)
        axis.axis("off")
plt.show()

# %% [markdown]
# Examples above, neighbours below. A step of 0.2 is a lot: a fifth of the range from black to white.
#
# ## What the older material measured
#
# Accuracy on clean images and under the very step of training, FGSM with 0.2.

# %%
test = data.load("fashion-mnist", split="test")
count = 500 if QUICK else 1000
threat = ThreatModel(Linf(), 0.2)
one_step = {name: evaluate(net, test, attacks=[FGSM(threat)], n=count) for name, net in nets.items()}
for name, seen in one_step.items():
    print(f"{name:15} clean {seen.clean.accuracy.value:.1%}  FGSM 0.2 {seen.worst[-1].robust.value:.1%}")

# %%
clean = {name: seen.clean.accuracy.value for name, seen in one_step.items()}
fooled = {name: seen.worst[-1].robust.value for name, seen in one_step.items()}
assert fooled["step 0.2, Linf"] > fooled["base"] + 0.25
assert abs(fooled["step 0.001, L2"] - fooled["base"]) < 0.1
assert abs(clean["step 0.001, L2"] - clean["base"]) < 0.04

# %% [markdown]
# The older material concluded from this: "adversarial regularization makes the network robust".
#
# ## Stronger attacks
#
# We use the same budget with PGD, then AutoAttack, and also smaller budgets.

# %%
budgets = [0.02, 0.05, 0.1, 0.2]
attacks = [PGD(ThreatModel(Linf(), eps), steps=20) for eps in budgets]
curves = {name: evaluate(net, test, attacks=attacks, n=count // 2) for name, net in nets.items()}

# %%
# alt: Accuracy over eps for three networks under PGD-20: all decrease; the star of FGSM at 0.2 is far above the curve
#   of the network that was trained with that step.
figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
for name, seen in curves.items():
    robust = [seen.clean.accuracy.value, *(one.robust.value for one in seen.results)]
    (line,) = axis.plot([0, *budgets], robust, "o-", label=f"{name}, PGD-20")
    axis.plot(0.2, fooled[name], "*", ms=13, color=line.get_color())
axis.plot([], [], "k*", ms=13, ls="", label="FGSM at 0.2")
axis.set(xlabel="eps in Linf", ylabel="accuracy", ylim=(-0.02, 1))
axis.legend(fontsize="small")
plt.show()

# %%
robust = {name: [one.robust.value for one in seen.results] for name, seen in curves.items()}
assert robust["step 0.2, Linf"][-1] < fooled["step 0.2, Linf"] - 0.15
assert robust["step 0.2, Linf"][2] > robust["base"][2] + 0.12

# %% [markdown]
# The star is far above the end of the curve: PGD with twenty steps fools many images that FGSM does not. At half the
# step and less the network is more robust than the base; at the full step its robust accuracy is low.
#
# AutoAttack at a smaller budget:

# %%
suite = autoattack(ThreatModel(Linf(), 0.1), version="quick" if QUICK else "standard")
strong = {name: evaluate(nets[name], test, attacks=[suite], n=100 if QUICK else 150) for name in nets}
for name, seen in strong.items():
    one = seen.worst[-1].robust
    print(f"{name:15} AutoAttack 0.1: {one.value:.1%} [{one.low:.1%}, {one.high:.1%}] of {one.n} images")

# %%
held = {name: seen.worst[-1].robust for name, seen in strong.items()}
assert held["step 0.2, Linf"].low > held["base"].high

# %% [markdown]
# ## Clean accuracy
#
# Does regularization raise or lower clean accuracy? The two networks are compared on the same images with a paired
# test.

# %%
paired = compare(one_step["base"], one_step["step 0.2, Linf"])[0]
print(
    f"regularized minus base: {paired.difference:+.1%} [{paired.low:+.1%}, {paired.high:+.1%}], p {paired.p_value:.2g}"
)

# %%
assert -0.12 < paired.difference < 0.05
assert paired.high - paired.low < 0.15

# %% [markdown]
# An interval that contains 0 would mean that no difference was detected with this number of images. One network each
# says nothing about the *method*; the claims of the guide repeat the experiment over seeds.
#
# ## A pretrained network
#
# The same method regularizes EfficientNet-Lite0 with its weights from ImageNet, here on a few images of clothes in
# colour and 64x64, for ten classes. Its steps must be smaller, because it is more sensitive to small changes than the
# small network.

# %%
few = data.sample(data.load("fashion-mnist", split="train"), 128 if QUICK else 500, seed=SEED + 1)
wide = torch.nn.functional.interpolate(few.batch(torch.arange(len(few))).x, size=64).expand(-1, 3, -1, -1)
clothes = data.examples((wide.contiguous(), few.batch(torch.arange(len(few))).y), classes=few.classes)
tuning = Settings(epochs=2 if QUICK else 3, batch_size=32, optimizer=adamw(1e-3), seed=SEED)

# %%
tuned = {}
for name, recipe in {
    "base": standard(),
    "regularized": nsl.AdversarialRegularization(nsl.Neighbourhood(Linf(), 0.01), 1.0),
}.items():
    tuned[name] = efficientnet_lite0(Shape(classes=10, channels=3, size=64))
    fit(tuned[name], recipe, clothes, tuning)

# %%
held = data.load("fashion-mnist", split="test").batch(torch.arange(64 if QUICK else 1000))
shown = torch.nn.functional.interpolate(held.x, size=64).expand(-1, 3, -1, -1).contiguous()
attacks = [FGSM(ThreatModel(Linf(), 0.01)), PGD(ThreatModel(Linf(), 0.01), steps=10)]
large = {name: evaluate(net, (shown, held.y), attacks=attacks) for name, net in tuned.items()}
for name, seen in large.items():
    accuracies = [seen.clean.accuracy, *(one.robust for one in seen.results)]
    print(f"{name:12}", *(f"{one.value:.0%} [{one.low:.0%}, {one.high:.0%}]" for one in accuracies), sep="  ")

# %%
for seen in large.values():
    one_step, ten_steps = (one.robust for one in seen.results)
    assert ten_steps.high < seen.clean.accuracy.low
    assert ten_steps.value < one_step.value - 0.03

# %% [markdown]
# (Clean; under FGSM and under PGD with the step of training, two and a half grey values.) The result is the same: under
# one step some images are still robust, under ten almost none, with or without regularization. If almost all images are
# fooled, the two networks cannot be compared.

# %% [markdown]
# ## What we saw
#
# - The neighbour in $L_\infty$ is the FGSM example; the regularized loss is FGSM training with a mixed loss.
# - Accuracy under the training step rises by a lot, but most of the gain disappears under PGD.
# - At half the step and less there is a real gain, also under AutoAttack. The default step of 0.001 changes nothing.
# - For robustness at the full budget, train with PGD (notebook 12).

# %% [markdown]
# ## Exercises
#
# **1.** Which target makes the better neighbours: away from the true label, or towards the second most likely one?

# %% tags=["solution"]
x, y = image.x, image.y
logits = nets["base"](x)
second = logits.topk(2, dim=1).indices[:, 1]
step = nsl.Neighbourhood(Linf(), 0.05)
away = nsl.adversarial_neighbour(lambda at: cross_entropy(nets["base"](at), y), x, step)
toward = nsl.adversarial_neighbour(lambda at: -cross_entropy(nets["base"](at), second), x, step)
for name, moved in (("away", away), ("toward", toward)):
    print(name, cross_entropy(nets["base"](moved), y).mean().item())

# %% [markdown]
# **2.** Take three steps of 0.1 in a ball of 0.2 instead of one of 0.2. Is it worth twice the time?

# %% tags=["solution"]
torch.manual_seed(SEED)
net = ShallowCNN()
fit(net, nsl.AdversarialRegularization(nsl.Neighbourhood(Linf(), 0.1, steps=3, eps=0.2), 0.2), train, settings)
seen = evaluate(net, test, attacks=[PGD(ThreatModel(Linf(), 0.1), steps=20)], n=count // 2)
print(f"PGD at 0.1: {seen.worst[-1].robust.value:.1%}, with one step {robust['step 0.2, Linf'][2]:.1%}")
