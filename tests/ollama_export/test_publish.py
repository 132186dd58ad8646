"""Publishing never loses a model that worked: staged, proven, backed up, swapped; cut off anywhere, it goes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from string import ascii_letters
from typing import Any

import pytest
import requests

from lora_trainer.errors import OllamaError, ResourceError, UserError
from lora_trainer.models.source import resolve_base_model
from lora_trainer.models.tiny import make_tiny_model
from ollama_export.backups import RolledBack, rollback
from ollama_export.gguf.export import export_gguf
from ollama_export.llama_cpp.engine import Engine
from ollama_export.proof import Finding, Proof, ProofFailed, examine, verify
from ollama_export.publish import Publication, publish
from ollama_export.server.answer import Answer
from ollama_export.server.client import OllamaClient
from ollama_export.server.transport import Refused
from tests.ollama_server.server import OllamaServer
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


OURS = ("staging-7", "backup-20200101-1")
"""Tags such as this project makes."""


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
        # The tiny model babbles: any letter stops it that its first word has not.
        first = re.findall(r"\S\w*", known(self.gguf, proofs[0].prompt)[1])[0]
        stop = [letter for letter in ascii_letters if letter not in first]
        parameters = {"stop": stop, "num_ctx": 1024, "repeat_penalty": 1}
        values: dict[str, Any] = {"template": TEMPLATE, "system": system, "parameters": parameters}
        values |= {"name": self.name, "gguf": self.gguf, "digest": self.digest, "proofs": tuple(proofs)}
        # as if run records held every model there
        values |= {"known": {model["digest"] for model in self.client.tags()}, "answer_tokens": 48}
        return Publication(**(values | changes))

    def publish(self, system: str, **changes: Any) -> Any:
        return publish(self.client, self.publication(system, **changes))

    def system(self, name: str | None = None) -> str:
        """Which model stands under a name."""
        return str(self.client.show(name or self.name)["system"])

    def answers(self, system: str) -> bool:
        rendered = self.client.rendered(self.name, CONVERSATIONS[0])
        return rendered == prompt(system, CONVERSATIONS[0])

    def tags(self) -> set[str]:
        """The tags of the name."""
        names = (model["name"] for model in self.client.tags())
        return {name.partition(":")[2] for name in names if name.startswith(f"{self.name}:")}

    def beside(self) -> set[str]:
        """The tags of the name, but for the date in them."""
        return {re.sub(r"\d{8}", "DATE", tag) for tag in self.tags()}


@pytest.fixture
def publisher(either_ollama: TestOllama, gguf: Path) -> Publisher:
    return Publisher(OllamaClient(either_ollama.url), gguf, either_ollama.name("zzhua"))


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
    assert {task for task, _, _ in heard} == {"create", "prove", "unload"}


def test_the_old_model_becomes_a_backup_and_a_roll_back_brings_it_again(publisher: Publisher) -> None:
    publisher.put("old")
    published = publisher.publish("new")
    assert published.backup and re.fullmatch(rf"{publisher.name}:backup-\d{{8}}-1", published.backup)
    assert (publisher.system(), publisher.system(published.backup)) == ("new", "old")
    done = rollback(publisher.client, publisher.name)
    assert done.backup.name == published.backup and publisher.answers("old")
    assert done.kept and publisher.system(done.kept) == "new"
    error = raised(lambda: rollback(publisher.client, publisher.name))
    assert error.key == "error.publish.no_older_backup"


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
    (told,) = published.findings
    assert told.key == "note.publish.backups_deleted" and not told.fatal
    assert told.values["names"].count(f"{publisher.name}:backup-") == 2


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


def test_each_roll_back_goes_one_older_and_never_forward_again(publisher: Publisher) -> None:
    for system in "1234":
        publisher.publish(system, keep_backups=9)
    seen = []
    for _ in "321":
        rollback(publisher.client, publisher.name)
        seen.append(publisher.system())
    assert seen == ["3", "2", "1"]
    assert raised(lambda: rollback(publisher.client, publisher.name)).key == "error.publish.no_older_backup"
    assert {publisher.system(f"{publisher.name}:{tag}") for tag in publisher.tags()} == set("1234")


def test_what_stands_is_backed_up_before_a_roll_back_unless_it_is_a_backup(publisher: Publisher) -> None:
    publisher.publish("1")
    publisher.publish("2")
    publisher.put("by hand")
    by_hand = publisher.client.digest(publisher.name)
    done = rollback(publisher.client, publisher.name)
    assert isinstance(done, RolledBack) and done.kept and publisher.client.digest(done.kept) == by_hand
    before = publisher.tags()
    again = raised(lambda: rollback(publisher.client, publisher.name))
    assert again.key == "error.publish.no_older_backup" and publisher.tags() == before


def test_a_run_is_rolled_back_to_by_its_digest(publisher: Publisher) -> None:
    digests = [publisher.publish(system, keep_backups=9).digest for system in "123"]
    assert rollback(publisher.client, publisher.name, {digests[0]}).backup.digest == digests[0]
    assert publisher.system() == "1"
    error = raised(lambda: rollback(publisher.client, publisher.name, {"nobody's"}))
    assert isinstance(error, OllamaError) and publisher.system() == "1"


def test_a_backup_that_no_record_knows_stays_unless_none_is_to_stay(publisher: Publisher) -> None:
    publisher.put("by hand")
    for system in "12":
        publisher.publish(system, known=set())
    ours = {publisher.client.digest(publisher.name)}
    publisher.publish("3", known=ours, keep_backups=0, backup=False)
    kept = {publisher.system(f"{publisher.name}:{tag}") for tag in publisher.tags() if "backup" in tag}
    assert kept == {"by hand", "1"}, "the one that stood was ours, and no backup was wanted"
    told = publisher.publish("4", known=set(), backup=False, keep_backups=0).findings
    assert [(finding.key, finding.fatal) for finding in told] == [("note.publish.backups_kept", False)]
    kept = {publisher.system(f"{publisher.name}:{tag}") for tag in publisher.tags() if "backup" in tag}
    assert kept == {"by hand", "1", "3"}, "what stood is kept where nobody could make it again"
    publisher.publish("5", known=set(), keep_backups=0, forget_all=True)
    assert publisher.beside() == {"latest"}


def test_a_model_that_is_an_older_backup_already_becomes_the_newest(publisher: Publisher) -> None:
    for system in "123":
        publisher.publish(system, keep_backups=9)
    rollback(publisher.client, publisher.name)
    rollback(publisher.client, publisher.name)
    assert publisher.system() == "1"
    published = publisher.publish("4")
    assert published.backup and publisher.system(published.backup) == "1"
    assert len(publisher.beside()) == 2


@pytest.mark.parametrize("newest", ["backup-29991231-1", "backup-20200101-10"])
def test_the_newest_backup_is_the_last_one_made_whatever_the_clock_said(publisher: Publisher, newest: str) -> None:
    for system, tag in (("older", "backup-20200101-9"), ("newer", newest), ("old", "latest")):
        publisher.put(system)
        publisher.client.copy(publisher.name, f"{publisher.name}:{tag}")
    published = publisher.publish("new", keep_backups=2)
    assert publisher.system(published.backup) == "old"
    assert rollback(publisher.client, publisher.name).backup.name == published.backup
    assert rollback(publisher.client, publisher.name).backup.name == f"{publisher.name}:{newest}"
    assert publisher.answers("newer") and len(publisher.tags()) == 4


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


def test_stagings_of_ours_are_removed_and_other_tags_stay(publisher: Publisher) -> None:
    publisher.publish("1")
    for tag in ("staging-7", "staging-0a1b2c3d", "staging-mine", "backup-mine", "v1"):
        publisher.client.copy(publisher.name, f"{publisher.name}:{tag}")
    publisher.publish("2", stagings=(f"{publisher.name}:staging-7", f"{publisher.name}:staging-77"))
    others = {"staging-0a1b2c3d", "staging-mine", "backup-mine", "v1"}
    assert publisher.beside() == {"latest", "backup-DATE-1"} | others


def test_two_programs_that_want_different_models_never_take_each_others_staging(publisher: Publisher) -> None:
    one, two = publisher.publication("one"), publisher.publication("two")
    assert one.staging != two.staging
    journal = Journal(die_after="proven")
    with pytest.raises(Killed):
        publish(publisher.client, one, mark=journal.mark)
    publish(publisher.client, two)
    assert publisher.answers("two") and publisher.client.exists(one.staging)
    # somebody else changes what we are about to put there
    publisher.client.copy(publisher.name, one.staging)
    again = publish(publisher.client, one, done=journal.done, mark=journal.mark)
    assert publisher.answers("one") and publisher.system(again.backup) == "two"


def test_what_another_program_publishes_meanwhile_is_backed_up_too(publisher: Publisher) -> None:
    publisher.put("old")
    journal = Journal(die_before="swapped", die_after="backed_up")
    with pytest.raises(Killed):
        publish(publisher.client, publisher.publication("new"), mark=journal.mark)
    publisher.put("by somebody else")
    journal.die_before = journal.die_after = ""
    published = publish(publisher.client, publisher.publication("new"), done=journal.done, mark=journal.mark)
    assert publisher.answers("new") and publisher.system(published.backup) == "by somebody else"


def test_weights_that_vanish_between_the_upload_and_the_making_are_sent_again(
    faulty: Publisher, ollama_server: OllamaServer, other_gguf: Path
) -> None:
    publication = replace(faulty.publication("new"), **weights(other_gguf))
    blobs = ollama_server.models / "blobs"

    class Unlucky(OllamaClient):
        """Another process deletes the last model that used the weights, right before ours is made."""

        deleted = 0

        def create(self, name: str, **how: Any) -> None:
            if not self.deleted:
                self.deleted = 1
                (blobs / f"sha256-{publication.digest}").unlink()
            super().create(name, **how)

    client = Unlucky(ollama_server.url)
    publish(client, publication)
    assert client.deleted and faulty.answers("new")


def test_a_tag_that_ollama_does_not_delete_fails_nothing(faulty: Publisher, ollama_server: OllamaServer) -> None:
    faulty.publish("1")

    class Stubborn(OllamaClient):
        """Since 0.40 a manifest that can't be read keeps Ollama from deleting anything."""

        def delete(self, name: str, *, missing_ok: bool = False) -> bool:  # noqa: ARG002
            message = f"cannot determine retained blobs for {name}"
            raise Refused("error.ollama.refused", 500, host=self.host, call="DELETE /api/delete", message=message)

    published = publish(Stubborn(ollama_server.url), faulty.publication("2"))
    assert faulty.answers("2")
    assert {finding.key for finding in published.findings} == {"note.publish.not_deleted"}


