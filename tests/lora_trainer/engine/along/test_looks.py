"""What is looked at along the way: answers and the loss on general text, which change no bit of what is learnt."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_trainer.engine.along import looks, samples
from lora_trainer.engine.along.general import as_base_model, loss_on, page_of
from lora_trainer.engine.along.samples import Clock, Prompt, answer, prompts_of, seconds_allowed
from lora_trainer.engine.checkpoints import Checkpoints
from lora_trainer.events import EvaluationBegun, Event, Note, Sampled, StepDone, TrainingStarted
from lora_trainer.models.load import chat_format_of, load_model
from lora_trainer.plan import TrainPlan
from lora_trainer.train import TrainResult, train, trainable_model
from tests.lora_trainer.test_train import CPU, PLAN, weights, with_other_answers
from tests.support.tiny import FAMILIES, make_tiny
from tests.support.train_tiny import prepared

QUESTIONS = ("在吗？ 100", "a")
SYSTEM = "你是林栀，说话轻软。"
PAGE = "The quick brown fox jumps over the lazy dog while the captain sails the sea. See you tomorrow! " * 3


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return prepared(make_tiny(tmp_path_factory.mktemp("base")))


@pytest.fixture
def ample(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is, there is time for every look; answers are short."""
    monkeypatch.setattr(samples, "MOST", 16)
    monkeypatch.setattr(samples, "SHARE", math.inf)
    monkeypatch.setattr(looks, "GENERAL_SHARE", math.inf)


def prompts(parts: Any, *questions: str) -> tuple[Prompt, ...]:
    base, tokenizer, _, _ = parts
    return prompts_of(questions, SYSTEM, chat_format_of(base, tokenizer), tokenizer, 1000)


def looked(parts: Any, folder: Path, plan: TrainPlan = PLAN, **more: Any) -> TrainResult:
    """A training that is looked at."""
    asked = {"prompts": prompts(parts, *QUESTIONS), "general_text": PAGE, "hardware": CPU, **more}
    return train(*parts, plan, folder, **asked)


def files(folder: Path, step: int) -> list[bytes]:
    """What of a checkpoint a run goes on with, the states of the random numbers too."""
    names = ("adapter_model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt")
    return [(Checkpoints(folder / "checkpoints").at(step) / name).read_bytes() for name in names]


@pytest.mark.usefixtures("ample")
@pytest.mark.parametrize(("dtype", "trees"), [("float32", True), ("bfloat16", False)])
def test_looking_changes_no_bit_of_what_is_learnt(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any, trees: bool
) -> None:
    if not trees:
        monkeypatch.setattr("lora_trainer.engine.step_trainer.supports_tree", lambda _: False)
    hardware = replace(CPU, dtype=dtype)
    events: list[Event] = []
    plain = train(*parts, PLAN, tmp_path / "plain", hardware=hardware)
    seen = looked(parts, tmp_path / "seen", hardware=hardware, listener=events.append)
    assert weights(seen) == weights(plain)
    assert seen.losses == plain.losses and seen.val_losses == plain.val_losses
    kept = Checkpoints(tmp_path / "plain" / "checkpoints").steps()
    assert Checkpoints(tmp_path / "seen" / "checkpoints").steps() == kept and kept == [9, 10]
    for step in kept:
        assert files(tmp_path / "seen", step) == files(tmp_path / "plain", step)
    assert len([event for event in events if isinstance(event, Sampled)]) == 10
    assert not [event for event in events if isinstance(event, Note) and "along" in event.key]
    assert seen.general_loss is not None and plain.general_loss is None and plain.samples == []


