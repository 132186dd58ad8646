"""A run goes on from an earlier one only where nothing that its steps depend on has changed, and says what has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_trainer.plan import TrainPlan
from pipeline.request import Request
from pipeline.run.beginnings import Beginning, beginning_of, find_beginning, first_adapter, foreseen_beginning
from pipeline.run.history import History, Run

PLAN = TrainPlan(epochs=2.0)
ROWS = 32
"""Eight steps an epoch with the plan's four dialogues: 16 steps, of which 14 are stable."""
VERSIONS = {"torch": "2.13", "transformers": "5.0", "peft": "0.18", "accelerate": "1.12", "bitsandbytes": "0.49"}
CHANGED = (
    ("data", "data.fingerprint", "other dialogues"),
    ("base_model", "base.revision", "other weights"),
    ("chat_format", "chat_format.end_of_turn", "</s>"),
    ("learning_rate", "plan.learning_rate", 1e-4),
    ("lora_rank", "plan.lora_rank", 16),
    ("lora_alpha", "plan.lora_alpha", 32.0),
    ("lora_dropout", "plan.lora_dropout", 0.1),
    ("batch_size", "plan.batch_size", 3),
    ("max_length", "plan.max_length", 512),
    ("seed", "plan.seed", 7),
    ("scheduler", "plan.scheduler", "constant"),
    ("qlora", "plan.qlora", True),
    ("warm_start", "warm_start", 1),
)
"""What a user is told, the place in the run's record, another value there."""
LENGTH = (("plan.epochs", 3.5), ("plan.early_stop", True), ("plan.sources", {"epochs": "flag"}))
"""What doesn't touch the steps that two runs share."""


def record_of(plan: TrainPlan = PLAN) -> dict[str, Any]:
    """The part of a run's record that a beginning is made of."""
    return {
        "plan": plan.to_json(),
        "data": {"fingerprint": "dialogues"},
        "base": {"revision": "weights", "source": "base"},
        "chat_format": {"end_of_turn": "<|im_end|>"},
        "warm_start": None,
        "request": {},
        "parent": None,
    }


def put(record: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    *outer, name = place.split(".")
    inside = record
    for part in outer:
        inside = inside[part]
    inside[name] = value
    return record


def beginning(record: dict[str, Any], versions: Mapping[str, str] = VERSIONS, device: str = "cpu") -> dict[str, Any]:
    return beginning_of(record, versions, device, "float32")


def trained(history: History, record: dict[str, Any], *checkpoints: int, begun: dict[str, Any] | None = None) -> Run:
    """A run that is trained, with checkpoints after those steps."""
    run = history.begin("zzhua", **record, beginning=begun or beginning(record))
    run.mark_done("train", 1, training={"steps": run.plan.total_steps(ROWS)})
    for step in checkpoints:
        (run.folder / "checkpoints" / f"checkpoint-{step}").mkdir(parents=True)
    return run


def begun(history: History, record: dict[str, Any], with_this: dict[str, Any] | None = None, **values: Any) -> Run:
    """A run that is about to be trained."""
    return history.begin("zzhua", **{**record, **values}, beginning=with_this or beginning(record))


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path)


@pytest.mark.parametrize(("place", "value"), LENGTH, ids=lambda value: value if isinstance(value, str) else "")
def test_runs_that_differ_in_their_length_alone_share_their_beginning(history: History, place: str, value: Any) -> None:
    first = trained(history, record_of(), 14)
    run = begun(history, put(record_of(replace(PLAN, epochs=3.0)), place, value))
    assert find_beginning(history, run, ROWS) == Beginning(first, 14, first.folder / "checkpoints" / "checkpoint-14")


@pytest.mark.parametrize(("told", "place", "value"), CHANGED, ids=[told for told, *_ in CHANGED])
def test_whatever_else_has_changed_is_told_and_not_gone_on_with(
    history: History, told: str, place: str, value: Any
) -> None:
    trained(history, record_of(), 14)
    assert find_beginning(history, begun(history, put(record_of(), place, value)), ROWS) == [told]


def foreseen(history: History, previous: Run, record: dict[str, Any], **values: Any) -> Beginning | None:
    """What is told of a run of `record` before it is begun."""
    plan, data = TrainPlan.from_json(record["plan"]), record["data"]["fingerprint"]
    given = {"rows": ROWS, "data": data, "device": ("cpu", "float32"), "versions": VERSIONS}
    return foreseen_beginning(history, previous, plan, **{**given, **values})


