"""Mining: judges of each image, hard images, resuming after a kill, refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustlab.core import Examples, Recipe, RunError
from robustlab.data import InMemory, sample
from robustlab.data.digits import digits
from robustlab.studies import mine
from robustlab.studies.mining import Mined, Network, Work, network, read
from robustlab.studies.mining.choice import choose, judged
from robustlab.studies.mining.folds import dealt
from robustlab.studies.mining.hard import matched, wrong_with_confidence
from robustlab.training import History, Settings

CLASSES = ("a", "b", "c")
N = 60


def numbered(n: int = N) -> InMemory:
    """Images whose grey level is their number, of three classes."""
    x = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 1, 11, 11)
    return InMemory("numbered", CLASSES, x.contiguous(), torch.arange(n) % 3)


class Spy(nn.Module):
    """Records its inputs; unless it "knows", wrong about the first twelve, unsure of six of them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.weight = name, nn.Parameter(torch.zeros(1))
        self.learnt, self.seen = set[int](), set[int]()

    def forward(self, x: Tensor) -> Tensor:
        ids = x[:, 0, 0, 0].mul(255).round().long()
        self.seen |= set(ids.tolist())
        right, one, other = (nn.functional.one_hot((ids + k) % 3, 3).float() for k in range(3))
        if self.name == "knows":
            return 4 * right + self.weight
        fooled = torch.where(ids[:, None] < 6, 4 * one, 2 * one + 1.8 * other)
        return torch.where(ids[:, None] < 12, fooled, 4 * right) + self.weight


@pytest.fixture
def spies(monkeypatch: pytest.MonkeyPatch) -> list[Spy]:
    """The networks that were made; nothing is trained, but the training data are recorded."""
    made: list[Spy] = []

    def fresh(self: Network, lab: object) -> Spy:
        del lab
        made.append(Spy(self.architecture))
        return made[-1]

    def fit(model: Spy, recipe: Recipe, examples: Examples, settings: Settings, **_: object) -> History:
        del recipe, settings
        x = examples.batch(torch.arange(len(examples))).x
        model.learnt = set(x[:, 0, 0, 0].mul(255).round().long().tolist())
        return History(({"seconds": 1.0},))

    monkeypatch.setattr(Network, "fresh", fresh)
    monkeypatch.setattr("robustlab.training.fit", fit)
    return made


def committee(*names: str) -> dict[str, Network]:
    return {name: network(name) for name in names}


def test_no_network_judges_its_training_images_and_all_judge_everything(spies: list[Spy], tmp_path: Path) -> None:
    mine(committee("one", "two"), numbered(), held_out=committee("knows"), folds=4, out=tmp_path)
    assert Counter(spy.name for spy in spies) == {"one": 4, "two": 4, "knows": 4}
    for spy in spies:
        assert spy.learnt.isdisjoint(spy.seen)
        assert spy.learnt | spy.seen == set(range(N))
    for name in ("one", "two", "knows"):
        assert sorted(number for spy in spies if spy.name == name for number in spy.seen) == list(range(N))


@pytest.mark.usefixtures("spies")
def test_mistakes_of_the_committee_are_found_and_held_out_networks_have_no_vote(tmp_path: Path) -> None:
    found = mine(committee("one", "two"), numbered(), held_out=committee("knows"), folds=4, out=tmp_path)
    assert sorted(found.members + found.suspects) == list(range(12))
    assert found.wrong == 12
    assert {*range(6)} <= {*found.suspects}
    assert found.members
    one, _, knows = found.judges
    assert (one.votes, knows.votes) == (True, False)
    others = len(set(found.control) - set(found.suspects))
    assert one.right == {"all": N - 12, "members": 0, "control": others, "suspects": 0}
    assert (one.only_control, one.only_member) == (others, 0)
    assert knows.right == {
        "all": N,
        "members": len(found.members),
        "control": len(found.control),
        "suspects": len(found.suspects),
    }
    assert found.difference(knows)[0] == 0
    assert read(tmp_path / "mined.json") == found


@pytest.mark.usefixtures("spies")
def test_another_committee_is_put_together_from_the_same_folds(spies: list[Spy], tmp_path: Path) -> None:
    mine(committee("one"), numbered(), folds=2, out=tmp_path)
    found = mine(committee("knows", "one"), numbered(), folds=2, out=tmp_path)
    assert [spy.name for spy in spies] == ["one", "one", "knows", "knows"]
    assert len(found.members) + len(found.suspects) == 0
    assert found.control == ()


@pytest.mark.usefixtures("spies")
def test_a_damaged_file_is_made_again(spies: list[Spy], tmp_path: Path) -> None:
    first = mine(committee("one"), numbered(), folds=2, out=tmp_path)
    path = tmp_path / "one" / "fold-1.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    again = mine(committee("one"), numbered(), folds=2, out=tmp_path)
    assert len(spies) == 3
    assert again.members == first.members


