"""Whole runs of the real program: from dialogues to a model that answers in Ollama, again and again."""

from __future__ import annotations

import json
import math
import shlex

import gguf
import pytest
import requests

from ollama_export.server.client import OllamaClient
from pipeline.run.standing import look
from tests.support.launcher import DDP, launcher
from tests.support.program import Program


@pytest.fixture
def program(tmp_path, ollama):
    return Program(tmp_path, ollama.url)


def template_in_gguf(run):
    """The chat template in the GGUF that a run has kept."""
    (path,) = run.folder.glob("*.gguf")
    return gguf.GGUFReader(path).get_field("tokenizer.chat_template").contents()


def template_of_base(program):
    return json.loads((program.base / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]


def test_a_run_trains_exports_proves_registers_and_records(program, ollama):
    name = ollama.name("zzhua")
    told = program.run("--ollama_name", name, "--keep_gguf")
    assert told["ok"] and told["status"] == "done" and told["name"] == name
    client = OllamaClient(ollama.url)
    assert client.digest(name) == told["ollama"]["digest"]
    # Ollama keeps the very file that was written.
    assert client.stored_gguf(name) == told["gguf"]["digest"] == told["ollama"]["gguf"]
    run = program.history.newest(name)
    assert template_in_gguf(run) != template_of_base(program)
    losses = [loss for _, loss in run.record["training"]["losses"]]
    assert len(losses) == 6 and all(map(math.isfinite, losses))
    assert run.record["training"]["val_losses"][0][0] == 0 and run.record["training"]["val_losses"][-1][0] == 6
    assert (run.folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (run.folder / "adapter" / "adapter_config.json").is_file()
    assert (run.folder / "Modelfile").read_text(encoding="utf-8").startswith(f"FROM ./{run.folder.parent.name}.gguf")
    for proof in run.record["proofs"]:
        assert client.rendered(name, proof["messages"]) == proof["prompt"]
    assert [model for model in ollama.models() if model.startswith(f"{name}:") and "latest" not in model] == []
    # on a real server others rehearse, too
    assert ollama.is_real or not any("rehearsal" in model for model in ollama.models())
    shown = program.run("--ollama_name", name, "--verify")
    assert shown["verified"]


def test_three_runs_of_a_shell_loop_register_three_models(program, ollama):
    for rank in ("4", "8", "16"):
        name = ollama.name(f"loop-r{rank}")
        told = program.run("--ollama_name", name, "--lora_rank", rank, "--yes", "--on_exists", "overwrite")
        assert told["plan"]["lora_rank"] == int(rank) and told["plan"]["lora_alpha"] == 2 * int(rank)
        assert OllamaClient(ollama.url).exists(name)
        assert not list(program.history.newest(name).folder.glob("*.gguf"))


def test_training_on_keeps_the_old_model_and_rollback_brings_it_back(program, ollama):
    name = ollama.name("zzhua")
    client = OllamaClient(ollama.url)
    first = program.run("--ollama_name", name)
    refused = program.run("--ollama_name", name, expect=2)
    assert "--on_exists" in refused["error"]["message"]
    skipped = program.run("--ollama_name", name, "--on_exists", "skip")
    assert skipped["status"] == "skipped"
    program.run("--ollama_name", name, "--on_exists", "cancel", expect=3)
    second = program.run("--ollama_name", name, "--continue_train", "--add_epochs", "0.5")
    assert second["plan"]["epochs"] == 1.5 and second["plan"]["sources"]["epochs"] == "strategy"
    assert second["ollama"]["backup"] and client.digest(second["ollama"]["backup"]) == first["ollama"]["digest"]
    back = program.run("--ollama_name", name, "--rollback")
    assert back["backup"] == second["ollama"]["backup"]
    assert client.digest(name) == first["ollama"]["digest"]
    assert look(program.history, name, client).run.number == 1


def test_overwriting_keeps_what_stood_as_one_backup_and_the_record_of_both(program, ollama):
    name, client = ollama.name("zzhua"), OllamaClient(ollama.url)
    first = program.run("--ollama_name", name)
    second = program.run("--ollama_name", name, "--force", "--seed", "7")
    assert client.digest(second["ollama"]["backup"]) == first["ollama"]["digest"]
    third = program.run("--ollama_name", name, "--force", "--seed", "8")
    assert client.digest(third["ollama"]["backup"]) == second["ollama"]["digest"]
    assert client.digest(name) == third["ollama"]["digest"]
    assert len([model for model in ollama.models() if model.startswith(name)]) == 2
    assert [run.number for run in program.history.runs(name)] == [1, 2, 3]


def test_without_ollama_the_gguf_is_kept_and_registered_later_without_training(program, ollama):
    name = ollama.name("zzhua")
    told = program.run("--ollama_name", name, "--no_register")
    run = program.history.newest(name)
    written = next(run.folder.glob("*.gguf"))
    assert told["ollama"] is None and written.stat().st_size == told["gguf"]["size"]
    registered = program.run("--ollama_name", name, "--register_only")
    assert registered["run"] == 1 and OllamaClient(ollama.url).exists(name)
    assert registered["stages"]["train"] == told["stages"]["train"]
    # Also where the file is gone, as the Modelfile that needs it says: it is made again from the adapter.
    OllamaClient(ollama.url).delete(name)
    assert not written.exists()
    how = (run.folder / "Modelfile").read_text(encoding="utf-8").splitlines()[1]
    again = program.run(*shlex.split(how.removeprefix("#   python train_to_ollama.py")))
    assert again["gguf"]["digest"] == told["gguf"]["digest"] and OllamaClient(ollama.url).exists(name)
    assert written.exists() and (run.folder / "Modelfile").read_text(encoding="utf-8").startswith("FROM")
    # What is said of serving holds from then on.
    colder = program.run("--ollama_name", name, "--register_only", "--temperature", "0.2", "--quantize", "f16")
    assert colder["stages"]["train"] == told["stages"]["train"] and colder["gguf"]["file_type"] == "f16"
    shown = OllamaClient(ollama.url).show(name)
    assert "temperature" in shown["parameters"] and "0.2" in shown["parameters"]
    assert "PARAMETER temperature 0.2" in (run.folder / "Modelfile").read_text(encoding="utf-8")


def test_no_ollama_and_nothing_said_of_it_ends_before_any_training(tmp_path):
    program = Program(tmp_path)
    told = program.run(expect=5)
    assert "--no_register" in told["error"]["message"]
    assert program.newest is None


def test_faulty_data_train_nothing_and_change_nothing(program):
    bad = ['{"messages": [{"role": "user", "content": "x"}]}', "{broken", '{"messages": []}'] * 4
    (program.data / "train.jsonl").write_text("\n".join(bad), encoding="utf-8")
    told = program.run(expect=4)
    assert told["error"]["key"] == "error.data.faults" and told["shown"].count("train.jsonl") >= 12
    assert program.newest is None


def test_a_dry_run_shows_the_plan_and_leaves_no_trace(program, ollama):
    before = ollama.models()
    told = program.run("--dry_run", "--lora_rank", "16")
    assert told["status"] == "dry_run" and told["plan"]["lora_rank"] == 16
    assert not program.history.home.exists() and ollama.models() == before


@pytest.mark.usefixtures("ollama_is_local")
def test_a_model_made_elsewhere_is_continued_from_itself(program, ollama):
    name = ollama.name("elsewhere")
    program.run("--ollama_name", name)
    for folder in program.history.home.iterdir():
        folder.rename(program.folder / "gone")
    flags = ["--ollama_name", name, "--base_model", f"ollama:{name}", "--continue_train", "--epochs", "0.5"]
    told = program.run(*flags)
    assert told["base_model"] == f"ollama:{name}" and told["ollama"]["backup"]


@pytest.fixture
def ollama_is_local(ollama):
    client = OllamaClient(ollama.url)
    if not client.is_local:
        pytest.skip("the real Ollama's files are on another machine")


def test_an_ollama_too_old_to_render_is_proven_by_token_counts(tmp_path):
    from tests.ollama_server.server import OllamaServer

    with OllamaServer(tmp_path / "models", old=True) as server:
        told = Program(tmp_path, server.url).run()
        assert told["ok"] and "the proof went by token counts" in told["shown"]
        assert requests.get(f"{server.url}/api/tags", timeout=10).json()["models"][0]["name"] == "zzhua:latest"


def test_a_template_of_the_bases_own_is_kept_when_asked_for(program, ollama):
    name = ollama.name("own")
    told = program.run("--ollama_name", name, "--keep_chat_template", "--keep_gguf")
    assert told["ok"] and OllamaClient(ollama.url).exists(name)
    assert template_in_gguf(program.history.newest(name)) == template_of_base(program)


def test_two_processes_speak_with_one_voice_and_make_one_model(tmp_path):
    program = Program(tmp_path)
    alone = program.run("--no_register", "--ollama_name", "alone")
    told = program.run("--no_register", "--ollama_name", "together", launcher=launcher(*DDP))
    assert told["status"] == "done"
    assert told["shown"].count("step 6/6") == alone["shown"].count("step 6/6")
    # two halves of a step are summed up in another order
    assert told["loss"] == pytest.approx(alone["loss"], rel=1e-4)
    assert [run.number for run in program.history.runs("together")] == [1]
    # What ends before any training ends in all of them.
    # (Whatever our exit code, the launcher's is 1.)
    refused = program.run("--no_register", "--ollama_name", "together", expect=1, launcher=launcher(*DDP))
    assert refused["exit_code"] == 2 and "--on_exists" in refused["error"]["message"]


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--max_length", "16"), 4, "tokens"),
        (("--quantize", "f32"), 0, ""),
    ],
    ids=["a dialogue that is too long", "nothing wrong"],
)
def test_a_dry_run_checks_all_that_the_plan_says(program, flags, code, said):
    told = program.run("--dry_run", "--no_register", *flags, expect=code)
    assert said in told["shown"]
    assert not program.history.home.exists() or not list(program.history.home.rglob("run.json"))
