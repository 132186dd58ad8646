"""Publishing never loses a model that worked: staged, proven, backed up, swapped; cut off anywhere, it goes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lora_trainer.errors import OllamaError, ResourceError, UserError
from ollama_export.gguf.export import export_gguf
from ollama_export.llama_cpp.engine import Engine
from ollama_export.proof import Proof, ProofFailed, verify
from ollama_export.publish import Publication, publish, rollback
from ollama_export.server.client import OllamaClient
from tests.ollama_server.server import OllamaServer
from tests.ollama_server.tiny_gguf import make_tiny_gguf
from tests.support.ollama_fixture import TestOllama
from tests.support.tiny import make_speaker

TEMPLATE = (
    '{{ if .System }}{{ "<|im_start|>system\\n" }}{{ .System }}{{ "<|im_end|>\\n" }}{{ end }}{{ range .Messages }}'
    '{{ if eq .Role "user" }}{{ "<|im_start|>user\\n" }}{{ .Content }}{{ "<|im_end|>\\n" }}'
    '{{ else if eq .Role "assistant" }}{{ "<|im_start|>assistant\\n" }}{{ .Content }}{{ "<|im_end|>\\n" }}'
    '{{ end }}{{ end }}{{ "<|im_start|>assistant\\n" }}'
)
CONVERSATIONS = (
    [{"role": "user", "content": "你好"}],
    [
        {"role": "user", "content": 'a\n"b" {c} 🙂'},
        {"role": "assistant", "content": "（点头）"},
        {"role": "user", "content": "再见"},
    ],
)


def prompt(system: str, messages: Sequence[dict[str, str]]) -> str:
    turns = [{"role": "system", "content": system}, *messages]
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in turns) + "<|im_start|>assistant\n"


ENGINES: dict[Path, Engine] = {}


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model as this project exports it."""
    return exported(tmp_path_factory.mktemp("gguf"), seed=0)


