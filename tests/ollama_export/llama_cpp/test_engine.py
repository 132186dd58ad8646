"""llama.cpp in process: it answers, counts and stops, and says why a GGUF doesn't load."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lora_trainer.errors import ConversionError
from ollama_export.llama_cpp.engine import Engine
from ollama_export.llama_cpp.server import Hangs, LlamaServer
from tests.support.exports import export, smollm2
from tests.support.tiny import make_speaker


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(smollm2(), context=512) as loaded:
        yield loaded


def test_a_greedy_completion_is_the_same_each_time_and_tells_its_tokens(engine: Engine) -> None:
    answer = engine.complete("The capital of France is", max_tokens=3)
    assert answer == engine.complete("The capital of France is", max_tokens=3)
    assert answer.text == " Paris.\n"
    assert len(answer.tokens) == 3
    assert answer.prompt_tokens == 5
    assert not answer.stopped


def test_an_answer_in_chat_stops_by_itself(engine: Engine) -> None:
    question = [{"role": "user", "content": "Say hi."}]
    answer = engine.chat(question, max_tokens=100)
    assert answer.stopped
    assert "<|im_end|>" not in answer.text
    assert answer.prompt_tokens == len(engine.tokenize(engine.apply_template(question), add_special=False))


def test_a_stop_text_ends_the_answer(engine: Engine) -> None:
    answer = engine.complete("The capital of France is", max_tokens=20, stop=["."])
    assert answer.text == " Paris"
    assert answer.stopped


def test_special_tokens_are_read_only_where_asked(engine: Engine) -> None:
    assert len(engine.tokenize("<|im_end|>", add_special=False)) == 1
    assert len(engine.tokenize("<|im_end|>", add_special=False, parse_special=False)) > 1


def test_the_template_opens_the_assistants_turn(engine: Engine) -> None:
    prompt = engine.apply_template([{"role": "system", "content": "你是林栀。"}, {"role": "user", "content": "你好"}])
    assert prompt == (
        "<|im_start|>system\n你是林栀。<|im_end|>\n<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n"
    )


def test_log_probabilities_cover_the_vocabulary_and_sum_to_one(engine: Engine) -> None:
    found = engine.logprobs("The capital of France is")
    assert len(found) == 49152
    assert sum(map(math.exp, found)) == pytest.approx(1, abs=1e-3)
    assert found.index(max(found)) == engine.tokenize(" Paris", add_special=False)[0]


def test_a_gguf_that_does_not_load_is_an_error_with_the_reason(tmp_path: Path) -> None:
    whole = smollm2().read_bytes()
    (tmp_path / "half.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConversionError) as caught:
        Engine(tmp_path / "half.gguf")
    assert caught.value.key == "error.gguf.broken"
    (tmp_path / "odd.gguf").write_bytes(whole.replace(b"llama.block_count", b"llama.block_counx", 1))
    with pytest.raises(ConversionError) as caught:
        Engine(tmp_path / "odd.gguf")
    assert caught.value.key == "error.engine.load"
    assert "llama.block_count" in caught.value.values["reason"]


def test_too_long_a_prompt_is_an_error(engine: Engine) -> None:
    with pytest.raises(ConversionError) as caught:
        engine.complete("word " * 2000, max_tokens=1)
    assert caught.value.key == "error.engine.refused"


def test_a_stream_is_the_completion_in_pieces(engine: Engine) -> None:
    pieces: list[str] = []
    answer = engine.stream("The capital of France is", pieces.append, max_tokens=3, seed=1, temperature=0.0)
    assert answer == engine.complete("The capital of France is", max_tokens=3) and len(pieces) == 3
    stopped = engine.stream("The capital of France is", lambda _: None, max_tokens=20, seed=1, stop=["."], top_k=1)
    assert (stopped.text, stopped.stopped) == (" Paris", True)


def test_a_stream_of_too_long_a_prompt_is_an_error(engine: Engine) -> None:
    with pytest.raises(ConversionError) as caught:
        engine.stream("word " * 2000, lambda _: None, max_tokens=1, seed=1)
    assert caught.value.key == "error.engine.refused" and "context" in caught.value.values["reason"]


def test_a_stream_of_an_llama_cpp_that_dies_is_an_error() -> None:
    others = set(psutil.Process().children())
    with Engine(smollm2(), context=512) as engine:
        (process,) = set(psutil.Process().children()) - others
        with pytest.raises(ConversionError) as caught:
            engine.stream("Once upon a time", lambda _: process.kill(), max_tokens=400, seed=1)
    assert caught.value.key == "error.engine.killed"


def test_llama_cpp_writes_nothing_and_closing_ends_its_process() -> None:
    script = """
