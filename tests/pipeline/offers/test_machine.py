"""The device is known without waiting for PyTorch, and what was measured is kept as long as it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_trainer.engine.hardware import detect
from pipeline.offers import machine
from pipeline.offers.machine import NAME, look_at_machine
from pipeline.offers.measure import SIZES, measure


def test_a_child_tells_what_is_trained_on_and_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = look_at_machine(tmp_path)
    found = look.wait(300)
    here = detect()
    assert found.hardware.device == here.device and found.hardware.name == here.name
    assert found.hardware.memory_total == here.memory_total >= found.hardware.memory_free > 0
    assert found.speed(SIZES[0]) is not None and min(found.speeds.values()) > 1e6

    def no_child(*_: object, **__: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(machine.subprocess, "Popen", no_child)
    kept = look_at_machine(tmp_path).now()
    assert kept is not None and kept.speeds == found.speeds


def test_who_only_looks_leaves_no_folder_behind(tmp_path: Path) -> None:
    look = look_at_machine(tmp_path / "runs")
    assert look.wait(300).speeds
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("broken", ["", "[]", "{}", '{"of": 1}', "half"])
def test_what_is_broken_or_of_another_machine_is_measured_anew(
    tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def child(command: list[str], **_: object) -> None:
        asked.append(command)
        raise OSError

    monkeypatch.setattr(machine.subprocess, "Popen", child)
    (tmp_path / NAME).write_text(broken, encoding="utf-8")
    look = look_at_machine(tmp_path)
    found = look.wait(60)
    assert (found.hardware.device, dict(found.speeds)) == ("cpu", {})
    assert len(asked) == 1


def test_other_threads_are_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def child(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(machine.subprocess, "Popen", child)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    hardware = {"device": "cpu", "dtype": "float32", "name": "x", "memory_total": 2, "memory_free": 1}
    values = {"of": machine._key(), "hardware": hardware, "speeds": {"896": 1e9}}
    (tmp_path / NAME).write_text(json.dumps(values), encoding="utf-8")
    assert look_at_machine(tmp_path).wait(60).speeds == {896: 1e9}
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert look_at_machine(tmp_path).wait(60).speeds == {}


@pytest.mark.parametrize("size", SIZES[:1])
def test_a_product_is_measured_as_long_as_it_takes(size: int) -> None:
    speeds = measure("cpu", "float32")
    assert size in speeds and all(speed > 0 for speed in speeds.values())
