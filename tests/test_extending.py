"""Members of every kind from outside the package: a module on the path adds them, and everything then knows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.toys_from_outside import TOY
from torch import nn

from robustlab import corruptions, data
from robustlab.attacks import ATTACKS, FGSM, make_attack
from robustlab.cli.commands import commands, register_command, unregister_command
from robustlab.cli.main import main
from robustlab.core import Linf, ThreatModel
from robustlab.core.registry import Registry
from robustlab.core.types import Text
from robustlab.corruptions import corruption
from robustlab.corruptions.suite import KINDS
from robustlab.data.named import DATA_SETS
from robustlab.evaluation import Evaluation, Settings, diagnose, evaluate, evaluate_corruptions
from robustlab.evaluation.doctor.findings import FINDINGS
from robustlab.explain import CHECKS, METHODS, NUMBERS, CheckSubject, check_maps, measure
from robustlab.models import load, save
from robustlab.models.registry import MODELS
from robustlab.report import write
from robustlab.report.sections import EXPORTS, SECTIONS
from robustlab.studies import known
from robustlab.studies.claim_engine.budget import QUICK
from robustlab.studies.claim_engine.claim import CATALOGUE
from robustlab.studies.sweep import Given, Spend, attackers, trainers
from robustlab.studies.sweep.optimizers import TRAINING_OPTIMIZERS, TRAINING_REGIMES
from robustlab.studies.sweep.rules import RULES, STEP_RULES
from robustlab.studies.sweep.trainers import School
from robustlab.text import Victim, attack
from robustlab.text.recipes import TEXT_RECIPES, recipe, recipe_table
from robustlab.training import Settings as Training
from robustlab.training import fit, tuned
from robustlab.training.recipes.registry import RECIPES

MEMBERS: tuple[tuple[Registry[Any], str, str], ...] = (
    (KINDS, "toy_dark", "toy_drak"),
    (DATA_SETS, "toy-stripes", "toy-stipes"),
    (FINDINGS, "toy-suspicion", "toy-suspicon"),
    (SECTIONS, "toy-section", "toy-secton"),
    (EXPORTS, "toy.txt", "toy.tx"),
    (CATALOGUE, "toy-claim", "toy-clam"),
    (RECIPES, "toy-recipe", "toy-recpie"),
    (ATTACKS, "toy-steps", "toy-stpes"),
    (MODELS, "toy-net", "toy-nte"),
    (STEP_RULES, "toy-rule", "toy-rul"),
    (TRAINING_OPTIMIZERS, "toy-sgd", "toy-sdg"),
    (TRAINING_REGIMES, "toy-regime", "toy-regmie"),
    (TEXT_RECIPES, "toy-texts", "toy-txets"),
    (METHODS, "toy-map", "toy-mpa"),
    (NUMBERS, "toy-number", "toy-numbre"),
    (CHECKS, "toy-doubt", "toy-dobut"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("outside")
    (place / "toy_members.py").write_text(TOY, encoding="utf-8")
    return place


@pytest.fixture(scope="module", autouse=True)
def toys(folder: Path) -> Iterator[None]:
    """The module is imported, and its members are taken away at the end."""
    sys.path.insert(0, str(folder))
    import_module("toy_members")
    yield
    sys.path.remove(str(folder))
    del sys.modules["toy_members"]
    for registry, name, _ in MEMBERS:
        registry.unregister(name)
    unregister_command("toy-command")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    attack = FGSM(ThreatModel(Linf(), 0.1))
    network = load("toy_members:model")
    place = tmp_path_factory.mktemp("run")
    return evaluate(network, data.load("toy-stripes:4"), attacks={"fgsm": attack}, out=place, settings=Settings())


def test_an_attack_with_a_step_rule_of_its_own_is_evaluated_under_its_label() -> None:
    attack = make_attack("toy-steps", ThreatModel(Linf(), 0.3))
    found = evaluate(load("toy_members:model"), data.load("toy-stripes:4"), attacks=[attack])
    assert [a.name for a in found.attacks] == ["three toy steps"]
    assert (found.clean.accuracy.value, found.worst[0].robust.value) == (1.0, 0.0)
    assert found.results[0].sizes.linf.median == pytest.approx(0.3)
    assert found.results[0].outside == 0


def test_a_recipe_and_an_optimizer_train() -> None:
    toys = import_module("toy_members")
    model = load("shallow-cnn", classes=2, channels=1, size=12)
    x, y = torch.rand(8, 1, 12, 12), torch.arange(8) % 2
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = tuned(toys.ToyOptimizer, lr=0.1)
    fit(model, RECIPES["toy-recipe"].options().recipe(), (x, y), Training(epochs=1, batch_size=4, optimizer=optimizer))
    assert any(not torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_network_is_loaded_by_name_and_from_its_weight_file(tmp_path: Path) -> None:
    network = load("toy-net", classes=3, size=4)
    save(network, tmp_path / "toy.safetensors")
    again = load(tmp_path / "toy.safetensors")
    x = torch.rand(2, 1, 4, 4)
    assert torch.equal(again(x), network(x))
    assert again(x).shape == (2, 3)


@pytest.mark.slow
def test_a_step_rule_is_in_a_new_sweep_and_not_in_the_published_ones(tmp_path: Path) -> None:
    subject = Given("toy", ThreatModel(Linf(), 0.3), load("toy_members:model"), data.load("toy-stripes:4"))
    spend = Spend(QUICK, (2,), tuning=4, images=4, widen=0)
    found = attackers(subject, out=tmp_path, seeds=1, spend=spend, device="cpu")
    assert [one.rule for one in found.swept] == [*(rule.name for rule in RULES), "toy-rule"]
    assert all(passes != 0 for passes in found.swept[-1].reported[found.swept[-1].chosen[2]])


def test_an_optimizer_and_a_setting_of_training_are_in_a_new_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(School, "done", lambda self, _ledger: self)
    school: Any = trainers("toy-regime", out=tmp_path, seeds=1, device="cpu")
    assert school.study == "trainers-toy-regime"
    assert school.optimizers[-1].name == "toy-sgd"


@pytest.mark.parametrize(("registry", "name", "misspelt"), MEMBERS, ids=[name for _, name, _ in MEMBERS])
def test_a_member_is_listed_and_a_misspelt_name_gets_it(registry: Registry[Any], name: str, misspelt: str) -> None:
    assert name in registry.names()
    with pytest.raises(ValueError, match=f"no {registry.kind} is called '{misspelt}'; did you mean {name}"):
        registry.get(misspelt)


def test_a_text_recipe_attacks_and_is_listed() -> None:
    def predict(texts: Sequence[Text]) -> NDArray[np.float64]:
        return np.array([[0.2, 0.8] if "tool" in text else [0.6, 0.4] for text in texts])

    found = attack(Victim(predict, 2, "tools", "tools"), ["a fine tool"], [1], recipe("toy-texts"))
    assert found[0].adversarial == "a fine toy"
    assert "toy in place of tool" in [row.transformation for row in recipe_table()]


def test_maps_are_made_measured_and_checked_by_members_from_outside() -> None:
    last = nn.Linear(4, 2)
    model, x, y = nn.Sequential(nn.Flatten(), last).eval(), torch.rand(2, 1, 2, 2), torch.tensor([0, 1])
    found = measure("toy-map", model, x, y, ["toy-number"])["toy-number"]
    assert found.values.tolist() == pytest.approx((2 * last.weight.detach().sum(1)).tolist(), abs=1e-6)
    assert (found.spec.better, found.setting) == ("higher", "ToyNumber()")
    report = check_maps(CheckSubject("toy-map", model, x), ["toy-doubt"])
    assert [finding.code for finding in report.findings] == ["toy-doubt"]


def test_a_corruption_corrupts_and_is_evaluated() -> None:
    dark = corruption("toy_dark")
    assert float(dark(torch.ones(1, 1, 2, 2), severity=3).max()) == pytest.approx(0.5, abs=1 / 255)
    assert not dark.comparable
    assert corruptions.names()[-1] == "toy_dark"
    found = evaluate_corruptions(load("toy_members:model"), data.load("toy-stripes:4"), corruptions=["toy_dark"])
    assert [cell.accuracy.value for cell in found.cells] == [1.0, 1.0, 0.5, 0.5, 0.5]
    assert found.corruptions[0].not_comparable == "it is no corruption of a benchmark"


def test_a_data_set_is_loaded_listed_and_described() -> None:
    found = data.load("toy-stripes:4", split="all")
    assert (found.name, len(found)) == ("toy stripes 4 all", 40)
    assert data.names()[-1] == data.describe()[-1].name == "toy-stripes:WIDTH"
    with pytest.raises(ValueError, match="no data set is called 'toy-stripes'; did you mean toy-stripes:WIDTH"):
        data.load("toy-stripes")


def test_a_finding_is_reported_and_takes_its_place_among_causes(evaluated: Evaluation) -> None:
    assert [f.severity for f in evaluated.findings if f.code == "toy-suspicion"] == ["serious"]
    attack = FGSM(ThreatModel(Linf(), 1e-5))
    found = {f.code: f.severity for f in diagnose(nn.Sequential(nn.Flatten(), _Hot()), _points(), attack=attack)}
    assert found["toy-suspicion"] == "serious"
    assert found["saturated-softmax"] == "warning", "explained by a cause of lower rank"


class _Hot(nn.Module):
    """Logits so large that the cross-entropy has no gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = 1e4 * (x.mean(dim=1, keepdim=True) - 0.5)
        return torch.cat([-score, score], dim=1)


