"""Cost of Neural Structured Learning: steps against plain ones, and the graph of 60,000 embeddings.

    python -m benchmarks.regularization [--repeats 3] [--part steps graph]

A step is compared with a plain one of the same loop on the same data: ``training.fit`` with ``standard()`` for the
recipes, a loop written by hand for the module that returns one loss. The limit of adversarial regularization is two
passes forward and back, and a gradient to the input; that of graph regularization with k neighbours, 1 + k passes.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch
from torch.nn import functional as F

from benchmarks.recipes import BATCH
from benchmarks.timing import Work, interleaved, machine, table
from benchmarks.training import ours, sgd_of, some
from robustlab.core import Linf
from robustlab.data import InMemory
from robustlab.models import BatchNormCNN
from robustlab.regularization import (
    AdversariallyRegularized,
    AdversarialRegularization,
    Graph,
    GraphRegularization,
    Neighbourhood,
    build_graph,
)
from robustlab.training import standard

HOW = AdversarialRegularization(Neighbourhood(Linf(), 0.2))
NEIGHBOURS = 3
NODES, WIDTH, THRESHOLD, NEAREST = 60_000, 128, 0.8, 10


def by_hand(examples: InMemory, how: AdversarialRegularization | None) -> Work:
    """An epoch of a loop by hand, plain or with the module's one loss."""

    def epoch() -> None:
        model = BatchNormCNN().train()
        optimizer, module = sgd_of(model), AdversariallyRegularized(model, how)
        for step, (x, y) in enumerate(zip(examples.x.split(BATCH), examples.y.split(BATCH), strict=True)):
            loss = F.cross_entropy(model(x), y) if how is None else module.losses(x, y, seed=step).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def bare(examples: InMemory) -> Work:
    """An epoch of the least work for one loss: two passes, a gradient to the input, one backward through both."""

    def epoch() -> None:
        model = BatchNormCNN().train()
        optimizer = sgd_of(model)
        for x, y in zip(examples.x.split(BATCH), examples.y.split(BATCH), strict=True):
            x = x.detach().requires_grad_()
            loss = F.cross_entropy(model(x), y)
            (slope,) = torch.autograd.grad(loss, x, retain_graph=True)
            x_adv = x.detach() + HOW.how.step_size * slope.sign()
            optimizer.zero_grad()
            (loss + HOW.multiplier * F.cross_entropy(model(x_adv), y)).backward()
            optimizer.step()

    return epoch


def forwards(examples: InMemory, passes: int) -> Work:
    """An epoch of as many passes forward and back as graph regularization must make, in one batch each."""

    def epoch() -> None:
        model = BatchNormCNN().train()
        optimizer = sgd_of(model)
        for x, y in zip(examples.x.split(BATCH), examples.y.split(BATCH), strict=True):
            logits = model(x.repeat(passes, 1, 1, 1))
            loss = F.cross_entropy(logits[: len(x)], y) + logits[len(x) :].square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def ring(nodes: int) -> Graph:
    """A graph in which the neighbours of each node are the next few."""
    source = torch.arange(nodes).repeat_interleave(NEIGHBOURS)
    target = (source + torch.arange(1, NEIGHBOURS + 1).repeat(nodes)) % nodes
    return Graph(source, target, torch.ones(len(source)), nodes)


def steps(repeats: int) -> str:
    """Time of each kind of training over that of the plain one."""
    examples = some(30)
    works = {
        "plain, fit": ours(examples, standard()),
        "adversarial regularization, fit": ours(examples, HOW),
        f"graph, {NEIGHBOURS} neighbours, fit": ours(
            examples, GraphRegularization(examples, ring(len(examples)), NEIGHBOURS)
        ),
        "plain, by hand": by_hand(examples, None),
        "adversarial regularization, one loss": by_hand(examples, HOW),
        "adversarial regularization, bare": bare(examples),
        f"{1 + NEIGHBOURS} passes, by hand": forwards(examples, 1 + NEIGHBOURS),
    }
    over = {name: "plain, fit" if name.endswith("fit") else "plain, by hand" for name in works}
    over[f"graph, {NEIGHBOURS} neighbours, fit"] = f"{1 + NEIGHBOURS} passes, by hand"
    seconds = interleaved(works, repeats)
    return table(
        [
            {
                "step": name,
                "ms": f"{1000 * seconds[name] / 30:.1f}",
                "over": over[name],
                "ratio": f"{seconds[name] / seconds[over[name]]:.2f}",
            }
            for name in works
        ]
    )


def graph() -> str:
    """One exact graph in a process of its own, with its peak memory over that of its input."""
    code = "from benchmarks.regularization import built; built()"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def built() -> None:
    """Builds it, and prints time and memory."""
    draws = torch.Generator().manual_seed(0)
    centres = torch.randn(500, WIDTH, generator=draws)
    x = centres[torch.randint(500, (NODES,), generator=draws)] + 0.4 * torch.randn(NODES, WIDTH, generator=draws)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    built = build_graph(x, THRESHOLD, top_k=NEAREST)
    spent = time.perf_counter() - started
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    row = {
        "graph": f"{NODES:,} x {WIDTH}, threshold {THRESHOLD}, top {NEAREST}, exact",
        "edges": f"{len(built):,}",
        "seconds": f"{spent:.1f}",
        "memory beyond the input, GiB": f"{memory:.2f}",
    }
    print(table([row]))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", nargs="*", choices=("steps", "graph"), default=("steps", "graph"))
    options = parser.parse_args()
    print(machine() + "\n")
    if "steps" in options.part:
        print(steps(options.repeats) + "\n", flush=True)
    if "graph" in options.part:
        print(graph())


if __name__ == "__main__":
    main()
