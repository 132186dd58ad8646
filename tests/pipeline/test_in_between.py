"""What stands between the program and Ollama, or goes wrong there, through the command line.

A proxy with pages of its own, a login, an address that is written otherwise, a disk without room, an error in an answer
that says 200: who answered is said, and what to change there; then the same command goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ollama_export.server.client import OllamaClient
from tests.ollama_server.server import OllamaServer
from tests.pipeline.conftest import SmallDisk
from tests.pipeline.run.test_standing import put
from tests.support.program import Program
from tests.support.reverse_proxy import ReverseProxy

REGISTER = ("--ollama_name", "zzhua", "--register_only")
VERIFY = ("--ollama_name", "zzhua", "--verify")


@pytest.fixture
def program(tmp_path: Path, trained: Path, each_ollama: OllamaServer) -> Program:
    """With a run that is trained and exported, and in no Ollama yet."""
    made = Program(tmp_path, each_ollama.url, rows=4)
    shutil.copytree(trained, made.history.home)
    return made


@pytest.fixture
def proxy(each_ollama: OllamaServer) -> Iterator[ReverseProxy]:
    with ReverseProxy(each_ollama.url) as started:
        yield started


def by_way_of(host: str, program: Program, *flags: str, expect: int = 0) -> dict[str, Any]:
    """A command with another OLLAMA_HOST; no page of HTML is ever shown."""
    told = program.run_bare(*flags, expect=expect, environment={"OLLAMA_HOST": host})
    assert "<" not in told["shown"] and "Traceback" not in told["shown"]
    return told


def written(program: Program) -> str:
    """All that the records say."""
    return "".join(path.read_text(encoding="utf-8") for path in program.history.home.rglob("*.json"))


def test_a_proxy_for_which_the_file_is_too_large_is_named_with_what_to_change_there(
    program: Program, proxy: ReverseProxy, each_ollama: OllamaServer
) -> None:
    proxy.largest = 1 << 16
    told = by_way_of(proxy.url, program, *REGISTER, expect=5)
    assert told["error"]["key"] == "error.ollama.in_between.size"
    assert "not Ollama" in told["shown"] and "nginx" in told["shown"]
    assert "413 Request Entity Too Large" in told["shown"] and "client_max_body_size" in told["shown"]
    assert OllamaClient(each_ollama.url).tags() == []
    proxy.largest = 1 << 30
    assert by_way_of(proxy.url, program, *REGISTER)["status"] == "done"
    assert by_way_of(proxy.url, program, *VERIFY)["verified"]


def test_a_proxy_that_wants_a_login_is_named_and_gets_the_one_that_stands_before_the_address(
    program: Program, proxy: ReverseProxy
) -> None:
    proxy.login = "me:s3cr:t"
    for host in (proxy.address, f"me:wr0ng@{proxy.address}"):
        told = by_way_of(host, program, *REGISTER, expect=5)
        assert told["error"]["key"] == "error.ollama.in_between.login"
        assert "nginx" in told["shown"] and "http://user:password@address:port" in told["shown"]
        assert "wr0ng" not in f"{told}{written(program)}"
    told = by_way_of(f"http://me:s3cr%3At@{proxy.address}", program, *REGISTER)
    assert told["status"] == "done"
    assert by_way_of(f"me:s3cr:t@{proxy.address}", program, *VERIFY)["verified"]
    record = written(program)
    assert "s3cr" not in f"{told}{record}" and f'"host": "{proxy.url}"' in record


def test_what_a_proxy_did_not_wait_for_is_looked_for_and_neither_sent_nor_made_again(
    program: Program, proxy: ReverseProxy
) -> None:
    upload = "POST /api/blobs/sha256:" + program.history.runs("zzhua")[0].record["gguf"]["digest"]
    proxy.impatient = {upload}
    told = by_way_of(proxy.url, program, *REGISTER, expect=5)
    assert told["error"]["key"] == "error.ollama.in_between.time"
    assert "504 Gateway Time-out" in told["shown"] and "proxy_read_timeout" in told["shown"]
    # that Ollama has the file is seen by the same command, which meets the same fate behind the create
    proxy.impatient = {"POST /api/create"}
    assert by_way_of(proxy.url, program, *REGISTER)["status"] == "done"
    assert [proxy.asked.count(call) for call in (upload, "POST /api/create")] == [1, 1]
    assert by_way_of(proxy.url, program, *VERIFY)["verified"]


def test_encryption_with_a_server_that_has_none_is_said_to_be_that(
    program: Program, each_ollama: OllamaServer, proxy: ReverseProxy
) -> None:
    for url in (each_ollama.url, proxy.url):
        told = by_way_of(url.replace("http://", "https://"), program, *REGISTER, expect=5)
        assert told["error"]["key"] == "error.ollama.tls"
        assert "http:// in OLLAMA_HOST" in told["shown"] and "nstall" not in told["shown"]


def test_what_does_not_work_with_an_ollama_on_another_machine_is_said_before_the_training(
    tmp_path: Path, proxy: ReverseProxy
) -> None:
    program = Program(tmp_path, "ollama.example.com", rows=4)
    # which is reached, as from many an office, by way of the environment's proxy
    program.environment |= dict.fromkeys(("HTTP_PROXY", "http_proxy"), proxy.url)
    told = program.run("--dry_run")
    assert "disk can't be seen from here (http://ollama.example.com:11434)" in told["shown"]
    refused = program.run("--base_model", "ollama:somebody", "--dry_run", expect=6)
    assert refused["error"]["key"] == "error.base.ollama_remote" and "GET /api/version" in proxy.asked


def test_an_error_in_an_answer_that_says_200_proves_nothing(program: Program, each_ollama: OllamaServer) -> None:
    each_ollama.faults.add("error_in_ok", "/api/chat", 0)
    told = program.run_bare(*REGISTER, expect=5)
    assert told["error"]["key"] == "error.ollama.refused" and "unexpectedly stopped" in told["shown"]
    each_ollama.faults.clear()
    assert program.run_bare(*REGISTER)["status"] == "done"
    for path in ("/api/chat", "/api/generate", "/api/show", "/api/tags"):
        each_ollama.faults.add("error_in_ok", path, 0)
        told = program.run_bare(*VERIFY, expect=5)
        assert "verified" not in told and "unexpectedly stopped" in told["shown"], path
        each_ollama.faults.clear()
    assert program.run_bare(*VERIFY)["verified"]


def move(server: OllamaServer, folder: Path) -> None:
    """The server keeps its models elsewhere."""
    server.stop()
    server.models = folder
    server.start()


@pytest.mark.parametrize("seen", [True, False], ids=["its store is known by a model", "its store is not known"])
def test_a_disk_of_ollamas_that_is_full_when_the_model_is_made_is_said_to_be_that(
    program: Program, each_ollama: OllamaServer, small_disk: SmallDisk, tiny_gguf: Path, seen: bool
) -> None:
    folder, leave_free = small_disk
    move(each_ollama, folder)
    if seen:
        put(OllamaClient(each_ollama.url), tiny_gguf, "other", "theirs")
    gguf = next(program.history.home.rglob("*.gguf")).stat().st_size // 1024
    # one that writes the file anew has room for what is sent and not for its own; a later one has none for that either
    leave_free(gguf + gguf // 2 if each_ollama.release.rewrites else gguf // 2)
    # what the later one's upload fails of says so itself
    sure = seen or not each_ollama.release.rewrites
    told = program.run_bare(*REGISTER, expect=7 if sure else 5)
    assert told["error"]["key"] == "error.ollama.disk_full" + ("" if sure else ".perhaps")
    assert ("exit status 1" in told["shown"]) is each_ollama.release.rewrites
    assert "is full" in told["shown"] and "same command again" in told["shown"]
    leave_free(10 * gguf)
    assert program.run_bare(*REGISTER)["status"] == "done"
    assert program.run_bare(*VERIFY)["verified"]


def test_an_ollama_without_room_for_what_it_makes_of_a_model_is_refused_before_the_training(
    tmp_path: Path, each_ollama: OllamaServer, small_disk: SmallDisk, tiny_gguf: Path
) -> None:
    folder, leave_free = small_disk
    move(each_ollama, folder)
    put(OllamaClient(each_ollama.url), tiny_gguf, "other", "theirs")
    each_ollama.version = "0.33.0" if each_ollama.release.rewrites else "0.34.1"
    program = Program(tmp_path, each_ollama.url, rows=4)
    weights = (program.base / "model.safetensors").stat().st_size // 1024
    # for one copy in 16 bits, whatever the rehearsal takes of it for a while, and not for three
    leave_free(weights * 2)
    told = program.run("--quantize", "f16", expect=7 if each_ollama.release.rewrites else 0)
    if each_ollama.release.rewrites:
        assert told["error"]["key"] == "error.disk.too_small" and str(folder) in told["shown"]
        assert program.newest is None
    else:
        assert told["status"] == "done"
