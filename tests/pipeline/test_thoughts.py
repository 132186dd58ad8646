"""What is thought before an answer: left out, or taught, and then served as it was taught."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.chat_format import ChatFormat
from ollama_export.server.client import OllamaClient
from pipeline.run.rows import rows_of
from tests.support.chat_templates import REAL
from tests.support.ollama_fixture import TestOllama
from tests.support.program import Program

OPEN = {"Qwen-Qwen3-0.6B": "assistant\n", "openbmb-MiniCPM5-1B": "assistant\n<think>\n"}
"""Family -> how a prompt ends that leaves the thought to the model."""


def that_thinks(folder: Path, url: str, family: str) -> Program:
    """A program whose base model has this family's template, and whose dialogues have thoughts."""
    program = Program(folder, url)
    path = program.base / "tokenizer_config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**told, "chat_template": REAL[family]}), encoding="utf-8")
    with_thoughts(program)
    return program


def with_thoughts(program: Program) -> None:
    """Give every training answer a thought, in one of the two ways in which files have it."""
    path, rows = program.data / "train.jsonl", []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        row: dict[str, Any] = json.loads(line)
        for message in row["messages"]:
            if message["role"] == "assistant" and number % 2:
                message["reasoning_content"] = f"想 {number}"
            elif message["role"] == "assistant":
                message["content"] = f"<think>\n想 {number}\n</think>\n\n{message['content']}"
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
    path.write_text("".join(rows), encoding="utf-8")


@pytest.mark.parametrize("family", OPEN)
def test_thoughts_that_are_taught_are_served_open_and_kept_from_run_to_run(
    tmp_path: Path, either_ollama: TestOllama, family: str
) -> None:
    program = that_thinks(tmp_path / "家 home", either_ollama.url, family)
    name, client = either_ollama.name("thinker"), OllamaClient(either_ollama.url)
    done = program.run("--ollama_name", name, "--thoughts", "train")
    assert "learnt together with the thought" in done["shown"]
    (run,) = program.history.runs(name)
    taught = ChatFormat.from_json(run.record["chat_format"])
    assert taught.thinks and taught.generation_prompt.endswith(OPEN[family])
    kept = rows_of(run)
    assert kept is not None and {len(row.thoughts) > 0 for row in kept.train} == {True}
    assert kept.fingerprint == run.record["data"]["fingerprint"]
    # Ollama tells thought and answer apart, and its prompt ends where the trained one did
    assert "thinking" in client.show(name)["capabilities"]
    rendered = client.rendered(name, [{"role": "user", "content": "在吗"}])
    assert rendered is not None and rendered.endswith(OPEN[family])
    program.run_bare("--ollama_name", name, "--verify")
    # what belongs to a model is kept, whatever the flags of the moment say nothing of
    program.run_bare("--ollama_name", name, "--continue_train", "--add_epochs", "1", "--yes")
    second = program.history.runs(name)[1]
    assert ChatFormat.from_json(second.record["chat_format"]) == taught and second.record["began_with"]["run"] == 1
    program.run_bare("--ollama_name", name, "--continue_train", "--add_epochs", "1", "--thoughts", "strip", "--yes")
    third = program.history.runs(name)[2]
    assert not ChatFormat.from_json(third.record["chat_format"]).thinks
    assert "thinking" not in client.show(name)["capabilities"]


def test_by_default_the_answer_alone_is_learnt_and_the_prompt_closes_the_thought(tmp_path: Path) -> None:
    program = that_thinks(tmp_path / "home", "127.0.0.1:9", "Qwen-Qwen3-0.6B")
    done = program.run("--no_register")
    assert "24" in done["shown"] and "had a thought before them" in done["shown"]
    run = program.newest
    assert run is not None
    assert run.record["chat_format"]["generation_prompt"].endswith("<think>\n\n</think>\n\n")
    assert "thought_after" not in run.record["chat_format"]


def test_a_base_model_that_knows_no_thoughts_is_told_before_the_training(tmp_path: Path) -> None:
    program = Program(tmp_path / "home")
    with_thoughts(program)
    told = program.run("--no_register", "--thoughts", "train", expect=6)
    assert told["error"]["key"] == "error.format.no_thoughts" and "--thoughts" in told["error"]["message"]
    # dialogues without any have nothing to be taught
    program.write_data(24)
    assert "no thoughts" in program.run("--no_register", "--thoughts", "train")["shown"]
