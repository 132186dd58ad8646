"""A conversation's memory: what is taken in, what is replaced, and what goes where there is no more room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from lora_trainer.errors import OllamaError, UsageError
from pipeline.chat import InLlamaCpp, Tried, fitting
from pipeline.outcome.asked import Answer
from pipeline.run.history import Run
from tests.wizard.chat.conftest import Talking
from wizard.chat.commands import COMMANDS, command_in
from wizard.chat.screen import Flow
from wizard.chat.session import Session
from wizard.screen.layout import cells
from wizard.words import t


class Words:
    """A talker whose tokens are characters: it says its number, and what it was told."""

    system, counts = "S", True

    def __init__(self, context: int = 1000) -> None:
        self.parameters = {"temperature": 0.7, "num_ctx": context}
        self.heard: list[list[str]] = []
        self.seeds: list[int] = []
        self.fails: list[BaseException] = []

    def answer(self, turns: Sequence[dict[str, str]], tried: Tried, seed: int, heard: Callable[[str], None]) -> Answer:
        assert self.tokens(turns, tried) < self.context(tried)
        self.heard.append([turn["content"] for turn in turns])
        self.seeds.append(seed)
        text = f"answer {len(self.heard)}"
        heard(text[:6])
        if self.fails:
            raise self.fails.pop()
        heard(text[6:])
        return Answer(text, True, len(text))

    def context(self, tried: Tried) -> int:
        return int({**self.parameters, **tried.parameters}["num_ctx"])

    def tokens(self, turns: Sequence[dict[str, str]], tried: Tried) -> int:
        return len(tried.system or self.system) + sum(len(turn["content"]) for turn in turns)

    def close(self) -> None:
        """Nothing to give back."""


def contents(session: Session) -> list[str]:
    return [turn["content"] for turn in session.turns]


def nothing(_: str) -> None:
    return None


def test_a_second_try_has_another_seed_and_takes_the_place_of_the_first() -> None:
    talker = Words()
    session = Session(talker)
    session.ask("a", nothing)
    session.ask("b", nothing)
    assert session.retry(nothing).text == "answer 3"
    assert talker.heard[1] == talker.heard[2] == ["a", "answer 1", "b"]
    assert contents(session) == ["a", "answer 1", "b", "answer 3"]
    session.ask("c", nothing)
    assert talker.heard[-1] == ["a", "answer 1", "b", "answer 3", "c"]
    assert len(set(talker.seeds)) == len(talker.seeds)


def test_what_was_said_before_it_was_stopped_counts_and_can_be_replaced() -> None:
    talker = Words()
    session = Session(talker)
    talker.fails = [KeyboardInterrupt()]
    reply = session.ask("a", nothing)
    assert (reply.text, reply.broken_off, contents(session)) == ("answer", True, ["a", "answer"])
    session.retry(nothing)
    assert talker.heard[-1] == ["a"] and contents(session) == ["a", "answer 2"]


def test_an_error_leaves_the_conversation_and_the_question_as_they_were() -> None:
    talker = Words()
    session = Session(talker)
    session.ask("a", nothing)
    talker.fails = [OllamaError("error.ollama.connection_lost")]
    with pytest.raises(OllamaError):
        session.ask("b", nothing)
    assert contents(session) == ["a", "answer 1"]
    session.retry(nothing)
    assert talker.heard[-1] == ["a", "answer 1", "b"]
    talker.fails = [OllamaError("error.ollama.connection_lost")]
    with pytest.raises(OllamaError):
        session.retry(nothing)
    assert contents(session) == ["a", "answer 1", "b", "answer 3"]


def test_two_questions_alike_are_two_questions() -> None:
    talker = Words()
    session = Session(talker)
    session.ask("a", nothing)
    talker.fails = [OllamaError("error.ollama.connection_lost")]
    with pytest.raises(OllamaError):
        session.ask("a", nothing)
    session.retry(nothing)
    assert talker.heard[-1] == ["a", "answer 1", "a"]


def test_where_there_is_no_room_the_oldest_pairs_go_and_that_is_told_once() -> None:
    talker = Words(context=80)  # 60 of them for the prompt
    session = Session(talker)
    told = [session.ask(f"question {number}", nothing).forgotten for number in range(8)]
    assert told.count(True) == 1 and not told[0]
    last = talker.heard[-1]
    assert last[-1] == "question 7" and last[0].startswith("question") and len(last) % 2 == 1
    assert talker.tokens([{"role": "user", "content": text} for text in last], Tried()) <= 60
    assert contents(session)[:-1] == last
    session.clear()
    assert session.turns == []
    session.ask("a", nothing)
    assert talker.heard[-1] == ["a"]


def test_a_question_that_is_too_long_alone_is_refused() -> None:
    session = Session(Words(context=80))
    session.ask("a", nothing)
    with pytest.raises(UsageError) as refused:
        session.ask("b" * 80, nothing)
    assert refused.value.key == "error.chat.too_long" and refused.value.values["context"] == 80
    assert contents(session) == ["a", "answer 1"]


def test_what_is_tried_out_is_what_differs_from_the_model() -> None:
    session = Session(Words())
    session.try_parameter("temperature", 0.6)
    session.try_parameter("top_k", 7)
    session.try_system("T")
    assert session.tried == Tried("T", {"temperature": 0.6, "top_k": 7})
    assert (session.system, session.parameter("temperature"), session.parameter("min_p")) == ("T", 0.6, None)
    session.try_parameter("temperature", 0.7)
    session.try_system("S")
    assert session.tried == Tried(None, {"top_k": 7})
    session.try_system("")
    assert session.tried.system == "" and session.system == ""
    session.reset()
    assert not session.tried


# --- in llama.cpp


@pytest.fixture
def in_llama_cpp(unregistered: Talking) -> Iterator[tuple[InLlamaCpp, Run]]:
    (run,) = unregistered.history.runs("zzhua")
    talker = InLlamaCpp(run.folder / "zzhua.gguf", run)
    yield talker, run
    talker.close()


def test_in_llama_cpp_no_prompt_outgrows_the_context(in_llama_cpp: tuple[InLlamaCpp, Run]) -> None:
    talker, _ = in_llama_cpp
    session = Session(talker)
    session.try_parameter("num_ctx", 256)
    told = [session.ask(f"第{number}问：在干嘛？", nothing).forgotten for number in range(5)]
    assert told.count(True) == 1
    assert talker.tokens(session.turns, session.tried) <= 256
    with pytest.raises(UsageError, match="too_long"):
        fitting(talker, [{"role": "user", "content": "很长" * 300}], session.tried)
    # a model that was loaded anew, for a larger context
    session.try_parameter("num_ctx", 2048)
    long = "很长" * 150
    assert talker.tokens([{"role": "user", "content": long}], session.tried) > 256
    assert session.ask(long, nothing).text


def test_the_context_is_no_larger_than_what_the_model_was_made_for(in_llama_cpp: tuple[InLlamaCpp, Run]) -> None:
    talker, _ = in_llama_cpp
    assert talker.context(Tried()) == talker.context(Tried(parameters={"num_ctx": 1 << 20})) == 2048


def test_pieces_are_the_answer_and_a_seed_makes_it_again(in_llama_cpp: tuple[InLlamaCpp, Run]) -> None:
    talker, _ = in_llama_cpp
    turns, warm = [{"role": "user", "content": "你好"}], Tried(parameters={"temperature": 1.5})
    pieces: list[str] = []
    first = talker.answer(turns, warm, 7, pieces.append)
    assert len(pieces) > 5 and "".join(pieces) == first.text and first.stopped
    assert talker.answer(turns, warm, 7, nothing).text == first.text
    assert len({talker.answer(turns, warm, seed, nothing).text for seed in range(8, 12)}) > 1
    cold = Tried(parameters={"temperature": 0})
    assert len({talker.answer(turns, cold, seed, nothing).text for seed in range(8, 12)}) == 1


def test_of_a_model_that_thinks_the_answer_alone_is_said_and_kept(in_llama_cpp: tuple[InLlamaCpp, Run]) -> None:
    talker, run = in_llama_cpp
    turns, cold = [{"role": "user", "content": "你好"}], Tried(parameters={"temperature": 0})
    whole = talker.answer(turns, cold, 1, nothing).text
    talker.close()
    # as if all up to a character in the middle of it were a thought
    end = whole[len(whole) // 2]
    run.record["chat_format"]["thought_after"] = f"{end}\n"
    pieces: list[str] = []
    thinking = InLlamaCpp(run.folder / "zzhua.gguf", run)
    said = thinking.answer(turns, cold, 1, pieces.append)
    thinking.close()
    assert said.text == whole.partition(end)[2].lstrip() and said.stopped
    assert "".join(pieces) == said.text and pieces[0] == ""


def test_an_answer_that_is_broken_off_leaves_llama_cpp_ready(in_llama_cpp: tuple[InLlamaCpp, Run]) -> None:
    talker, _ = in_llama_cpp
    turns, pieces = [{"role": "user", "content": "你好"}], list[str]()

    def stop(piece: str) -> None:
        pieces.append(piece)
        if len(pieces) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        talker.answer(turns, Tried(), 1, stop)
    whole = talker.answer(turns, Tried(parameters={"top_k": 1}), 1, nothing)
    assert whole.stopped and whole.text.startswith("it…（")


# --- what is typed, and what is written


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("/bye", ("bye", "")),
        (" ／ＢＹＥ ", ("bye", "")),
        ("/?", ("help", "")),
        ("/exit", ("bye", "")),
        ("/set  temperature 0.6", ("set", "temperature 0.6")),
        ("/system 你是\n小雨。", ("system", "你是\n小雨。")),
        ("/", ("", "")),
        ("/usr/bin 是什么？", None),
        ("你好 /bye", None),
        ("", None),
    ],
)
def test_a_command_is_told_from_what_is_meant_for_the_model(typed: str, found: tuple[str, str] | None) -> None:
    assert command_in(typed) == found


def test_every_command_has_a_line_in_the_help() -> None:
    assert [name for name in COMMANDS if t(f"chat.help.{name}") == f"chat.help.{name}"] == []
    assert all(command.usage.startswith(f"/{name}") for name, command in COMMANDS.items())


def flowed(text: str, width: int, size: int) -> str:
    written: list[str] = []
    flow = Flow(written.append, width)
    for at in range(0, len(text), size):
        flow(text[at : at + size])
    flow.end()
    return "".join(written)


TEXT = "（低头）嗯，今天的天气很好呢。Shall we go for a walk?\n  好呀……「诗集」\tx"


@pytest.mark.parametrize("width", [8, 21, 59, 79])
def test_an_answer_is_broken_the_same_however_it_comes(width: int) -> None:
    whole = flowed(TEXT, width, len(TEXT))
    assert {flowed(TEXT, width, size) for size in (1, 2, 3, 7)} == {whole}
    assert max(map(cells, whole.splitlines())) <= width
    assert "".join(whole.split()) == "".join(TEXT.split())
    for line in whole.splitlines():
        assert line[:1] not in ("，", "。", "」", "）")


def test_a_word_wider_than_the_terminal_is_cut_and_nothing_moves_the_cursor() -> None:
    assert flowed("a" * 20, 8, 3) == "aaaaaaaa\naaaaaaaa\naaaa\n"
    assert flowed("一\x1b[2J二\x07\r三", 40, 1) == "一[2J二三\n"
