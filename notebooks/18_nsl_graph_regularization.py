# %% [markdown]
# # Graph regularization
#
# **Ten labels of each class, and thousands of images without any: what can a graph of similar images add?**
#
# Labels are expensive, images are cheap. For two similar images, a network should give similar outputs, whether they
# have labels or not. A graph defines which images are similar, and a term in the loss compares the outputs of joined
# images.

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

from robustlab import data
from robustlab import regularization as nsl
from robustlab.core import fold_in, subset
from robustlab.models import ShallowCNN, load
from robustlab.report import figure_style
from robustlab.training import Settings, adamw, fit

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
SEED = 0

# %% [markdown]
# ## The idea
#
# $$L(w) = \frac1n \sum_{i} \ell(f_w(x_i), y_i) +
# \lambda\, \text{mean}_{i \to j}\; w_{ij}\, d\big(f_w(x_i), f_w(x_j)\big).$$
#
# $i \to j$ are the edges of a graph, $w_{ij}$ their weights, $d$ a distance between the outputs for two images. The
# label of $j$ is not used, so it may have none.
#
# ## Images, few of them labelled

# %%
pool = data.sample(data.load("fashion-mnist", split="train"), 4_000 if QUICK else 10_000, seed=SEED)
everything = pool.batch(torch.arange(len(pool)))
rows = [(everything.y == k).nonzero()[:, 0] for k in range(10)]
few = torch.cat([ids[subset(len(ids), 10, fold_in(SEED, k))] for k, ids in enumerate(rows)]).sort().values
labelled = data.examples((everything.x[few], everything.y[few]), classes=pool.classes)
print(f"{len(labelled)} labels for {len(pool)} images")

# %% [markdown]
# ## Similar images
#
# Images could be compared pixel by pixel (exercise 2). Here we compare two embeddings. The first is an autoencoder: it
# encodes each image in 32 numbers and reconstructs the image from them, without labels. Images with similar codes are
# similar.

# %%
torch.manual_seed(SEED)
encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 32))
decoder = nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 784))
squeeze = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()], lr=2e-3)
for _epoch in range(4 if QUICK else 10):
    for ids in torch.randperm(len(pool)).split(128):
        x = everything.x[ids]
        loss = (decoder(encoder(x)) - x.flatten(1)).square().mean()
        squeeze.zero_grad()
        loss.backward()
        squeeze.step()
print(f"squared error of a pixel {loss.item():.4f}, of the mean image {everything.x.var(dim=0).mean().item():.4f}")

# %%
assert loss.item() < 0.3 * everything.x.var(dim=0).mean().item()

# %% [markdown]
# The second is EfficientNet-Lite0, a network that was trained on ImageNet and not on this data set. We use its features
# before the last layer.

# %%
normalise, trunk = load("efficientnet-lite0", pretrained=True).children()


def features(x):
    """1,280 numbers for each grey image."""
    larger = nn.functional.interpolate(x.expand(-1, 3, -1, -1), size=56, mode="bilinear")
    return trunk.forward_head(trunk.forward_features(normalise(larger)), pre_logits=True)


with torch.no_grad():
    drawn = encoder(everything.x)
    photographic = torch.cat([features(x) for x in everything.x.split(200)])

# %% [markdown]
# Two images are joined if the cosine similarity of their embeddings, with the mean embedding subtracted, is 0.5 or
# more. Each image is joined with at most ten others.


# %%
def joined(embeddings):
    return nsl.build_graph(embeddings - embeddings.mean(dim=0), threshold=0.5, top_k=10).undirected()


def purity(edges):
    return (everything.y[edges.source] == everything.y[edges.target]).double().mean().item()


graphs = {"autoencoder": joined(drawn), "ImageNet": joined(photographic)}
for name, edges in graphs.items():
    print(f"{name:12} {len(edges):7} edges, {purity(edges):.0%} join images of one class; by chance it would be 10 %")

# %%
assert min(map(purity, graphs.values())) > 0.6

# %% [markdown]
# Some images and their three nearest neighbours:

# %%
# alt: Eight columns of pictures: a labelled one on top and its three nearest neighbours below, nearly always the
#   same kind of clothes, with the weights of their edges.
packed = nsl.pack_neighbours(labelled, graphs["ImageNet"], 3, pool=pool, nodes=few)
figure, axes = plt.subplots(4, 8, figsize=(9, 5.4), layout="constrained")
for column, number in zip(axes.T, range(0, 96, 12), strict=True):
    item = packed[number]
    for axis, image, weight in zip(column, (item.x, *item.neighbours), (1.0, *item.weights.tolist()), strict=True):
        axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{weight:.2f}", fontsize="small")
        axis.axis("off")
plt.show()

# %% [markdown]
# Above the labelled image, below its neighbours with the weights of their edges.
#
# ## Distances
#
# Outputs can be compared as logits, as probabilities, or as distributions.

