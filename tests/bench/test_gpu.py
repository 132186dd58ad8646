"""`python -m bench.gpu`: what it does on a CPU, what it finds, and what it says where there is little to be had."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from bench.gpu import __main__ as command
from bench.gpu import card, report, step_profile
from bench.gpu.checks.outcome import Failed, Outcome, Skipped, apart
from bench.gpu.checks.setup import Setup
from bench.gpu.checks.several import KINDS
from bench.gpu.checks.several import command as launch
from bench.gpu.checks.table import CHECKS
from bench.gpu.contenders import collate
from bench.gpu.data import ANSWER, LONGEST, SYSTEM, TURNS, Rows, Writer, whole
from bench.gpu.measure import own_tokens
from bench.gpu.parts import Part
from bench.gpu.report import Record
from bench.gpu.shapes import SHAPES, configuration
from lora_trainer.engine import step_trainer
from lora_trainer.engine.checkpointing import CheckpointingTrainer
from lora_trainer.engine.fallback import Fallback
from lora_trainer.engine.schedule import step_dialogues
from lora_trainer.plan import TrainPlan
from tests.support.bare import bare_environment
from tests.support.project import ROOT

ABSENT = ("datasets", "pyarrow", "rich", "questionary", "gguf", "requests", "matplotlib", "xllamacpp")


class Run(NamedTuple):
    """A run of the bench that has ended."""

    code: int
    output: str
    data: dict[str, Any]


@pytest.fixture(scope="module")
def on_a_cpu(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All of it in small, where nothing is installed but what it needs, and bitsandbytes."""
    folder = tmp_path_factory.mktemp("bare")
    out = folder / "found.json"
    environment = bare_environment(folder, [*card.NEEDED, "bitsandbytes"], ABSENT)
    words = [sys.executable, "-m", "bench.gpu", "--device", "cpu", "--tiny", "--out", str(out)]
    told = subprocess.run(
        words, cwd=ROOT, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, encoding="utf-8"
    )
    assert told.returncode in (0, 1), told.stderr[-2000:]
    return Run(told.returncode, told.stdout, json.loads(out.read_text(encoding="utf-8")))


def test_a_cpu_does_every_check_with_pytorch_and_four_packages_alone(on_a_cpu: Run) -> None:
    checks = on_a_cpu.data["checks"]
    assert [check["check"] for check in checks] == list(CHECKS)
    assert {check["check"]: check["words"] for check in checks if check["state"] != "passed"} == {}
    for check in checks:
        assert check["figures"] and all(0 <= one["figure"] <= one["limit"] for one in check["figures"].values())
    assert on_a_cpu.code == 0 and on_a_cpu.data["finished"]
    assert not set(ABSENT) & {name for name, found in on_a_cpu.data["versions"].items() if found}


def test_all_contenders_learn_the_same_and_the_fastest_other_is_the_measure(on_a_cpu: Run) -> None:
    measures = {one["contender"]: one for one in on_a_cpu.data["measures"]}
    assert list(measures) == ["trainer", "tree", "padded"]
    for one in measures.values():
        assert one["first_loss"] == pytest.approx(measures["trainer"]["first_loss"], rel=1e-5)
        assert one["dialogues_per_second"] == pytest.approx(4 / one["step_seconds"])
        # a dialogue's own tokens
        assert SYSTEM < one["tokens_per_second"] / one["dialogues_per_second"] < LONGEST
        assert one["peak_gb"] > 0 and one["seconds_to_first_step"] > one["step_seconds"] and one["steps"] >= 3
    assert measures["tree"]["trees"] and not measures["padded"]["trees"]
    assert measures["trainer"]["dialogues_at_once"] == 4
    (ratio,) = on_a_cpu.data["ratios"]
    assert ratio["fastest_other"] == "trainer" and ratio["other_loss"] == []
    tree, trainer = (measures[name]["dialogues_per_second"] for name in ("tree", "trainer"))
    assert ratio["times_as_fast"]["tree"] == pytest.approx(tree / trainer, abs=1e-3)


