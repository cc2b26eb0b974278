# %% [markdown]
# # Honest evaluation
#
# **When can a robust accuracy be believed?**
#
# A robust accuracy is the fraction of images that no attack has fooled. If the attacks fail, it is high and wrong. We
# build three "defences" of one line each that the usual attacks do not break, find the reason, and break them. Then,
# with an attack that works, we examine the meaning of an interval, and how many images are needed to compare two
# networks.

# %%
import copy
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

from robustlab import data, statistics, training
from robustlab.attacks import EOT, FGSM, PGD, StraightThrough, autoattack, trace
from robustlab.core import Linf, ThreatModel, margin, misclassified
from robustlab.evaluation import Settings, adaptive, compare, evaluate
from robustlab.models import ShallowCNN
from robustlab.report import figure_style
from robustlab.training import madry, standard

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# ## Two networks, and three defences without effect
#
# We train the small network of the other notebooks twice: with standard training (*plain*), and with PGD training
# (*hardened*; training with FGSM can give robustness to FGSM only, see notebook 11). Eps is 0.1.

# %%
train, test = (data.load("fashion-mnist", split=split) for split in ("train", "test"))
parts = {size: data.sample(train, size, seed=size) for size in (5000, 10000, 20000)}
at = ThreatModel(Linf(), 0.1)


def trained(recipe, examples, *, epochs=1, seed=SEED, start=None):
    """A network trained from random weights, or on from where another one is."""
    torch.manual_seed(seed)
    model = ShallowCNN() if start is None else copy.deepcopy(start).requires_grad_(requires_grad=True)
    training.fit(model, recipe, examples, training.Settings(epochs=epochs, seed=seed))
    return model.requires_grad_(requires_grad=False)


attacked = madry(at, steps=2, step_size=0.07)


# %%
plain = trained(standard(), train, epochs=1 if QUICK else 4)
hardened = trained(attacked, parts[20000], epochs=1 if QUICK else 2)

# %% [markdown]
# - **Sharp** multiplies the logits of the plain network by 10,000. No prediction changes, only the confidence.
# - **Coarse** first rounds each pixel to one of 16 grey values, to remove small perturbations.
# - **Dithered** rounds at random: up with a probability that grows with the distance from the lower grey value.


# %%
class Sharp(nn.Module):
    def forward(self, logits):
        return 10_000 * logits


class Coarse(nn.Module):
    def forward(self, x):
        return (15 * x).round() / 15


class Dithered(nn.Module):
    def forward(self, x):
        return (15 * x + torch.rand_like(x)).floor() / 15


# %%
masked = {"sharp": (plain, Sharp()), "coarse": (Coarse(), plain), "dithered": (Dithered(), plain)}
masked = {name: nn.Sequential(*layers) for name, layers in masked.items()}
models = {"plain": plain, **masked, "hardened": hardened}

# %% [markdown]
# None of the three is trained: they use the weights of *plain*. We attack all five with FGSM and with PGD-40:

# %%
usual = {"FGSM": FGSM(at), "PGD-40": PGD(at, steps=40)}
n = 60 if QUICK else 400
results = {k: evaluate(model, test, attacks=usual, n=n, settings=Settings(name=k)) for k, model in models.items()}

# %%
# alt: Bars for five networks, without attack, under FGSM and under PGD-40: the three masked networks keep their
#   accuracy under both, the plain one loses it, the hardened one keeps most.
bars = {"no attack": [r.clean.accuracy for r in results.values()]}
bars |= {attack: [r.result(attack).robust for r in results.values()] for attack in usual}
figure, axis = plt.subplots(figsize=(9, 3.8), layout="constrained")
for shift, (name, fractions) in zip((-0.27, 0, 0.27), bars.items(), strict=True):
    errors = [[s.value - s.low for s in fractions], [s.high - s.value for s in fractions]]
    axis.bar([k + shift for k in range(5)], [s.value for s in fractions], 0.25, yerr=errors, capsize=2, label=name)
axis.set_xticks(range(5), list(models))
axis.set(ylabel="fraction classified correctly", ylim=(0, 1.2), title="results of the usual attacks")
axis.legend(ncols=3, loc="upper center")
plt.show()

