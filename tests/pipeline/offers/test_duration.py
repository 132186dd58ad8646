"""How long a training takes is told by earlier runs where there are some, else by the machine's speed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lora_trainer.data.dataset import Dataset
from lora_trainer.data.encode import encode
from lora_trainer.engine.hardware import detect
from lora_trainer.engine.schedule import evaluation_steps
from lora_trainer.models.load import chat_format_of, load_tokenizer
from lora_trainer.models.recorded import base_record
from lora_trainer.models.shape import ModelShape
from lora_trainer.models.source import resolve_base_model
from lora_trainer.plan import TrainPlan
from lora_trainer.train import train
from pipeline.offers.base_facts import base_facts
from pipeline.offers.base_models import recommended, trained_runs
from pipeline.offers.data_size import data_size
from pipeline.offers.duration import Duration, forward_operations, round_seconds, step_operations, training_duration
from pipeline.offers.machine import Machine
from pipeline.run.history import History, Run
from pipeline.run.rows import NAME, keep_rows
from pipeline.stages import training_record
from tests.pipeline.offers.conftest import machine, write_rows
from tests.support.tiny import make_tiny

PLAN = TrainPlan(epochs=2.0, batch_size=4)
HERE = Machine(detect())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, ModelShape, Dataset]:
    """The record of a real training of a tiny model, as the program keeps it."""
    folder = tmp_path_factory.mktemp("world")
    data = write_rows(folder / "data", 24)
    base = resolve_base_model(str(make_tiny(folder / "tiny")))
    tokenizer = load_tokenizer(base)
    fmt = chat_format_of(base, tokenizer)
    train_rows, val_rows = (encode(part, fmt, tokenizer, 1024)[0] for part in (data.train, data.val))
    run = History(folder / "runs").begin(
        "zzhua", plan=PLAN.to_json(), data=data.statistics(), base=base_record(base), system=data.system
    )
    keep_rows(run.folder, data)
    result = train(base, tokenizer, train_rows, val_rows, PLAN, run.folder, hardware=HERE.hardware)
    run.mark_done("train", 1.0, training=training_record(result))
    facts = base_facts(str(folder / "tiny"))
    assert facts is not None
    return run, facts.shape, data


def again(run: Run) -> Run:
    """The run as it is read from its file."""
    return trained_runs(History(run.folder.parents[1]))[0]


def test_a_training_writes_down_what_its_time_depends_on(world: tuple[Run, ModelShape, Dataset]) -> None:
    training = again(world[0]).record["training"]
    assert training["device_name"] == HERE.hardware.name
    assert training["supervised_tokens"] < training["computed_tokens"]
    # every answer twice
    size = data_size(world[2])
    assert training["supervised_tokens"] > 2 * size.rows
    assert training["evaluation_seconds"] > 0
    assert training["peak_memory"] > 10_000_000


def test_the_same_training_takes_as_long_again(world: tuple[Run, ModelShape, Dataset]) -> None:
    run, shape, data = world
    taken = run.record["training"]["seconds"] + run.record["training"]["evaluation_seconds"]
    told = training_duration(shape, data_size(data), PLAN, HERE, [again(run)])
    assert told is not None and told.measured
    assert told.low < taken < told.high < 1.3 * told.low
    assert told.seconds == pytest.approx(taken)


def test_added_epochs_and_other_rows_take_their_share(world: tuple[Run, ModelShape, Dataset], tmp_path: Path) -> None:
    run, shape, data = world
    size = data_size(data)
    seconds = run.record["training"]["seconds"]
    longer = training_duration(shape, replace(size, val_rows=0), replace(PLAN, epochs=5.0), HERE, [run])
    assert longer is not None and longer.seconds == pytest.approx(2.5 * seconds, rel=0.05)
    rest = training_duration(shape, replace(size, val_rows=0), replace(PLAN, epochs=5.0), HERE, [run], begins=18)
    assert rest is not None and rest.seconds == pytest.approx(longer.seconds * 12 / 30)
    more = data_size(write_rows(tmp_path / "more", 96))
    other = training_duration(shape, replace(more, val_rows=0), PLAN, HERE, [run])
    assert other is not None and other.seconds == pytest.approx(4 * seconds, rel=0.15)


def test_without_its_rows_a_run_tells_by_what_it_counted(world: tuple[Run, ModelShape, Dataset]) -> None:
    run, shape, data = world
    size = replace(data_size(data), val_rows=0)
    kept = run.folder / NAME
    content = kept.read_bytes()
    kept.unlink()
    try:
        told = training_duration(shape, size, PLAN, HERE, [run])
        uncounted = replace(run, record={**run.record, "training": {**run.record["training"], "computed_tokens": 0}})
        assert training_duration(shape, size, PLAN, HERE, [uncounted]) is None
    finally:
        kept.write_bytes(content)
    # a tiny tokenizer has another number of tokens than is estimated
    assert told is not None and told.measured
    assert told.seconds == pytest.approx(run.record["training"]["seconds"], rel=0.7)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("base", "parameters", 7),
        ("training", "device", "cuda"),
        ("training", "dtype", "bfloat16"),
        ("training", "device_name", "another processor"),
        ("training", "seconds", 0.0),
        ("plan", "qlora", True),
        ("beginning", "processes", 2),
    ],
)
def test_a_run_of_another_shape_or_device_tells_nothing(
    world: tuple[Run, ModelShape, Dataset], part: str, name: str, value: object
) -> None:
    run, shape, data = world
    other = replace(run, record={**run.record, part: {**run.record.get(part, {}), name: value}})
    assert training_duration(shape, data_size(data), PLAN, HERE, [other]) is None
    told = training_duration(shape, data_size(data), PLAN, HERE, [other, run])
    assert told == training_duration(shape, data_size(data), PLAN, HERE, [run])


def test_several_runs_give_a_range(world: tuple[Run, ModelShape, Dataset]) -> None:
    run, shape, data = world
    training = run.record["training"]
    slow = {**training, "seconds": 3 * training["seconds"], "evaluation_seconds": 3 * training["evaluation_seconds"]}
    slower = replace(run, record={**run.record, "training": slow})
    one = training_duration(shape, data_size(data), PLAN, HERE, [run])
    both = training_duration(shape, data_size(data), PLAN, HERE, [run, slower])
    assert one is not None and both is not None
    assert (both.low, both.high) == (one.low, pytest.approx(3 * one.high))
    # what was long ago counts no more
    assert training_duration(shape, data_size(data), PLAN, HERE, [run, run, run, slower]) == one


def test_without_an_earlier_run_the_machines_speed_tells(rows: Dataset) -> None:
    row, size = recommended("Qwen2.5-0.5B"), data_size(rows)
    assert row is not None
    slow, fast = (training_duration(row.shape, size, PLAN, machine(h896=speed), []) for speed in (1e10, 4e10))
    assert slow is not None and fast is not None and not slow.measured
    assert slow.seconds == pytest.approx(4 * fast.seconds, rel=0.1)
    assert slow.low < slow.seconds < slow.high
    longer = training_duration(row.shape, size, replace(PLAN, epochs=20), machine(h896=1e10), [])
    assert longer is not None and longer.seconds == pytest.approx(10 * slow.seconds, rel=0.2)
    assert training_duration(row.shape, size, PLAN, machine(), []) is None


def test_the_nearest_size_that_was_measured_tells() -> None:
    here = machine(h896=1e10, h2048=2e10)
    assert (here.speed(576), here.speed(1024), here.speed(1536), here.speed(3584)) == (1e10, 1e10, 2e10, 2e10)
    assert machine().speed(896) is None


def test_evaluations_take_time_too(rows: Dataset) -> None:
    row, size = recommended("Qwen2.5-0.5B"), data_size(rows)
    assert row is not None
    here = machine(h896=1e10)
    with_rows, without = (training_duration(row.shape, s, PLAN, here, []) for s in (size, replace(size, val_rows=0)))
    assert with_rows is not None and without is not None
    tokens = size.tokens(PLAN, row.shape.vocabulary, here.hardware.token_budget)
    once = forward_operations(row.shape, tokens.validated, tokens.validated_answers)
    steps = step_operations(row.shape, PLAN, tokens.computed, tokens.supervised)
    times = len(evaluation_steps(12, 6)) + 1
    assert with_rows.seconds / without.seconds == pytest.approx((steps + times * once) / steps, rel=0.1)
    # what is behind the beginning alone
    rest = training_duration(row.shape, size, PLAN, here, [], begins=11)
    assert rest is not None and rest.seconds / without.seconds == pytest.approx((steps / 12 + once) / steps, rel=0.1)


def test_no_card_is_so_fast_that_a_step_takes_no_time(rows: Dataset) -> None:
    small, large = (recommended(title) for title in ("Qwen2.5-0.5B", "Qwen2.5-3B"))
    assert small is not None and large is not None
    size, endless = data_size(rows), machine(h896=1e30)
    one, ten = (training_duration(small.shape, size, replace(PLAN, epochs=epochs), endless, []) for epochs in (2, 20))
    deeper = training_duration(large.shape, size, PLAN, endless, [])
    assert one is not None and ten is not None and deeper is not None
    assert 1 < one.seconds < deeper.seconds < ten.seconds < 10 * one.seconds


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, 10),
        (44, 40),
        (119, 120),
        (125, 120),
        (19.6 * 60, 1200),
        (27 * 60, 1500),
        (59 * 60, 3600),
        (5000, 5400),
        (7.7 * 3600, 27000),
        (14.2 * 3600, 50400),
    ],
)
def test_seconds_are_said_as_people_say_them(seconds: float, said: int) -> None:
    assert round_seconds(seconds) == said


def test_the_middle_of_a_range_is_as_far_from_both_ends() -> None:
    middle = Duration(100, 400, measured=False).seconds
    assert middle == pytest.approx(200)