def test_all_that_is_written_is_on_the_screen_too(on_a_cpu: Run) -> None:
    for check in on_a_cpu.data["checks"]:
        assert report.check_line(check) in on_a_cpu.output
    assert report.HEAD in on_a_cpu.output
    for one in on_a_cpu.data["measures"]:
        assert report.measure_line(one) in on_a_cpu.output
    assert report.ratio_line(on_a_cpu.data["ratios"][0]) in on_a_cpu.output
    assert "nothing failed" in on_a_cpu.output and f"torch {torch.__version__}" in on_a_cpu.output


def test_the_profile_of_a_step_finds_its_matrix_products() -> None:
    found = step_profile.profile("tiny", 4, "cpu")
    shares = found["shares"]
    assert set(shares) == {"attention", "products", "other", "idle"} and found["kernels"] > 100
    assert shares["products"] > 0.02 and shares["attention"] > 0 and 0 <= shares["idle"] < 1


# what the checks find


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return Setup("cpu", tmp_path_factory.mktemp("checks"), tiny=True)


def siblings_seen(patch: pytest.MonkeyPatch) -> None:
    """Trees whose tokens see all that stands before them, and an engine that doesn't notice."""
    from lora_trainer.engine import tree_trial
    from lora_trainer.engine.tree_attention import tree_masks

    def masks(model: Any, tree: Any) -> Any:
        from dataclasses import replace

        return tree_masks(model, replace(tree, ends=torch.full_like(tree.ends, tree.tokens)))

    patch.setattr("lora_trainer.engine.tree_attention.tree_masks", masks)
    patch.setattr(tree_trial, "off_by", lambda *_: 0.0)
    patch.setattr(step_trainer, "off_by", lambda *_: 0.0)


def trees_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(step_trainer, "off_by", lambda *_: 1.0)


def last_batch_left_out(patch: pytest.MonkeyPatch) -> None:
    compute = step_trainer.StepTrainer._forward_and_backward
    patch.setattr(
        step_trainer.StepTrainer,
        "_forward_and_backward",
        lambda self, model, batches, counting, supervised: compute(
            self, model, batches, min(counting, max(1, len(batches) - 1)), supervised
        ),
    )


def recomputing_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fallback, "checkpoint_activations", lambda self: setattr(self, "checkpointing", True))


def optimizer_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CheckpointingTrainer, "_load_optimizer_and_scheduler", lambda *_: None)


def rate_knows_the_end(patch: pytest.MonkeyPatch) -> None:
    def rate(plan: TrainPlan, step: int, dialogues: int) -> float:
        return plan.learning_rate * (1 - step / plan.total_steps(dialogues))

    patch.setattr(step_trainer, "learning_rate", rate)


