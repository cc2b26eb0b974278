"""bf16 is taken where it is faster: hardware without units is never asked twice, the rest is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from robustlab.core import speed
from robustlab.core.speed import bf16_is_faster


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Clears the cached measurement before and after each test."""
    speed._measured.cache_clear()
    yield
    speed._measured.cache_clear()


def units(monkeypatch: pytest.MonkeyPatch, *, avx512: bool | None, amx: bool | None) -> None:
    """A processor with or without units, or a torch that cannot tell (None)."""
    for name, there in {"_is_avx512_bf16_supported": avx512, "_is_amx_tile_supported": amx}.items():
        monkeypatch.delattr(torch.cpu, name, raising=False)
        if there is not None:
            monkeypatch.setattr(torch.cpu, name, lambda there=there: there, raising=False)


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (None, None), (False, None)])
def test_a_processor_without_units_is_never_faster_and_not_timed(
    monkeypatch: pytest.MonkeyPatch, avx512: bool | None, amx: bool | None
) -> None:
    units(monkeypatch, avx512=avx512, amx=amx)
    monkeypatch.setattr(speed, "_measured", lambda: pytest.fail("it was timed"))
    assert not bf16_is_faster("cpu")


@pytest.mark.parametrize(
    ("wide", "narrow", "faster"), [(1.0, 0.5, True), (1.0, 0.9, False), (1.0, 1.3, False), (1.0, 8.0, False)]
)
@pytest.mark.parametrize("has", [{"avx512": True, "amx": False}, {"avx512": False, "amx": True}])
def test_a_processor_with_units_is_timed_once(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, bool], wide: float, narrow: float, *, faster: bool
) -> None:
    asked: list[bool] = []

    def seconds(_model: object, _x: object, *, narrow: bool, took: tuple[float, float] = (wide, narrow)) -> float:
        asked.append(narrow)
        return took[narrow]

    units(monkeypatch, **has)
    monkeypatch.setattr(speed, "_seconds", seconds)
    assert bf16_is_faster(torch.device("cpu")) is faster
    assert set(asked) == {False, True}
    asked.clear()
    assert bf16_is_faster("cpu") is faster
    assert not asked


def test_a_hopeless_processor_is_not_timed_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def seconds(*_: object, narrow: bool) -> float:
        asked.append(narrow)
        return 8.0 if narrow else 1.0

    units(monkeypatch, avx512=True, amx=True)
    monkeypatch.setattr(speed, "_seconds", seconds)
    assert not bf16_is_faster("cpu")
    assert len(asked) == 4, "a warm step of each, and one more"


def test_other_devices_are_checked_for_their_own_units(monkeypatch: pytest.MonkeyPatch) -> None:
    units(monkeypatch, avx512=True, amx=True)
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda there=there, **_: there)
        assert bf16_is_faster("cuda:1") is there
    assert not bf16_is_faster("mps")


def test_timing_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, before = torch.get_num_threads(), torch.get_rng_state()
    units(monkeypatch, avx512=True, amx=True)
    with torch.no_grad():
        bf16_is_faster("cpu")
        assert not torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.skipif(not speed._has_units(), reason="a processor with units for bf16 is held back, and here is none")
def test_a_library_that_is_held_to_avx2_is_not_given_bf16() -> None:
    held = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    ask = "from robustlab.core.speed import bf16_is_faster; print(bf16_is_faster())"
    done = subprocess.run([sys.executable, "-c", ask], env=held, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
