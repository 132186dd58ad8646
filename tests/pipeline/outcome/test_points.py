"""A point along the way is published in place of the end, held against its own files alone, and counted from there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lora_trainer.errors import ConversionError, UsageError
from lora_trainer.plan import TrainPlan
from ollama_export.server.client import OllamaClient
from pipeline.job import going_on
from pipeline.outcome.points import choose_point, drop_points, points_of, take_point
from pipeline.request import Request
from pipeline.run.beginnings import Beginning, find_beginning, first_adapter_record
from pipeline.run.history import History, Run
from pipeline.run.published import roll_back, verify_published
from pipeline.run.standing import look, run_to_register
from pipeline.stages import run_stages
from pipeline.strategies import plan_for
from pipeline.tidying import tidy
from tests.pipeline.run.test_beginnings import begun, record_of, trained
from tests.support.undecided import keep_points

STEP = 1


@pytest.fixture
def pointed(run: Run) -> Run:
    """The run, as if it were of two epochs and two steps, with a point after the first."""
    run.update(plan={**run.record["plan"], "epochs": 2.0}, training={**run.record["training"], "steps": 2})
    keep_points(run, STEP)
    return run


def epochs_of(run: Run) -> float:
    return points_of(run)[0].epochs


def publish(run: Run, client: OllamaClient, epochs: float | None) -> str:
    """`--register_only`, with `--point` where epochs are said; the digest of what stands then."""
    history = History(run.folder.parents[1])
    request = Request(ollama_name="zzhua", register_only=True, point=epochs)
    run = run_to_register(history, request, "zzhua", client)
    choose_point(run, request.point)
    run_stages(going_on(run, request, history, client), None, lambda _: None, lambda: False)
    found = client.digest("zzhua")
    assert found is not None
    return found


def again(run: Run) -> Run:
    """The run as its record has it now."""
    return History(run.folder.parents[1]).runs("zzhua")[0]


def test_a_point_and_the_end_are_two_models_each_held_against_its_own_files(
    pointed: Run, history: History, client: OllamaClient
) -> None:
    half, whole = epochs_of(pointed), pointed.plan.epochs
    end = publish(pointed, client, None)
    point = publish(pointed, client, half)
    assert point != end and client.digest(again(pointed).record["ollama"]["backup"]) == end
    assert again(pointed).taught.epochs == half and again(pointed).plan.epochs == whole
    # without the flag it stays what it was
    assert publish(pointed, client, None) == point
    run, stops = verify_published(history, "zzhua", lambda _: None)
    assert run.number == 1 and isinstance(stops, bool)
    # back to the end, by the backup, where it is known for its own
    roll_back(history, "zzhua")
    stands = look(history, "zzhua", client).run
    assert client.digest("zzhua") == end and stands is not None and stands.taught.epochs == whole
    assert verify_published(history, "zzhua", lambda _: None)[0].number == 1
    # another adapter in a point's place is no longer that point
    folder = pointed.folder / "points" / str(STEP)
    shutil.rmtree(folder)
    keep_points(other := again(pointed), STEP)
    weights = folder / "adapter_model.safetensors"
    shutil.copyfile(pointed.folder / "adapter" / weights.name, weights)
    with pytest.raises(ConversionError) as refused:
        publish(other, client, half)
    assert refused.value.key == "error.export.other_weights" and client.digest("zzhua") == end
    # and what stands is what is counted from, whatever was wanted
    assert again(pointed).taught.epochs == whole


def test_a_point_that_is_not_there_is_refused_with_those_that_are(pointed: Run) -> None:
    half, whole = epochs_of(pointed), pointed.plan.epochs
    for epochs in (half + 0.1, whole + 1):
        with pytest.raises(UsageError) as refused:
            choose_point(pointed, epochs)
        assert refused.value.key == "error.no_such_point"
        assert refused.value.values["known"] == f"{half:g}, {whole:g}"
    shutil.rmtree(pointed.folder / "points")
    with pytest.raises(UsageError) as refused:
        choose_point(pointed, half)
    assert refused.value.values["known"] == f"{whole:g}"
    assert pointed.point is None


def test_the_end_is_a_point_too_and_an_older_record_has_no_other(run: Run) -> None:
    assert [point.adapter for point in points_of(run)] == [run.folder / "adapter"]
    run.update(training={name: value for name, value in run.record["training"].items() if name != "points"})
    assert points_of(run) == []
    choose_point(run, run.plan.epochs)
    assert run.point is None and run.adapter(run.point) == run.folder / "adapter"


def test_the_end_can_be_taken_back(pointed: Run) -> None:
    choose_point(pointed, epochs_of(pointed))
    assert pointed.adapter(pointed.point) == pointed.folder / "points" / str(STEP)
    choose_point(pointed, pointed.plan.epochs)
    assert pointed.point is None


def test_the_points_that_nothing_needs_go_and_the_record_tells_of_the_others(pointed: Run) -> None:
    shutil.copytree(pointed.folder / "points" / str(STEP), pointed.folder / "points" / "2")
    take_point(pointed, points_of(pointed)[0])
    drop_points(pointed)
    assert [child.name for child in (pointed.folder / "points").iterdir()] == [str(STEP)]
    take_point(pointed, None)
    drop_points(pointed)
    assert not (pointed.folder / "points").exists()
    assert [point["adapter"] for point in pointed.record["training"]["points"]] == ["adapter"]


# --- what is gone on from a point


def published_at(run: Run, step: int, epochs: float) -> Run:
    point = {"step": step, "epochs": epochs}
    points = [{**point, "adapter": f"points/{step}", "val_loss": None, "samples": []}]
    entry = {"digest": "d", "gguf": None, "order": 1, "finished": "2026-01-01", "point": point}
    run.update(point=point, publications=[entry], training={**run.record["training"], "points": points})
    return run


def test_added_epochs_are_added_to_the_point(history: History) -> None:
    run = published_at(trained(history, record_of(TrainPlan(epochs=6.0))), 20, 2.5)
    assert plan_for(Request(add_epochs=1.5), run.taught, {}, 60).epochs == 4.0


def test_they_go_on_from_the_checkpoint_that_is_kept_at_the_point(tmp_path: Path) -> None:
    history = History(tmp_path)
    run = published_at(trained(history, record_of(TrainPlan(epochs=6.0)), 16, 24, 42, 48), 20, 2.5)
    tidy(run, lambda _: None, keeps_gguf=True, keeps_points=False)
    kept = sorted(int(child.name.partition("-")[2]) for child in (run.folder / "checkpoints").iterdir())
    # the one before the point, and the end of the stable phase
    assert kept == [16, 42]
    longer = begun(history, record_of(TrainPlan(epochs=4.0)), parent=1)
    found = find_beginning(history, longer, 32)
    assert isinstance(found, Beginning) and (found.run.number, found.step) == (1, 16)


def test_a_warm_start_takes_the_points_adapter_and_so_does_what_continues_it(tmp_path: Path) -> None:
    history = History(tmp_path)
    run = published_at(trained(history, record_of()), 8, 1.0)
    wanted = {"warm_start": 1, "warm_start_adapter": "points/8"}
    warm = first_adapter_record(Request(warm_start=True), "incremental", run.plan, run)
    assert warm == wanted
    next_one = trained(history, {**record_of(), **warm})
    next_one.update(warm_start=1)
    assert first_adapter_record(Request(), "incremental", run.plan, next_one) == wanted
    of_the_end = begun(history, record_of(), warm_start=1)
    assert of_the_end.record["beginning"] != next_one.record["beginning"]