@pytest.mark.usefixtures("spies")
def test_a_file_that_was_changed_or_is_of_other_data_is_made_again(spies: list[Spy], tmp_path: Path) -> None:
    data, others = numbered(), InMemory("numbered", CLASSES, numbered().x.flip(0), numbered().y)
    first = mine(committee("one"), data, folds=2, out=tmp_path / "here")
    mine(committee("one"), others, folds=2, out=tmp_path / "there")
    path = tmp_path / "here" / "one" / "fold-1.safetensors"
    whole = path.read_bytes()
    for content in (
        whole[:-9] + bytes([whole[-9] ^ 64]) + whole[-8:],
        (tmp_path / "there/one" / path.name).read_bytes(),
    ):
        path.write_bytes(content)
        before = len(spies)
        assert mine(committee("one"), data, folds=2, out=tmp_path / "here").members == first.members
        assert len(spies) == before + 1


def test_results_without_a_manifest_are_not_taken_for_this_mining(tmp_path: Path) -> None:
    for name in ("mined.json", "one/fold-1.safetensors", "report.json"):
        home = tmp_path / name.replace("/", "-")
        (home / name).parent.mkdir(parents=True)
        (home / name).write_text("{}")
        with pytest.raises(RunError, match="without a manifest: choose another directory"):
            mine(committee("one"), numbered(), folds=2, out=home)


@pytest.mark.usefixtures("spies")
def test_manifests_of_other_kinds_are_refused(tmp_path: Path) -> None:
    for number, content in enumerate(('{"measures": "corruptions"}', "[]", "{", '{"run": {"seed": 0}}')):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "manifest.json").write_text(content)
        with pytest.raises(RunError, match=r"holds another run|manifest\.json"):
            mine(committee("one"), numbered(), folds=2, out=tmp_path / str(number))


@pytest.mark.usefixtures("spies")
@pytest.mark.parametrize(
    ("folds", "seed", "data", "models", "message"),
    [
        (3, 0, numbered(), committee("one"), "folds 2 there, 3 here"),
        (2, 1, numbered(), committee("one"), "seed 0 there, 1 here"),
        (2, 0, numbered(57), committee("one"), "number of examples 60 there, 57 here"),
        (2, 0, numbered(), {"one": network("one", epochs=99)}, "network one .* epochs=99"),
    ],
)
def test_a_directory_of_another_mining_is_refused(
    folds: int, seed: int, data: InMemory, models: dict[str, Network], message: str, tmp_path: Path
) -> None:
    mine(committee("one"), numbered(), folds=2, out=tmp_path)
    with pytest.raises(RunError, match=message):
        mine(models, data, folds=folds, out=tmp_path, work=Work(seed))


KILLED = """
import os, signal, sys
from pathlib import Path
from robustlab.data.digits import digits
from robustlab.data import sample
from robustlab.studies import mine
from robustlab.studies.mining import Work, network
out = Path(sys.argv[1])
def report(at):
    if STOP + 0.5 <= at.done < STOP + 1 and at.task != "kept":
        os.kill(os.getpid(), signal.SIGKILL)
data = sample(digits("all", enlarged=True), 150)
nets = {"shallow-cnn": network("shallow-cnn", epochs=2)}
mine(nets, data, held_out={"batchnorm-cnn": network("batchnorm-cnn", epochs=2)}, folds=2, out=out,
     work=Work(device="cpu", progress=report))
"""


@pytest.mark.slow
def test_a_killed_mining_goes_on_and_finds_the_same(tmp_path: Path) -> None:
    """Kills mining in the middle of the third of four trainings."""
    words = [sys.executable, "-c", KILLED.replace("STOP", "2"), str(tmp_path / "killed")]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    assert subprocess.run(words, check=False, env={**os.environ, **threads}).returncode == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("*/fold-*.safetensors")}
    assert len(kept) == 2
    assert not (tmp_path / "killed" / "mined.json").exists()
    killed, alone = _mined(tmp_path / "killed"), _mined(tmp_path / "alone")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was done is not done again"
    assert _results(killed) == _results(alone)


def _mined(out: Path) -> Mined:
    """Runs mining as the killed program would."""
    data = sample(digits("all", enlarged=True), 150)
    voting, held_out = ({name: network(name, epochs=2)} for name in ("shallow-cnn", "batchnorm-cnn"))
    return mine(voting, data, held_out=held_out, folds=2, out=out, work=Work(device="cpu"))


def _results(found: Mined) -> list[object]:
    return [found.members, found.taken_for, found.suspects, found.control, found.judges]


def test_folds_are_equal_with_the_same_fraction_of_every_class() -> None:
    y = torch.cat([torch.zeros(70), torch.ones(21), torch.full((9,), 2)]).long()
    fold = dealt(y, CLASSES, 4)
    assert fold.bincount().tolist() == [25, 25, 25, 25]
    for k, n in ((0, 70), (1, 21), (2, 9)):
        counts = fold[y == k].bincount(minlength=4)
        assert counts.max() - counts.min() <= 1
        assert counts.sum() == n
    assert torch.equal(fold, dealt(y, CLASSES, 4))
    assert not torch.equal(fold, dealt(y, CLASSES, 4, seed=1))
    assert not torch.equal(fold, fold.sort().values), "neighbours are not dealt out in their order"


