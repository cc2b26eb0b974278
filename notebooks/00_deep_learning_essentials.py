# %% [markdown]
# # Deep learning essentials
#
# **What does a network compute, and how does it learn?**
#
# A classifier turns an image into ten numbers, one per class, and predicts the class with the largest number. Learning
# means changing millions of weights a little, again and again, in the direction that improves these numbers; the
# direction is a gradient. All attacks and defences in this workshop are built on these two ideas. We therefore study
# both: we compute a gradient by hand, check it with torch, train a network on real images, and examine its
# mistakes.

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

from robustlab import data
from robustlab.models import ShallowCNN
from robustlab.report import figure_style
from robustlab.training import HeldOut, Settings, fit, standard

QUICK = os.environ.get("ROBUSTLAB_BUDGET") != "full"
plt.rcParams.update(figure_style())
draw = torch.Generator().manual_seed(0)

# %% [markdown]
# ## Tensors
#
# A *tensor* is a block of numbers with a shape. Fashion-MNIST has 60,000 grey images of clothes for training and 10,000
# for testing. A batch of images has the shape (images, channels, height, width).

# %%
train = data.load("fashion-mnist", split="train")
test = data.load("fashion-mnist", split="test")
x, y, *_ = train.batch(torch.arange(8))
print(x.shape, x.dtype, f"from {x.min():g} to {x.max():g}")
print(y)

# %%
assert len(train) == 60_000
assert len(test) == 10_000
assert x.shape == (8, 1, 28, 28)
assert x.min() >= 0
assert x.max() <= 1

# %%
# alt: Eight pictures of Fashion-MNIST in a row, each with the name of its class above it.
figure, axes = plt.subplots(1, 8, figsize=(10, 1.8), layout="constrained")
for axis, image, label in zip(axes, x, y, strict=True):
    axis.imshow(image[0], cmap="gray", vmin=0, vmax=1)
    axis.set_title(train.classes[label], fontsize="small")
    axis.axis("off")
plt.show()

# %% [markdown]
# Operations work on whole tensors at once. Where shapes differ they are *broadcast*: a dimension of size one is
# repeated as often as needed. Here one mean image of shape (1, 1, 28, 28) is subtracted from each of the eight.

# %%
mean = x.mean(dim=0, keepdim=True)
centred = x - mean
print(x.shape, "-", mean.shape, "=", centred.shape)

# %%
assert centred.mean(dim=0).abs().max() < 1e-6

# %% [markdown]
# ## The simplest classifier
#
# Write the 784 pixels of an image as a row vector $x$. A *linear* classifier has a column of 784 weights and an offset
# for each of the ten classes. Its ten scores, the *logits*, are
#
# $$z = x W + b .$$
#
# The *softmax* turns logits into positive numbers that sum to one. We interpret them as probabilities: $p_k = e^{z_k} /
# \sum_j e^{z_j}$.

# %%
weights = 0.01 * torch.randn(784, 10, generator=draw)
offsets = torch.zeros(10)
rows = x.flatten(start_dim=1)
logits = rows @ weights + offsets
probabilities = logits.softmax(dim=1)
print(rows.shape, "@", weights.shape, "=", logits.shape)

# %%
torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(8))
assert probabilities.max() < 0.3

# %% [markdown]
# The weights are random, so the classifier knows nothing yet: each class gets a probability of about one tenth. The
# *cross-entropy* of an image measures how bad that is. It is $-\log p_y$, where $y$ is the true class: 0 if the
# classifier is certain and right, large if it is certain and wrong, and $\log 10 \approx 2.3$ if all classes have
# probability one tenth. The *loss* is the mean over the batch.

# %%
loss = -probabilities[torch.arange(8), y].log().mean()
print(f"loss {loss:.3f}")

# %%
torch.testing.assert_close(loss, F.cross_entropy(logits, y))
assert abs(loss - 2.303) < 0.3

# %% [markdown]
# ## A gradient by hand
#
# How does the loss change if one weight changes by a tiny $h$? We could compute $(L(w + h) - L(w)) / h$. That takes one
# more pass for each of the 7,840 weights. Calculus gives all derivatives at once. The derivative of the cross-entropy
# with respect to the logits is simple, *the predicted probabilities minus the correct ones*:
#
# $$\frac{\partial L}{\partial z} = \frac{1}{N}(p - \mathrm{onehot}(y)), \qquad
# \frac{\partial L}{\partial W} = x^\top \frac{\partial L}{\partial z} .$$

