# %% [markdown]
# # PGD training, TRADES, MART, AWP
#
# **What should a network learn from attacked images?**
#
# A network that was trained as usual falls to nearly every attack. One remedy has stood the test of time: attack the
# network *while it is trained*, and let it learn from what the attack finds. Four ways to do that are taught here, each
# as one formula and one line of code: what do they share, where do they differ, and what do they cost?

# %%
import copy
import os

import matplotlib.pyplot as plt
import torch

from robustlab import data, studies
from robustlab.attacks import PGD
from robustlab.core import Batch, Linf, ThreatModel, cross_entropy, kl, misclassified
from robustlab.evaluation import Settings, evaluate
from robustlab.models import ShallowCNN
from robustlab.report import figure_style
from robustlab.training import Settings as Training
from robustlab.training import adamw, awp, fit, madry, mart, standard, trades

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# The quick budget trains the small network on a tenth of the images for two epochs: enough to see the effects, far from
# good numbers. The attacker may change each pixel by at most 0.1.

# %%
train, test = (data.load("fashion-mnist", split=split) for split in ("train", "test"))
images = data.sample(train, 6000 if QUICK else 15000, seed=SEED)
at = ThreatModel(Linf(), 0.1)


def trained(recipe):
    """The small network after training by a recipe, always from the same weights and in the same order."""
    torch.manual_seed(SEED)
    model = ShallowCNN()
    fit(model, recipe, images, Training(2 if QUICK else 3, batch_size=64, optimizer=adamw(4e-3), seed=SEED))
    return model


# %%
plain = trained(standard())

# %% [markdown]
# ## PGD training: the worst case within the budget
#
# Training as usual makes the mean loss small. Madry et al. (2018) make the mean of the *worst* loss small, whatever an
# attacker does within the budget:
#
# $$\min_w \; \mathbb{E}_{(x, y)} \; \max_{\|\delta\| \le \varepsilon} \; L(f_w(x + \delta), y) .$$
#
# The inner maximum cannot be computed. PGD looks for it, and the weights move by the gradient at the point that it
# found. (That this is the right direction holds for the true maximum: Danskin's theorem.)
#
# By hand it is two lines: attack, then learn from the result.

# %%
batch = test.batch(torch.arange(128))
torch.manual_seed(SEED)
model = ShallowCNN()
x_adv = PGD(at, steps=7, step_size=at.eps / 4)(model, batch.x, batch.y, stop="never", seed=1, ids=batch.ids)
by_hand = cross_entropy(model(x_adv), batch.y).mean()

# %% [markdown]
# The recipe `madry` does the same. A recipe is a value; `step` computes the loss of one batch.

# %%
recipe = madry(at, steps=7, norm_mode="eval")
found = recipe.step(model, Batch(*batch[:3], seed=1), recipe.init(model), lambda loss: loss.backward())
print(f"by hand {by_hand:.4f}, the recipe {found['loss']:.4f}")

# %%
assert abs(found["loss"] - by_hand.item()) < 1e-4

# %%
pgd = trained(madry(at, steps=4, step_size=0.04, norm_mode="eval"))

# %% [markdown]
# What has it gained, and what has it lost? Each bar below is a share of the same test images.

# %%
n = 300 if QUICK else 1000
measured = {}


def measure(name, model):
    """Clean accuracy and accuracy under PGD-20, kept by name."""
    attacks = {"PGD-20": PGD(at, steps=20)}
    measured[name] = evaluate(model, test, attacks=attacks, n=n, settings=Settings(name=name, seed=SEED))
    return measured[name].clean.accuracy.value, measured[name].worst[-1].robust.value


# %%
for name, model in (("standard", plain), ("PGD", pgd)):
    clean, robust = measure(name, model)
    print(f"{name}: {clean:.1%} on clean images, {robust:.1%} under attack")

# %%
assert measured["PGD"].worst[-1].robust.low > measured["standard"].worst[-1].robust.high + 0.2
assert measured["PGD"].clean.accuracy.value < measured["standard"].clean.accuracy.value

# %% [markdown]
# ## TRADES: how much accuracy for how much robustness?
#
# PGD training never sees a clean image. Zhang et al. (2019) split the robust error into two parts that add up to it:
# the share of images that are wrong as they are, and the share of those that are right and whose prediction *changes*
# nearby. Their loss has a term for each, the second one for all images, right or wrong:
#
# $$L(f(x), y) \;+\; \beta \, \max_{\|\delta\| \le \varepsilon} \mathrm{KL}\big(p(x) \,\|\, p(x + \delta)\big) .$$
#
# The second term does not know the label: the attack only looks for another prediction. $\beta$ is a dial.

# %%
dial = {beta: trained(trades(at, beta=float(beta), steps=5, step_size=0.03)) for beta in (1, 6)}

# %%
x, y, ids, *_ = test.batch(torch.arange(500))


