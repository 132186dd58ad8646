"""A run trained in one home, packed, and adopted in another one: the same model, which goes on there."""

from __future__ import annotations

import getpass
import gzip
import json
import shutil
import socket
import sys
import zipfile
from pathlib import Path

import pytest

from ollama_export.server.client import OllamaClient
from pipeline.run.history import History
from pipeline.run.rows import rows_of
from tests.ollama_server.server import OllamaServer
from tests.support.program import NO_OLLAMA, Program, wait_for
from tests.support.project import ROOT
from tests.support.terminal import CLEAR, ENTER, Terminal
from tests.support.tiny import make_speaker

IN_CHINESE = {"TRAIN_TO_OLLAMA_LANG": "zh"}


@pytest.fixture
def home(tmp_path: Path, there: Program, ollama_server: OllamaServer) -> Program:
    """The machine at home: its own Ollama, and the same base model at another place."""
    program = Program(tmp_path / "家 home", ollama_server.url)
    shutil.rmtree(program.base)
    shutil.copytree(there.base, program.base)
    shutil.rmtree(program.data)
    return program


def adopt(home: Program, parcel: Path, *flags: str, expect: int = 0) -> dict[str, object]:
    """`--adopt` without a terminal."""
    return home.run_bare("--adopt", str(parcel), "--base_model", str(home.base), *flags, expect=expect)


def test_a_run_that_was_trained_elsewhere_answers_as_it_did_there_and_goes_on_with_its_own_rows(
    home: Program, there: Program, parcel: Path
) -> None:
    told = adopt(home, parcel)
    assert (told["status"], told["run"], told["base_model"], told["note"]) == ("done", 1, str(home.base), "更自然")
    here, origin = home.history.runs("zzhua")[0], there.history.runs("zzhua")[0]
    assert here.record["answers"] == origin.record["answers"]
    assert here.record["gguf"]["digest"] == origin.record["gguf"]["digest"]
    assert here.record["gguf"]["greedy"] == origin.record["gguf"]["greedy"]
    assert here.record["adopted"]["number"] == 1 and here.record["adopted"]["name"] == "zzhua"
    client = OllamaClient(home.environment["OLLAMA_HOST"])
    assert client.digest("zzhua") == here.publications[-1]["digest"]
    assert "temperature" in client.show("zzhua")["parameters"] and here.record["parameters"] == {"temperature": 0.3}
    assert home.run_bare("--ollama_name", "zzhua", "--verify")["verified"] is True
    # it goes on where there are no files of its dialogues
    more = home.run_bare("--ollama_name", "zzhua", "--continue_train", "--add_epochs", "0.5", "--yes")
    assert (more["run"], more["parent"], more["rows"]) == (2, 1, 8)
    new = home.history.runs("zzhua")[1]
    assert new.record["data"]["rows_of_run"] == 1 and new.plan.epochs == 1.5
    assert new.record["data"]["fingerprint"] == origin.record["data"]["fingerprint"]
    assert client.digest("zzhua") == new.publications[-1]["digest"]