@pytest.mark.usefixtures("ample")
def test_answers_come_behind_each_evaluation_and_the_run_knows_them(parts: Any, tmp_path: Path) -> None:
    events: list[Event] = []
    result = looked(parts, tmp_path, listener=events.append)
    told = [event for event in events if isinstance(event, Sampled)]
    steps = [2, 4, 6, 8, 10]
    assert [(one.step, one.epoch, one.question) for one in told] == [
        (step, step / 4, question) for step in steps for question in QUESTIONS
    ]
    assert [tuple(vars(one).values()) for one in result.samples] == [tuple(vars(one).values()) for one in told]
    assert all(one.answer for one in told)
    for place, event in enumerate(events):
        if isinstance(event, Sampled):
            assert any(isinstance(e, EvaluationBegun) and e.step == event.step for e in events[:place])


@pytest.mark.usefixtures("ample")
@pytest.mark.parametrize(("kind", "step"), [(StepDone, 4), (Sampled, 6), (EvaluationBegun, 6)])
def test_a_run_that_goes_on_knows_what_was_seen_before(
    parts: Any, tmp_path: Path, kind: type[Event], step: int
) -> None:
    whole = looked(parts, tmp_path / "whole")
    events: list[Event] = []
    stop: Callable[[], bool] = lambda: any(isinstance(e, kind) and e.step == step for e in events)  # type: ignore[attr-defined]  # noqa: E731
    first = looked(parts, tmp_path / "run", listener=events.append, stop=stop)
    assert first.interrupted
    events.clear()
    second = looked(parts, tmp_path / "run", listener=events.append, resume=True)
    assert weights(second) == weights(whole) and second.val_losses == whole.val_losses
    assert second.general_loss == whole.general_loss
    # what a stop has left out isn't asked later
    missing = [one for one in whole.samples if one not in second.samples]
    assert {one.step for one in missing} <= {step} and set(map(repr, second.samples)) <= set(map(repr, whole.samples))
    (started,) = [event for event in events if isinstance(event, TrainingStarted)]
    assert [(one.step, one.answer) for one in started.samples] == [(one.step, one.answer) for one in first.samples]


@pytest.mark.usefixtures("ample")
def test_without_validation_rows_it_is_looked_all_the_same_and_once_each_time(parts: Any, tmp_path: Path) -> None:
    base, tokenizer, rows, _ = parts
    events: list[Event] = []
    stop = lambda: any(isinstance(event, StepDone) and event.step == 5 for event in events)  # noqa: E731
    alone = (base, tokenizer, rows, None)
    looked(alone, tmp_path, listener=events.append, stop=stop)
    result = looked(alone, tmp_path, resume=True)
    assert [one.step for one in result.samples] == [step for step in (2, 4, 6, 8, 10) for _ in QUESTIONS]
    assert [(point.step, point.val_loss) for point in result.points] == [(step, None) for step in (2, 4, 6, 8, 10)]
    assert result.general_loss is not None and all(point.general_loss for point in result.points)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_is_the_likeliest_token_after_token(family: str, tmp_path: Path) -> None:
    parts = prepared(make_tiny(tmp_path, family))
    base, *_ = parts
    model = trainable_model(base, TrainPlan(), "cpu", "float32").eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(len(name)))
    (prompt,) = prompts(parts, QUESTIONS[0])
    found, stopped = answer(model, prompt, "cpu", nullcontext, lambda: True)
    assert found and (stopped or len(found) == samples.MOST)
    with torch.no_grad():
        ids = [*prompt.ids, *found]
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, len(prompt.ids) - 1 :]
    for place, token in enumerate([*found, *([prompt.end] if stopped else [])]):
        # to rounding: what is computed at once is summed up in another order
        assert logits[place, token] >= logits[place].max() - 1e-4


def test_a_model_without_a_cache_is_asked_too(parts: Any) -> None:
    base, _, _, _ = parts
    model = trainable_model(base, TrainPlan(), "cpu", "float32").eval()
    (prompt,) = prompts(parts, QUESTIONS[0])
    usual = answer(model, prompt, "cpu", nullcontext, lambda: True)
    read: list[int] = []

    def forget(_: Any, __: Any, options: dict[str, Any], out: Any) -> None:
        read.append(options["input_ids"].shape[1])
        out.past_key_values = None

    handle = model.register_forward_hook(forget, with_kwargs=True)
    try:
        assert answer(model, prompt, "cpu", nullcontext, lambda: True) == usual
    finally:
        handle.remove()
    assert read == list(range(len(prompt.ids), len(prompt.ids) + len(read)))


