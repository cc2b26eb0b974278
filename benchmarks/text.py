"""Attacks on texts: agreement with recorded outcomes, speed beside TextAttack, and what driver and searches cost.

``python -m benchmarks.text parity driver`` runs some of the works; without names all. The work ``peers`` needs an
environment with TextAttack: ``python -m benchmarks.text_peer FOLDER`` makes one, and ``--peer FOLDER`` names it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from benchmarks.timing import machine, table
from robustlab import data, models, text
from robustlab.core import Text
from robustlab.statistics import paired_difference

REFERENCE = Path("tests/text/reference")
RECIPES = ("typo-delete", "wordnet-delete", "pwws")


def tfidf() -> text.Victim:
    """TF-IDF and logistic regression, as recorded."""
    found, words = np.load(REFERENCE / "victim_a.npz"), json.loads((REFERENCE / "victim_a_terms.json").read_text())
    return text.victim(models.tfidf_from(words, found["idf"], found["coef"], found["intercept"]), name="tfidf")


def parity() -> list[dict[str, str]]:
    """Equal verdicts, queries and texts on 200 recorded rows, with our reader of WordNet."""
    victim, every, rows = tfidf(), data.movie_sentences("validation"), []
    texts, labels = every.texts[:200], every.labels[:200].tolist()
    for name, known in json.loads((REFERENCE / "parity.json").read_text()).items():
        outcomes = text.attack(victim, texts, labels, text.recipe(name, resources=data.text_resource))
        equal = {"verdict": 0, "queries": 0, "text": 0}
        for one, (_, verdict, asked, digest) in zip(outcomes, known, strict=True):
            equal["verdict"] += one.status == verdict
            equal["queries"] += one.requested == asked
            equal["text"] += not digest or _digest(one.adversarial) == digest
        rows.append({"recipe": name, **{key: f"{number} of {len(known)}" for key, number in equal.items()}})
    return rows


def _digest(found: Text) -> str:
    return hashlib.sha256(str(found).encode()).hexdigest()[:16]


def sentences(n: int = 200) -> tuple[list[str], list[int]]:
    """The first movie sentences of the test split, with their labels."""
    every = data.movie_sentences("test")
    return [str(one) for one in every.texts[:n]], every.labels[:n].tolist()


def driver(count: int = 200_000, repeats: int = 5) -> list[dict[str, str]]:
    """Texts per second through the driver with a victim that costs nothing, new ones and known ones."""
    draw = random.Random(0)
    words = [f"word{number}" for number in range(5000)]
    texts = [" ".join(draw.choices(words, k=20)) for _ in range(count)]
    victim = text.Victim(lambda some: np.full((len(some), 2), 0.5), 2, "free", "free")
    seconds: dict[str, list[float]] = {"new": [], "known": []}
    for _ in range(repeats):
        one = text.Driver(victim, batch_tokens=1 << 20, memory=1 << 30)
        for kind in seconds:
            start = time.process_time()
            for part in range(0, count, 5000):
                one.rows(texts[part : part + 5000])
            seconds[kind].append(time.process_time() - start)
    return [
        {"texts of 20 words": kind, "per second": f"{count / statistics.median(times):,.0f}"}
        for kind, times in seconds.items()
    ]


def memory(count: int = 10_000) -> list[dict[str, str]]:
    """Memory that a genetic attack on many texts adds."""
    every = data.movie_sentences("all")
    texts, labels = [str(one) for one in every.texts[:count]], [int(one) for one in every.labels[:count]]
    victim, recipe = tfidf(), text.recipe("wordnet-delete", resources=data.text_resource)
    recipe = replace(recipe, name="genetic of 20 texts, 5 generations", search=text.Genetic(20, 5))
    text.attack(victim, texts[:50], labels[:50], recipe)
    before, start = _peak(), time.process_time()
    outcomes = text.attack(victim, texts, labels, recipe)
    seconds, asked = time.process_time() - start, sum(one.requested for one in outcomes)
    row = {"texts": str(len(texts)), "queries asked": f"{asked:,}", "processor seconds": f"{seconds:.0f}"}
    return [{**row, "memory added, MiB": f"{(_peak() - before) / 1024:.0f}"}]


def _peak() -> int:
    """Largest memory of this process so far, KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@dataclass