def test_a_tag_that_ollama_refuses_to_delete_once_is_deleted_all_the_same(
    faulty: Publisher, ollama_server: OllamaServer
) -> None:
    faulty.publish("1")
    refused: list[str] = []

    class Busy(OllamaClient):
        def delete(self, name: str, *, missing_ok: bool = False) -> bool:
            if "staging" in name and name not in refused:
                refused.append(name)
                raise Refused("error.ollama.refused", 500, host=self.host, call="DELETE /api/delete", message="busy")
            return super().delete(name, missing_ok=missing_ok)

    published = publish(Busy(ollama_server.url), faulty.publication("2"))
    assert faulty.answers("2") and refused and not published.findings
    assert not [model["name"] for model in faulty.client.tags() if "staging" in model["name"]]


def test_the_tags_of_other_models_are_nobodys_business(publisher: Publisher) -> None:
    publisher.put("old")
    others = {f"{publisher.name}{part}:{tag}" for part in ("-2", f"/{publisher.name}") for tag in OURS}
    for other in others:
        publisher.client.copy(publisher.name, other)
    publisher.publish("new", keep_backups=0)
    assert others <= {model["name"] for model in publisher.client.tags()}
    error = raised(lambda: rollback(publisher.client, publisher.name))
    assert error.key == "error.publish.no_backup"


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