# %%
error = (probabilities - F.one_hot(y, 10)) / len(y)
gradient = rows.T @ error

# %% [markdown]
# Is it right? We check one weight in double precision: that of pixel 400 for class 9.

# %%
h = 1e-6
moved = weights.double()
moved[400, 9] += h
before, after = (F.cross_entropy(rows.double() @ w, y) for w in (weights.double(), moved))
print(f"difference quotient: {(after - before) / h:.6f}   gradient: {gradient[400, 9]:.6f}")

# %%
assert abs((after - before) / h - gradient[400, 9]) < 1e-4

# %% [markdown]
# ## Through several layers: the chain rule
#
# A network is a chain of linear maps with a nonlinear function between them, here the *ReLU*, $\max(0, h)$. The forward
# pass stores the intermediate results. The *backward* pass turns the derivative with respect to each layer's output
# into the derivative with respect to its input, and computes the derivatives with respect to its weights on the way.
# This is *backpropagation*.

# %%
first = torch.randn(784, 50, generator=draw) / 28
second = torch.randn(50, 10, generator=draw) / 7

hidden = rows @ first
active = hidden.clamp(min=0)
logits = active @ second

# %%
by_logits = (logits.softmax(dim=1) - F.one_hot(y, 10)) / len(y)
by_second = active.T @ by_logits
by_active = by_logits @ second.T
by_hidden = by_active * (hidden > 0)
by_first = rows.T @ by_hidden

# %% [markdown]
# torch does the same for any program. Tensors with `requires_grad` record the operations that produced them, and
# `backward` applies the chain rule to these operations in reverse order.

# %%
first.requires_grad_()
second.requires_grad_()
loss = F.cross_entropy((rows @ first).relu() @ second, y)
loss.backward()

# %%
torch.testing.assert_close(first.grad, by_first, rtol=1e-4, atol=1e-6)
torch.testing.assert_close(second.grad, by_second, rtol=1e-4, atol=1e-6)
assert first.grad.abs().max() > 1e-3

# %% [markdown]
# ## Learning
#
# The gradient points in the direction in which the loss grows fastest, so we take a step in the opposite direction: $W
# \leftarrow W - \eta \nabla L$, where $\eta$ is the *learning rate*. We repeat this for one batch after another.

# %%
weights, losses = torch.zeros(784, 10), []
for ids in torch.randperm(len(train), generator=draw)[: 300 * 100].split(100):
    batch = train.batch(ids)
    rows = batch.x.flatten(start_dim=1)
    error = (rows @ weights).softmax(dim=1) - F.one_hot(batch.y, 10)
    losses.append(F.cross_entropy(rows @ weights, batch.y).item())
    weights -= 0.1 * rows.T @ error / len(ids)

# %%
# alt: The loss of each batch over 300 steps: it falls steeply from 2.3 within the first fifty steps, then slowly
#   and noisily to about 0.6.
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.plot(losses)
axis.set(xlabel="step", ylabel="loss of the batch", ylim=(0, 2.5))
plt.show()

# %%
assert losses[0] > 2.2
assert sum(losses[-50:]) / 50 < 0.8

# %% [markdown]
# The first loss is $\log 10$; after 300 steps it is about a quarter of that. What has the classifier learned? Each
# column of the weights can be shown as an image, a *template*. Bright pixels count for the class where the template is
# red and against it where the template is blue.

# %%
# alt: Ten templates, one for each class, red where a bright pixel counts for the class and blue where it counts against
#   it: the outlines of trousers, bags and shoes are visible.
figure, axes = plt.subplots(1, 10, figsize=(10, 1.7), layout="constrained")
for axis, column, name in zip(axes, weights.T, train.classes, strict=True):
    axis.imshow(column.reshape(28, 28), cmap="coolwarm", vmin=-0.2, vmax=0.2)
    axis.set_title(name, fontsize="small")
    axis.axis("off")
plt.show()

# %%
x_test, y_test, *_ = test.batch(torch.arange(len(test)))
linear_accuracy = ((x_test.flatten(start_dim=1) @ weights).argmax(dim=1) == y_test).double().mean().item()
print(f"{linear_accuracy:.1%} of the test images are classified correctly")

