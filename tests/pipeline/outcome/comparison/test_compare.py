"""Both models answer the same questions alike, one after the other; nothing is asked twice and nothing left behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.chat_format import ChatFormat
from lora_trainer.errors import Interrupted
from lora_trainer.events import Event, Listener, Note, Progress, StageDone, StageStarted, ignore
from ollama_export.llama_cpp import engine
from ollama_export.llama_cpp.engine import Engine
from ollama_export.server.client import OllamaClient
from pipeline.job import Job, going_on
from pipeline.outcome.asked import Answer, Comparison, Question, Side
from pipeline.outcome.comparison import compare as comparing
from pipeline.outcome.comparison import respondents
from pipeline.outcome.comparison.compare import Comparing, Stop, compare_and_keep, compared_with, comparing_of
from pipeline.outcome.comparison.questions import ALWAYS, questions_of
from pipeline.publishing import gguf_path
from pipeline.request import Request
from pipeline.run.history import History, Run
from tests.pipeline.test_publishing import put, register
from tests.support.exports import export

QUESTIONS = (Question(ALWAYS["zh"], "always"), Question("在吗？", "typed", "你是别人。"))


class Asking:
    """Counts the engines and their questions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded: list[Path] = []
        self.open = self.asked = 0
        counts = self

        class Counted(Engine):
            def __init__(self, gguf: Path, **how: Any) -> None:
                assert counts.open == 0, "two models in memory"
                counts.loaded.append(gguf)
                counts.open += 1
                super().__init__(gguf, **how)

            def complete(self, *prompt: Any, **how: Any) -> Any:
                counts.asked += 1
                return super().complete(*prompt, **how)

            def close(self) -> None:
                counts.open -= 1
                super().close()

        monkeypatch.setattr(engine, "Engine", Counted)


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> Asking:
    return Asking(monkeypatch)


def ask(run: Run, before: Run | str | None = None, **how: Any) -> tuple[Comparison, list[Event]]:
    heard: list[Event] = []
    how = {"listener": heard.append, "stop": lambda: False, "history": History(run.folder.parents[1]), **how}
    questions = how.pop("questions", QUESTIONS)
    with Comparing(run, before, **how) as both:
        found = both.compare(questions)
    assert found is not None
    return found, heard


def compare_run(run: Run, listener: Listener, stop: Stop = lambda: False) -> Comparison | None:
    with comparing_of(job_of(run), run, listener, stop) as both:
        return compare_and_keep(both)


def said(gguf: Path, run: Run, question: Question, seed: int = 42) -> Answer:
    """What a GGUF answers, asked by hand with what the run is served with (its temperature is 0.3)."""
    chat_format = ChatFormat.from_json(run.record["chat_format"])
    system = question.system or run.record["system"]
    prompt = chat_format.render([{"role": "system", "content": system}, {"role": "user", "content": question.text}])
    with Engine(gguf, context=2304) as loaded:
        found = loaded.complete(prompt, max_tokens=256, temperature=0.3, top_p=0.9, top_k=40, seed=seed)
    return Answer(found.text.strip(), found.stopped, len(found.tokens))


def notes(heard: list[Event]) -> list[str]:
    return [event.key for event in heard if isinstance(event, Note)]


def folder(run: Run) -> set[str]:
    return {path.name for path in run.folder.iterdir()}


@contextmanager
def no_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for module in (comparing, respondents):
            patch.setattr(module, "is_installed", lambda: False)
        yield


def job_of(run: Run, client: OllamaClient | None = None) -> Job:
    return going_on(run, Request(ollama_name="zzhua", register_only=True), History(run.folder.parents[1]), client)


def test_a_new_model_is_compared_with_its_base_under_the_same_prompt_seed_and_sampling(
    run: Run, asking: Asking, tmp_path: Path
) -> None:
    before = folder(run)
    found, heard = ask(run)
    assert found.before == Side("base", run.record["base"]["source"])
    assert found.after == Side("run", "zzhua", 1, 1.0)
    assert (found.seed, found.parameters["temperature"]) == (42, 0.3)
    assert [one.question for one in found.asked] == list(QUESTIONS)
    assert len(asking.loaded) == 2 and asking.open == 0 and folder(run) == before
    progress = [(event.done, event.total) for event in heard if isinstance(event, Progress) and event.task == "compare"]
    assert progress == [(0, 4), (1, 4), (2, 4), (2, 4), (3, 4), (4, 4)]
    plain = export(Path(run.record["base"]["source"]), tmp_path / "base.gguf", file_type="q8_0").path
    for one in found.asked:
        assert one.before == said(plain, run, one.question)
        assert one.after == said(gguf_path(run), run, one.question)


