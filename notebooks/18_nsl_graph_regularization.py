# %% [markdown]
# # Graph regularization
#
# **Ten labels of each class, and thousands of images without any: what can a graph of alike images add?**
#
# Labels are dear, images are cheap. If two images are alike, a network should say alike of them, labelled or not. A
# graph says which are alike; a term in the loss does the rest.

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

from robustlab import data
from robustlab import regularization as nsl
from robustlab.core import fold_in, subset
from robustlab.models import ShallowCNN
from robustlab.training import Settings, adamw, fit

QUICK = os.environ.get("ROBUSTLAB_BUDGET") == "quick"
SEED = 0

# %% [markdown]
# ## The idea
#
# $$L(w) = \frac1n \sum_{i} \ell(f_w(x_i), y_i) +
# \lambda\, \text{mean}_{i \to j}\; w_{ij}\, d\big(f_w(x_i), f_w(x_j)\big).$$
#
# $i \to j$ are the edges of a graph, $w_{ij}$ their weights, $d$ a distance between what the network says of two
# images. The label of $j$ does not occur: it may have none.
#
# ## Images, few of them labelled

# %%
pool = data.sample(data.load("fashion-mnist", split="train"), 6_000 if QUICK else 60_000, seed=SEED)
everything = pool.batch(torch.arange(len(pool)))
rows = [(everything.y == k).nonzero()[:, 0] for k in range(10)]
few = torch.cat([ids[subset(len(ids), 10, fold_in(SEED, k))] for k, ids in enumerate(rows)]).sort().values
labelled = data.examples((everything.x[few], everything.y[few]), classes=pool.classes)
print(f"{len(labelled)} labels for {len(pool)} images")

# %% [markdown]
# ## What is alike?
#
# Images could be compared pixel by pixel (exercise 2). Here an autoencoder squeezes each into 32 numbers, from which it
# has to draw the image again; it never sees a label. Images that become alike numbers are alike.

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

# %%
with torch.no_grad():
    embeddings = encoder(everything.x)
embeddings -= embeddings.mean(dim=0)
graph = nsl.build_graph(embeddings, threshold=0.9, top_k=10).undirected()
same = (everything.y[graph.source] == everything.y[graph.target]).double().mean().item()
print(f"{len(graph)} edges; {same:.0%} of them join images of one class, by chance it would be 10 %")

# %%
assert same > 0.6

# %% [markdown]
# Some images and their three nearest neighbours:

# %%
packed = nsl.pack_neighbours(labelled, graph, 3, pool=pool, nodes=few)
figure, axes = plt.subplots(4, 8, figsize=(8, 4.2), layout="constrained")
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
# What the network says may be compared as logits, as probabilities, or as distributions.

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
# ## With and without the graph
#
# The same network, the same 100 labels, the same number of updates. With each labelled image go four others of the
# pool, whose edges count as well.

# %%
test = data.load("fashion-mnist", split="test").batch(torch.arange(2000 if QUICK else 10000))
settings = Settings(epochs=60 if QUICK else 200, batch_size=50, optimizer=adamw(1e-3), seed=SEED)
said_alike = nsl.GraphLoss(nsl.KLDistance(softmax=True))


# %%
def accuracy(edges, multiplier, seed):
    """Of a network that learned from ten labels of each class, others for each seed."""
    mine = torch.cat([ids[subset(len(ids), 10, fold_in(seed, k))] for k, ids in enumerate(rows)]).sort().values
    chosen = data.examples((everything.x[mine], everything.y[mine]), classes=pool.classes)
    torch.manual_seed(seed)
    net = ShallowCNN()
    recipe = nsl.GraphRegularization(pool, edges, 3, mine, multiplier, unlabelled=4, graph_loss=said_alike)
    fit(net, recipe, chosen, settings)
    return (net(test.x).argmax(dim=1) == test.y).double().mean().item()


# %%
seeds = range(2 if QUICK else 5)
alone = [accuracy(graph, 0.0, seed) for seed in seeds]
beside = [accuracy(graph, 5.0, seed) for seed in seeds]
for name, found in (("100 labels", alone), ("100 labels and the graph", beside)):
    print(f"{name:25}", ", ".join(f"{value:.1%}" for value in found))

# %%
gains = [after - before for before, after in zip(alone, beside, strict=True)]
assert all(abs(gain) < 0.05 for gain in gains)

# %% [markdown]
# Nothing is gained that such a few networks could show. One reason stands above: one edge in five joins two classes,
# and the other four say what the network knows already: images that are alike in all their pixels are alike to it, too.
#
# ## What a graph can do
#
# That the term is at work shows when the edges are wrong: the same graph, with targets exchanged by chance.

# %%
exchanged = torch.randperm(len(pool), generator=torch.Generator().manual_seed(SEED))
wrong = nsl.Graph(graph.source, exchanged[graph.target], graph.weight, graph.nodes)
misled = accuracy(wrong, 5.0, 0)
print(f"with edges by chance {misled:.1%}, with the graph {beside[0]:.1%}, with none {alone[0]:.1%}")

# %%
assert misled < beside[0] - 0.02

# %% [markdown]
# ## What we saw
#
# - An embedding that never saw a label puts images of one class side by side, as often as their pixels do.
# - Neighbours without labels can take part in training, through what the network says of them.
# - What is gained depends on what the graph knows that the network does not. This one knew nothing new, and one that is
#   wrong does harm. Notebook 15 uses the same unlabelled images in another way.

# %% [markdown]
# ## Exercises
#
# **1.** How do threshold and purity of the graph hang together?

# %% tags=["solution"]
for threshold in (0.5, 0.7, 0.8, 0.9, 0.95):
    edges = nsl.build_graph(embeddings, threshold, top_k=10)
    pure = (everything.y[edges.source] == everything.y[edges.target]).double().mean().item()
    alone = 1 - len(edges.source.unique()) / len(pool)
    print(f"threshold {threshold}: {len(edges):6} edges, {pure:.0%} pure, {alone:.0%} of images without neighbour")

# %% [markdown]
# **2.** Compare pixels instead of embeddings.

# %% tags=["solution"]
pixels = everything.x.flatten(1) - everything.x.flatten(1).mean(dim=0)
edges = nsl.build_graph(pixels, 0.7, top_k=10)
pure = (everything.y[edges.source] == everything.y[edges.target]).double().mean().item()
print(f"{pure:.0%} of {len(edges)} edges join one class")
