"""What belongs to a model is kept, through the command line: its data, its words, what stands and what stood."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ollama_export.server.client import OllamaClient
from tests.ollama_server.server import OllamaServer
from tests.support.program import NO_OLLAMA, Program
from tests.support.project import ROOT

SHORT = ("--batch_size", "4", "--lora_rank", "2")


@pytest.fixture
def program(tmp_path, ollama):
    return Program(tmp_path, ollama.url, rows=8)


def bare(program: Program, name: str, *flags: str, expect: int = 0, **environment: str) -> dict[str, Any]:
    """The command as the program itself prints it: no data, no base model."""
    return program.run_bare("--ollama_name", name, *flags, expect=expect, environment=environment)


def parameters(client: OllamaClient, name: str) -> dict[str, str]:
    lines = client.show(name)["parameters"].splitlines()
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}


def test_a_character_keeps_its_data_its_words_and_its_parameters_when_it_is_trained_on(program, ollama):
    name, client = ollama.name("fern"), OllamaClient(ollama.url)
    settings = ("--system", "You are Fern.", "--temperature", "0.6", "--num_ctx", "1024", "--quantize", "f16")
    first = program.run("--ollama_name", name, *SHORT, *settings, "--seed", "7")
    assert first["plan"]["seed"] == 7

    second = bare(program, name, "--continue_train", "--add_epochs", "0.5", "--yes")
    record = program.history.newest(name).record
    assert record["data"]["fingerprint"] == program.history.runs(name)[0].record["data"]["fingerprint"]
    assert record["data"]["change"] is None
    assert record["began_with"]["run"] == 1, "only the added epochs are computed"
    assert second["gguf"]["file_type"] == "f16" and second["base_model"] == str(program.base)
    shown = client.show(name)
    assert shown["system"] == "You are Fern."
    assert parameters(client, name) | {"temperature": "0.6", "num_ctx": "1024"} == parameters(client, name)

    # other rows in the same file: told before the work, learnt, recorded
    program.write_data(10)
    third = bare(program, name, "--continue_train", "--add_epochs", "0.5", "--yes", "--temperature", "0.9")
    assert "(2 new, 0 gone" in third["shown"]
    assert program.history.newest(name).record["data"]["change"] == {"new": 2, "gone": 0}
    assert parameters(client, name)["temperature"] == "0.9" and parameters(client, name)["num_ctx"] == "1024"

    # the files are gone: nothing else is taken for them
    shutil.move(program.data, program.folder / "elsewhere")
    refused = bare(program, name, "--continue_train", "--add_epochs", "0.5", "--yes", expect=4)
    assert "--rows_of_run 3" in refused["error"]["message"]
    for choice in ("overwrite", "continue"):
        bare(program, name, "--on_exists", choice, "--yes", expect=4)
    assert client.digest(name) == third["ollama"]["digest"]
    again = bare(program, name, "--continue_train", "--add_epochs", "0.5", "--yes", "--rows_of_run", "1")
    runs = program.history.runs(name)
    assert runs[-1].record["data"]["fingerprint"] == runs[0].record["data"]["fingerprint"]
    assert again["ollama"]["digest"] == client.digest(name)


def test_no_system_prompt_and_an_overwritten_models_own_things_stay_too(program, ollama):
    name, client = ollama.name("fern"), OllamaClient(ollama.url)
    program.run("--ollama_name", name, *SHORT, "--no_system", "--top_k", "7")
    bare(program, name, "--force", "--yes", *SHORT, "--epochs", "1")
    record = program.history.newest(name).record
    assert record["system"] is None and record["system_source"] == "none"
    assert not client.show(name).get("system")
    assert parameters(client, name)["top_k"] == "7"
    first, second = program.history.runs(name)
    assert (
        first.record["data"]["train_file"] == second.record["data"]["train_file"] == str(program.data / "train.jsonl")
    )


def test_other_data_are_named_beside_those_the_model_was_trained_on(program, ollama):
    name = ollama.name("fern")
    program.run("--ollama_name", name, *SHORT)
    other = program.folder / "other"
    shutil.copytree(program.data, other)
    told = bare(program, name, "--data_dir", str(other), "--continue_train", "--add_epochs", "0.5", "--yes")
    assert str(other / "train.jsonl") in told["shown"] and str(program.data / "train.jsonl") in told["shown"]


def test_a_new_character_has_a_place_of_its_own_for_its_data_and_is_told_of_it(program):
    shutil.copytree(program.data, program.folder / "data")
    preview = ("--ollama_name", "fern", "--base_model", str(program.base), "--no_register", "--dry_run")
    own = str(Path("data", "fern"))
    assert own not in program.run_bare(*preview)["shown"]
    shutil.copytree(program.data, program.folder / own)
    shown = program.run_bare(*preview)["shown"]
    assert f"--data_dir {own} takes them" in shown and "data/, 8 rows" in shown
    assert f"{own}/, 8 rows" in program.run_bare(*preview, "--data_dir", own)["shown"]


def test_a_library_that_was_updated_is_named_before_added_epochs_start_from_the_base_again(program):
    program.run("--no_register", *SHORT)
    preview = ("--ollama_name", "zzhua", "--continue_train", "--add_epochs", "1", "--no_register", "--dry_run")
    assert "libraries were updated" not in program.run_bare(*preview)["shown"]
    beginning = program.newest.record["beginning"]
    versions = {**beginning["versions"], "peft": "0.1.0"}
    program.newest.update(beginning={**beginning, "versions": versions})
    assert "peft 0.1.0 → " in program.run_bare(*preview)["shown"]
    assert "libraries were updated" not in program.run_bare(*preview, "--from_scratch")["shown"]


def test_the_rows_that_were_learnt_are_kept_with_the_run(program):
    program.run("--no_register", *SHORT)
    run = program.newest
    with gzip.open(run.folder / "rows.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert [row["part"] for row in rows] == ["train"] * 8 + ["val"] * 4
    given = [json.loads(line)["messages"] for line in (program.data / "train.jsonl").read_text("utf-8").splitlines()]
    assert [row["messages"] for row in rows[:8]] == given
    assert run.record["program"] and run.record["schema"] == 2


def test_data_inside_the_program_are_recorded_relative_to_it(program):
    inside = ROOT / "data" / "demo"
    program.run("--no_register", "--data_dir", str(inside), "--epochs", "0.01", "--lora_rank", "1", "--yes")
    assert program.newest.record["data"]["train_file"] == "data/demo/train.jsonl"
    # as an older version had it, from a checkout that was moved since
    record = program.newest.record
    files = {f"/gone/checkout/{name}": facts for name, facts in record["data"]["files"].items()}
    data = {**record["data"], "files": files}
    data.pop("train_file"), data.pop("val_file")
    program.newest.update(data=data)
    told = program.run_bare("--ollama_name", "zzhua", "--continue_train", "--add_epochs", "0.5", "--yes", "--dry_run")
    assert told["status"] == "dry_run" and f"{inside}/, 79 rows" in told["shown"]


def test_a_model_made_elsewhere_keeps_what_it_was_made_with(program, ollama):
    maker, name, client = ollama.name("maker"), ollama.name("hand"), OllamaClient(ollama.url)
    program.run("--ollama_name", maker, *SHORT)
    client.create(
        name,
        from_=maker,
        system="You are old.",
        parameters={"temperature": 0.3, "num_ctx": 1024, "min_p": 0.05, "stop": ["<|im_end|>", "STOP"]},
        license=["Free for all."],
        messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    )
    before = client.digest(name)
    command = ("--continue_train", "--add_epochs", "1", "--yes", "--data_dir", str(program.data), *SHORT)
    told = bare(program, name, *command, "--temperature", "0.4")
    assert "TEMPLATE" in told["shown"]
    shown = client.show(name)
    assert shown["system"] == "You are old."
    found = parameters(client, name)
    assert (found["temperature"], found["num_ctx"], found["min_p"]) == ("0.4", "1024", "0.05")
    assert '"STOP"' in shown["parameters"] and '"<|im_end|>"' in shown["parameters"]
    assert "Free for all." in str(shown["license"])
    assert [message["content"] for message in shown["messages"]] == ["a", "b"]
    assert program.history.newest(name).record["system"] == "You are old."
    # nobody could make it again: it stays, however often the model is replaced
    for seed in ("1", "2"):
        bare(program, name, "--force", "--yes", *SHORT, "--epochs", "1", "--seed", seed)
    kept = {model["digest"] for model in client.tags() if ":backup-" in model["name"]}
    assert before in kept


def backups(client: OllamaClient, name: str) -> list[str]:
    """The digests of the backups beside a name, newest first."""
    found = [(model["name"], model["digest"]) for model in client.tags() if f"{name}:backup-" in model["name"]]
    return [digest for _, digest in sorted(found, reverse=True)]


def test_what_was_rolled_back_to_is_what_is_registered_continued_and_shown(program, ollama):
    name, client = ollama.name("zzhua"), OllamaClient(ollama.url)
    one = program.run("--ollama_name", name, *SHORT, "--keep_backups", "3")["ollama"]["digest"]
    two = bare(program, name, "--continue_train", "--add_epochs", "0.5", "--yes", "--keep_backups", "3")["ollama"][
        "digest"
    ]
    bare(program, name, "--continue_train", "--add_epochs", "0.5", "--yes", "--keep_backups", "3")
    three = client.digest(name)
    assert len({one, two, three}) == 3

    back = bare(program, name, "--rollback")
    assert (back["run"], client.digest(name)) == (2, two)
    assert three in backups(client, name), "what stood is backed up first"
    listed = bare(program, name, "--history")["runs"]
    assert [run["stands"] for run in listed] == [False, True, False]

    bare(program, name, "--register_only", "--temperature", "0.6", "--keep_backups", "5")
    warm = client.digest(name)
    runs = program.history.runs(name)
    assert warm in runs[1].digests and warm not in (one, two, three)
    assert bare(program, name, "--verify")["run"] == 2

    # each time one older, never forward again
    seen = []
    for _ in range(3):
        seen.append(bare(program, name, "--rollback")["run"])
    assert seen == [2, 3, 1]
    bare(program, name, "--rollback", expect=5)

    told = bare(program, name, "--rollback", "--run", "3")
    assert told["run"] == 3 and client.digest(name) == three
    told = bare(program, name, "--continue_train", "--add_epochs", "0.5", "--yes")
    assert program.history.newest(name).record["parent"] == 3
    assert program.history.newest(name).record["base"]["source"] == str(program.base)


def test_a_run_without_a_backup_is_made_again_from_its_adapter(program, ollama):
    name, client = ollama.name("zzhua"), OllamaClient(ollama.url)
    first = program.run("--ollama_name", name, *SHORT)
    bare(program, name, "--continue_train", "--add_epochs", "0.5", "--yes")
    bare(program, name, "--continue_train", "--add_epochs", "0.5", "--yes")
    assert first["ollama"]["digest"] not in backups(client, name)
    # what a flag says of a training stands in nobody's way
    bare(program, name, "--rollback", "--run", "1", "--epochs", "3")
    listed = bare(program, name, "--history")["runs"]
    assert [run["stands"] for run in listed] == [True, False, False]
    bare(program, name, "--rollback", "--run", "9", expect=2)


def test_a_model_put_there_by_hand_is_never_lost(program, ollama):
    name, client = ollama.name("zzhua"), OllamaClient(ollama.url)
    program.run("--ollama_name", name, *SHORT)
    bare(program, name, "--continue_train", "--add_epochs", "0.5", "--yes")

    def by_hand(system: str) -> str:
        client.create(name, from_=name, system=system)
        found = client.digest(name)
        assert found is not None
        return found

    first = by_hand("one")
    bare(program, name, "--rollback")
    assert first in backups(client, name)
    second = by_hand("two")
    bare(program, name, "--register_only", "--run", "1", "--no_backup")
    assert {first, second} <= set(backups(client, name))
    bare(program, name, "--register_only", "--run", "2", "--keep_backups", "0")
    assert backups(client, name) == []


def test_a_forced_training_takes_no_backups_with_it_when_it_is_registered_again(program, ollama):
    name, client = ollama.name("zzhua"), OllamaClient(ollama.url)
    program.run("--ollama_name", name, *SHORT)
    program.run("--ollama_name", name, *SHORT, "--force", "--seed", "3")
    client.create(name, from_=name, system="by hand")
    by_hand = client.digest(name)
    bare(program, name, "--register_only", "--run", "2")
    assert by_hand in backups(client, name)


def test_a_registration_that_fails_has_forgotten_nothing(program, ollama):
    name, client = ollama.name("zzhua"), OllamaClient(ollama.url)
    first = program.run("--ollama_name", name, *SHORT)
    bare(program, name, "--register_only", "--temperature", "0.1", expect=5, OLLAMA_HOST=NO_OLLAMA)
    assert client.digest(name) == first["ollama"]["digest"]
    assert bare(program, name, "--verify")["run"] == 1
    went_on = bare(program, name, "--continue_train", "--add_epochs", "0.5", "--yes")
    assert went_on["plan"]["epochs"] == 1.5 and went_on["base_model"] == str(program.base)
    assert parameters(client, name)["temperature"] == "0.7"


def test_what_only_serves_is_applied_to_what_is_trained(tmp_path: Path, ollama_server: OllamaServer) -> None:
    program, client = Program(tmp_path, ollama_server.url, rows=8), OllamaClient(ollama_server.url)
    ollama_server.faults.add("full", "/api/create", 2, method="POST")
    program.run(*SHORT, expect=7)
    ollama_server.faults.clear()
    flags = ("--quantize", "f16", "--temperature", "0.3", "--num_ctx", "1024", "--on_exists", "overwrite")
    told = program.run("--ollama_name", "ZZHUA", *SHORT, *flags)
    assert (told["run"], told["gguf"]["file_type"]) == (1, "f16")
    assert parameters(client, "zzhua")["temperature"] == "0.3"
    assert [run.number for run in program.history.runs("zzhua")] == [1], "trained once"


def test_rows_added_after_a_training_that_was_not_published_are_learnt(
    tmp_path: Path, ollama_server: OllamaServer
) -> None:
    program = Program(tmp_path, ollama_server.url, rows=8)
    ollama_server.faults.add("full", "/api/create", 2, method="POST")
    program.run(*SHORT, expect=7)
    ollama_server.faults.clear()
    program.write_data(12)
    told = program.run(*SHORT)
    assert told["run"] == 2 and program.newest.record["data"]["rows"] == 12


def test_what_cannot_be_tidied_up_fails_nothing(tmp_path: Path, ollama_server: OllamaServer) -> None:
    program = Program(tmp_path, ollama_server.url, rows=8)
    ollama_server.faults.add("full", "/api/create", 2, method="POST")
    program.run(*SHORT, expect=7)
    ollama_server.faults.clear()
    (program.newest.folder / "Modelfile").unlink()
    told = program.run(*SHORT)
    assert told["status"] == "done" and "Modelfile" in told["shown"]
    assert program.run("--verify")["verified"]


@pytest.mark.parametrize("flags", [("--epochs", "3"), ("--lora_rank", "4"), ("--strategy", "retune"), ("--seed", "1")])
def test_registering_with_flags_that_train_is_refused_by_name(program, flags):
    refused = program.run_bare("--ollama_name", "zzhua", "--register_only", *flags, expect=2)
    assert flags[0] in refused["error"]["message"]


def test_a_name_that_looks_like_a_backup_is_refused(program):
    for tag in ("backup-20260101-1", "staging-0a1b2c3d", "v1-backup-20260101-2"):
        refused = program.run("--ollama_name", f"zzhua:{tag}", "--dry_run", expect=2)
        assert tag in refused["error"]["message"]