def _points() -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.arange(64) % 2
    return (0.25 + 0.5 * y.float()).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).clone(), y


def test_a_section_and_a_file_are_in_the_report(evaluated: Evaluation, tmp_path: Path) -> None:
    html = write([evaluated], tmp_path).read_text(encoding="utf-8")
    assert '<section id="toy-section"' in html
    assert '<a href="#toy-section">Toy section</a>' in html
    assert "Toy note &lt;b&gt;" in html
    assert "## Toy section\n\nToy note &lt;b&gt;\n\n| Model | n |" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "toy.txt").read_text() == "1 toys"


def test_a_claim_is_known_by_name_and_not_among_those_of_the_package() -> None:
    assert [found.claim.name for found in known(["toy-claim"])] == ["toy-claim"]
    assert "toy-claim" not in [found.claim.name for found in known()]


def test_a_command_takes_options_of_its_own_and_shared_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["toy-command", "Ada", "--toys", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"Ada": 4}
    assert main(["toy-command", "Ada"]) == 0
    assert "Ada buys 3 toys" in capsys.readouterr().err
    assert main(["toy-command", "Ada", "--toys", "0"]) == 2
    assert "--toys" in capsys.readouterr().err


@pytest.mark.slow
def test_a_command_is_listed_last_and_shows_its_help_and_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(commands())[-1] == "toy-command"
    assert main(["--help"]) == 0
    assert "Buys toys." in capsys.readouterr().out
    assert main(["toy-command", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Toys to buy." in shown
    assert "Example: robustlab toy-command Ada --toys 4" in shown
    assert main(["toy-comand"]) == 2
    assert "toy-command" in capsys.readouterr().err


def test_a_command_cannot_take_the_name_of_another() -> None:
    with pytest.raises(ValueError, match="two commands are called 'evaluate': give yours another name"):
        register_command("evaluate", import_module("toy_members").toy_command, example="robustlab evaluate")


GROUPS = ("commands", "corruptions", "data", "findings", "sections", "exports", "claims", "recipes", "text_recipes")


@pytest.mark.slow
def test_the_command_knows_members_of_installed_packages(folder: Path) -> None:
    info = folder / "toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n", encoding="utf-8")
    entries = "".join(f"[robustlab.{group}]\ntoys = toy_members\n" for group in GROUPS)
    (info / "entry_points.txt").write_text(entries, encoding="utf-8")
    code = f"""
import sys
sys.path.insert(0, {str(folder)!r})
from robustlab.cli.main import main
train = "train batchnorm-cnn --data digits --limit 40 --batch-size 20 --epochs 1 --device cpu --recipe".split()
for typed in (["toy-command", "Ada"], ["data"], [*train, "toy-recpie"], ["train", "--help"]):
    main(typed)
sys.exit(main([*train, "toy-recipe", "--toys", "5", "--out", {str(folder / "net")!r}]))
"""
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "toy-stripes:WIDTH" in done.stdout
    assert "how many toys to buy" in done.stdout
    assert "Ada buys 3 toys" in done.stderr
    assert "did you mean toy-recipe?" in done.stderr
    assert (folder / "net" / "model.safetensors").is_file()