# %%
clean = {name: r.clean.accuracy.value for name, r in results.items()}
pgd = {name: r.result("PGD-40").robust for name, r in results.items()}
assert pgd["plain"].high < pgd["hardened"].low
assert all(pgd[name].value > clean[name] - 0.1 > pgd["hardened"].high for name in masked)

# %% [markdown]
# *Lines: exact 95 % intervals.* Under PGD the plain network has a low accuracy. With one additional line of code, the
# same weights appear far more robust than the adversarially trained ones.
#
# ## The doctor's findings
#
# `evaluate` reports these problems as *findings*: a code, a severity, evidence in numbers, a description, and advice.

# %%
for name, result in results.items():
    print(f"{name}: also {', '.join(f.code for f in result.findings if f.severity != 'serious') or 'nothing'}")
    for f in result.findings:
        if f.severity == "serious":
            print(f"  {f.code} {f.evidence}\n  {f.title}\n  {f.advice}")

# %%
serious = {name: [f.code for f in r.findings if f.severity == "serious"] for name, r in results.items()}
assert serious["plain"] == serious["hardened"] == []
assert serious["sharp"] == ["saturated-softmax"]
assert serious["coarse"] == ["shattered-gradients"]
assert "random-outputs" in serious["dithered"]

# %% [markdown]
# There is no serious finding for *plain* and *hardened*, where the attack works. For the other three:
#
# - *Sharp*: a probability of $1 - e^{-10000}$ is exactly 1 in float32, so the loss is 0, and so is its gradient.
# - *Coarse* and *dithered*: rounding is a step function, whose slope is 0 on each step.
#
# Attacks follow the gradient. Here it is *masked*: it does not lead to the adversarial examples, which still exist.
#
# ## AutoAttack
#
# AutoAttack (Croce and Hein, 2020) runs four attacks in sequence, each on the images that are still robust. `apgd-ce`
# and `apgd-t` increase a loss, `fab-t` searches for the nearest decision boundary, `square` uses no gradient.

# %%
few, suite = 16 if QUICK else 60, {"AutoAttack": autoattack(at)}
suites = {name: evaluate(masked[name], test, attacks=suite, n=few) for name in ("sharp", "coarse")}
by_stage = {name: {s.stage: s for s in run.result("AutoAttack").stages} for name, run in suites.items()}
for name, stages in by_stage.items():
    print(f"{name}: {suites[name].clean.accuracy.count} of {few} correct before the attack")
    for s in stages.values():
        cost = f"{s.queries.forward:.0f} questions each" if s.attacked else ""
        print(f"  {s.stage:8} tried {s.attacked:3}, fooled {s.fooled:3}, {s.still_robust:3} still robust  {cost}")

# %%
assert all(run.result("AutoAttack").robust.value < pgd[name].low - 0.2 for name, run in suites.items())
assert by_stage["sharp"]["apgd-t"].fooled > 0.6 * by_stage["sharp"]["apgd-ce"].attacked
assert by_stage["coarse"]["square"].fooled > 0.4 * by_stage["coarse"]["apgd-ce"].attacked

# %% [markdown]
# The first stage fails in the same way as PGD. *Sharp* is fooled by `apgd-t`, whose loss is a ratio of differences of
# logits: the factor of 10,000 cancels. On *coarse* only the random search fools many images, with many queries.
#
# ## The adaptive attack
#
# An adaptive attack is built for one defence (Athalye, Carlini, Wagner, 2018). Three tools are often enough:
#
# - **Straight-through**: round in the forward pass, and treat rounding as the identity in the backward pass.
# - **Transfer**: attack another network for the same task, the *surrogate*, and test the result on the defence.
# - **Expectation over transformation** (EOT): if outputs are random, increase the mean loss over many draws.
#
# `adaptive` combines the tools that the findings suggest. Our surrogate is trained from other initial weights on fewer
# images. Both attacks are measured on the same images, so a difference is due to the attack.