@pytest.mark.parametrize(("place", "value"), LENGTH, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_shared_is_foreseen(history: History, place: str, value: Any) -> None:
    trained(history, record_of(), 12)
    previous = trained(history, record_of(), 14)
    record = put(record_of(replace(PLAN, epochs=3.0)), place, value)
    told = foreseen(history, previous, record)
    assert told is not None and told == find_beginning(history, begun(history, record), ROWS)


@pytest.mark.parametrize(
    ("told", "place", "value"), [row for row in CHANGED if row[1].startswith(("plan.", "data."))], ids=lambda row: row
)
def test_what_is_not_shared_is_not_foreseen(history: History, told: str, place: str, value: Any) -> None:
    previous = trained(history, record_of(), 14)
    assert foreseen(history, previous, put(record_of(), place, value)) is None, told


def test_nothing_is_foreseen_on_another_machine_or_of_an_old_record(history: History) -> None:
    previous = trained(history, record_of(), 14)
    assert foreseen(history, previous, record_of(), device=("cuda", "bfloat16")) is None
    assert foreseen(history, previous, record_of(), versions={**VERSIONS, "torch": "99"}) is None
    in_4_bits = record_of(replace(PLAN, qlora=True))
    four = trained(history, in_4_bits, 14)
    assert foreseen(history, four, in_4_bits) is not None
    lacking = {name: version for name, version in VERSIONS.items() if name != "bitsandbytes"}
    assert foreseen(history, four, in_4_bits, versions=lacking) is None
    del previous.record["beginning"]
    assert foreseen(history, previous, record_of()) is None


def test_every_number_of_a_plan_is_known_to_matter_or_not_to() -> None:
    places = [place for _, place, _ in CHANGED] + [place for place, _ in LENGTH]
    assert sorted(place for place in places if place.startswith("plan.")) == sorted(
        f"plan.{field.name}" for field in fields(TrainPlan)
    )


@pytest.mark.parametrize("package", ["torch", "transformers", "peft", "accelerate"])
def test_another_version_of_what_computes_is_not_gone_on_with(history: History, package: str) -> None:
    trained(history, record_of(), 14)
    run = begun(history, record_of(), beginning(record_of(), {**VERSIONS, package: "99"}))
    assert find_beginning(history, run, ROWS) == ["versions"]


@pytest.mark.parametrize("qlora", [True, False])
def test_another_bitsandbytes_matters_where_it_computes(history: History, qlora: bool) -> None:
    record = record_of(replace(PLAN, qlora=qlora))
    trained(history, record, 14)
    found = find_beginning(history, begun(history, record, beginning(record, {**VERSIONS, "bitsandbytes": "99"})), ROWS)
    assert (found == ["qlora"], isinstance(found, Beginning)) == (qlora, not qlora)


def one_thread_more(_: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(torch.get_num_threads() + 1)


def two_processes(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("WORLD_SIZE", "2")


def two_that_share_a_model(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("WORLD_SIZE", "2")
    patch.setenv("ACCELERATE_USE_FSDP", "true")


@pytest.fixture
def same_threads() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("same_threads")
@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, one_thread_more, "device"),
        (None, two_processes, "processes"),
        (None, two_that_share_a_model, "processes"),
        (two_processes, two_that_share_a_model, "processes"),
    ],
)
def test_other_processes_or_threads_of_a_cpu_are_not_gone_on_with(
    history: History,
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[pytest.MonkeyPatch], None] | None,
    after: Callable[[pytest.MonkeyPatch], None],
    told: str,
) -> None:
    if before:
        before(monkeypatch)
    trained(history, record_of(), 14)
    after(monkeypatch)
    assert find_beginning(history, begun(history, record_of()), ROWS) == [told]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (("cpu", "float32"), ("cuda", "float32")),
        (("cpu", "float32"), ("cpu", "bfloat16")),
        (("cuda", "float32"), ("mps", "float32")),
        (("cuda", "bfloat16"), ("cuda", "float16")),
    ],
    ids=lambda place: " ".join(place),
)
def test_another_device_or_precision_is_not_gone_on_with(
    history: History, before: tuple[str, str], now: tuple[str, str]
) -> None:
    trained(history, record_of(), 14, begun=beginning_of(record_of(), VERSIONS, *before))
    run = begun(history, record_of(), beginning_of(record_of(), VERSIONS, *now))
    assert find_beginning(history, run, ROWS) == ["device"]