# Proofs.


@pytest.fixture(scope="module")
def parrot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says its prompt's last token again and again."""
    folder = tmp_path_factory.mktemp("parrot")
    base = make_tiny_model(resolve_base_model(str(make_speaker(folder / "model"))), folder / "tiny")
    assert base is not None
    how: dict[str, Any] = {"file_type": "f16", "chat_template": None, "add_bos": False, "eos_token": "<|im_end|>"}
    return export_gguf(base.path, "folder", None, folder / "parrot.gguf", **how).path


def test_an_answer_that_only_repeats_itself_is_one_finding_on_every_server(
    each_ollama: OllamaServer, parrot: Path
) -> None:
    client = OllamaClient(each_ollama.url)
    texts = [(messages, prompt("a", messages)) for messages in CONVERSATIONS]
    publication = Publication(
        name="zzhua",
        gguf=parrot,
        digest=hashlib.sha256(parrot.read_bytes()).hexdigest(),
        proofs=tuple(Proof(tuple(messages), text, known(parrot, text)[0]) for messages, text in texts),
        template=TEMPLATE,
        system="a",
        parameters={"num_ctx": 1024},
        answer_tokens=200,
    )
    with pytest.raises(ProofFailed) as failed:
        publish(client, publication)
    assert failed.value.findings[-1].is_endless and not client.exists("zzhua")
    published = publish(client, replace(publication, must_stop=False))
    key = "error.proof.endless" if each_ollama.release.name == "0.33" else "error.proof.repeats"
    assert [(finding.key, finding.fatal) for finding in published.findings] == [(key, False)]


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