def test_prompts_are_those_of_the_server_and_what_is_too_long_is_left_out(parts: Any) -> None:
    base, tokenizer, _, val_rows = parts
    fmt = chat_format_of(base, tokenizer)
    (prompt,) = prompts_of(["在吗？ 100", "长" * 500], SYSTEM, fmt, tokenizer, 60)
    first = val_rows[0].sequences[0]
    assert (list(prompt.ids), prompt.end) == (first.prompt_ids, first.completion_ids[-1])
    (bare,) = prompts_of(["在吗？"], None, fmt, tokenizer, 60)
    assert tokenizer.decode(bare.ids) == fmt.render([{"role": "user", "content": "在吗？"}])


def test_answers_have_a_twentieth_of_the_steps_time_and_begin_where_that_is_enough() -> None:
    steps = [{"step": i, "loss": 1.0, "seconds": 10.0, "tokens": 300, "computed": 200} for i in range(1, 11)]
    assert seconds_allowed([], 60) == 0 == seconds_allowed([{"step": 0, "eval_loss": 3.0, "seconds": 9.0}], 60)
    # 100 s for 2000 positions: a forward of 60 takes 1 s, of one then 0.25 s, so 4 s are needed
    assert seconds_allowed(steps, 60) == pytest.approx(5.0) and seconds_allowed(steps[:7], 60) == 0
    assert seconds_allowed(steps, 80) == 0
    asked = {"step": 10, "samples": [], "tokens": 20, "seconds": 2.5, "reading": 0.5}
    # 0.5 s for the prompt and 0.1 s a token: 1.7 s are needed, 2.5 s are left, then no more
    assert seconds_allowed([*steps, asked], 60) == pytest.approx(2.5)
    assert seconds_allowed([*steps, asked, {**asked, "seconds": 1.0, "tokens": 5}], 60) == 0
    assert seconds_allowed([*steps, asked, *steps], 60) == pytest.approx(7.5)
    # of a log that doesn't know what was computed
    assert seconds_allowed([{k: v for k, v in step.items() if k != "computed"} for step in steps], 60) > 0