# %%
assert 0.7 < linear_accuracy < 0.86

# %% [markdown]
# ## A convolutional network
#
# With one template per class, a bag that moves by three pixels no longer matches its template. A *convolution* sees
# small windows and uses the same weights in all of them. The workshop's network has two convolutions and two dense
# layers, with ReLUs and poolings between them.

# %%
torch.manual_seed(0)
model = ShallowCNN()
weights_of = {name: value.numel() for name, value in model.named_parameters()}
print(model)

# %%
assert sum(weights_of.values()) == 84_552
assert max(weights_of, key=weights_of.__getitem__) == "head.1.weight"

# %% [markdown]
# The library's loop does what we did by hand, with some refinements: momentum, which averages over steps; a learning
# rate that first rises and then falls; the images in a new order in each *epoch* (one pass over the data). Training is
# reproducible: the same seed gives the same network, bit for bit.
#
# After each epoch we measure accuracy on images that are *not* used for training. These are not the test images: if we
# measured on the test images after each epoch and changed something because of the result, we would indirectly
# train on them. So 5,000 training images are *held out* for validation, and the test images are used only at the end.
# (The full budget trains three times as long.)

# %%
held, learn = data.apart(train, 5000, seed=0)
history = fit(model, standard(), learn, Settings(epochs=2 if QUICK else 6, precision="auto"), validate=HeldOut(held))
print(f"{len(learn):,} training images, {len(held):,} held out, in {history.precision}")

# %%
# alt: Accuracy by epoch, during training and on held-out images: both rise, and both end above the dashed line of the
#   linear classifier.
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.plot(history["epoch"], history["accuracy"], "o-", label="during training")
axis.plot(history["epoch"], history["validation_accuracy"], "o-", label="on held-out images")
axis.axhline(linear_accuracy, linestyle="--", color="gray", label="linear")
axis.set(xlabel="epoch", ylabel="accuracy", xticks=history["epoch"])
axis.legend()
plt.show()

# %%
assert history["validation_accuracy"][-1] > 0.86
assert history["validation_accuracy"][-1] > linear_accuracy + 0.03
assert history["loss"][-1] < 0.5 * history["loss"][0]

# %% [markdown]
# In the first epoch accuracy is higher on the held-out images than on the training images. The held-out images are not
# easier: the blue point is a mean over the whole epoch, which began with an untrained network, and the orange point is
# measured at the end of the epoch.

# %% [markdown]
# ## Reading a confusion matrix
#
# Training is finished, so now we use the test images. Accuracy is a single number and does not show *which* mistakes
# are made. The *confusion matrix* counts, in row $i$ and column $j$, the images of class $i$ that were classified as
# class $j$. Correct predictions are on the diagonal.

# %%
with torch.no_grad():
    logits = torch.cat([model(part) for part in x_test.split(1000)])
predicted = logits.argmax(dim=1)
confusion = torch.bincount(10 * y_test + predicted, minlength=100).reshape(10, 10)

# %%
# alt: Confusion matrix of ten classes: most images are on the diagonal; the largest numbers off the diagonal are
#   between shirts, T-shirts, pullovers and coats.
figure, axis = plt.subplots(figsize=(8, 7), layout="constrained")
axis.imshow(confusion.sqrt(), cmap="Blues")
for i, j in confusion.nonzero().tolist():
    colour = "white" if confusion[i, j] > 500 else "black"
    axis.text(j, i, str(int(confusion[i, j])), ha="center", va="center", fontsize="small", color=colour)
axis.set_xticks(range(10), test.classes, rotation=90)
axis.set_yticks(range(10), test.classes)
axis.set(xlabel="predicted class", ylabel="true class")
plt.show()

# %% [markdown]
# Each row sums to 1,000, because there are 1,000 test images of each class. The diagonal divided by 1,000 is the
# accuracy of each class (its *recall*), and the mean of these values is the accuracy.

# %%
recall = confusion.diagonal().double() / confusion.sum(dim=1)
hardest = test.classes[recall.argmin()]
mistakes = confusion - confusion.diagonal().diag()
i, j = divmod(int(mistakes.argmax()), 10)
print(f"hardest class: {hardest}, {recall.min():.0%} correct")
print(f"most frequent mistake: {test.classes[i]} classified as {test.classes[j]}, {mistakes[i, j]} times")