@pytest.fixture(scope="module")
def other_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with other weights."""
    return exported(tmp_path_factory.mktemp("另一个 gguf"), seed=1)


def exported(folder: Path, seed: int) -> Path:
    model = make_speaker(folder / "model", seed=seed)
    how: dict[str, Any] = {"file_type": "f16", "chat_template": None, "add_bos": False, "eos_token": "<|im_end|>"}
    return export_gguf(model, "folder", None, folder / f"tiny {seed}.gguf", **how).path


@pytest.fixture(scope="module", autouse=True)
def _engines() -> Iterator[None]:
    yield
    while ENGINES:
        ENGINES.popitem()[1].close()


@cache
def known(gguf: Path, text: str) -> tuple[int, str]:
    """How many tokens a prompt is and how the weights go on, asked of llama.cpp without Ollama."""
    if gguf not in ENGINES:
        ENGINES[gguf] = Engine(gguf, context=1024, threads=1)
    answer = ENGINES[gguf].complete(text, max_tokens=48)
    return answer.prompt_tokens, answer.text


def weights(gguf: Path) -> dict[str, Any]:
    """Other weights in a publication: its answer is stopped elsewhere, if at all."""
    return {"gguf": gguf, "digest": hashlib.sha256(gguf.read_bytes()).hexdigest(), "must_stop": False}


class Publisher:
    """Publishes the tiny model with one system prompt or another, as a run of the pipeline would."""

    def __init__(self, client: OllamaClient, gguf: Path, name: str = "zzhua") -> None:
        self.client, self.gguf, self.name = client, gguf, name
        self.digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
        client.upload(gguf, self.digest)

    def put(self, system: str) -> None:
        """An older model under the name, made by somebody who proves nothing."""
        self.client.create_from_file(self.name, self.gguf, self.digest, template=TEMPLATE, system=system)

    def publication(self, system: str, **changes: Any) -> Publication:
        proofs = []
        for messages in CONVERSATIONS:
            text = prompt(system, messages)
            proofs.append(Proof(tuple(messages), text, known(self.gguf, text)[0]))
        # The tiny model babbles: it is stopped by the first letters after its first character.
        stop = re.findall(r"(?<!^)[A-Za-z]+", known(self.gguf, proofs[0].prompt)[1])[0]
        parameters = {"stop": [stop], "num_ctx": 1024, "repeat_penalty": 1}
        values = {"template": TEMPLATE, "system": system, "parameters": parameters, "answer_tokens": 48}
        values |= {"name": self.name, "gguf": self.gguf, "digest": self.digest, "proofs": tuple(proofs)}
        return Publication(**(values | changes))

    def publish(self, system: str, **changes: Any) -> Any:
        return publish(self.client, self.publication(system, **changes))

    def system(self, name: str | None = None) -> str:
        """Which model stands under a name."""
        return str(self.client.show(name or self.name)["system"])

    def answers(self, system: str) -> bool:
        rendered = self.client.rendered(self.name, CONVERSATIONS[0])
        return rendered == prompt(system, CONVERSATIONS[0])

    def beside(self) -> set[str]:
        """The tags of the name, but for the date in them."""
        names = {m["name"] for m in self.client.tags() if m["name"].startswith(f"{self.name}:")}
        return {re.sub(r"\d{8}", "DATE", name.partition(":")[2]) for name in names}


@pytest.fixture
def publisher(ollama: TestOllama, gguf: Path) -> Publisher:
    return Publisher(OllamaClient(ollama.url), gguf, ollama.name("zzhua"))


@pytest.fixture
def faulty(ollama_server: OllamaServer, gguf: Path) -> Publisher:
    """On the stand-in, whose misfortunes are at hand."""
    return Publisher(OllamaClient(ollama_server.url), gguf)


def test_a_new_name_needs_no_backup_and_leaves_no_staging(publisher: Publisher) -> None:
    heard: list[tuple[str, int, int]] = []
    published = publish(publisher.client, publisher.publication("new"), report=lambda *step: heard.append(step))
    assert publisher.answers("new")
    assert publisher.beside() == {"latest"}
    assert (published.backup, published.findings) == (None, ())
    assert published.digest == publisher.client.digest(publisher.name)
    assert published.gguf == publisher.client.stored_gguf(publisher.name)
    assert {task for task, _, _ in heard} == {"create", "prove"}


def test_the_old_model_becomes_a_backup_and_a_roll_back_brings_it_again(publisher: Publisher) -> None:
    publisher.put("old")
    published = publisher.publish("new")
    assert published.backup and re.fullmatch(rf"{publisher.name}:backup-\d{{8}}-1", published.backup)
    assert (publisher.system(), publisher.system(published.backup)) == ("new", "old")
    assert rollback(publisher.client, publisher.name) == published.backup
    assert publisher.answers("old")
    error = raised(lambda: rollback(publisher.client, publisher.name))
    assert error.key == "error.publish.no_backup"


def test_without_any_backup_a_roll_back_is_an_error(publisher: Publisher) -> None:
    publisher.put("old")
    error = raised(lambda: rollback(publisher.client, publisher.name))
    assert (error.key, error.exit_code) == ("error.publish.no_backup", 5)


def test_as_many_backups_stay_as_are_wanted_the_newest_ones(publisher: Publisher) -> None:
    publisher.put("1")
    for system in "2345":
        published = publisher.publish(system, keep_backups=2)
    assert publisher.beside() == {"latest", "backup-DATE-3", "backup-DATE-4"}
    assert publisher.system(published.backup) == "4"
    publisher.publish("6")
    assert publisher.beside() == {"latest", "backup-DATE-5"}


def test_an_overwritten_model_goes_with_its_backup_once_the_new_one_stands(publisher: Publisher) -> None:
    for system in ("1", "2"):
        publisher.publish(system)
    published = publisher.publish("3", keep_backups=0)
    assert published.backup is None
    assert (publisher.beside(), publisher.system()) == ({"latest"}, "3")


def test_without_a_backup_the_old_model_goes_at_the_swap(faulty: Publisher, ollama_server: OllamaServer) -> None:
    faulty.put("1")
    faulty.publication("2")
    ollama_server.requests.clear()
    assert faulty.publish("2", backup=False).backup is None
    assert (faulty.beside(), faulty.system()) == ({"latest"}, "2")
    assert [path for _, path in ollama_server.requests].count("/api/copy") == 1


def test_after_a_roll_back_the_next_model_backs_up_what_was_rolled_back_to(publisher: Publisher) -> None:
    publisher.publish("1")
    publisher.publish("2")
    rollback(publisher.client, publisher.name)
    published = publisher.publish("3")
    assert (publisher.system(), publisher.system(published.backup)) == ("3", "1")
    assert len(publisher.beside()) == 2


def test_the_same_model_again_backs_nothing_up(publisher: Publisher) -> None:
    publisher.publish("1")
    published = publisher.publish("1")
    assert (published.backup, publisher.beside(), publisher.system()) == (None, {"latest"}, "1")


def test_a_name_with_a_tag_and_one_without_keep_apart(publisher: Publisher) -> None:
    plain = publisher.name
    for system in ("1", "2"):
        publisher.publish(system)
    publisher.client.copy(plain, f"{plain}:v2")
    publisher.name = f"{plain}:v2"
    published = publisher.publish("3")
    assert re.fullmatch(rf"{plain}:v2-backup-\d{{8}}-1", published.backup)
    assert publisher.system(published.backup) == "2"
    publisher.publish("4")
    publisher.name = plain
    assert publisher.beside() == {"latest", "backup-DATE-1", "v2", "v2-backup-DATE-2"}


def test_a_name_in_other_case_is_the_same_model(publisher: Publisher) -> None:
    publisher.put("old")
    plain, publisher.name = publisher.name, publisher.name.upper()
    published = publisher.publish("new")
    publisher.name = plain
    assert publisher.answers("new") and publisher.system(published.backup) == "old"
    assert publisher.beside() == {"latest", "backup-DATE-1"}
    assert rollback(publisher.client, plain.upper()) and publisher.answers("old")


def test_stagings_that_nobody_went_on_with_are_removed_and_other_tags_stay(publisher: Publisher) -> None:
    publisher.publish("1")
    for tag in ("staging-7", "staging-0a1b2c3d", "staging-mine", "backup-mine", "v1"):
        publisher.client.copy(publisher.name, f"{publisher.name}:{tag}")
    publisher.publish("2")
    assert publisher.beside() == {"latest", "backup-DATE-1", "staging-mine", "backup-mine", "v1"}


def test_what_the_server_holds_is_not_uploaded_again(faulty: Publisher, ollama_server: OllamaServer) -> None:
    faulty.publication("1")
    ollama_server.requests.clear()
    faulty.publish("1")
    uploads = [(method, path[:10]) for method, path in ollama_server.requests if "blobs" in path]
    assert uploads == [("HEAD", "/api/blobs")]


def test_a_file_is_uploaded_with_progress_and_kept_as_it_is(publisher: Publisher, other_gguf: Path) -> None:
    publisher.put("old")
    publication = replace(publisher.publication("new"), **weights(other_gguf))
    heard: list[tuple[str, int, int]] = []
    published = publish(publisher.client, publication, report=lambda *step: heard.append(step))
    assert ("upload", other_gguf.stat().st_size, other_gguf.stat().st_size) in heard
    assert published.gguf == publication.digest


def test_ollama_makes_the_k_quants(publisher: Publisher, tmp_path: Path) -> None:
    big = make_tiny_gguf(tmp_path / "f16.gguf", embedding=256, layers=1)
    publisher = Publisher(publisher.client, big, publisher.name)
    published = publisher.publish("1", quantize="q4_K_M", must_stop=False)
    details = publisher.client.show(publisher.name)["details"]
    assert details["quantization_level"] == "Q4_K_M"
    assert published.gguf != publisher.digest


# Proofs.


def wrong(proofs: Sequence[Proof], **change: Any) -> tuple[Proof, ...]:
    return (*proofs[:-1], Proof(**{**vars(proofs[-1]), **change}))


def raised(action: Callable[[], Any]) -> UserError:
    with pytest.raises(UserError) as caught:
        action()
    return caught.value


@pytest.mark.parametrize("existing", [True, False])
def test_a_model_that_renders_otherwise_is_deleted_and_the_old_one_stays(publisher: Publisher, existing: bool) -> None:
    if existing:
        publisher.put("old")
    good = publisher.publication("new")
    bad = publisher.publication("new", proofs=wrong(good.proofs, prompt=good.proofs[1].prompt.replace("再见", "再会")))
    error = raised(lambda: publish(publisher.client, bad))
    assert isinstance(error, ProofFailed) and error.exit_code == 8
    assert error.key == "error.proof.rendered"
    assert error.values["number"] == 2 and "再会" in error.values["expected"] and "再见" in error.values["got"]
    assert publisher.beside() == ({"latest"} if existing else set())
    assert not existing or publisher.answers("old")


def test_a_prompt_of_another_number_of_tokens_is_a_failure(publisher: Publisher) -> None:
    good = publisher.publication("new")
    tokens = good.proofs[1].tokens
    error = raised(lambda: publisher.publish("new", proofs=wrong(good.proofs, tokens=tokens - 1)))
    assert (error.key, error.values["expected"], error.values["got"]) == ("error.proof.tokens", tokens - 1, tokens)
    assert publisher.beside() == set()


def test_an_answer_without_an_end_is_a_failure_unless_it_need_not_stop(publisher: Publisher) -> None:
    endless = {"stop": ["no model says this"], "num_ctx": 1024}
    error = raised(lambda: publisher.publish("new", parameters=endless, answer_tokens=4))
    assert (error.key, error.values["tokens"]) == ("error.proof.endless", 4)
    published = publisher.publish("new", parameters=endless, answer_tokens=4, must_stop=False)
    assert [(finding.key, finding.fatal) for finding in published.findings] == [("error.proof.endless", False)]


def test_an_empty_answer_is_no_answer(publisher: Publisher) -> None:
    text = publisher.publication("new").proofs[0].prompt
    error = raised(lambda: publisher.publish("new", parameters={"stop": [known(publisher.gguf, text)[1][:1]]}))
    assert error.key == "error.proof.silent"


def test_an_own_chat_template_may_render_otherwise_and_it_is_told(publisher: Publisher) -> None:
    published = publisher.publish(
        "new", template=TEMPLATE.replace("{{ if .System }}", "{{ if .System }}!"), strict=False, must_stop=False
    )
    assert [finding.key for finding in published.findings if finding.key != "error.proof.endless"] == [
        "error.proof.rendered", "error.proof.tokens", "error.proof.rendered", "error.proof.tokens"
    ]  # fmt: skip
    assert not any(finding.fatal for finding in published.findings)
    assert publisher.system() == "new"


def test_a_model_that_cannot_be_loaded_is_deleted(publisher: Publisher) -> None:
    publisher.put("old")
    error = raised(lambda: publisher.publish("new", parameters={"num_ctx": "many"}))
    assert (error.key, error.values["message"]) == ("error.ollama.refused", 'option "num_ctx" must be of type integer')
    assert publisher.beside() == {"latest"} and publisher.answers("old")


def test_an_ollama_too_old_to_render_is_proven_by_its_token_counts(gguf: Path, tmp_path: Path) -> None:
    with OllamaServer(tmp_path / "models", old=True, version="0.5.1") as server:
        publisher = Publisher(OllamaClient(server.url), gguf)
        published = publisher.publish("new")
        assert [(f.key, f.values) for f in published.findings] == [("note.publish.no_render", {"version": "0.5.1"})]
        error = raised(lambda: publisher.publish("newer", template="!" + TEMPLATE))
        assert error.key == "error.proof.tokens" and publisher.system() == "new"


def test_verifying_finds_nothing_or_what_has_changed(publisher: Publisher) -> None:
    publication = publisher.publication("new")
    digest = publish(publisher.client, publication).digest
    how = {"answer_tokens": 48}
    assert verify(publisher.client, publisher.name, publication.proofs, digest=digest, **how) == []
    publisher.client.create(publisher.name, from_=publisher.name, template=TEMPLATE + "!")
    found = verify(publisher.client, publisher.name, publication.proofs, digest=digest, **how)
    assert {finding.key for finding in found} >= {"error.proof.digest", "error.proof.rendered", "error.proof.tokens"}
    error = raised(lambda: verify(publisher.client, publisher.name + "-gone", (), digest=None))
    assert error.key == "error.ollama.model_missing"


# Cut off anywhere.


class Killed(BaseException):
    """Our process ends here."""


class Journal:
    """A run record: what was marked, as JSON, and a place where the process is killed."""

    def __init__(self, die_before: str = "", die_after: str = "") -> None:
        self.text, self.die_before, self.die_after = "{}", die_before, die_after

    @property
    def done(self) -> dict[str, Any]:
        return dict(json.loads(self.text))

    def mark(self, step: str, **facts: Any) -> None:
        if step == self.die_before:
            raise Killed
        self.text = json.dumps({**self.done, step: facts})
        if step == self.die_after:
            raise Killed


STEPS = ["staged", "proven", "backed_up", "swapped", "cleaned"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("written", [False, True])
def test_killed_around_any_step_the_same_call_finishes_the_job(publisher: Publisher, step: str, written: bool) -> None:
    publisher.put("oldest")
    publisher.client.copy(publisher.name, f"{publisher.name}:backup-20200101-1")
    publisher.put("old")
    publication = publisher.publication("new")
    journal = Journal(**{"die_after" if written else "die_before": step})
    with pytest.raises(Killed):
        publish(publisher.client, publication, done=journal.done, mark=journal.mark)
    assert publisher.answers("new" if step in ("swapped", "cleaned") else "old")
    journal.die_after = journal.die_before = ""
    published = publish(publisher.client, publication, done=journal.done, mark=journal.mark)
    assert publisher.answers("new") and published.findings == ()
    assert published.backup and publisher.system(published.backup) == "old"
    assert publisher.beside() == {"latest", "backup-DATE-1"}
    assert publish(publisher.client, publication, done=journal.done, mark=journal.mark) == published


def test_without_its_journal_a_killed_run_still_backs_up_the_old_model_once(publisher: Publisher) -> None:
    publisher.put("old")
    publication = publisher.publication("new")
    for step in ("backed_up", "swapped"):
        with pytest.raises(Killed):
            publish(publisher.client, publication, mark=Journal(die_before=step).mark)
    publish(publisher.client, publication)
    assert publisher.beside() == {"latest", "backup-DATE-1"}
    assert rollback(publisher.client, publisher.name) and publisher.answers("old")


def test_the_proof_of_another_model_in_the_journal_proves_nothing(publisher: Publisher) -> None:
    publisher.put("old")
    journal = Journal(die_after="proven")
    with pytest.raises(Killed):
        publish(publisher.client, publisher.publication("new"), mark=journal.mark)
    bad = publisher.publication("newer", template="!" + TEMPLATE)
    error = raised(lambda: publish(publisher.client, bad, done=journal.done, mark=journal.mark))
    assert error.key == "error.proof.rendered" and publisher.answers("old")


FAULTS = [
    ("POST", "/api/blobs", 1), ("POST", "/api/create", 1), ("POST", "/api/chat", 1), ("POST", "/api/copy", 1),
    ("POST", "/api/copy", 2), ("DELETE", "/api/delete", 1), ("DELETE", "/api/delete", 2),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "at"), FAULTS)
@pytest.mark.parametrize("kind", ["die", "die_after"])
def test_ollama_dying_at_any_call_loses_nothing(
    kind: str, method: str, path: str, at: int, faulty: Publisher, ollama_server: OllamaServer, other_gguf: Path
) -> None:
    faulty.put("oldest")
    faulty.client.copy("zzhua", "zzhua:backup-20200101-1")
    faulty.put("old")
    publication = replace(faulty.publication("new"), **weights(other_gguf))
    journal = Journal()
    ollama_server.faults.add(kind, path, at, method=method)
    error = raised(lambda: publish(faulty.client, publication, done=journal.done, mark=journal.mark))
    assert isinstance(error, OllamaError)
    assert error.key in ("error.ollama.connection_lost", "error.ollama.unreachable"), error
    assert not ollama_server.alive
    ollama_server.faults.clear()
    ollama_server.start()
    swapped = path == "/api/delete" or (kind, path, at) == ("die_after", "/api/copy", 2)
    assert faulty.answers("new" if swapped else "old")
    published = publish(faulty.client, publication, done=journal.done, mark=journal.mark)
    assert faulty.answers("new")
    assert published.backup and faulty.system(published.backup) == "old"
    assert faulty.beside() == {"latest", "backup-DATE-1"}


@pytest.mark.parametrize(("path", "at"), [("/api/blobs", 1), ("/api/create", 1), ("/api/copy", 1), ("/api/copy", 2)])
def test_a_full_disk_is_told_and_the_old_model_stays(
    path: str, at: int, faulty: Publisher, ollama_server: OllamaServer, other_gguf: Path
) -> None:
    faulty.put("old")
    publication = replace(faulty.publication("new"), **weights(other_gguf))
    ollama_server.faults.add("full", path, at, method="POST")
    error = raised(lambda: publish(faulty.client, publication))
    assert isinstance(error, ResourceError) and error.key == "error.ollama.disk_full"
    assert faulty.answers("old")
    ollama_server.faults.clear()
    publish(faulty.client, publication)
    assert faulty.answers("new") and faulty.beside() == {"latest", "backup-DATE-1"}
