"""One digest of a model in every record, older ones by their own rules, and one wording of what differs."""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from robustlab.attacks import RandomNoise
from robustlab.core import Linf, RunError, ThreatModel
from robustlab.data import InMemory
from robustlab.evaluation import Evaluation, Settings, evaluate
from robustlab.runs.identity import (
    check_same,
    differences,
    model_digest,
    state_digest,
    v1_of_pseudo_labels,
    v1_of_reports,
    v1_of_sweeps,
)
from robustlab.training import Settings as Training
from robustlab.training import fit, sgd, standard
from robustlab.training.pseudo_labels import pseudo_labels

WRAPS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "alone": lambda model: model,
    "parallel": nn.DataParallel,
    "compiled": lambda model: torch.compile(model, backend="eager"),  # type: ignore[dict-item,return-value,unused-ignore]
}
CLASSES = ("a", "b", "c")
X = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0))
DATA = InMemory("dots", CLASSES, X, torch.arange(12) % 3)
CPU = Training(1, batch_size=6, optimizer=sgd(0.1), device="cpu", precision="fp32")


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def evaluated(model: nn.Module, out: Path | None = None) -> Evaluation:
    settings = Settings(doctor=False, batch_size=6, command="test")
    return evaluate(model, DATA, attacks=[RandomNoise(ThreatModel(Linf(), 0.1))], out=out, settings=settings)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", WRAPS)
def test_report_checkpoint_and_pseudo_labels_name_one_model_alike(tmp_path: Path, wrap: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = WRAPS[wrap](net())
        history = fit(model, standard(), DATA, CPU, out=tmp_path / "run")
        report = evaluated(model)
        labels = pseudo_labels(model, DATA, CLASSES, tmp_path / "labels", CPU)
    assert history.checkpoint is not None
    recorded = json.loads((history.checkpoint / "state.json").read_text())["models"]["model.safetensors"]
    assert report.model.sha256 == recorded == labels.provenance["teacher"] == model_digest(model)
    assert recorded.startswith("v2:")
    assert recorded != model_digest(net())


def test_the_digest_is_that_of_titles_and_of_the_bytes_of_each_entry() -> None:
    state = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3]])}
    entries = [("a torch.float32 (2,)", state["a"]), ("b torch.int64 (1, 1)", state["b"])]
    stated = b"".join(t.encode() + b"\0" + hashlib.sha256(v.numpy().tobytes()).digest() for t, v in entries)
    assert state_digest(state) == "v2:" + hashlib.sha256(stated).hexdigest()


def older(folder: Path, name: str, path: str, digest: str) -> None:
    """Lets a record of a run name its model by an older rule."""
    file, (first, *rest) = folder / name, path.split(".")
    record = json.loads(file.read_text())
    place = record[first] if rest else record
    place[rest[0] if rest else first] = digest
    file.write_text(json.dumps(record))


def test_a_run_that_names_its_model_by_the_older_rule_is_the_same_run(tmp_path: Path) -> None:
    model = net()
    expected = evaluated(model, tmp_path)
    state = model.state_dict()
    labels = "\n".join(f"{name} {value.dtype} {tuple(value.shape)}" for name, value in state.items())
    v1 = hashlib.sha256(labels.encode() + b"".join(v.numpy().tobytes() for v in state.values())).hexdigest()
    older(tmp_path, "manifest.json", "essentials.weights", v1)
    again = evaluated(model, tmp_path)
    assert (again.run.id, again.run.sessions) == (expected.run.id, expected.run.sessions)
    with pytest.raises(RunError, match=rf"holds another run \(weights {v1} there, \w+ here"):
        evaluated(net(1), tmp_path)


def test_pseudo_labels_of_the_older_rule_are_not_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    entries = (f"{n} {v.dtype} {tuple(v.shape)}".encode() + v.numpy().tobytes() for n, v in model.state_dict().items())
    v1 = hashlib.sha256(b"Sequential" + b"".join(entries)).hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[pseudo_labels.__module__], "model_digest", lambda _: v1)
        pseudo_labels(model, DATA, CLASSES, tmp_path, CPU)
    assert json.loads((tmp_path / "provenance.json").read_text())["teacher"] == v1
    found = pseudo_labels(model, DATA, CLASSES, tmp_path, CPU, progress=lambda _: pytest.fail("made anew"))
    assert found.provenance["teacher"] == v1
    with pytest.raises(RunError, match=rf"holds another run \(teacher {v1} there"):
        pseudo_labels(net(1), DATA, CLASSES, tmp_path, CPU)


RULES = (model_digest, v1_of_pseudo_labels, v1_of_sweeps, lambda model: v1_of_reports(model.state_dict()))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_distinguishes_models(rule: Callable[[nn.Module], str]) -> None:
    assert rule(net()) == rule(net()) != rule(net(1))


def test_differences_say_both_values_and_of_long_ones_where_they_begin_to_differ() -> None:
    assert (
        differences({"seed": 0, "old": 1}, {"seed": 0, "new": "x"}) == "new None there, x here; old 1 there, None here"
    )
    long = "a" * 200
    stated = differences({"recipe": long + "tail=1" + long}, {"recipe": long + "tail=2" + long})
    assert "tail=1" in stated
    assert "tail=2" in stated
    assert len(stated) < 300
    assert differences(dict.fromkeys("abcde", 0), dict.fromkeys("abcde", 1)).count("there") == 3
    with pytest.raises(
        RunError, match=r"^home holds another run \(a 0 there, 1 here\): choose another directory, or the"
    ):
        check_same("home", {"a": 0}, {"a": 1})
    check_same("home", {"a": 0}, {"a": 0})