def change(model):
    """How far the prediction moves under attack: KL(p(x) || p(x_adv)), a number for each image."""
    with torch.no_grad():
        return kl(model(PGD(at, steps=20)(model, x, y, stop="never", ids=ids)), model(x))


moved = {"PGD": change(pgd), **{f"TRADES {beta}": change(model) for beta, model in dial.items()}}

# %%
# alt: Share of images whose prediction moves by at most so much under attack, for PGD training and TRADES with
#   beta 1 and 6: with beta 6 predictions move least.
figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
for name, values in moved.items():
    axis.plot(values.sort().values, torch.linspace(0, 1, len(values)), label=name)
axis.set(xlabel="KL between the prediction on the image and under attack", ylabel="share of images")
axis.legend()
plt.show()

# %%
for beta, model in dial.items():
    measure(f"TRADES {beta}", model)
shares = {beta: measured[f"TRADES {beta}"] for beta in dial}
gap = {beta: r.clean.accuracy.value - r.worst[-1].robust.value for beta, r in shares.items()}
print(", ".join(f"beta {beta}: {gap[beta]:.1%} of the images are lost to the attack" for beta in dial))

# %%
assert moved["TRADES 6"].mean() < 0.7 * moved["TRADES 1"].mean()
assert gap[6] < gap[1] - 0.03

# %% [markdown]
# *Each curve: the share of images whose prediction moves by at most so much.* A larger $\beta$ holds predictions still,
# and fewer of the images that are right are lost to the attack. What that costs in clean accuracy is in the bars below.
#
# ## MART: attend to what is wrong already
#
# Both treat all images alike. But an image that the network gets wrong without any attack has nothing to be held still.
# Wang et al. (2020) weigh the second term by how unsure the network is, and make the first term push harder:
#
# $$-\log p_y(x') - \log\big(1 - \max_{k \ne y} p_k(x')\big) \;+\; \beta\, \mathrm{KL}\big(p(x) \,\|\, p(x')\big)\,
# \big(1 - p_y(x)\big), \qquad x' = x + \delta .$$

# %%
# alt: Stacked histogram of the weight in MART: images that are wrong have the larger weights.
unsure = 1 - pgd(x).softmax(dim=1).gather(1, y[:, None])[:, 0].detach()
wrong = misclassified(pgd(x), y)
figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
axis.hist([unsure[~wrong], unsure[wrong]], bins=20, range=(0, 1), stacked=True, label=["right", "wrong"])
axis.set(xlabel="weight $1 - p_y(x)$ in MART", ylabel="images")
axis.legend()
plt.show()

# %%
ratio = unsure[wrong].mean() / unsure[~wrong].mean()
print(f"an image that is wrong counts {ratio:.1f} times as much as one that is right")
assert ratio > 1.5

# %% [markdown]
# *A histogram of the test images, those that the PGD-trained network gets wrong on top.* Those weigh most, and next to
# them the ones that are right by a hair.

# %%
clean, robust = measure("MART", trained(mart(at, beta=5.0, steps=5, step_size=0.03)))
print(f"MART: {clean:.1%} on clean images, {robust:.1%} under attack")

# %% [markdown]
# ## AWP: attack the weights, too
#
# Robust accuracy on the training images grows long after that on test images has begun to fall. Wu et al. (2020) saw
# that it generalises better where the loss is *flat* around the weights. So they perturb both: the inputs within the
# budget, and each layer's weights by a share $\gamma$ of their size, in the direction that hurts most.
#
# $$\min_w \; \max_{\|v_l\| \le \gamma \|w_l\|} \; \mathbb{E} \; \max_{\|\delta\| \le \varepsilon}
# L(f_{w + v}(x + \delta), y)$$
#
# It goes around any recipe that first makes inputs and then learns from them.

# %%
wrapped = awp(madry(at, steps=4, step_size=0.04, norm_mode="eval"), gamma=0.01)
flat = trained(wrapped)
clean, robust = measure("AWP", flat)
print(f"AWP: {clean:.1%} on clean images, {robust:.1%} under attack")

# %% [markdown]
# Is it flatter? We take the direction that hurts most at the final weights, walk along it, and watch the loss on
# attacked images.


# %%
def walk(model, sizes):
    """The loss on attacked images with the weights moved by shares of their size."""
    x_adv = PGD(at, steps=20)(model, x, y, stop="never", ids=ids)
    worst = wrapped.worst(model, Batch(x, y, ids), x_adv, lambda loss: loss.backward())
    losses = []
    for size in sizes:
        moved = copy.deepcopy(model)
        for own, (weight, change) in zip([p for p in moved.parameters() if p.ndim > 1], worst.items(), strict=True):
            own.data = weight.data + size / wrapped.gamma * change
        losses.append(cross_entropy(moved(x_adv), y).mean().item())
    return torch.tensor(losses)