def test_a_renderer_of_ollamas_own_is_named_as_the_reason(faulty: Publisher, ollama_server: OllamaServer) -> None:
    faulty.put("new")
    requests.post(
        f"{ollama_server.url}/api/create", json={"model": "own", "from": faulty.name, "renderer": "gemma4"}, timeout=60
    ).raise_for_status()
    good = faulty.publication("new")
    other = wrong(good.proofs, prompt=good.proofs[1].prompt.replace("再见", "再会"))
    found = [finding for finding in examine(faulty.client, "own", other, must_stop=False) if finding.fatal]
    assert [(finding.key, finding.values["renderer"]) for finding in found] == [("error.proof.renderer", "gemma4")]


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
    keys = [
        finding.key for finding in published.findings if finding.key in ("error.proof.rendered", "error.proof.tokens")
    ]
    assert keys == ["error.proof.rendered", "error.proof.tokens"] * 2
    assert not any(finding.fatal for finding in published.findings)
    assert publisher.system() == "new"


def test_a_line_end_more_is_another_rendering(publisher: Publisher) -> None:
    error = raised(lambda: publisher.publish("new", template=TEMPLATE + "\n"))
    assert (error.key, error.values["number"]) == ("error.proof.rendered", 1) and publisher.beside() == set()


def test_a_model_that_cannot_be_loaded_is_deleted(publisher: Publisher) -> None:
    publisher.put("old")
    error = raised(lambda: publisher.publish("new", parameters={"num_ctx": "many"}))
    assert (error.key, error.values["message"]) == ("error.ollama.refused", 'option "num_ctx" must be of type integer')
    assert publisher.beside() == {"latest"} and publisher.answers("old")


def test_an_ollama_too_old_to_render_is_proven_by_its_token_counts(gguf: Path, tmp_path: Path) -> None:
    with OllamaServer(tmp_path / "models", old=True, version="0.5.1") as server:
        publisher = Publisher(OllamaClient(server.url), gguf)
        published = publisher.publish("new")
        assert published.findings == (Finding("note.publish.no_render", {"version": "0.5.1"}, fatal=False),)
        error = raised(lambda: publisher.publish("newer", template="!" + TEMPLATE))
        assert error.key == "error.proof.tokens" and publisher.system() == "new"


def test_verifying_finds_nothing_or_what_has_changed(publisher: Publisher) -> None:
    publication = publisher.publication("new")
    digest = publish(publisher.client, publication).digest
    how = {"answer_tokens": 48}
    assert verify(publisher.client, publisher.name, publication.proofs, digest=digest, **how) == []
    # Another model that renders alike is another model.
    publisher.client.create(publisher.name, from_=publisher.name, parameters={"seed": 1})
    found = verify(publisher.client, publisher.name, publication.proofs, digest=digest, **how)
    assert [(finding.key, finding.fatal) for finding in found] == [("error.proof.digest", True)]
    publisher.client.create(publisher.name, from_=publisher.name, template=TEMPLATE + "!")
    found = verify(publisher.client, publisher.name, publication.proofs, digest=digest, **how)
    keys = ("error.proof.digest", "error.proof.rendered", "error.proof.tokens")
    assert {(finding.key, finding.fatal) for finding in found} >= {(key, True) for key in keys}
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


STEPS = ["staging", "staged", "proven", "backed_up", "swapped", "cleaned"]


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


def test_a_proof_in_the_journal_counts_for_the_digest_that_was_proven_alone(publisher: Publisher) -> None:
    good, journal = publisher.publication("new"), Journal(die_after="proven")
    with pytest.raises(Killed):
        publish(publisher.client, good, mark=journal.mark)
    done = {**journal.done, "proven": {**journal.done["proven"], "digest": "0" * 64}}
    bad = replace(good, proofs=wrong(good.proofs, tokens=1))
    error = raised(lambda: publish(publisher.client, bad, done=done))
    assert error.key == "error.proof.tokens" and not publisher.client.exists(publisher.name)


