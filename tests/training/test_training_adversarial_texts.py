"""Adversarial training on texts: when it attacks, what it learns from, and a run that was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killed_text_fits import DATA, EPOCHS, TEXTS, TYPOS, recipe, trained  # type: ignore[import-not-found]

from robustlab.core import Batch
from robustlab.models import WordCNN, word_cnn
from robustlab.text import attack, victim
from robustlab.training import AdversarialTexts, latest, tokens
from robustlab.training.checkpoint_numbers import read_numbers


def same(one: WordCNN, other: WordCNN) -> bool:
    """True if all weights are equal to the last bit."""
    there = other.state_dict()
    return all(torch.equal(value, there[name]) for name, value in one.state_dict().items())


@pytest.mark.slow
def test_a_killed_run_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    script = str(Path(__file__).parent / "killed_text_fits.py")
    done = subprocess.run([sys.executable, script, str(tmp_path), "3"], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = latest(tmp_path)
    assert kept is not None
    assert len(read_numbers(kept).epochs) == 3
    again = trained(tmp_path)
    assert same(again, trained(None))
    assert all("adversarial_accuracy" in epoch for epoch in read_numbers(latest(tmp_path) or kept).epochs[1:])


@pytest.mark.parametrize(
    ("start", "every", "expected"),
    [(1, 1, [0, 1, 2, 3, 4]), (0, 2, [1, 1, 2, 2, 3]), (2, 2, [0, 0, 1, 1, 2]), (4, 1, [0, 0, 0, 0, 1])],
)
def test_attacks_are_due_at_the_beginnings_of_epochs(start: int, every: int, expected: list[int]) -> None:
    made, steps = recipe(start=start, every=every), 7
    for epoch, due in enumerate(expected):
        found = {made.attacks_due((epoch * steps + step) / (EPOCHS * steps)) for step in range(steps)}
        assert found == {due}


def test_the_state_holds_the_adversarial_versions_that_fool_the_model() -> None:
    model, made = trained(None), recipe(fraction=1.0)
    state = made.init(model)
    made.craft(model, state, 1)
    target = victim(model)
    outcomes = attack(target, DATA.texts, DATA.labels.tolist(), TYPOS)
    fooled = [one.id for one in outcomes if one.status == "successful"]
    assert fooled
    assert state["made"].nonzero().flatten().tolist() == fooled
    assert torch.equal(state["texts"][fooled], model.encode([outcomes[row].adversarial for row in fooled]))
    with torch.no_grad():
        wrong = model(state["texts"][fooled]).argmax(1) != torch.tensor(DATA.labels)[fooled]
    assert bool(wrong.all())


def test_each_attack_is_on_other_rows_of_the_given_number() -> None:
    made = recipe(fraction=0.25)
    chosen = [made._chosen(number) for number in (1, 2, 3)]
    assert [len(rows) for rows in chosen] == [8, 8, 8]
    assert chosen[0] != chosen[1] != chosen[2]
    assert made._chosen(1) == recipe(fraction=0.25)._chosen(1)
    assert chosen[0] != replace(made, seed=1)._chosen(1)


def test_the_loss_adds_the_weighted_part_of_the_adversarial_versions() -> None:
    model = word_cnn(TEXTS, seed=1).double()
    data = tokens(model, DATA)
    ids = torch.tensor([3, 20, 5, 9])
    batch = Batch(data.x[ids], data.y[ids], ids, progress=0.0)
    made = recipe(weight=0.5)
    state = made.init(model)
    state["made"][[5, 20]] = True
    state["texts"] = torch.zeros(32, data.x.shape[1], dtype=torch.int64)
    state["texts"][[5, 20]] = data.x[[1, 2]]
    made.step(model, batch, state, lambda loss: loss.backward())
    found = model.head.weight.grad
    model.zero_grad()
    expected = torch.nn.functional.cross_entropy(model(batch.x), batch.y)
    hard = torch.nn.functional.cross_entropy(model(data.x[[2, 1]]), data.y[[20, 5]])
    (expected + 0.5 * 2 / 4 * hard).backward()
    assert found is not None
    torch.testing.assert_close(found, model.head.weight.grad)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fraction": 0.0}, r"in \(0, 1\], got 0.0"),
        ({"start": 5}, "start = 5 of 5 epochs"),
        ({"every": 0}, "every = 0 more: give start in 0..4 and every of at least 1"),
        ({"weight": -1.0}, "at least 0, got -1.0"),
    ],
)
def test_numbers_that_no_run_can_have_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(**wrong)


def test_its_name_in_a_run_holds_all_that_decides_it() -> None:
    names = [repr(recipe()), repr(recipe(seed=1)), repr(recipe(weight=0.5)), repr(recipe(every=2))]
    other = AdversarialTexts(replace(TYPOS, name="others"), DATA.part(slice(8)), EPOCHS, fraction=0.5)
    assert len({*names, repr(other)}) == 5
    assert len(names[0]) < 200