def test_answers_that_a_record_has_are_not_asked_for_again(run: Run, history: History, asking: Asking) -> None:
    compare_run(run, ignore)
    first = Comparison.from_record(History(history.home).runs("zzhua")[0].record["comparison"])
    count = asking.asked
    assert count == 2 * len(first.asked) and len(asking.loaded) == 2
    again, heard = ask(run, questions=[one.question for one in first.asked])
    assert again == first and asking.asked == count
    assert not [event for event in heard if isinstance(event, Progress)]
    # one question more is one more for each
    again, _ = ask(run, questions=[*(one.question for one in first.asked), QUESTIONS[1]])
    assert again.asked[:-1] == first.asked and asking.asked == count + 2
    # the base model's are another run's too, whatever its name
    other = Run(shutil.copytree(run.folder, history.home / "other" / "1"), dict(run.record))
    other.update(name="other", comparison=None, gguf={**run.record["gguf"], "digest": "0" * 64})
    gguf_path(run).with_name("zzhua.gguf").rename(other.folder / "other.gguf")
    again, _ = ask(other, questions=[one.question for one in first.asked])
    assert asking.loaded[4:] == [other.folder / "other.gguf"]
    assert [one.before for one in again.asked] == [one.before for one in first.asked]


def test_another_seed_or_temperature_or_prompt_is_another_answer(run: Run, asking: Asking) -> None:
    compare_run(run, ignore)
    first = Comparison.from_record(run.record["comparison"])
    questions = [first.asked[0].question]
    for change in ({"temperature": 1.5}, {"seed": 7}, {"top_k": 2}):
        count = asking.asked
        found, _ = ask(run, questions=questions, parameters={**first.parameters, **change})
        assert asking.asked == count + 2 and found.seed == change.get("seed", 42)
    count = asking.asked
    run.record["system"] = "你是别人。"
    ask(run, questions=questions, parameters=first.parameters)
    assert asking.asked == count + 2


def test_the_step_keeps_what_was_said_in_the_record_and_as_markdown(run: Run) -> None:
    heard: list[Event] = []
    found = compare_run(run, heard.append)
    assert found is not None and Comparison.from_record(run.record["comparison"]) == found
    assert [one.question for one in found.asked] == list(questions_of(run, ignore))
    assert {one.question.source for one in found.asked} == {"always", "character", "validation"}
    assert [type(event) for event in heard if isinstance(event, StageStarted | StageDone)] == [StageStarted, StageDone]
    assert run.has_done("compare")
    page = (run.folder / "comparison.md").read_text(encoding="utf-8")
    assert all(one.question.text in page for one in found.asked)


@pytest.mark.parametrize("after", [1, 3])
def test_a_stop_leaves_nothing_behind(run: Run, after: int, asking: Asking) -> None:
    before, calls = folder(run), []

    def stop() -> bool:
        calls.append(1)
        return len(calls) > after

    with pytest.raises(Interrupted):
        compare_run(run, ignore, stop)
    assert folder(run) == before and asking.open == 0 and "comparison" not in run.record


def test_ctrl_c_in_the_middle_of_an_answer_is_a_stop(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    before = folder(run)
    monkeypatch.setattr(Engine, "complete", interrupted)
    with pytest.raises(Interrupted):
        compare_run(run, ignore)
    assert folder(run) == before


def test_without_room_for_the_base_model_the_answers_after_stand_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch, asking: Asking
) -> None:
    monkeypatch.setattr(respondents, "SPARE_DISK", 1 << 60)
    found, heard = ask(run)
    assert notes(heard) == ["note.compare.no_before", "error.disk.too_small"]
    assert found.before is None and all(one.before is None and one.after.text for one in found.asked)
    assert asking.loaded == [gguf_path(run)]


def test_a_base_model_that_is_gone_is_told(run: Run) -> None:
    run.record["base"] = {**run.record["base"], "source": "/nowhere/at/all"}
    found, heard = ask(run)
    assert notes(heard) == ["note.compare.no_before", "error.base.gone"] and found.before is None