def test_what_is_packed_says_nothing_of_the_machine_but_the_base_models_name(
    there: Program, packed: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(packed) as opened:
        opened.extractall(tmp_path)
        assert {info.date_time[0] for info in opened.infolist()} == {1980}
        names = set(opened.namelist())
    adapter = {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
    assert names == {"run.json", "rows.jsonl.gz", *adapter}
    texts = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.json")]
    rows = rows_of(History(there.history.home).runs("zzhua")[0])
    assert rows is not None and any("/" in row.file for row in rows.train)
    texts.append(gzip.decompress((tmp_path / "rows.jsonl.gz").read_bytes()).decode("utf-8"))
    machine = [str(there.folder), str(Path.home()), socket.gethostname(), "/tmp/", str(there.folder.parent)]
    if len(getpass.getuser()) > 3:
        machine.append(getpass.getuser())
    for text in texts:
        assert [word for word in machine if word in text and word != "/"] == []
        assert "\\u" not in text
    record = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert record["base"]["source"] == there.base.name
    assert set(record["data"]["files"]) == {"train.jsonl", "val.jsonl"}
    assert record["training"]["device_name"] == "" and "ollama" not in record and "publications" not in record


def test_the_folder_of_a_run_does_as_well_and_what_is_beside_it_is_passed_over(home: Program, there: Program) -> None:
    folder = there.history.runs("zzhua")[0].folder
    assert list(folder.glob("*.gguf")) and (folder / "checkpoints").is_dir()
    told = adopt(home, folder, "--no_register")
    here = home.history.runs("zzhua")[0]
    assert told["status"] == "done" and (here.folder / "Modelfile").is_file()
    assert not (here.folder / "checkpoints").exists()
    rows = rows_of(here)
    assert rows is not None and {row.file for row in rows.train} == {"train.jsonl"}
    config = json.loads((here.folder / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == str(home.base) and "auto_mapping" in config


def test_a_run_that_was_taken_in_before_is_found_again(home: Program, parcel: Path) -> None:
    adopt(home, parcel)
    told = adopt(home, parcel)
    assert told["run"] == 1 and len(home.history.runs("zzhua")) == 1


def test_one_that_was_cut_off_goes_on_by_the_same_command(home: Program, parcel: Path) -> None:
    flags = ["--adopt", str(parcel), "--base_model", str(home.base)]
    held = [sys.executable, "-m", "tests.support.watchers", f"hold StageStarted:export {home.gate}", *flags]
    process = home.begin(held)
    wait_for(home.gate.exists, process)
    process.kill()
    process.wait()
    home.gate.unlink()
    assert home.history.runs("zzhua")[0].record["status"] == "running"
    told = adopt(home, parcel)
    assert (told["status"], told["run"], len(home.history.runs("zzhua"))) == ("done", 1, 1)


def test_a_name_that_is_taken_has_to_be_meant(home: Program, parcel: Path) -> None:
    adopt(home, parcel, "--ollama_name", "linzhi")
    record = home.history.runs("linzhi")[0]
    record.update(created="2026-01-01T00:00:00+00:00")
    other = parcel.with_name("other.zip")
    shutil.copyfile(parcel, other)
    renamed(other, "linzhi")
    told = adopt(home, other, expect=2)
    assert told["error"]["key"] == "error.adopt.name_taken"  # type: ignore[index]
    assert len(home.history.runs("linzhi")) == 1
    # served otherwise it is another model, in whose place the first one stays as a backup
    told = adopt(home, other, "--ollama_name", "linzhi", "--temperature", "0.9")
    assert (told["run"], told["name"]) == (2, "linzhi") and told["ollama"]["backup"]  # type: ignore[index]


def renamed(parcel: Path, name: str) -> None:
    """The same archive, of a character of another name."""
    with zipfile.ZipFile(parcel) as opened:
        files = {info.filename: opened.read(info) for info in opened.infolist()}
    files["run.json"] = json.dumps({**json.loads(files["run.json"]), "name": name}).encode()
    with zipfile.ZipFile(parcel, "w", zipfile.ZIP_DEFLATED) as made:
        for file, content in files.items():
            made.writestr(file, content)


def test_another_base_model_is_refused_and_a_missing_one_is_named(home: Program, parcel: Path) -> None:
    other = make_speaker(home.folder / "another", seed=1)
    told = home.run_bare("--adopt", str(parcel), "--base_model", str(other), expect=6)
    assert told["error"]["key"] == "error.base.changed"
    told = home.run_bare("--adopt", str(parcel), expect=6)
    assert told["error"]["key"] == "error.adopt.no_base" and home.base.name in told["error"]["message"]
    assert not home.history.home.exists()


def test_weights_that_are_not_the_recorded_ones_are_refused_and_nothing_is_left(home: Program, parcel: Path) -> None:
    from safetensors.torch import load_file, save_file

    with zipfile.ZipFile(parcel) as opened:
        opened.extractall(home.folder / "unpacked")
    weights = home.folder / "unpacked" / "adapter" / "adapter_model.safetensors"
    save_file({name: tensor * 3 for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
    told = adopt(home, home.folder / "unpacked", expect=8)
    assert told["error"]["key"] == "error.export.other_weights"
    assert home.history.runs("zzhua") == [] and not list(home.history.home.rglob("*.json"))


def test_at_a_terminal_it_is_asked_where_the_base_model_lies(home: Program, parcel: Path) -> None:
    other = make_speaker(home.folder / "another", seed=1)
    words = [str(ROOT / "train_to_ollama.py"), "--adopt", str(parcel), "--no_register"]
    with Terminal(words, environment={**home.environment, **IN_CHINESE}) as terminal:
        terminal.wait_for("它在这台电脑上的哪里").send(str(other), ENTER)
        terminal.wait_for("已经不是当初训练用的那个").settled().send(CLEAR, f"'{home.base}'", ENTER)
        terminal.wait_for("收下了")
        assert terminal.finish() == 0
    assert home.history.runs("zzhua")[0].record["status"] == "done"


def test_what_cannot_be_meant_beside_it_is_said(home: Program, parcel: Path) -> None:
    for flags in (["--pack"], ["--clean"], ["--epochs", "2"], ["--rollback"], ["--run", "1"]):
        told = home.run_bare("--adopt", str(parcel), *flags, expect=2)
        assert told["error"]["key"] in ("error.flag.contradiction", "error.flag.needs")


def test_a_run_that_isnt_there_or_isnt_trained_is_not_packed(home: Program) -> None:
    assert home.environment["OLLAMA_HOST"] != NO_OLLAMA
    told = home.run_bare("--pack", "--ollama_name", "nobody", expect=2)
    assert told["error"]["key"] == "error.nothing_to_register"
    assert not list(home.folder.glob("*.zip"))
