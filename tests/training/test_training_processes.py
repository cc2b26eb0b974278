"""Two processes on one machine, started by torchrun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from robustlab.core.processes import Processes
from robustlab.training import fit

PROGRAM = """
import json, os, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
torch.set_num_threads(1)
from tests_shared import DATA, RECIPES, THREAT, plain_net, settings
from robustlab.data import InMemory
from robustlab.training import Settings, fit, free, sgd
out, rank = Path(sys.argv[1]), int(os.environ["RANK"])

def told(name, model, history):
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, out / f"{name}-{rank}.safetensors")
    (out / f"{name}-{rank}.json").write_text(json.dumps(history.epochs))

for name, recipe in RECIPES.items():
    model = plain_net(seed=rank)
    calls = []
    history = fit(model, recipe, DATA, settings(8), validate=lambda _: {"calls": calls.append(1) or len(calls)})
    told(name, model, history)

class Stop(Exception): pass

class Stopping:
    def __init__(self, recipe, at): self.recipe, self.at, self.replays = recipe, at, recipe.replays
    def init(self, model): return self.recipe.init(model)
    def __repr__(self): return repr(self.recipe)
    def step(self, *arguments):
        self.at -= 1
        if not self.at: raise Stop
        return self.recipe.step(*arguments)

norm = lambda: torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), *plain_net(seed=0)[1:]).double()
way = Settings(3, batch_size=8, optimizer=sgd(0.05), average=0.6, resume=True)
recipe = free(THREAT, replays=2)
model = norm()
told("whole", model, fit(model, recipe, DATA, way, out=out / "runs" / "whole"))
try:
    fit(norm(), Stopping(recipe, 14), DATA, way, out=out / "runs" / "cut")
except Stop:
    model = norm()
    told("cut", model, fit(model, recipe, DATA, way, out=out / "runs" / "cut"))
try:
    fit(plain_net(seed=0), recipe, InMemory("three", DATA.classes, DATA.x[:1], DATA.y[:1]), way)
except ValueError as error:
    (out / f"error-{rank}").write_text(str(error))
"""

SHARED = """
import torch
from torch import nn
from robustlab.attacks import PGD
from robustlab.core import Linf, ThreatModel
from robustlab.data import InMemory
from robustlab.training import Settings, adversarial, sgd, trades

THREAT = ThreatModel(Linf(), 0.1)
RECIPES = {"pgd": adversarial(PGD(THREAT, steps=3)), "trades": trades(THREAT, steps=3)}
draw = torch.Generator().manual_seed(0)
DATA = InMemory("noise", ("a", "b"), torch.rand(37, 1, 8, 8, generator=draw).double(), torch.arange(37) % 2)


def plain_net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 2)).double()


def settings(batch_size):
    return Settings(3, batch_size=batch_size, optimizer=sgd(0.05), clip=0.5)
"""


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the results of two processes."""
    out = tmp_path_factory.mktemp("processes")
    (out / "tests_shared.py").write_text(SHARED)
    (out / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(out / "program.py"), str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(out)},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pgd", "trades"])
def test_two_processes_learn_like_one_with_the_doubled_batch(
    launched: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64, so that small slopes have one sign whatever the order of the sums; losses are reported in float32."""
    monkeypatch.syspath_prepend(str(launched))
    import tests_shared as shared  # type: ignore[import-not-found]

    with torch.random.fork_rng(devices=[]):
        model = shared.plain_net(seed=0)
    history = fit(model, shared.RECIPES[name], shared.DATA, shared.settings(16))
    for rank in (0, 1):
        found = json.loads((launched / f"{name}-{rank}.json").read_text())
        assert [epoch["loss"] for epoch in found] == pytest.approx(history["loss"], rel=1e-6)
        assert [epoch["accuracy"] for epoch in found] == pytest.approx(history["accuracy"], rel=1e-6)
        assert [epoch["validation_calls"] for epoch in found] == [1, 2, 3]
        there = load_file(launched / f"{name}-{rank}.safetensors")
        torch.testing.assert_close(there, dict(model.state_dict()), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_both_processes_end_with_the_same_bits(launched: Path) -> None:
    """Also with BatchNorm, whose running statistics and their moving average each has from its own examples."""
    for name in ("pgd", "trades", "whole", "cut"):
        first, second = (launched / f"{name}-{rank}.safetensors" for rank in (0, 1))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_a_stopped_run_of_two_processes_ends_bit_for_bit_like_a_whole_one(launched: Path) -> None:
    """With BatchNorm, and with a recipe whose state is another in each process."""
    whole, cut = (launched / "runs" / name / "epoch-0003" for name in ("whole", "cut"))
    for file in ("model.safetensors", "state.safetensors"):
        assert (whole / file).read_bytes() == (cut / file).read_bytes()
    state = load_file(whole / "state.safetensors")
    assert not torch.equal(state["recipe/0/delta"], state["recipe/1/delta"])


@pytest.mark.slow
def test_fewer_examples_than_processes_are_refused_in_each(launched: Path) -> None:
    for rank in (0, 1):
        assert "batches of 1 examples cannot be cut into 2 parts (2 proc" in (launched / f"error-{rank}").read_text()


def test_each_process_has_its_own_parts_of_a_batch() -> None:
    parts = torch.arange(10).tensor_split(4)
    shares = [Processes(rank, 2).own_parts(parts) for rank in (0, 1)]
    assert [[number for number, _ in share] for share in shares] == [[0, 1], [2, 3]]
    assert torch.equal(torch.cat([ids for share in shares for _, ids in share]), torch.arange(10))