def test_a_trained_model_that_cant_be_asked_holds_up_nothing(run: Run) -> None:
    heard: list[Event] = []
    gguf_path(run).write_bytes(b"GGUF")
    assert compare_run(run, heard.append) is None
    assert notes(heard)[0] == "note.compare.failed" and "comparison" not in run.record


def test_without_llama_cpp_it_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Event] = []
    with no_engine(monkeypatch):
        assert compare_run(run, heard.append) is None
    assert notes(heard) == ["note.compare.no_engine"]


def test_what_a_killed_comparison_has_left_goes_with_the_next(run: Run) -> None:
    (run.folder / "base-to-compare.gguf.part").write_bytes(b"half")
    with Comparing(run, None, history=History(run.folder.parents[1])):
        assert not list(run.folder.glob("*to-compare*"))


def second(run: Run) -> Run:
    """Another run of the same name, trained alike."""
    other = Run(shutil.copytree(run.folder, run.folder.with_name("2")), dict(run.record))
    other.update(number=2, parent=1, status="trained")
    return other


def test_the_model_that_stands_is_asked_in_ollamas_own_file_else_in_ollama_else_made_again(
    run: Run, client: OllamaClient, asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(job_of(second(run), client), previous=run)
    after = job.run
    assert after is not None
    register(run, client)
    assert not gguf_path(run).exists()
    found, _ = ask(after, run, client=client)
    assert found.before == Side("run", "zzhua", 1, 1.0) and found.after.run == 2
    assert asking.loaded[0].name == f"sha256-{run.record['gguf']['digest']}"
    in_file = [one.before for one in found.asked]
    assert in_file == [one.after for one in found.asked]
    # its file can't be read
    monkeypatch.setattr(respondents, "stored_gguf", lambda r, _: gguf_path(r) if gguf_path(r).exists() else None)
    monkeypatch.setattr(Comparing, "_known", lambda *_: {})
    found, heard = ask(after, run, client=client)
    assert asking.loaded[2:] == [gguf_path(after)] and not notes(heard)
    assert all(one.before is not None and one.before.text and one.before.tokens for one in found.asked)
    assert not client.is_loaded("zzhua")
    # nothing is left of it but its adapter
    client.delete("zzhua")
    found, _ = ask(after, run, client=client)
    assert asking.loaded[3:] == [after.folder / "run-1-to-compare.gguf", gguf_path(after)]
    assert [one.before for one in found.asked] == in_file and not list(after.folder.glob("*to-compare*"))


def test_without_llama_cpp_both_are_asked_where_they_stand(
    run: Run, client: OllamaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(run, client)
    with no_engine(monkeypatch):
        found, _ = ask(run, client=client)
    assert found.before is None and all(one.after.text for one in found.asked)


def test_a_model_made_elsewhere_is_asked_in_ollama_under_its_own_prompt(
    run: Run, history: History, client: OllamaClient
) -> None:
    assert compared_with(run, None, history, client) is None
    put(client, run, "You are old.")
    run.update(gguf={**run.record["gguf"], "digest": "0" * 64, "mark": "0" * 16})
    assert compared_with(run, None, history, client) == "zzhua"
    found, _ = ask(run, "zzhua", client=client)
    assert found.before == Side("ollama", "zzhua")
    assert all(one.before is not None and one.before.text for one in found.asked) and not client.is_loaded("zzhua")


def test_a_run_is_compared_with_the_one_that_it_continues(run: Run, history: History) -> None:
    after = second(run)
    assert compared_with(after, run, history, None) is run
    assert compared_with(run, run, history, None) is None
    run.record["stages"] = {}
    assert compared_with(after, run, history, None) is None


def test_a_point_is_told_by_its_own_epochs(run: Run) -> None:
    run.record["point"] = {"step": 1, "epochs": 0.5}
    found, _ = ask(run)
    assert found.after.epochs == 0.5


def test_the_seed_is_one_that_every_server_takes(run: Run) -> None:
    def seed(**parameters: Any) -> int:
        return Comparing(run, None, history=History(run.folder.parents[1]), parameters=parameters).sampling.seed

    assert (seed(), seed(seed=-1), seed(seed=7)) == (42, 42, 7)
    assert 0 <= seed(seed=2**32 - 1) < 2**31