@pytest.mark.parametrize("replaced", [False, True], ids=["gone", "another model"])
@pytest.mark.parametrize("step", ["staged", "proven", "backed_up"])
def test_a_staged_model_that_is_gone_or_another_by_now_is_made_again(
    publisher: Publisher, step: str, replaced: bool
) -> None:
    publisher.put("old")
    publication, journal = publisher.publication("new"), Journal(die_after=step)
    with pytest.raises(Killed):
        publish(publisher.client, publication, mark=journal.mark)
    if replaced:
        publisher.client.create(journal.done["staging"]["tag"], from_=publisher.name, system="theirs")
    else:
        publisher.client.delete(journal.done["staging"]["tag"])
    journal.die_after = ""
    published = publish(publisher.client, publication, done=journal.done, mark=journal.mark)
    assert publisher.answers("new") and publisher.system(published.backup) == "old"
    assert publisher.beside() == {"latest", "backup-DATE-1"}


@pytest.mark.parametrize("change", ["template", "system", "parameters", "weights"])
def test_what_is_asked_for_otherwise_by_now_is_made_anew(publisher: Publisher, other_gguf: Path, change: str) -> None:
    publication = publisher.publication("new", must_stop=False)
    journal = Journal(die_after="proven")
    with pytest.raises(Killed):
        publish(publisher.client, publication, mark=journal.mark)
    changes: dict[str, dict[str, Any]] = {
        "template": {"template": TEMPLATE + '{{ "" }}'},
        "system": {"system": "newer", "proofs": publisher.publication("newer").proofs},
        "parameters": {"parameters": {**publication.parameters, "seed": 5}},
        "weights": weights(other_gguf),
    }
    changed, anew = replace(publication, **changes[change]), Journal()
    published = publish(publisher.client, changed, done=journal.done, mark=anew.mark)
    assert anew.done["staging"] == {"wanted": changed.wanted, "tag": changed.staging}
    assert published.digest == publish(publisher.client, changed).digest == publisher.client.digest(publisher.name)
    assert publisher.system() == changed.system


def test_a_name_that_is_another_model_by_now_is_published_again(publisher: Publisher) -> None:
    publication, journal = publisher.publication("new"), Journal()
    publish(publisher.client, publication, mark=journal.mark)
    publisher.put("theirs")
    published = publish(publisher.client, publication, done=journal.done, mark=journal.mark)
    assert publisher.answers("new") and publisher.system(published.backup) == "theirs"


class Overtaken(OllamaClient):
    """Somebody else has a model of theirs under the name right after the swap."""

    def copy(self, source: str, destination: str) -> None:
        super().copy(source, destination)
        if "staging" in source:
            self.create(destination, from_=source, system="theirs")


def test_a_swap_after_which_another_model_has_the_name_is_an_error(publisher: Publisher) -> None:
    publisher.put("old")
    publication = publisher.publication("new")
    error = raised(lambda: publish(Overtaken(publisher.client.host), publication))
    assert (error.key, error.exit_code) == ("error.publish.not_swapped", 5)
    assert publisher.system() == "theirs" and publisher.system(error.values["staging"]) == "new"
    assert publisher.beside() == {"latest", publication.staging.partition(":")[2], "backup-DATE-1"}
    published = publish(publisher.client, publication)
    assert publisher.answers("new") and publisher.system(published.backup) == "theirs"


class StagingTaken(OllamaClient):
    """Somebody else makes a model of theirs under the staging tag when ours there has been proven."""

    asked = False

    def chat(self, name: str, *more: Any, **options: Any) -> Answer:
        self.asked = True
        return super().chat(name, *more, **options)

    def unload(self, name: str, seconds: float = 10.0) -> None:
        super().unload(name, seconds)
        if self.asked and "staging" in name:
            self.create(name, from_=name, system="theirs")


def test_a_staged_model_that_is_another_when_it_is_to_be_swapped_in_is_not(publisher: Publisher) -> None:
    publisher.put("old")
    publication = publisher.publication("new")
    error = raised(lambda: publish(StagingTaken(publisher.client.host), publication))
    assert error.key == "error.publish.staging_changed" and publisher.system() == "old"
    publish(publisher.client, publication)
    assert publisher.answers("new")


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
