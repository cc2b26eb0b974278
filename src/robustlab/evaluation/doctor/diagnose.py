"""Evaluation doctor: probes for signs that the attacks failed although the model is not robust.

It has three sources: answers of the model (``inputs``, ``behaviour``), gradients and other attacks on a few examples
(``gradients``, ``search``), and the recorded outcomes (``records``). Each makes a finding only where exact statistics
exclude chance, and one cause is one serious finding: a finding that another explains is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from robustlab.attacks import threat_of
from robustlab.attacks.facts import gradient_free, label
from robustlab.core import Attack, Model, frozen
from robustlab.core.finding import Finding
from robustlab.core.kinds import typed
from robustlab.core.modes import seed_generators
from robustlab.core.user_code import model_called
from robustlab.data.wrapped import Given
from robustlab.evaluation.doctor import search
from robustlab.evaluation.doctor.case import Case
from robustlab.evaluation.doctor.findings import Probe, added_probes, explained_by
from robustlab.evaluation.doctor.gradients import gradients, no_gradients
from robustlab.evaluation.doctor.inputs import inspect_inputs
from robustlab.evaluation.doctor.records import undefined
from robustlab.evaluation.given import for_model
from robustlab.evaluation.input_checks import FATAL
from robustlab.evaluation.plan import Entry, Settings, batches, chosen
from robustlab.evaluation.record import Evaluation
from robustlab.evaluation.subject import subject


@contextmanager
def opened_case(
    model: Model, data: Given, attack: Attack, n: int, settings: Settings, surrogate: Model | None = None
) -> Iterator[tuple[Case, int]]:
    """A case on a simple random sample, and how many examples got undefined logits under attack."""
    every = for_model(model, data)
    ids, threat = chosen(torch.arange(len(every)), n, "doctor", settings.seed), threat_of(attack)
    with frozen(model, training=False), model_called():
        seed_generators(settings.seed)
        one = subject(model, every, threat, device=settings.device, search_dtype=settings.search_dtype)
        parts = [one.load(part) for part in batches(ids, settings.batch_size)]
        correct = torch.cat([one.answers(part.x).prediction == part.y for part in parts]).cpu()
        case = Case(one, attack, ids, correct, torch.zeros_like(correct), settings, surrogate=surrogate)
        found = case.attacked(attack, ids[correct])
        fooled = correct.masked_scatter(correct, found.fooled)
        yield replace(case, fooled=fooled), int(found.undefined.sum())


@typed
def diagnose(
    model: Model,
    data: Given,
    *,
    attack: Attack,
    n: int = 128,
    settings: Settings | None = None,
    surrogate: Model | None = None,
) -> tuple[Finding, ...]:
    """Checks on a simple random sample that an attack measures the robustness of a model.

    ``evaluate`` does this by itself, for the strongest of its attacks. Thresholds are constants of the modules that
    are named above, and docs/decisions/0008-doctor.md has the reasons.

    Args:
        model: from inputs (N, ...) to logits (N, K); its mode is restored.
        data: labelled examples, or what ``robustlab.data.examples`` makes some of.
        attack: at the eps to be trusted.
        n: size of the sample, or all examples if there are fewer.
        settings: batch size, seed and device.
        surrogate: another model for the same task, without the suspected fault; its adversarial inputs are tried too.

    Returns: findings, serious first; empty if nothing was found.
    """
    settings = settings or Settings()
    found = list(inspect_inputs(model, data, threat_of(attack), seed=settings.seed))
    if not any(f.code in FATAL for f in found):
        with opened_case(model, data, attack, n, settings, surrogate) as (case, nan):
            found += [undefined(nan, label(attack), {"n": len(case.ids)})] if nan else []
            found = probe_findings(case, found)
    rank = ("serious", "warning", "info").index
    return tuple(sorted(found, key=lambda f: rank(f.severity)))


def strongest(plan: Sequence[Entry], evaluation: Evaluation) -> int:
    """Position of the attack that counts most: the lowest robust accuracy at its largest eps.

    Attacks without the model's gradients, or towards a target, count only if there is no other.
    """

    def rank(number: int) -> tuple[bool, bool, float]:
        entry = plan[number]
        blind = search.blind(entry.at(entry.eps[-1]))
        return blind, entry.targeted, evaluation.result(entry.name, entry.eps[-1]).robust.value

    return min(range(len(plan)), key=rank)


def probe_findings(case: Case, before: Sequence[Finding] = ()) -> list[Finding]:
    """Findings from before and from all probes, each cause serious once.

    A probe makes no finding on too few examples. The random search is left out where its cause is known already.
    """
    seeing: tuple[Probe, ...] = (gradients, search.unbounded)
    if gradient_free(case.attack) and (hidden := no_gradients(case)) is not None:
        before, seeing = [*before, hidden], ()
    found = list(before)
    for probe in (*seeing, search.above_clean, search.noise, search.convergence, search.rivals):
        found += _answered(case, probe)
    if not any("square-improves" in (f.code, *explained_by(f.code)) for f in found if f.severity == "serious"):
        found += _answered(case, search.square)
    found += _answered(case, search.transfer)
    for probe in added_probes():
        found += _answered(case, probe)
    return concluded(found)


def _answered(case: Case, probe: Probe) -> list[Finding]:
    finding = probe(case)
    return [finding] if finding is not None else []


def concluded(found: Sequence[Finding]) -> list[Finding]:
    """The findings, those that others explain as warnings."""
    explained = {code for f in found if f.severity == "serious" for code in explained_by(f.code)}
    return [replace(f, severity="warning") if f.severity == "serious" and f.code in explained else f for f in found]