# %%
assert (confusion.sum(dim=1) == 1000).all()
assert abs(recall.mean().item() - (predicted == y_test).double().mean().item()) < 1e-9
assert abs(recall.mean().item() - history["validation_accuracy"][-1]) < 0.02
assert hardest == "Shirt"
assert recall.min() < 0.8 < 0.93 < recall.max()

# %% [markdown]
# The mistakes are plausible: shirts are classified as T-shirts, pullovers and coats, shoes as other shoes, and tops are
# hardly ever confused with shoes. The next notebooks show that an attacker can make a network predict *any* class.

# %%
tops, shoes = [0, 2, 3, 4, 6], [5, 7, 9]
within = mistakes[tops][:, tops].sum() + mistakes[shoes][:, shoes].sum()
across = mistakes[tops][:, shoes].sum() + mistakes[shoes][:, tops].sum()
print(f"{within / mistakes.sum():.0%} of the mistakes stay among tops or among shoes, {across} images change the group")

# %%
assert within > 0.7 * mistakes.sum()
assert across < 0.02 * mistakes.sum()

# %% [markdown]
# ## Confident and wrong
#
# The largest softmax probability is the *confidence* of the network. On images that it misclassifies the confidence is
# lower, but often still high. A high probability does not mean that the prediction is right.

# %%
# alt: Histograms of the largest probability for images that are classified correctly and wrongly: correct ones are
#   concentrated near 1, wrong ones spread over the whole range.
sure = logits.softmax(dim=1).amax(dim=1)
right = predicted == y_test
figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
axis.hist([sure[right], sure[~right]], bins=20, range=(0, 1), density=True, label=["right", "wrong"])
axis.set(xlabel="largest probability", ylabel="density")
axis.legend()
plt.show()

# %%
assert sure[right].mean() > sure[~right].mean() + 0.1
assert (sure[~right] > 0.8).double().mean() > 0.1

# %% [markdown]
# ## What we saw
#
# - A network is a chain of simple maps from pixels to ten logits; the softmax turns them into probabilities.
# - The gradient of the loss with respect to all weights takes one backward pass. Computed by hand with the chain rule,
#   it equals torch's.
# - Training takes steps against the gradient, batch after batch. A linear classifier gets about four in five test
#   images right; a small convolutional network gets close to nine in ten.
# - The confusion matrix shows which mistakes are made. Shirts are the hardest class.
# - The network is often confident when it is wrong.
#
# We took the derivative of the loss with respect to the *weights* and changed the weights. The same backward pass gives
# the derivative with respect to the *input*. What happens if we change the input instead?

# %% [markdown]
# ## Exercises
#
# **1.** Which classes does the network predict too often, and which too seldom? The *precision* of a class is the
# fraction of images of this class among the images that are classified as it. Which class has the lowest?

# %% tags=["solution"]
guessed = confusion.sum(dim=0)
precision = confusion.diagonal() / guessed
print("predicted most often:", test.classes[guessed.argmax()], " least often:", test.classes[guessed.argmin()])
print("lowest precision:", test.classes[precision.argmin()], f"{precision.min():.0%}")
assert guessed.sum() == 10_000

# %% [markdown]
# **2.** Compute the derivative of the loss with respect to the *pixels* of one batch, by hand for the linear classifier
# ($\partial L / \partial x = (\partial L / \partial z)\, W^\top$), and compare with `torch.autograd.grad`.

# %% tags=["solution"]
pixels = x_test[:8].flatten(start_dim=1).requires_grad_()
scores = pixels @ weights
(by_torch,) = torch.autograd.grad(F.cross_entropy(scores, y_test[:8]), pixels)
by_hand = (scores.softmax(dim=1) - F.one_hot(y_test[:8], 10)) / 8 @ weights.T
torch.testing.assert_close(by_hand, by_torch, rtol=1e-4, atol=1e-7)

# %% [markdown]
# **3.** Set all weights of the two-layer network to zero and compute its gradient. Why can it not learn from there?

# %% tags=["solution"]
zeros = [torch.zeros(784, 50, requires_grad=True), torch.zeros(50, 10, requires_grad=True)]
F.cross_entropy((x.flatten(start_dim=1) @ zeros[0]).relu() @ zeros[1], y).backward()
print([w.grad.abs().max().item() for w in zeros])
assert all((w.grad == 0).all() for w in zeros)