# %%
surrogate = trained(standard(), parts[10000], epochs=2 if QUICK else 6, seed=1)
broken = {}
for name in ("sharp", "coarse", "hardened"):
    attack = adaptive(at, results[name].findings, surrogate=surrogate)
    run = evaluate(models[name], test, attacks=[attack], n=n, settings=Settings(doctor=False))
    broken[name] = now = run.worst[-1].robust
    print(f"{name:8}  PGD-40 {pgd[name].value:6.1%}  adaptive {now.value:6.1%} [{now.low:.1%}, {now.high:.1%}]")

# %%
assert broken["sharp"].high < pgd["sharp"].low - 0.1
assert broken["coarse"].high < pgd["coarse"].low - 0.1
assert broken["hardened"].value > pgd["hardened"].value - 0.15

# %% [markdown]
# The hardened network loses a few points at most, so its robust accuracy is real. A defence with two faults, like
# *dithered* with randomness and rounding, needs both remedies at once. Attacks can be nested:

# %%
both = EOT(StraightThrough(PGD(at, steps=20, score=margin)), draws=10)
end = evaluate(masked["dithered"], test, attacks=[both], n=n, settings=Settings(doctor=False)).worst[-1].robust
print(f"dithered: PGD-40 {pgd['dithered'].value:.1%}, both remedies {end.value:.1%} [{end.low:.1%}, {end.high:.1%}]")
assert end.high < pgd["dithered"].low - 0.1

# %% [markdown]
# ## The trace of an attack
#
# `trace` records each point of an attack: the loss, the *negative margin* (logit of the best wrong class minus that of
# the true class; above 0 the image is fooled), the size of the perturbation, and the length of the gradient. Here are
# an easy and a hard image, and the hard one again with *coarse*.

# %%
x, y, ids = data.sample(test, 100, seed=SEED).batch(torch.arange(100))[:3]
x, y, ids = (column[~misclassified(hardened(x), y)] for column in (x, y, ids))
inside = trace(usual["PGD-40"], hardened, x, y, ids=ids, stop="never")
ends = [inside.of(i)[-1].margin for i in ids.tolist()]
easy, hard = (ends.index(pick(ends)) for pick in (max, min))
one = slice(hard, hard + 1)
blind = trace(usual["PGD-40"], masked["coarse"], x[one], y[one], ids=ids[one], stop="never")
traced = {"easy": inside.of(int(ids[easy])), "hard": inside.of(int(ids[hard])), "coarse": blind.of(int(ids[hard]))}

# %%
print("image   point    loss  margin   size  gradient")
for name, points in traced.items():
    for p in (points[0], points[1], points[5], points[-1]):
        print(f"{name:7} {p.point:5}  {p.score:6.2f}  {p.margin:6.2f}  {p.size:.3f}  {p.gradient_norm:8.3f}")

# %%
# alt: Four panels over the points of an attack, loss, negative margin, size of the perturbation and length of the
#   gradient: on the easy image loss and negative margin rise and the negative margin crosses zero, on the hard one they
#   rise less, and with the masked gradient all lines are level and the gradient has length zero.
fields = {"loss": "score", "negative margin": "margin", "size": "size", "length of gradient": "gradient_norm"}
figure, axes = plt.subplots(1, 4, figsize=(10, 3.2), layout="constrained")
for axis, (label, field) in zip(axes, fields.items(), strict=True):
    for (name, points), style in zip(traced.items(), ("-", "--", ":"), strict=True):
        axis.plot([getattr(p, field) for p in points], style, label=name, lw=2)
    axis.set(title=label, xlabel="point")
axes[2].set_ylim(0, 0.12)
axes[0].legend(fontsize="small")
plt.show()

# %%
assert traced["easy"][-1].margin > 0 > traced["hard"][-1].margin
assert traced["easy"][-1].score > traced["easy"][0].score + 0.3
assert all(p.gradient_norm == 0 and p.size <= at.eps for p in traced["coarse"])

# %% [markdown]
# In a working attack the loss rises and the negative margin crosses 0 early. On the hard image it rises too, but does
# not reach 0. The dotted line shows a masked gradient: it is zero, so the attack takes no step.
#
# ## The meaning of an interval
#
# The remaining uncertainty is chance. Let 1,000 test images be the population, so that the true accuracy is known.
# 2,000 people each draw 100 of them and compute an exact 95 % interval (Clopper and Pearson, 1934).

