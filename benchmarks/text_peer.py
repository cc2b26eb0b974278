"""TextAttack in an environment of its own: ``python -m benchmarks.text_peer FOLDER`` makes it, without any download but
that of packages. Without a folder this carries out jobs there, a line of JSON each, for ``benchmarks.text``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PINS = ("textattack==0.3.11", "flair>=0.15", "transformers==4.57.6", "nltk==3.10.4", "torch==2.15.0")
"""A plain installation of TextAttack fails with Python 3.11, and its import asks for newer parts of flair."""


def build(folder: str) -> None:
    """Makes the environment."""
    venv.create(folder, with_pip=True)
    subprocess.run([f"{folder}/bin/python", "-m", "pip", "install", "--quiet", *PINS], check=True)
    stopwords = Path(folder, "nltk_data", "corpora", "stopwords")
    stopwords.mkdir(parents=True)
    (stopwords / "english").write_text("the\n")  # the import wants some; the attack gets ours


def serve() -> None:
    """Answers jobs until the input ends."""
    for line in sys.stdin:
        print(json.dumps(attacked(**json.loads(line))), flush=True)


def attacked(
    victim: str, recipe: str, texts: Sequence[str], labels: Sequence[int], options: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Verdicts, queries and seconds of greedy attacks with given candidates."""
    attack = _attack(victim, recipe, options)
    start = time.process_time()
    found = [attack.attack(text, label) for text, label in zip(texts, labels, strict=True)]
    seconds = time.process_time() - start
    kinds = {"SuccessfulAttackResult": "successful", "FailedAttackResult": "failed", "SkippedAttackResult": "skipped"}
    verdicts = [kinds[type(one).__name__] for one in found]
    return {"seconds": seconds, "verdicts": verdicts, "queries": [one.num_queries for one in found]}


def _attack(victim: str, recipe: str, options: Mapping[str, Sequence[str]]) -> Any:  # noqa: ANN401 (their class)
    from textattack import Attack
    from textattack.constraints.overlap import LevenshteinEditDistance
    from textattack.constraints.pre_transformation import RepeatModification, StopwordModification
    from textattack.goal_functions import UntargetedClassification
    from textattack.models.wrappers import ModelWrapper
    from textattack.search_methods import GreedyWordSwapWIR
    from textattack.transformations import WordSwap

    from benchmarks import text as works
    from robustlab.text import stop_words

    predict = {"tfidf": works.tfidf, "cnn": works.cnn}[victim]().predict

    class Model(ModelWrapper):  # type: ignore[misc]
        model = None

        def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
            return predict(texts)

    class Table(WordSwap):  # type: ignore[misc]
        def _get_replacement_words(self, word: str) -> Sequence[str]:
            return options.get(word, [])

    limits = [RepeatModification(), StopwordModification(stopwords=stop_words())]
    limits += [LevenshteinEditDistance(30)] if recipe == "typo-delete" else []
    ranking = "weighted-saliency" if recipe == "pwws" else "delete"
    return Attack(UntargetedClassification(Model()), limits, Table(), GreedyWordSwapWIR(wir_method=ranking))


if __name__ == "__main__":
    build(sys.argv[1]) if len(sys.argv) > 1 else serve()