class Peer:
    """TextAttack in an environment of its own, which answers one line of JSON with another."""

    folder: Path

    def __post_init__(self) -> None:
        command = [str(self.folder / "bin" / "python"), "-m", "benchmarks.text_peer"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **job: object) -> dict[str, Any]:
        """Carries out one job."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


def peers(folder: Path, repeats: int = 3, n: int = 200) -> list[dict[str, str]]:
    """Processor seconds of TextAttack over ours, alternating, with equal candidates and equal victims."""
    peer, (texts, labels), rows = Peer(folder), sentences(n), []
    for kind, victim in (("tfidf", tfidf()), ("cnn", cnn())):
        for name in RECIPES:
            recipe = text.recipe(name, resources=data.text_resource)
            words = {word for one in texts for word in text.cut(one).words}
            parts = cast("tuple[Any, ...]", recipe.transformations)
            options = {word: [new for one in parts for new in one.options(word)] for word in words}
            ratios, verdicts, job = [], [], {"victim": kind, "recipe": name, "texts": texts, "labels": labels}
            for _ in range(repeats + 1):
                start = time.process_time()
                outcomes = text.attack(victim, texts, labels, recipe)
                ours, theirs = time.process_time() - start, peer.ask(**job, options=options)
                ratios.append(theirs["seconds"] / ours)
                verdicts.append([one.status for one in outcomes] == theirs["verdicts"])
            counted = [one.status == other for one, other in zip(outcomes, theirs["verdicts"], strict=True)]
            ratio = f"{statistics.median(ratios[1:]):.2f} ({min(ratios[1:]):.2f}-{max(ratios[1:]):.2f})"
            row = {"victim": kind, "recipe": name, "TextAttack s": f"{theirs['seconds']:.2f}", "ours s": f"{ours:.2f}"}
            rows.append({**row, "ratio": ratio, "same verdict": f"{sum(counted)} of {n}"})
    return rows


def cnn() -> text.Victim:
    """The word CNN, as recorded."""
    found, words = np.load(REFERENCE / "victim_b.npz"), json.loads((REFERENCE / "victim_b_vocab.json").read_text())
    model = models.WordCNN(words)
    renamed = {key.replace("emb.", "embeddings.").replace("fc.", "head."): found[key] for key in found.files}
    weights = {key: torch.from_numpy(value) for key, value in renamed.items()}
    model.load_state_dict({**model.state_dict(), **weights})
    return text.victim(model.eval(), name="cnn")


def ranking(checkpoint: Path, n: int = 100) -> list[dict[str, str]]:
    """Words in the order of the gradient's l1 norm against the order of deletion, on a fine-tuned MiniLM."""
    victim, (texts, labels) = text.victim(models.load(checkpoint=checkpoint), name="minilm"), sentences(n)
    base, found, rows = text.recipe("wordnet-delete", resources=data.text_resource), {}, []
    for order in ("delete", "gradient"):
        start = time.process_time()
        found[order] = text.attack(victim, texts, labels, replace(base, search=text.Greedy(order)))
        attacked = [one for one in found[order] if one.status != "skipped"]
        row = {"order": order, "success": f"{np.mean([one.status == 'successful' for one in attacked]):.3f}"}
        row |= {"queries": f"{np.mean([one.requested for one in attacked]):.1f}"}
        row |= {"words changed": f"{np.mean([one.changed_fraction for one in attacked]):.3f}"}
        rows.append({**row, "gradients": f"{np.mean([one.gradients for one in attacked]):.1f}"})
        rows[-1]["processor s"] = f"{time.process_time() - start:.0f}"
    wins = np.array([[one.status == "successful" for one in found[order]] for order in found])
    _, low, high = paired_difference(int((wins[0] & ~wins[1]).sum()), int((wins[1] & ~wins[0]).sum()), n)
    rows.append({**dict.fromkeys(rows[0], ""), "order": f"difference of success {low:+.3f} to {high:+.3f}"})
    return rows


def main() -> None:
    """Prints the tables."""
    works: dict[str, Callable[[], list[dict[str, str]]]] = {"parity": parity, "driver": driver, "memory": memory}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", help=f"some of {', '.join([*works, 'ranking', 'peers'])}")
    parser.add_argument("--minilm", type=Path, help="model.safetensors of robustlab text train --model minilm")
    parser.add_argument("--peer", type=Path, help="folder of the environment with TextAttack")
    given = parser.parse_args()
    if given.peer:
        works["peers"] = lambda: peers(given.peer)
    if given.minilm:
        works["ranking"] = lambda: ranking(given.minilm)
    print(machine(), flush=True)
    for name in given.works or works:
        if name not in works:
            sys.exit(f"no work is called {name}; there are {', '.join(works)}; ranking wants --minilm, peers --peer")
        print(f"\n### {name}\n\n{table(works[name]())}", flush=True)


if __name__ == "__main__":
    main()