# %%
world_x, world_y, world_ids = test.batch(torch.arange(1000))[:3]
measure = PGD(at, steps=5 if QUICK else 40)


def still_robust(model, seed=SEED):
    """Which images of the world are still classified correctly under the attack."""
    return ~misclassified(model(measure(model, world_x, world_y, ids=world_ids, seed=seed)), world_y)


runs = torch.stack([still_robust(hardened, seed) for seed in range(3)])
draw = torch.Generator().manual_seed(SEED)
people = torch.randint(1000, (2000, 100), generator=draw)

# %%
truth = runs[0].double().mean().item()
intervals = [statistics.clopper_pearson(count, 100) for count in runs[0][people].sum(dim=1).tolist()]
covered = sum(i.low <= truth <= i.high for i in intervals) / len(intervals)
print(f"{covered:.1%} of the intervals contain the true value, {truth:.1%}")

# %%
# alt: 80 intervals side by side and a dashed line at the true value: nearly all cross the line, the few that miss it
#   are drawn thick.
figure, axis = plt.subplots(figsize=(9, 3.2), layout="constrained")
for k, i in enumerate(intervals[:80]):
    held = i.low <= truth <= i.high
    axis.vlines(k, i.low, i.high, color="C0" if held else "C3", lw=2 if held else 4)
axis.axhline(truth, color="black", ls="--", lw=1)
axis.set(xlabel="one person's 100 images", ylabel="robust accuracy", title="dashed: true value; thick: missed")
plt.show()

# %%
assert 0.94 < covered < 0.99

# %% [markdown]
# This is the guarantee of a 95 % interval: it is wrong at most once in twenty times. Now someone attacks the same 100
# images with three random seeds and reports 300 trials. Does the guarantee still hold?

# %%
pooled = [statistics.clopper_pearson(count, 300) for count in runs.sum(dim=0)[people].sum(dim=1).tolist()]
average = runs.double().mean().item()
kept = sum(i.low <= average <= i.high for i in pooled) / len(pooled)
same = (runs == runs[0]).all(dim=0).double().mean().item()
print(f"the three runs agree on {same:.1%} of the images; {kept:.1%} of the intervals over 300 trials contain it")
assert same > 0.9
assert kept < covered - 0.1

# %% [markdown]
# No: attacking the same image again gives no new evidence. The *unit* is the image, and the sample has 100 images. For
# a statement about a training *recipe* the unit is the network. One recipe, three seeds, all test images:

# %%
family = [trained(attacked, parts[5000], seed=seed) for seed in range(3)]
every_x, every_y = test.batch(torch.arange(len(test)))[:2]
by_image = [statistics.clopper_pearson(int((~misclassified(net(every_x), every_y)).sum()), len(test)) for net in family]
for seed, i in enumerate(by_image):
    print(f"seed {seed}: clean accuracy {i.value:.1%} [{i.low:.1%}, {i.high:.1%}]")
assert max(i.low for i in by_image) > min(i.high for i in by_image)

# %% [markdown]
# Ten thousand images determine the accuracy of one network, but not that of the next: not all intervals overlap.
#
# ## Images needed to compare two networks
#
# Is the hardened network better after longer training? Both are measured on the *same* images.

# %%
more = (parts[10000], 1) if QUICK else (parts[20000], 3)
longer = trained(attacked, more[0], epochs=more[1], seed=1, start=hardened)
drawn = 500
pair = [evaluate(net, test, attacks=[measure], n=drawn, settings=Settings(doctor=False)) for net in (hardened, longer)]
a, b = (result.results[0].robust for result in pair)
print(f"hardened {a.value:.1%} [{a.low:.1%}, {a.high:.1%}], longer {b.value:.1%} [{b.low:.1%}, {b.high:.1%}]")

# %%
found = compare(*pair)[-1]
print(f"right: both {found.both}, only hardened {found.only_a}, only longer {found.only_b}, none {found.neither}")
print(f"difference {found.difference:.1%} [{found.low:.1%}, {found.high:.1%}], p = {found.p_value:.2g}")

# %%
assert found.both + found.only_a + found.only_b + found.neither == drawn
assert found.high - found.low < (a.high - a.low) + (b.high - b.low)