@pytest.mark.parametrize(
    ("y", "folds", "message"),
    [
        ([0, 1, 2], 4, "3 examples cannot be dealt out to 4 folds"),
        ([0] * 5 + [1] * 3, 4, "class 'b' has 3 examples, so that it would be absent from some of 4 folds"),
        ([0] * 9, 1, "2 folds or more, not 1"),
        ([0, 1, 2, 3] * 5, 3, "labels run from 0 to 3, but with 3 classes"),
        ([0, -1] * 5, 3, "labels run from -1 to 0"),
    ],
)
def test_invalid_folds_are_refused(y: list[int], folds: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dealt(torch.tensor(y), CLASSES, folds)


class Wrong(InMemory):
    """Labels that were not checked."""

    def __post_init__(self) -> None:
        pass


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 1] * 5 + [7], "labels run from 0 to 7"), ([0] * 9 + [1, 1], "class 'b' has 2 examples"), ([], "no examples")],
)
def test_bad_data_is_refused_before_anything_is_trained(
    labels: list[int], message: str, spies: list[Spy], tmp_path: Path
) -> None:
    data = Wrong("odd", CLASSES, torch.rand(len(labels), 1, 11, 11), torch.tensor(labels))
    with pytest.raises(ValueError, match=message):
        mine(committee("one"), data, folds=3, out=tmp_path / "new")
    assert spies == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("models", "held_out", "below", "message"),
    [
        ({}, {}, 0.15, "a committee needs at least one network"),
        (committee("one"), committee("one"), 0.15, "'one' cannot both vote and be held out"),
        ({"a/b": network("one")}, {}, 0.15, "'a/b' cannot be the name of a network"),
        (committee("one"), {}, 0.0, "below is a probability of the label"),
    ],
)
def test_invalid_committees_are_refused(
    models: dict[str, Network], held_out: dict[str, Network], below: float, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        mine(models, numbered(), held_out=held_out, below=below, out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_hard_examples_are_wrong_for_all_with_a_small_probability_of_the_label() -> None:
    first = torch.tensor([[0.1, 0.9, 0.0], [0.1, 0.9, 0.0], [0.4, 0.6, 0.0], [0.9, 0.1, 0.0]])
    second = torch.tensor([[0.1, 0.0, 0.9], [0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.9, 0.1, 0.0]])
    probs, y = torch.stack([first, second]), torch.zeros(4).long()
    assert wrong_with_confidence(probs, y).tolist() == [True, False, False, False]
    assert wrong_with_confidence(probs, y, below=0.5).tolist() == [True, False, True, False]
    even = torch.full((1, 1, 10), 0.1)
    even[..., 3] += 1e-3
    assert not wrong_with_confidence(even, torch.tensor([3])), "less than 15 % may be the most likely class"


def test_controls_have_the_labels_of_the_members_and_are_none() -> None:
    y, members = torch.arange(300) % 3, torch.tensor([0, 3, 6, 9, 1, 299])
    control, partner = matched(y, members)
    assert partner.tolist() == sorted(members.tolist())
    assert torch.equal(y[control], y[partner])
    assert len(set(control.tolist())) == 6
    assert set(control.tolist()).isdisjoint(members.tolist())
    assert not torch.equal(control, matched(y, members, seed=1)[0])


def test_where_a_class_has_too_few_others_all_of_them_are_taken() -> None:
    control, partner = matched(torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 1, 2, 4]))
    assert sorted(control.tolist()) == [3, 5]
    assert 4 in partner.tolist()


def test_suspected_labels_are_set_apart_from_the_hard_examples() -> None:
    """Examples with label 0: ten look just like class 1 and ten are between the others, of which two are suspected too:

    of the 60 that are surely of some class, 10 are not of class 0, and so, it is estimated, are 12 of the 70.
    """
    sure, unsure = torch.tensor([0.01, 0.98, 0.01]), torch.tensor([0.1, 0.5, 0.4])
    right = torch.eye(3).mul(0.94).add(0.02).repeat_interleave(50, dim=0)
    probs = torch.cat([right, sure.expand(10, 3), unsure.expand(10, 3)]).expand(2, -1, -1)
    y = torch.cat([torch.arange(3).repeat_interleave(50), torch.zeros(20).long()])
    found = choose(probs, y, below=0.15)
    assert found.suspects.tolist() == list(range(150, 162))
    assert found.members.tolist() == list(range(162, 170))
    assert (found.wrong, found.flagged, found.taken_for.tolist()) == (20, 12, [1] * 8)
    judge = judged("other", torch.arange(170) != 165, found, votes=False)
    assert (judge.right["members"], judge.right["control"], judge.only_control, judge.only_member) == (7, 8, 1, 0)