class Steps(Clock):
    """A clock on which a token takes a second."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.left = self.most

    most = 0

    def __call__(self) -> bool:
        self.left -= 1
        return super().__call__() and self.left >= 0


def test_an_answer_ends_where_its_time_does(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "SHARE", math.inf)
    monkeypatch.setattr(looks, "Clock", Steps)
    short = replace(PLAN, epochs=0.5)
    plain = train(*parts, short, tmp_path / "plain", hardware=CPU)
    for most, told in ((samples.LEAST - 1, []), (samples.LEAST, [1, 1, 2, 2])):
        # so few tokens that no answer of a model that has learnt nothing has ended
        monkeypatch.setattr(Steps, "most", most)
        result = looked(parts, tmp_path / str(most), short)
        assert [one.step for one in result.samples if not one.stopped] == told
        assert weights(result) == weights(plain)


def test_the_clock_tells_reading_from_answering(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 0.5, 3.5, 4.0, 6.0, 7.0, 100.0, 101.0, 103.0])
    monkeypatch.setattr(samples.time, "perf_counter", lambda: next(moments))
    clock = Clock(5.0)
    assert [clock() for _ in range(4)] == [True, True, True, False]
    assert clock.times() == {"seconds": 7.0, "reading": 3.0}
    never = Clock(0.5)
    assert not never()
    assert never.times() == {"seconds": 3.0, "reading": 3.0}


@pytest.mark.usefixtures("ample")
def test_a_look_that_fails_is_told_once_and_the_training_goes_on(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    monkeypatch.setattr(looks, "answer", fails)
    monkeypatch.setattr(looks, "loss_on", fails)
    events: list[Event] = []
    result = looked(parts, tmp_path, listener=events.append)
    reason = {"reason": "CUDA out of memory. Tried to allocate 2.00 GiB."}
    told = [event for event in events if isinstance(event, Note)]
    assert told == [Note("note.along.general", reason), Note("note.along.samples", reason)]
    assert not result.interrupted and result.samples == [] and result.general_loss is None


def test_general_text_is_read_by_the_base_model_first_and_at_the_end(parts: Any, tmp_path: Path) -> None:
    base, tokenizer, _, _ = parts
    result = looked(parts, tmp_path, prompts=())
    assert result.general_loss is not None
    page = page_of(PAGE, tokenizer, 1000)
    assert page is not None
    reference = load_model(base, "cpu", "float32")
    with torch.no_grad():
        ids = torch.tensor([page.prompt_ids + page.completion_ids])
        before = reference(input_ids=ids, labels=ids).loss.item()
    # float32, summed up in another order
    assert result.general_loss[0] == pytest.approx(before, rel=1e-5)
    assert result.points[-1].general_loss == result.general_loss[1] != pytest.approx(before, rel=1e-3)


def test_a_warm_start_is_held_against_the_base_model_too(parts: Any, tmp_path: Path) -> None:
    fresh = looked(parts, tmp_path / "fresh", prompts=())
    warm = looked(parts, tmp_path / "warm", prompts=(), initial_adapter=fresh.adapter)
    assert fresh.general_loss is not None and warm.general_loss is not None
    assert warm.general_loss[0] == pytest.approx(fresh.general_loss[0], rel=1e-6)


def test_another_page_is_not_held_against_the_first(parts: Any, tmp_path: Path) -> None:
    events: list[Event] = []
    stop = lambda: any(isinstance(event, StepDone) and event.step == 5 for event in events)  # noqa: E731
    looked(parts, tmp_path, prompts=(), listener=events.append, stop=stop)
    result = looked(parts, tmp_path, prompts=(), general_text=PAGE[7:], resume=True)
    whole = looked(parts, tmp_path / "whole", prompts=(), general_text=PAGE[7:])
    assert result.general_loss == whole.general_loss


def test_the_adapter_is_off_within_and_on_again_whatever_happens(parts: Any) -> None:
    base, tokenizer, _, _ = parts
    page = page_of(PAGE, tokenizer, 1000)
    assert page is not None
    model = trainable_model(base, TrainPlan(), "cpu", "float32").eval()
    untrained = loss_on(model, page, "cpu")
    learnt = [parameter for name, parameter in model.named_parameters() if "lora_B" in name]
    for parameter in learnt:
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
    changed = loss_on(model, page, "cpu")
    with pytest.raises(KeyError), as_base_model(model):
        assert loss_on(model, page, "cpu") == untrained != changed
        raise KeyError
    assert loss_on(model, page, "cpu") == changed and all(parameter.requires_grad for parameter in learnt)


def test_a_page_is_cut_to_what_memory_holds_and_an_empty_one_is_none(parts: Any) -> None:
    _, tokenizer, _, _ = parts
    page = page_of(PAGE * 50, tokenizer, 40)
    assert page is not None and (len(page.prompt_ids), len(page.completion_ids)) == (1, 39)
    assert page_of("", tokenizer, 40) is None


@pytest.mark.usefixtures("ample")
def test_what_early_stop_publishes_is_read_too(parts: Any, tmp_path: Path) -> None:
    base, tokenizer, rows, _ = parts
    others = with_other_answers(tokenizer, base)
    plan = replace(PLAN, epochs=6.0, lora_dropout=0.0, early_stop=True)
    result = looked((base, tokenizer, rows, others), tmp_path, plan, prompts=())
    assert result.best_step is not None and result.best_step < result.steps
    by_step = {point.step: point for point in result.points}
    assert result.general_loss is not None
    assert by_step[result.best_step].general_loss == result.general_loss[1]
    assert by_step[result.best_step].adapter == "adapter"