def scale_too_large(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(step_trainer, "_FIRST_SCALE", 2.0**30)


def base_left_whole(patch: pytest.MonkeyPatch) -> None:
    from lora_trainer.models import adapter

    load = adapter.load_model
    patch.setattr(adapter, "load_model", lambda base, device, dtype, **_: load(base, device, dtype))


@pytest.mark.parametrize(
    ("check", "fault", "found"),
    [
        ("step, bfloat16, as a tree", siblings_seen, "gradients"),
        ("step, float32, as a tree", trees_refused, "trial refused"),
        ("step, float32, padded, recomputed", recomputing_forgotten, "were not"),
        ("memory runs out: smaller micro-batches", last_batch_left_out, "gradients"),
        ("memory runs out: activations recomputed", recomputing_forgotten, "were not"),
        ("going on after a stop", optimizer_forgotten, "adapter"),
        ("added epochs", rate_knows_the_end, "adapter"),
        ("loss scaling in float16", scale_too_large, "steps were left out"),
        ("--qlora", base_left_whole, "0 layers"),
    ],
)
def test_a_check_finds_a_fault_of_its_kind(
    tiny: Setup, check: str, fault: Callable[[pytest.MonkeyPatch], None], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    try:
        figures = CHECKS[check](tiny).figures
        seen = " ".join(name for name, (figure, limit) in figures.items() if figure > limit)
    except Failed as failed:
        seen = str(failed)
    assert found in seen


def test_what_can_not_be_done_is_skipped_with_its_reason(tiny: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.utils.is_bitsandbytes_available", lambda: False)
    with pytest.raises(Skipped, match="bitsandbytes isn't installed"):
        CHECKS["--qlora"](tiny)
    with pytest.raises(Skipped, match="one device"):
        CHECKS["several processes, DDP"](Setup("cuda", tiny.folder, devices=1))
    with pytest.raises(Skipped, match="float32 on Apple GPUs"):
        CHECKS["step, float16, padded"](Setup("mps", tiny.folder, tiny=True))


def test_several_devices_are_launched_as_the_guide_has_it() -> None:
    guide = (ROOT / "docs" / "several-gpus.md").read_text(encoding="utf-8")
    for kind in KINDS:
        words = " ".join(launch(kind, 2)[3:]).replace("--main_process_port 0 ", "")
        assert f"accelerate launch {words} " in guide.replace(" \\\n", " ")


def test_a_figure_that_is_no_number_fails_and_no_figure_at_all_is_refused() -> None:
    assert Outcome({"loss": (0.1, 0.1)}).passed
    assert not Outcome({"loss": (0.11, 0.1)}).passed
    assert not Outcome({"loss": (float("nan"), 0.1)}).passed
    with pytest.raises(ValueError, match="compare something"):
        Outcome({})


def test_nothing_is_alike_to_nothing() -> None:
    one = {"a": torch.tensor([3.0, 4.0])}
    assert apart({"a": torch.tensor([3.0, 4.5])}, one) == pytest.approx(0.1)
    assert apart(one, {"a": torch.zeros(2)}, of={"a": torch.tensor([10.0])}) == pytest.approx(0.5)
    for ours, theirs in (({}, {}), ({}, one), ({"b": one["a"]}, one), (one, {"a": torch.zeros(2)})):
        with pytest.raises(Failed):
            apart(ours, theirs)


# what it makes


def test_dialogues_have_the_example_sets_shape_and_come_again_by_their_seed() -> None:
    rows = Writer(512).rows(200)
    sequences = [s for row in rows for s in row.sequences]
    assert [list(row.sequences) for row in rows] == [list(row.sequences) for row in Writer(512).rows(200)]
    assert rows[0].sequences[0] != Writer(512, seed=1).rows(1)[0].sequences[0]
    assert {tuple(s.prompt_ids[:SYSTEM]) for s in sequences} == {tuple(sequences[0].prompt_ids[:SYSTEM])}
    assert set(Counter(len(row.sequences) for row in rows)) == set(range(TURNS[0], TURNS[1] + 1))
    answers = {len(s.completion_ids) - 1 for s in sequences}
    assert (min(answers), max(answers)) == ANSWER and max(map(len, sequences)) <= LONGEST
    assert max(max(s.prompt_ids + s.completion_ids) for s in sequences) < 512
    for row in rows:
        for earlier, later in zip(row.sequences, row.sequences[1:], strict=False):
            said = earlier.prompt_ids + earlier.completion_ids
            assert later.prompt_ids[: len(said)] == said


def test_the_engine_is_told_what_the_programs_own_rows_tell() -> None:
    from lora_trainer.data.encode import EncodedDialogue, EncodedSequence

    rows = Rows([EncodedDialogue((EncodedSequence([5], [6, 1]), EncodedSequence([5, 6, 1, 7], [8, 1])))])
    assert (rows.counts(), rows.most_tokens(), rows[:1]) == ((2, 4), (6, 9), [rows[0]])
    assert whole(rows[0]) == {"input_ids": [5, 6, 1, 7, 8, 1], "labels": [-100, 6, 1, -100, 8, 1]}
    batch = collate([{"input_ids": [5, 6], "labels": [-100, 6]}, {"input_ids": [7], "labels": [7]}])
    assert {name: part.tolist() for name, part in batch.items()} == {
        "input_ids": [[5, 6], [7, 0]],
        "labels": [[-100, 6], [7, -100]],
    }


def test_tokens_are_the_dialogues_own_of_the_steps_that_count() -> None:
    rows = Writer(512).rows(6)
    plan = TrainPlan(epochs=1.0, batch_size=2)
    lengths = [len(row.sequences[-1]) for row in rows]
    assert own_tokens(rows, plan, range(3)) == sum(lengths)
    assert own_tokens(rows, plan, range(1, 3)) == sum(lengths[i] for s in (1, 2) for i in step_dialogues(plan, s, 6))


@pytest.mark.parametrize(
    ("name", "parameters"),
    # the safetensors' totals at https://huggingface.co/Qwen
    [("0.5b", 494_032_768), ("1.5b", 1_543_714_304), ("3b", 3_085_938_688), ("7b", 7_615_616_512)],
)
def test_shapes_are_qwens(name: str, parameters: int) -> None:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(configuration(SHAPES[name]))
    assert sum(weight.numel() for weight in model.parameters()) == SHAPES[name].parameters == parameters


def test_kernels_are_told_apart_and_time_that_two_share_counts_once() -> None:
    kinds = {
        "sm80_xmma_gemm_bf16bf16_bf16f32_f32_tn_n": "products",
        "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x64>": "products",
        "nvjet_tst_192x192_64x4_2x1_v_bz_coopA_TNN": "products",
        "aten::addmm_": "products",
        "fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel)": "attention",
        "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128>>": "attention",
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop": "attention",
        "void at::native::vectorized_elementwise_kernel<4, MulFunctor<float>>": "other",
        "Memcpy HtoD (Pageable -> Device)": "other",
    }
    assert {name: step_profile.kind_of(name) for name in kinds} == kinds
    assert step_profile.busy([(5, 6), (0, 2), (1, 3), (1.5, 2)]) == 4
    found = step_profile.shares([("gemm", 2.0), ("flash", 1.0), ("copy", 1.0)], 3.0, 5.0)
    assert found["kernels"] == 3
    assert found["shares"] == pytest.approx({"products": 0.4, "attention": 0.2, "other": 0.2, "idle": 0.4})


# what there is


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine on which PyTorch finds no card, and without nvidia-smi."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    return monkeypatch


def nvidia_smi(folder: Path, says: str, code: int = 0) -> None:
    """Install one that always says the same."""
    windows = os.name == "nt"
    path = folder / ("nvidia-smi.bat" if windows else "nvidia-smi")
    text = f"@echo {says}\n@exit /b {code}\n" if windows else f"#!/bin/sh\necho '{says}'\nexit {code}\n"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def has_card(patch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    """PyTorch sees a card, and has code for those from the GTX 16 series on."""
    answers: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "mem_get_info": lambda *_: (7 << 30, 8 << 30),
        "get_device_capability": lambda *_: capability,
        "get_device_name": lambda *_: "NVIDIA GeForce GTX 1080",
        "get_arch_list": lambda: ["sm_75", "sm_90"],
    }
    for name, answer in answers.items():
        patch.setattr(torch.cuda, name, answer)


def why_none(device: str | None = None) -> str:
    with pytest.raises(card.NoCard) as refused:
        card.look(device)
    return str(refused.value)


def test_no_card_and_no_driver_is_said_with_what_a_cpu_can_do(no_card: pytest.MonkeyPatch) -> None:
    words = why_none()
    assert "no nvidia-smi" in words and "python -m bench.gpu --device cpu --tiny" in words
    assert why_none("cuda") == words
    no_card.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES hides" in why_none()


@pytest.mark.usefixtures("no_card")
def test_a_driver_that_does_not_answer_is_quoted(tmp_path: Path) -> None:
    nvidia_smi(tmp_path, "NVIDIA-SMI has failed because it could not reach the NVIDIA driver.", code=9)
    assert "could not reach the NVIDIA driver" in why_none()


def test_a_card_behind_a_pytorch_for_cpus_or_an_old_driver_is_named_with_the_way_out(
    no_card: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nvidia_smi(tmp_path, "NVIDIA GeForce RTX 3060, 470.82.01")
    words = why_none()
    assert "RTX 3060" in words and "driver (470.82.01)" in words and "whl/cu126" in words and sys.executable in words
    no_card.setattr(torch.version, "cuda", None)
    assert "RTX 3060" in why_none() and "without CUDA" in why_none()


def test_a_card_that_is_too_old_is_named_with_and_without_nvidia_smi(
    no_card: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    has_card(no_card, (6, 1))
    for _ in range(2):
        assert "GTX 1080" in why_none() and "no code for a card that old" in why_none()
        nvidia_smi(tmp_path, "NVIDIA GeForce GTX 1080, 535.183.01")


def test_a_card_that_fails_is_quoted(no_card: pytest.MonkeyPatch) -> None:
    has_card(no_card, (9, 0))

    def busy(*_: Any) -> None:
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable\nmore")

    no_card.setattr(torch.cuda, "mem_get_info", busy)
    assert why_none() == "There is a card, but it fails: CUDA error: all CUDA-capable devices are busy or unavailable"


def test_a_card_is_described_with_and_without_nvidia_smi(no_card: pytest.MonkeyPatch, tmp_path: Path) -> None:
    has_card(no_card, (7, 5))
    facts = card.look(None)
    assert (facts["device"], facts["dtype"], facts["capability"], facts["memory_gb"]) == ("cuda", "float16", "7.5", 8.6)
    assert "driver" not in facts
    nvidia_smi(tmp_path, "550.54.14")
    assert card.look("cuda")["driver"] == "550.54.14"
    assert card.look("cpu")["dtype"] == "float32"
    # of 7.5 GB that are free
    needs = card.needs(["0.5b", "7b"], "cuda", batch=4)
    assert 1 < needs["0.5b"] < 7.5 < 15 < needs["7b"] < 25


def test_missing_packages_are_named_and_older_ones_told() -> None:
    least = card.wanted((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    assert set(card.NEEDED) <= set(least)
    assert card.shortcomings(card.versions()) == ([], [])
    found = {**{name: least[name] for name in card.NEEDED}, "torch": "2.10.1+cu126", "peft": None}
    assert card.shortcomings(found) == (["peft"], [])
    missing, (line,) = card.shortcomings({**found, "peft": "9.9", "transformers": "4.57.1"})
    assert not missing and line == f"transformers 4.57.1 is older than requirements.txt asks ({least['transformers']})"


# a run's course


CARD = {"device": "cuda", "name": "NVIDIA Test 8", "dtype": "bfloat16", "devices": 1, "free_gb": 8.0}
FAST, SLOW = ({"dialogues_per_second": speed, "first_loss": 11.9} for speed in (30.0, 10.0))
REST = {"tokens_per_second": 1.0, "peak_gb": 2.0, "seconds_to_first_step": 9.0}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Run]:
    """Runs the bench with parts that give what a script has, in real processes."""
    monkeypatch.setattr(Part, "module", "tests.support.scripted_part")
    monkeypatch.setenv("SCRIPT", str(tmp_path / "script.json"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    monkeypatch.chdir(tmp_path)

    def run(*flags: str, **script: Any) -> Run:
        look = {"card": CARD, "needs_gb": {"0.5b": 2.0, "1.5b": 4.0, "3b": 7.5, "7b": 17.0}}
        contenders = list(script.get("measure", {}))
        whole = {"look": [{**look, "contenders": contenders}], "check": {}, **script}
        (tmp_path / "script.json").write_text(json.dumps(whole), encoding="utf-8")
        lines: list[str] = []
        for module in (command, report):
            monkeypatch.setattr(module, "say", lines.append)
        code = command.main(list(flags))
        written = tmp_path / "gpu-nvidia-test-8.json"
        data = json.loads(written.read_text(encoding="utf-8")) if written.exists() else {}
        return Run(code, "\n".join(lines), data)

    return run


def test_a_process_that_breaks_off_fails_its_check_and_the_others_are_done(scripted: Callable[..., Run]) -> None:
    third = list(CHECKS)[2]
    run = scripted("--only", "checks", check={third: "RuntimeError: CUDA error: an illegal memory access"})
    states = {check["check"]: check["state"] for check in run.data["checks"]}
    assert list(states) == list(CHECKS) and [name for name, state in states.items() if state != "passed"] == [third]
    assert "an illegal memory access" in run.data["checks"][2]["words"]
    assert run.code == 1 and f"failed: {third}" in run.output


def test_a_part_that_hangs_is_ended_and_keeps_what_it_had_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Part, "module", "tests.support.scripted_part")
    monkeypatch.setenv("SCRIPT", str(tmp_path / "script.json"))
    (tmp_path / "script.json").write_text(json.dumps({"look": [{"one": 1}, "hang"]}), encoding="utf-8")
    part = Part("look", {}, seconds=20)
    found = []
    for result in part:
        found.append(result)
        # the next wait is the last
        part.seconds = 0
    assert found == [{"one": 1}] and part.failure == "no result within 0 s"


def test_shapes_that_do_not_fit_are_left_out_with_the_figures(scripted: Callable[..., Run]) -> None:
    run = scripted("--only", "0.5b", "7b", measure={"tree": {**FAST, **REST}})
    assert {one["shape"] for one in run.data["measures"]} == {"0.5b"}
    assert run.data["left_out"] == [{"what": "7b", "why": "needs about 17 GB, 8 GB are free"}]
    assert "left out: 7b: needs about 17 GB, 8 GB are free" in run.output and run.code == 0


def test_ours_failing_fails_the_run_and_another_trainer_failing_does_not(scripted: Callable[..., Run]) -> None:
    broken = "RuntimeError: CUDA out of memory"
    run = scripted("--only", "0.5b", measure={"trl": broken, "trainer": {**SLOW, **REST}, "tree": {**FAST, **REST}})
    assert run.code == 0 and [one["batch"] for one in run.data["measures"]] == [4] * 3 + [16] * 3
    assert broken in run.data["measures"][0]["failed"] and broken in run.output
    assert run.data["ratios"][0]["times_as_fast"] == {"trainer": 1.0, "tree": 3.0}
    run = scripted("--only", "0.5b", measure={"trainer": {**SLOW, **REST}, "tree": broken})
    assert run.code == 1 and "0.5b, 4 dialogues, tree" in run.output


def test_short_is_the_smallest_and_the_largest_and_ends_in_time(
    scripted: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scripted("--short", measure={"tree": {**FAST, **REST}})
    assert [(one["shape"], one["batch"]) for one in run.data["measures"]] == [("0.5b", 16)]
    assert [one["what"] for one in run.data["left_out"]] == ["7b"] and len(run.data["checks"]) == len(CHECKS)
    assert command.SHORT["all"] + command.MARGIN / 2 <= 360
    monkeypatch.setitem(command.SHORT, "all", command.MARGIN / 2)
    run = scripted("--short", measure={"tree": {**FAST, **REST}})
    assert run.data["checks"] == run.data["measures"] == [] and "the time is over" in run.output


def test_a_profile_is_of_the_larger_batch_and_one_that_fails_is_left_out(scripted: Callable[..., Run]) -> None:
    found = {"shape": "0.5b", "batch": 16, "step_seconds": 0.25, "kernels": 900, "shares": {"products": 0.5}}
    run = scripted("--only", "0.5b", "--profile", profile=[{"profile": found}])
    assert run.data["profiles"] == [found]
    assert "profile of 0.5b, 16 dialogues: 250 ms, 900 kernels: products 50%" in run.output
    run = scripted("--only", "0.5b", "--profile", profile=["RuntimeError: no CUPTI"])
    assert run.code == 0 and run.data["profiles"] == [] and "left out: profile of 0.5b" in run.output


def test_a_plain_trainer_is_not_given_several_cards(scripted: Callable[..., Run], tmp_path: Path) -> None:
    seen = tmp_path / "seen.txt"
    run = scripted("--only", "checks", "0.5b", seen=str(seen), measure={"tree": {**FAST, **REST}})
    assert run.code == 0
    cards = [line.split() for line in seen.read_text(encoding="utf-8").splitlines()]
    assert [found for kind, found in cards if kind == "measure"] == ["1", "1"]
    assert {found for kind, found in cards if kind in ("look", "check")} == {"1,2"}


def test_no_part_waits_beyond_the_end_of_all() -> None:
    part = Part("look", {}, seconds=300, ends=time.monotonic() + 5)
    assert part._patience() <= 5 and Part("look", {}, seconds=300)._patience() == 300


def test_where_there_is_nothing_to_measure_on_it_says_so(scripted: Callable[..., Run]) -> None:
    run = scripted(look=[{"no_card": "PyTorch finds no graphics card."}])
    assert run.code == 2 and "PyTorch finds no graphics card." in run.output and run.data == {}
    run = scripted(look=["ImportError: libcudart.so.12: cannot open shared object file"])
    assert run.code == 2 and "libcudart.so.12" in run.output


def test_several_rounds_count_by_their_median_and_another_loss_is_named() -> None:
    def one(contender: str, speed: float, loss: float = 11.9) -> dict[str, Any]:
        return {"shape": "3b", "batch": 4, "contender": contender, "dialogues_per_second": speed, "first_loss": loss}

    measures = [one("trl", 5.0, 9.0), one("trainer", 8.0), one("tree", 14.0), one("trainer", 12.0), one("tree", 16.0)]
    (found,) = report.ratios([*measures, one("trl", 5.0, 9.0)])
    assert found["fastest_other"] == "trainer"
    assert found["times_as_fast"] == {"trl": 0.5, "trainer": 1.0, "tree": 1.5}
    assert found["other_loss"] == ["trainer", "tree"]
    assert report.ratios([one("tree", 1.0)]) == []


def test_the_file_is_whole_after_every_entry_and_never_holds_what_json_has_not(tmp_path: Path) -> None:
    record = Record([], {})
    record.path = tmp_path / "out.json"
    for count in (1, 2):
        record.add("checks", {"check": str(count), "state": "passed"})
        assert len(json.loads(record.path.read_text(encoding="utf-8"))["checks"]) == count
    with pytest.raises(ValueError, match="JSON"):
        record.add("checks", {"figure": float("nan")})
    assert len(json.loads(record.path.read_text(encoding="utf-8"))["checks"]) == 2


def test_a_figure_that_is_no_number_is_told_in_a_word_that_json_has(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.gpu import part
    from bench.gpu.checks import table

    monkeypatch.setattr(table, "CHECKS", {"odd": lambda _: Outcome({"loss": (float("nan"), 0.1)})})
    told: list[dict[str, Any]] = []
    part.check(told.append, names=["odd"], device="cpu", tiny=True, devices=1)
    assert told[0]["state"] == "failed" and told[0]["figures"] == {"loss": {"figure": "nan", "limit": 0.1}}
    assert "nan" in report.check_line(told[0])


def test_its_guide_speaks_of_every_flag() -> None:
    guide = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    flags = {text for action in command.make_parser()._actions for text in action.option_strings if text[1] == "-"}
    assert flags - {"--help"} == set(re.findall(r"--\w+", guide)) & flags - {"--help"}
    assert all(name in guide for name in (*report.MARKS.values(), *card.NEEDED))