# %% [markdown]
# Images on which both networks are right, or both wrong, do not show which is better. Only the *discordant* images
# count, on which exactly one network is right. If the networks were equally good, each would be right on half of them.
# McNemar's test (1947) computes the probability $p$ that a fair coin is at least as one-sided.
#
# How often do 500 images detect such a difference? This probability, the *power*, should be computed before the
# experiment. `examples_needed` computes how many images detect a difference in 80 % of the cases, given the fraction of
# discordant images from a small first sample. We simulate people who draw test sets, the same for both networks or one
# for each, and count how many detect the difference.

# %%
first, second = runs[0], still_robust(longer)
discordant, gap = (first != second).double().mean().item(), (second.double() - first.double()).mean().item()


def finds(size):
    """Shares of 500 people who find the difference: paired, unpaired."""
    mine, others = torch.randint(1000, (2, 500, size), generator=draw)
    wins, losses = (second & ~first)[mine].sum(dim=1).tolist(), (first & ~second)[mine].sum(dim=1).tolist()
    paired = [statistics.mcnemar(win, loss) <= 0.05 for win, loss in zip(wins, losses, strict=True)]
    p, q = first[mine].double().mean(dim=1), second[others].double().mean(dim=1)
    error = ((p + q) * (2 - p - q) / (2 * size)).sqrt()
    return sum(paired) / 500, ((p - q).abs() > 1.96 * error).double().mean().item()


# %%
counts = [50, 100, 200, 400, 800, 1600]
same_images, other_images = zip(*map(finds, counts), strict=True)
promised = [statistics.mcnemar_power(size, discordant, gap) for size in counts]
needed = statistics.examples_needed(discordant, gap)
print(f"the networks differ by {gap:+.1%}, discordant on {discordant:.1%}: a power of 80 % needs {needed} images")
power = statistics.mcnemar_power(drawn, discordant, gap)
print(f"with {drawn} images such a difference is found in {power:.0%} of the cases")

# %%
# alt: Fraction of people who detect the difference over the number of test images: with the same images it rises
#   earlier than with different images for each network, as computed in advance; a star marks the number that is needed
#   for 80 %.
figure, axis = plt.subplots(figsize=(7.5, 4), layout="constrained")
axis.semilogx(counts, same_images, "o-", base=2, label="same images (McNemar)")
axis.semilogx(counts, other_images, "s-", base=2, label="different images for each")
axis.semilogx(counts, promised, "k:", base=2, label="computed in advance (mcnemar_power)")
axis.plot(needed, 0.8, "*", color="C3", ms=14, label="examples_needed")
axis.set(xlabel="test images", ylabel="fraction who detect the difference", ylim=(0, 1.05))
axis.set_xticks(counts, counts)
axis.legend(fontsize="small")
plt.show()

# %%
assert all(abs(seen - stated) < 0.08 for seen, stated in zip(same_images, promised, strict=True))
assert max(p - q for p, q in zip(same_images, other_images, strict=True)) > 0.2

# %% [markdown]
# Choose the number in advance: adding images until the test is significant always succeeds.
#
# ## What we saw
#
# - One line of code can give a high robust accuracy under PGD without robustness. The doctor detects this.
# - AutoAttack breaks some of these defences; an adaptive attack breaks more.
# - An interval describes the uncertainty over what was sampled, images or trained networks.
# - Compare two networks on the same images with a paired test, and plan the number of images.

# %% [markdown]
# ## Exercises
#
# **1.** Many papers use the approximation $p \pm 1.96\sqrt{p(1-p)/n}$. How often does it contain the true value, for
# 100 images and an accuracy of 98 %? And the exact interval?

# %% tags=["solution"]
p = (torch.rand(5000, 100, generator=draw) < 0.98).double().mean(dim=1)
shortcut = ((p - 0.98).abs() <= 1.96 * (p * (1 - p) / 100).sqrt()).double().mean().item()
exact = [statistics.clopper_pearson(round(100 * v), 100) for v in p.tolist()]
holds = sum(i.low <= 0.98 <= i.high for i in exact) / len(exact)
print(f"normal {shortcut:.1%}, exact {holds:.1%}")
assert shortcut < 0.9 < 0.94 < holds
