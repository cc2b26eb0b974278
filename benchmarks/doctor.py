"""Detections of planted faults by the evaluation doctor, its false alarms on sound models, and its cost.

    python -m benchmarks.doctor [--only sound] [--seeds 5]

Each seed trains its own networks on 6,000 images of Fashion-MNIST, and is the seed of the evaluation: of the sample, of
all draws and of the doctor's examples. A fault is detected if its own code is there and no other finding is serious;
a false alarm is any finding above "info" about a sound model. Intervals are exact (Clopper-Pearson, 95 %).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from time import perf_counter

import torch
from torch import nn

from benchmarks.timing import interleaved, machine, table
from robustlab import data, models
from robustlab.attacks import FGSM, PGD
from robustlab.core import Batch, Examples, Linf, Recipe, ThreatModel
from robustlab.evaluation import Finding, Settings, evaluate
from robustlab.models import faults
from robustlab.statistics import clopper_pearson
from robustlab.training import Settings as Training
from robustlab.training import adversarial, fit, sgd, standard

Row = dict[str, str]
THREAT = ThreatModel(Linf(), 0.1)
SMALL = ThreatModel(Linf(), 0.02)
PAIR = (7, 9)
FAULTS: dict[str, tuple[str, Callable[[nn.Module], nn.Module]]] = {
    "logits divided until gradients underflow": ("gradient-underflow", faults.divided),
    "rounding layer": ("zero-gradients", faults.rounding),
    "stochastic layer": ("random-outputs", faults.stochastic),
    "test-time optimisation": ("optimisation-at-inference", faults.optimising),
    "detector that returns NaN": ("nan-under-attack", faults.detector),
    "temperature scaling": ("saturated-softmax", faults.scaled),
    "probabilities for logits": ("probabilities-for-logits", faults.probabilities),
    "BatchNorm left in training mode": ("training-mode-batchnorm", faults.training_mode),
    "JPEG": ("shattered-gradients", faults.jpeg),
    "JPEG with a wrong gradient": ("shattered-gradients", faults.soft_jpeg),
    "bit depth": ("shattered-gradients", faults.fewer_bits),
    "label order of the batch": ("label-order-leak", faults.label_order),
}


class Pair:
    """Two classes of a data set, as a data set with two classes."""

    def __init__(self, split: str) -> None:
        self.whole = data.load("fashion-mnist", split=split)
        self.name = "sneakers and boots"
        self.classes = tuple(self.whole.classes[k] for k in PAIR)
        y = self.whole.batch(torch.arange(len(self.whole))).y
        self.rows = torch.isin(y, torch.tensor(PAIR)).nonzero()[:, 0]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.rows)

    def batch(self, ids: torch.Tensor) -> Batch:
        """Examples with labels 0 and 1."""
        batch = self.whole.batch(self.rows[ids])
        return Batch(batch.x, (batch.y == PAIR[1]).long(), ids)


@cache
def test_images() -> Examples:
    return data.load("fashion-mnist", split="test")


@cache
def trained(kind: str, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    noisy = adversarial(FGSM(THREAT, step_size=0.125, random_start=True))
    recipe: Recipe = noisy if kind == "adversarial" else standard()
    made: dict[str, Callable[[], nn.Module]] = {
        "standard": models.ShallowCNN,
        "batchnorm": models.BatchNormCNN,
        "adversarial": models.ShallowCNN,
        "binary": lambda: models.ShallowCNN(classes=2),
    }
    model = made[kind]()
    images: Examples = Pair("train") if kind == "binary" else data.load("fashion-mnist", split="train")
    epochs = 6 if kind == "adversarial" else 3
    fit(model, recipe, data.sample(images, 6000, seed=seed), Training(epochs=epochs, optimizer=sgd(0.1), seed=seed))
    return model.eval()


def findings_of(model: nn.Module, images: Examples, attack: PGD, seed: int, n: int | None) -> tuple[Finding, ...]:
    findings = evaluate(model, images, attacks=[attack], n=n, settings=Settings(seed=seed)).findings
    print(images.name, attack.threat.eps, seed, [(f.code, f.severity) for f in findings], file=sys.stderr, flush=True)
    return findings


def sound_models(seed: int) -> Iterator[tuple[str, tuple[Finding, ...]]]:
    for kind in ("standard", "adversarial", "batchnorm"):
        for threat in (SMALL, THREAT):
            yield (
                f"{kind}, eps {threat.eps:g}",
                findings_of(trained(kind, seed), test_images(), PGD(threat, 40), seed, 300),
            )
    yield "binary, eps 0.1", findings_of(trained("binary", seed), Pair("test"), PGD(THREAT, 40), seed, 300)
    few = ThreatModel(Linf(), 1 / 255)
    yield (
        "EfficientNet-Lite0 on photographs, eps 1/255",
        findings_of(models.efficientnet_lite0(), data.load("photographs"), PGD(few, 10), seed, None),
    )


def sound(seeds: int) -> list[Row]:
    """False alarms."""
    alarms: dict[str, list[str]] = {}
    for seed in range(seeds):
        for name, findings in sound_models(seed):
            alarms.setdefault(name, []).append(", ".join(f.code for f in findings if f.severity != "info"))
    rows = [_rate("sound model", name, "false alarms", list(map(bool, codes))) for name, codes in alarms.items()]
    for row, codes in zip(rows, alarms.values(), strict=True):
        row["codes"] = "; ".join(filter(None, codes))
    every = [bool(codes) for seen in alarms.values() for codes in seen]
    return [*rows, {**_rate("sound model", "all", "false alarms", every), "codes": ""}]


def planted(seeds: int) -> list[Row]:
    """Detections."""
    hits: dict[str, list[bool]] = {}
    others: dict[str, set[str]] = {}
    for name, (code, around) in FAULTS.items():
        for seed in range(seeds):
            kind = "batchnorm" if code == "training-mode-batchnorm" else "standard"
            findings = findings_of(around(trained(kind, seed)), test_images(), PGD(THREAT, 40), seed, 200)
            serious = [f.code for f in findings if f.severity == "serious"]
            hits.setdefault(name, []).append(serious == [code])
            others.setdefault(name, set()).update({*serious} - {code})
    rows = [_rate("planted fault", name, "detected by its code alone", seen) for name, seen in hits.items()]
    for row, (name, (code, _)) in zip(rows, FAULTS.items(), strict=True):
        row |= {"code": code, "other serious": ", ".join(sorted(others[name]))}
    every = _rate("planted fault", "all", "detected by its code alone", [hit for seen in hits.values() for hit in seen])
    return [*rows, {**every, "code": "", "other serious": ""}]


def _rate(what: str, name: str, of: str, seen: list[bool]) -> Row:
    rate = clopper_pearson(sum(seen), len(seen))
    return {what: name, of: f"{rate.count} of {rate.n}", "95 % interval": f"[{rate.low:.2f}, {rate.high:.2f}]"}


def cost(seeds: int) -> list[Row]:
    """Seconds of one evaluation with and without the doctors; repeats instead of seeds."""
    rows = []
    for kind, n in (("standard", 2000), ("batchnorm", 2000), ("adversarial", 2000)):
        run = partial(evaluate, trained(kind, 0), test_images(), attacks=[PGD(THREAT, 40)], n=n)
        works = {name: partial(run, settings=Settings(doctor=name == "with")) for name in ("without", "with")}
        seconds = interleaved(works, seeds)
        extra = seconds["with"] - seconds["without"]
        shown = {name: f"{value:.2f}" for name, value in seconds.items()}
        rows.append({"PGD-40, eps 0.1": f"{kind}, {n} images", **shown, "doctors, s": f"{extra:.2f}"})
    return rows


WORKS = {"sound": sound, "planted": planted, "cost": cost}


def main() -> None:
    """Prints a table for each question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=sorted(WORKS))
    options = parser.parse_args()
    print(machine())
    for name, work in WORKS.items():
        if options.only in (None, name):
            start = perf_counter()
            print(f"\n{table(work(options.seeds))}\n\n({perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