# %%
one, other = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[0.0, 2.0, 0.0]])
for distance in (nsl.SquaredL2Distance(), nsl.SquaredL2Distance(softmax=True), nsl.KLDistance(softmax=True)):
    print(distance, round(nsl.distance_loss(one, other, distance=distance).item(), 4))

# %%
p, q = one.softmax(dim=1), other.softmax(dim=1)
torch.testing.assert_close(
    nsl.distance_loss(p, q, distance=nsl.KLDistance()), (p * (p / q).log()).sum(), rtol=1e-4, atol=0
)

# %% [markdown]
# ## With and without a graph
#
# The same network, the same 100 labels, the same number of updates. Each labelled image is used with three others of
# the pool, whose edges count as well.

# %%
test = data.load("fashion-mnist", split="test").batch(torch.arange(2000 if QUICK else 10000))
settings = Settings(epochs=80 if QUICK else 200, batch_size=50, optimizer=adamw(2e-3), seed=SEED)
same_answer = nsl.GraphLoss(nsl.KLDistance(softmax=True))


# %%
def accuracy(edges, multiplier, seed):
    """Of a network that learned from ten labels of each class, others for each seed."""
    mine = torch.cat([ids[subset(len(ids), 10, fold_in(seed, k))] for k, ids in enumerate(rows)]).sort().values
    chosen = data.examples((everything.x[mine], everything.y[mine]), classes=pool.classes)
    torch.manual_seed(seed)
    net = ShallowCNN()
    recipe = nsl.GraphRegularization(pool, edges, 3, mine, multiplier, unlabelled=3, graph_loss=same_answer)
    fit(net, recipe, chosen, settings)
    return (net(test.x).argmax(dim=1) == test.y).double().mean().item()


# %%
seeds = range(1 if QUICK else 3)
found = {"labels alone": [accuracy(graphs["ImageNet"], 0.0, seed) for seed in seeds]}
for name, edges in graphs.items():
    found[name] = [accuracy(edges, 1.0, seed) for seed in seeds]
for name, values in found.items():
    print(f"{name:12}", ", ".join(f"{value:.1%}" for value in values))

# %%
gains = {name: torch.tensor(found[name]) - torch.tensor(found["labels alone"]) for name in graphs}
for name, gain in gains.items():
    print(f"{name:12} {gain.mean():+.3f} over labels alone, least {gain.min():+.3f}, most {gain.max():+.3f}")
assert gains["ImageNet"].mean() > 0.02
assert gains["ImageNet"].min() > 0

# %% [markdown]
# The gain depends on which hundred images have labels: in the full budget it was between two and eight points for three
# seeds. Both graphs are about equally pure, and so is one of pixels (exercise 2), but what helps is information that a
# hundred labels do not contain. The autoencoder joins images with similar pixels, many of which are similar for the
# network anyway; the other graph contains knowledge from a million photographs. Three seeds are too few to say by how
# much the second is better than the first.
#
# The images need no labels here, but the network behind the graph was trained with ImageNet's labels. The claim
# `graph-few-labels` makes the same comparison with all 60,000 images, and includes virtual adversarial training.
#
# ## When the edges are wrong
#
# The same graph with randomly permuted targets.

# %%
exchanged = torch.randperm(len(pool), generator=torch.Generator().manual_seed(SEED))
right = graphs["ImageNet"]
wrong = nsl.Graph(right.source, exchanged[right.target], right.weight, right.nodes)
misled = accuracy(wrong, 1.0, 0)
print(f"edges by chance {misled:.1%}, the graph {found['ImageNet'][0]:.1%}, none {found['labels alone'][0]:.1%}")

# %%
assert misled < found["labels alone"][0] - 0.02

# %% [markdown]
# ## What we saw
#
# - An embedding without labels of these images places images of one class close together.
# - Neighbours without labels can be used in training, through the outputs for them; a graph with information from other
#   data can replace many labels.
# - A wrong graph lowers accuracy. Notebook 15 uses the same unlabelled images in another way.

# %% [markdown]
# ## Exercises
#
# **1.** How does the purity of the graph depend on the threshold?

# %% tags=["solution"]
centred = photographic - photographic.mean(dim=0)
for threshold in (0.5, 0.6, 0.7, 0.8, 0.9):
    edges = nsl.build_graph(centred, threshold, top_k=10)
    alone = 1 - len(edges.source.unique()) / len(pool)
    print(f"threshold {threshold}: {len(edges):6} edges, {purity(edges):.0%} pure, {alone:.0%} without neighbour")

# %% [markdown]
# **2.** Compare pixels instead of embeddings.

# %% tags=["solution"]
edges = joined(everything.x.flatten(1))
print(f"{purity(edges):.0%} of {len(edges)} edges join one class")