# %%
sizes = torch.linspace(0, 0.03, 7)
paths = {"PGD": walk(pgd, sizes), "AWP": walk(flat, sizes)}

# %%
# alt: Loss under attack over the change of the weights for PGD and AWP: that of AWP rises more slowly.
figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
for name, losses in paths.items():
    axis.plot(sizes, losses, "o-", label=name)
axis.set(xlabel=r"change of the weights relative to their size, $\gamma$", ylabel="loss under attack")
axis.legend()
plt.show()

# %%
rise = {name: (losses[-1] - losses[0]).item() for name, losses in paths.items()}
print(f"at 0.03 the loss has risen by {rise['PGD']:.2f} after PGD training, by {rise['AWP']:.2f} with AWP")
assert rise["AWP"] < 0.9 * rise["PGD"]

# %% [markdown]
# ## All of them together

# %%
# alt: Bars of clean and robust accuracy with intervals for six networks: the standard one has little robust
#   accuracy, the other five are close together.
names = list(measured)
shown = {"clean": [r.clean.accuracy for r in measured.values()]}
shown["under PGD-20"] = [r.worst[-1].robust for r in measured.values()]
figure, axis = plt.subplots(figsize=(8.5, 3.8), layout="constrained")
for shift, (label, shares) in zip((-0.2, 0.2), shown.items(), strict=True):
    errors = [[s.value - s.low for s in shares], [s.high - s.value for s in shares]]
    axis.bar([k + shift for k in range(len(names))], [s.value for s in shares], 0.38, yerr=errors, label=label)
axis.set_xticks(range(len(names)), names)
axis.set(ylabel="share classified correctly", ylim=(0, 1.15))
axis.legend(ncols=2, loc="upper center")
plt.show()

# %%
robust = {name: r.worst[-1].robust for name, r in measured.items()}
assert all(robust[name].low > robust["standard"].high + 0.1 for name in names[1:])

# %% [markdown]
# *Bars: shares of the same images; lines: exact 95 % intervals.* Every recipe is worlds away from training as usual.
# How the four rank, this figure cannot say: one seed, one small network, few images.
#
# ## What do careful runs say?
#
# `robustlab reproduce` trains and measures with several seeds; what it is to show was written down before it was run,
# and the verdict is that of an interval over the seeds. The results that come with the package, whatever they are:

# %% tags=["stored"]
for outcome in studies.known(["pgd-training-holds", "trades-trades", "awp-helps"]):
    print(f"{outcome.claim.statement}\n  {outcome.verdict}, {len(outcome.seeds)} seeds at full budget")
    for one in outcome.effects if outcome.seeds else ():
        print(f"    {one.effect.what} {one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]")

# %% [markdown]
# *Mean and 95 % t-interval over the seeds.* These are the numbers
# to quote, not those of this notebook's quick budget. `robustlab reproduce trades-trades` computes them anew.

# %% [markdown]
# ## What we saw
#
# - Adversarial training learns from the worst image within the budget; PGD stands for the maximum.
# - It costs clean accuracy, and as many passes more as the attack has steps.
# - TRADES says the price aloud: $\beta$ holds predictions still, whatever the label.
# - MART gives most weight to what is wrong already. AWP perturbs the weights as well, and ends where the loss is
#   flatter.
# - One run does not rank recipes. Claims with several seeds, written down beforehand, do.

# %% [markdown]
# ## Exercises
#
# **1.** What is TRADES with $\beta = 0$? Compare the losses of the two recipes on one batch.

# %% tags=["solution"]
whole = Batch(x, y, ids, seed=1)
losses = []
for recipe in (trades(at, beta=0.0), standard()):
    losses.append(recipe.step(plain, whole, recipe.init(plain), lambda loss: loss.backward())["loss"])
print("TRADES with beta 0: {:.5f}, standard training: {:.5f}".format(*losses))
assert abs(losses[0] - losses[1]) < 1e-5

# %% [markdown]
# **2.** The attack in TRADES does not know the label. Is it weaker than PGD on the cross-entropy? Make inputs with the
# `crafting` of both recipes against the PGD-trained network and compare the accuracy on them.

# %% tags=["solution"]
fooled = {}
for name, recipe in {"TRADES": trades(at, steps=10), "MART": mart(at, steps=10)}.items():
    fooled[name] = misclassified(pgd(recipe.craft(pgd, whole)), y).double().mean().item()
    print(f"the attack in {name} leaves {1 - fooled[name]:.1%} right")
assert fooled["TRADES"] < fooled["MART"] - 0.02  # it looks for any change, not for a wrong answer

# %% [markdown]
# **3.** Put `awp` around `trades` with $\gamma = 0.005$, as the paper does. Does the gap between clean and robust
# accuracy change by more than the intervals are wide?

# %% tags=["solution"]
both = awp(trades(at, beta=6.0, steps=5, step_size=0.03), gamma=0.005)
print(both)  # trained(both), then measure: the quick budget cannot tell