import sys
from pathlib import Path
import psutil
from ollama_export.llama_cpp.engine import Engine
for _ in range(3):
    with Engine(Path(sys.argv[1]), context=512) as engine:
        engine.complete("hello", max_tokens=2)
        assert psutil.Process().children()
    assert not psutil.Process().children()
"""
    done = subprocess.run([sys.executable, "-c", script, str(smollm2())], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_whoever_is_killed_leaves_no_llama_cpp_behind() -> None:
    script = """
import sys
from pathlib import Path
import psutil
from ollama_export.llama_cpp.engine import Engine
engine = Engine(Path(sys.argv[1]), context=512)
print(psutil.Process().children()[0].pid, flush=True)
psutil.Process().kill()
"""
    done = subprocess.run([sys.executable, "-c", script, str(smollm2())], capture_output=True, text=True, check=False)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(300)


@pytest.mark.posix("a process is stopped by a POSIX signal")
def test_a_llama_cpp_that_hangs_is_ended_and_an_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.gguf")
    with pytest.raises(Hangs):
        LlamaServer(tmp_path / "endless.gguf", seconds=0.5)
    others = set(psutil.Process().children())
    with Engine(smollm2(), context=512, answer_seconds=0.5) as engine:
        (process,) = set(psutil.Process().children()) - others
        process.suspend()
        with pytest.raises(ConversionError) as caught:
            engine.complete("hello", max_tokens=2)
        assert caught.value.key == "error.engine.hangs"
        process.wait(300)


@pytest.mark.posix("a POSIX signal")
def test_a_ctrl_c_that_reaches_llama_cpp_is_not_its_to_obey() -> None:
    others = set(psutil.Process().children())
    # what is ignored here (in the background, under nohup) would be ignored by llama.cpp without its doing
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Engine(smollm2(), context=512) as engine:
            (process,) = set(psutil.Process().children()) - others
            process.send_signal(signal.SIGINT)
            assert len(engine.complete("The capital of France is", max_tokens=40).tokens) > 1
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_llama_cpp_that_dies_is_an_error_and_takes_nothing_with_it() -> None:
    others = set(psutil.Process().children())
    with Engine(smollm2(), context=512) as engine:
        (process,) = set(psutil.Process().children()) - others
        process.kill()
        with pytest.raises(ConversionError) as caught:
            engine.complete("hello", max_tokens=2)
        assert caught.value.key == "error.engine.killed"


def test_a_llama_cpp_that_aborts_or_does_not_load_itself_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "xllamacpp.py"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for text, key, value in (
        ("import os\nos.abort()", "error.engine.died", ("how", "SIGABRT")),
        ("raise ImportError('libgomp.so.1: no such file')", "error.engine.unusable", ("reason", "libgomp.so.1")),
    ):
        package.write_text(text, encoding="utf-8")
        with pytest.raises(ConversionError) as caught:
            Engine(smollm2(), context=512)
        assert caught.value.key == key and value[1] in caught.value.values[value[0]]


@pytest.mark.parametrize("end", ["<|im_start|>", "<|endoftext|>"])
def test_each_token_that_the_family_ends_an_answer_with_ends_it(tmp_path: Path, end: str) -> None:
    base = make_speaker(tmp_path / "base")
    vocabulary = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    ids = vocabulary["model"]["vocab"] | {token["content"]: token["id"] for token in vocabulary["added_tokens"]}
    make_speaker(base, says=[ids["a"], ids[end], ids["b"]])
    told = export(base, tmp_path / "told.gguf", other_ends=["<|endoftext|>", "<|im_start|>"]).path
    untold = export(base, tmp_path / "untold.gguf").path
    said = {}
    for gguf in (told, untold):
        with Engine(gguf, context=64) as engine:
            answer = engine.complete("<|im_start|>assistant\n", max_tokens=8)
            said[gguf] = (answer.text, len(answer.tokens), answer.stopped)
    assert said[told][0] == "a" and said[told][2]
    # one that llama.cpp knows by its text stops it in any case
    assert (said[untold][0] == "a") is (end == "<|endoftext|>")
