"""What may be done with a base model goes with what is made of it, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ollama_export.server.client import OllamaClient
from tests.ollama_server.server import OllamaServer
from tests.support.hub_server import HubServer
from tests.support.program import Program
from tests.support.tiny import make_tiny

TEXT = '通义千问 LICENSE AGREEMENT\n\n1. "You" may …\n"""\nEND'


@pytest.fixture
def program(tmp_path: Path, each_ollama: OllamaServer) -> Program:
    return Program(tmp_path, each_ollama.url, rows=4)


@pytest.fixture
def client(each_ollama: OllamaServer) -> OllamaClient:
    return OllamaClient(each_ollama.url)


def test_the_licence_in_a_folder_goes_into_ollama_and_with_what_is_made_of_that(
    program: Program, client: OllamaClient
) -> None:
    (program.base / "LICENSE.d").mkdir()
    (program.base / "LICENSE.pdf").write_bytes(b"%PDF-1.7\xff")
    (program.base / "LICENSE.txt").write_text("\ufeff" + TEXT + "\n", encoding="utf-8")
    program.run()
    assert client.show("zzhua")["license"] == TEXT
    assert program.newest is not None
    assert "LICENSE AGREEMENT" in (program.newest.folder / "Modelfile").read_text(encoding="utf-8")
    assert program.run_bare("--ollama_name", "zzhua", "--verify")["verified"]
    # and from there to a character that is taught on it
    program.run("--ollama_name", "second", "--base_model", "ollama:zzhua")
    assert client.show("second")["license"] == TEXT


def test_the_licence_of_a_hub_model_is_fetched_with_it(program: Program, client: OllamaClient, tmp_path: Path) -> None:
    for name in ("acme--free", "acme--silent"):
        make_tiny(tmp_path / "models" / name)
    (tmp_path / "models" / "acme--free" / "LICENCE").write_text(TEXT, encoding="utf-8")
    (tmp_path / "models" / "acme--free" / "README.md").write_text("Not this.", encoding="utf-8")
    with HubServer(tmp_path / "models") as hub:
        program.environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hub")}
        del program.environment["HF_HUB_OFFLINE"]
        program.run("--base_model", "acme/free")
        program.run("--base_model", "acme/silent", "--ollama_name", "second")
    assert client.show("zzhua")["license"] == TEXT
    assert not client.show("second").get("license")
