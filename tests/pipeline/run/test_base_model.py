"""When a base model that is named is the one that a run before was trained on."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lora_trainer.errors import BaseModelError
from lora_trainer.events import ignore
from lora_trainer.models.recorded import base_record
from lora_trainer.models.source import BaseModel, resolve_base_model
from pipeline.request import Request
from pipeline.run.base_model import (
    base_model_of,
    look_again,
    recorded_base,
    recorded_base_here,
    recorded_base_model,
)
from pipeline.run.history import Run
from pipeline.run.processes import base_model_here
from tests.pipeline.checks.test_preflight import job
from tests.support.hub_server import COMMIT, HubServer
from tests.support.tiny import make_tiny

DIGEST = "a" * 64


@pytest.mark.parametrize(
    ("source", "revision", "flag", "overwrite", "meant"),
    [
        # whoever names none means the recorded one
        ("acme/tiny", COMMIT, None, False, True),
        ("acme/tiny", COMMIT, None, True, True),
        ("/models/tiny", DIGEST, None, False, True),
        ("ollama:zzhua", DIGEST, None, False, True),
        # whoever names it again continues what was begun, but for what lies at a path by now
        ("acme/tiny", COMMIT, "acme/tiny", False, True),
        ("/models/tiny", DIGEST, "/models/tiny", False, False),
        # anew is anew, though never on top of a model's own publication
        ("acme/tiny", COMMIT, "acme/tiny", True, False),
        ("/models/tiny", DIGEST, "/models/tiny", True, False),
        ("ollama:zzhua", DIGEST, "ollama:zzhua", True, True),
        # another one
        ("acme/tiny", COMMIT, "acme/other", False, False),
        ("ollama:zzhua", DIGEST, "acme/other", True, False),
    ],
)
def test_a_base_model_is_the_recorded_one_or_what_has_its_name_now(
    source: str, revision: str, flag: str | None, overwrite: bool, meant: bool
) -> None:
    record = {"source": source, "revision": revision}
    run = Run(Path(), {"base": record})
    found = recorded_base(run, Request(base_model=flag), flag or source, overwrite=overwrite)
    assert found == (record if meant else None)
    assert recorded_base(None, Request(base_model=flag), flag or source, overwrite=overwrite) is None


def test_a_machine_that_has_another_model_in_the_same_place_does_not_train_along(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "base")
    base = resolve_base_model(str(folder))
    assert base_model_here(base) == base
    make_tiny(folder, seed=1)
    with pytest.raises(BaseModelError, match=r"error\.processes\.base"):
        base_model_here(base)
    shutil.rmtree(folder)
    with pytest.raises(BaseModelError, match=r"error\.processes\.base"):
        base_model_here(base)


def test_a_gguf_that_was_looked_at_a_moment_ago_is_not_read_again_by_the_checks(
    tmp_path: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(tiny_gguf, tmp_path / "base.gguf"))
    record = base_record(resolve_base_model(str(path)))
    read = []
    whole = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: read.append(path) or whole(*given))
    found = look_again(record, None, ignore)
    assert isinstance(found, BaseModel) and len(read) == 1
    here = replace(job(tmp_path, str(path)), recorded_base=record)
    assert base_model_of(replace(here, found_base=found), ignore) == found and len(read) == 1
    assert base_model_of(here, ignore) == found and len(read) == 2
    # right behind the training it is looked at afresh
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(BaseModelError, match=r"error\.base\.changed"):
        recorded_base_model(record, None, ignore)
    changed = look_again(record, None, ignore)
    assert isinstance(changed, BaseModelError) and changed.key == "error.base.changed"


def test_a_recorded_base_model_of_the_hub_is_here_where_its_very_commit_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    with HubServer(tmp_path / "models") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        record = {"source": "acme/tiny", "revision": COMMIT, "kind": "folder"}
        assert recorded_base_here(record, None, ignore) is None
        repo = cache / "models--acme--tiny"
        make_tiny(repo / "snapshots" / COMMIT)
        (repo / "refs").mkdir()
        (repo / "refs" / "main").write_text(COMMIT, encoding="utf-8")
        found = recorded_base_here(record, None, ignore)
        assert found is not None and (found.revision, found.path) == (COMMIT, repo / "snapshots" / COMMIT)
        # another commit would be fetched, which this hub doesn't have
        for other in ({"revision": "b" * 40}, {"source": "modelscope:acme/tiny", "revision": DIGEST}):
            assert recorded_base_here({**record, **other}, None, ignore) is None
