"""Where nobody can answer, each line of the input is a question; the answers alone go to stdout."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from pipeline.chat import InLlamaCpp, InOllama, Tried
from pipeline.partner import find_partner, ignore
from tests.support.project import ROOT
from tests.wizard.chat.conftest import Talking


def said(
    talking: Talking, text: str, *flags: str, command: Sequence[str] = (), **more: str
) -> subprocess.CompletedProcess[str]:
    words = command or [sys.executable, str(ROOT / "train_to_ollama.py"), "--ollama_name", "zzhua", "--chat"]
    return subprocess.run(
        [*words, *flags],
        input=text,
        env={**talking.environment, "TRAIN_TO_OLLAMA_LANG": "zh", **more},
        cwd=talking.program.folder,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


GREEDILY = ("--temperature", "0")


@pytest.mark.posix("bash")
def test_a_pipe_into_the_script_answers_each_line_and_ends(registered: Talking) -> None:
    script = ["bash", str(ROOT / "quick_start.sh"), "7", "zzhua"]
    done = said(registered, "你好\n\n在吗？", command=script, TRAIN_TO_OLLAMA_PYTHON=sys.executable)
    assert (done.returncode, done.stderr) == (0, "")
    answers = done.stdout.splitlines()
    # the model says nothing with a line's end in it
    assert len(answers) == 2 and all(answers) and "\x1b" not in done.stdout


@pytest.mark.parametrize("place", ["registered", "unregistered"])
def test_both_say_the_same_where_the_likeliest_word_is_taken(place: str, request: pytest.FixtureRequest) -> None:
    talking: Talking = request.getfixturevalue(place)
    done = said(talking, "你好\n/retry\n/bye\nnot asked\n", *GREEDILY)
    assert done.returncode == 0, done.stderr
    first, again = done.stdout.splitlines()
    assert first == again and first.startswith("it…（！你 talan") and "温度是 0" in done.stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/set top_k many", "top_k 要是一个 0～1048576 的整数，不能是「many」"),
        ("/set top_q 0.5", "没有「top_q」这一项，是不是 top_p"),
        ("/set min_p 2", "min_p 要在 0～1 之间，不能是 2"),
        ("/set tfs_z 2", "没有「tfs_z」这一项。可以改的：temperature, top_p, top_k, min_p, repeat_penalty, num_ctx"),
        ("/fly", "没有 /fly 这个命令，有：/retry /fix /good /undo /set"),
        ("/retyr", "是不是 /retry？"),
        ("/retry", "还没有问过什么"),
    ],
)
def test_a_wrong_line_is_told_beside_the_answers_and_ends_a_script(unregistered: Talking, line: str, told: str) -> None:
    done = said(unregistered, f"{line}\n你好\n")
    assert (done.returncode, done.stdout) == (2, "") and told in done.stderr


def test_json_tells_the_conversation(unregistered: Talking) -> None:
    done = said(unregistered, "你好\n/set top_k 1\n在吗？\n", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["status"], told["name"], told["run"]) == (0, "done", "zzhua", 1)
    assert [turn["role"] for turn in told["turns"]] == ["user", "assistant"] * 2
    assert told["turns"][2]["content"] == "在吗？"


def test_a_system_prompt_of_a_flag_is_tried_out_and_not_kept(unregistered: Talking) -> None:
    (run,) = unregistered.history.runs("zzhua")
    before = (run.folder / "run.json").read_text(encoding="utf-8")
    done = said(unregistered, "/system\n", "--system", "你是小雨。")
    assert (done.returncode, done.stderr) == (0, "你是小雨。\n")
    assert (run.folder / "run.json").read_text(encoding="utf-8") == before


def test_who_is_not_there_is_no_one_to_talk_to(registered: Talking, unregistered: Talking) -> None:
    nobody = ("--ollama_name", "nobody")
    done = said(registered, "你好\n", *nobody)
    assert done.returncode == 2 and "没有「nobody」这个模型" in done.stderr
    assert said(unregistered, "你好\n", *nobody).returncode == 5
    done = said(registered, "你好\n", "--run", "2")
    assert done.returncode == 2 and "没有第 2 次训练" in done.stderr


def test_a_file_that_is_gone_is_made_again_only_where_a_script_says_so(unregistered: Talking) -> None:
    (run,) = unregistered.history.runs("zzhua")
    (run.folder / "zzhua.gguf").unlink()
    done = said(unregistered, "你好\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr and "--register_only --run 1" in done.stderr
    done = said(unregistered, "你好\n", "--yes", *GREEDILY)
    assert done.returncode == 0 and done.stdout.startswith("it…（！你")
    assert list(run.folder.glob("*.gguf")) == []


def test_an_ollama_that_dies_in_the_middle_is_an_error_of_a_script(registered: Talking) -> None:
    assert registered.ollama is not None
    registered.ollama.faults.add("die_during", "/api/chat")
    done = said(registered, "你好\n在吗？\n")
    assert done.returncode == 5 and "断" in done.stderr and "Traceback" not in done.stderr


# --- who is meant


def test_a_run_that_is_no_more_in_use_is_talked_to_in_its_backup(
    registered: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", registered.environment["OLLAMA_HOST"])
    (run,) = registered.history.runs("zzhua")
    partner, client = find_partner(registered.history, "zzhua", 1, ignore)
    assert partner.stands and partner.in_ollama == "zzhua"
    client.copy("zzhua", "zzhua:backup-20261101-1")
    client.create("zzhua", from_="zzhua", system="另一个")
    run.update(gguf={**run.record["gguf"], "digest": "0" * 64, "mark": ""})
    run.update(publications=[{**entry, "gguf": "0" * 64} for entry in run.publications])
    partner, _ = find_partner(registered.history, "zzhua", 1, ignore)
    assert partner.in_ollama == "zzhua:backup-20261101-1" and not partner.stands
    # a backup may be named itself; no run has its name
    partner, _ = find_partner(registered.history, "zzhua:backup-20261101-1", None, ignore)
    assert (partner.in_ollama, partner.run) == ("zzhua:backup-20261101-1", None)


def test_llama_cpp_gets_exactly_the_prompts_of_the_training(unregistered: Talking) -> None:
    (run,) = unregistered.history.runs("zzhua")
    talker = InLlamaCpp(run.folder / "zzhua.gguf", run)
    try:
        for proof in run.record["proofs"]:
            assert talker.tokens(proof["messages"], Tried()) == proof["tokens"]
            assert talker.tokens(proof["messages"], Tried(system="你是小雨。")) != proof["tokens"]
    finally:
        talker.close()


def test_in_ollama_the_context_is_the_models_the_tried_one_or_what_is_in_memory(
    registered: Talking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", registered.environment["OLLAMA_HOST"])
    _, client = find_partner(registered.history, "zzhua", None, ignore)
    talker = InOllama(client, "zzhua")
    assert (talker.context(Tried()), talker.context(Tried(parameters={"num_ctx": 256}))) == (4096, 256)
    turns = [{"role": "user", "content": "你好"}]
    talker.answer(turns, Tried(parameters={"num_ctx": 300}), 1, lambda _: None)
    assert talker.context(Tried()) == client.loaded_context("zzhua") == 300