@pytest.mark.usefixtures("same_threads")
def test_the_threads_of_the_cpu_do_not_matter_to_a_graphics_card() -> None:
    before = beginning(record_of(), device="cuda")
    torch.set_num_threads(torch.get_num_threads() + 1)
    assert beginning(record_of(), device="cuda") == before


def test_the_longest_beginning_is_taken_whichever_run_has_it(history: History) -> None:
    trained(history, record_of(), 14)
    longer = trained(history, record_of(replace(PLAN, epochs=4.0)), 28)
    trained(history, record_of(replace(PLAN, epochs=3.0)), 21)
    found = find_beginning(history, begun(history, record_of(replace(PLAN, epochs=5.0))), ROWS)
    assert isinstance(found, Beginning) and (found.run.number, found.step) == (longer.number, 28)


def test_what_lies_in_the_decay_of_either_run_is_not_gone_on_from(history: History) -> None:
    # the earlier one was interrupted after its training, so that all of its checkpoints are there
    trained(history, record_of(), 8, 14, 16)
    longer = find_beginning(history, begun(history, record_of(replace(PLAN, epochs=3.0))), ROWS)
    assert isinstance(longer, Beginning) and longer.step == 14
    shorter = find_beginning(history, begun(history, record_of(replace(PLAN, epochs=1.5))), ROWS)
    assert isinstance(shorter, Beginning) and shorter.step == 8
    assert find_beginning(history, begun(history, record_of(replace(PLAN, epochs=0.5))), ROWS) is None


@pytest.mark.parametrize(("scheduler", "step"), [("constant", 16), ("cosine", None), ("linear", None)])
def test_only_a_schedule_that_does_not_know_its_end_is_gone_on_with(
    history: History, scheduler: str, step: int | None
) -> None:
    plan = replace(PLAN, scheduler=scheduler)
    trained(history, record_of(plan), 14, 16)
    # 17 steps, of which a steady run would have 15 stable ones
    found = find_beginning(history, begun(history, record_of(replace(plan, epochs=2.125))), ROWS)
    assert (found.step if isinstance(found, Beginning) else found) == step


def test_neither_a_run_that_is_not_trained_nor_a_later_one_is_gone_on_from(history: History) -> None:
    half = begun(history, record_of())
    (half.folder / "checkpoints" / "checkpoint-8").mkdir(parents=True)
    assert find_beginning(history, begun(history, record_of()), ROWS) is None
    trained(history, record_of(), 14)
    assert find_beginning(history, half, ROWS) is None


def test_what_has_changed_is_told_against_the_run_that_is_continued(history: History) -> None:
    beginnings = ({"seed": 1, "lora_rank": 8}, {"seed": 1, "lora_rank": 4})
    for made in beginnings:
        trained(history, record_of(), begun=made)
    run = begun(history, record_of(), {"seed": 2, "lora_rank": 8, "qlora": "0.50"}, parent=1)
    assert find_beginning(history, run, ROWS) == ["qlora", "seed"]
    run.update(parent=None)
    assert find_beginning(history, run, ROWS) == ["lora_rank", "qlora", "seed"]


@pytest.mark.parametrize(
    ("flags", "plan", "strategy", "number"),
    [
        ({}, PLAN, "incremental", 1),
        ({"base_model": "base"}, PLAN, "incremental", 1),
        ({"warm_start": True}, PLAN, "incremental", 3),
        ({"warm_start": True}, replace(PLAN, lora_rank=4, lora_alpha=8.0), "custom", 3),  # refused later, by name
        ({"from_scratch": True}, PLAN, "incremental", None),
        ({"base_model": "another"}, PLAN, "incremental", None),
        ({}, replace(PLAN, lora_rank=4), "retune", None),
        ({}, replace(PLAN, lora_alpha=4.0), "custom", None),
        ({}, PLAN, None, None),
    ],
)
def test_a_continuation_of_a_warm_start_begins_with_its_adapter_where_that_fits(
    flags: dict[str, Any], plan: TrainPlan, strategy: str | None, number: int | None
) -> None:
    previous = Run(Path("3"), {**record_of(), "number": 3, "warm_start": 1})
    assert first_adapter(Request(**flags), strategy, plan, previous) == number
    assert first_adapter(Request(**flags), strategy, plan, None) is None


def test_an_adapter_is_not_inherited_by_what_is_trained_on_a_new_base_model() -> None:
    previous = Run(Path("3"), {**record_of(), "number": 3, "warm_start": 1})
    assert first_adapter(Request(), "incremental", PLAN, previous, new_base=True) is None
