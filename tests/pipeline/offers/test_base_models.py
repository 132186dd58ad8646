"""The chooser's rows: real sizes, what is downloaded, what fits, and all of it without PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lora_trainer.data.dataset import Dataset
from lora_trainer.plan import TrainPlan
from pipeline.offers.base_facts import base_facts
from pipeline.offers.base_models import RECOMMENDED, RecommendedBase, base_offers, recommended
from pipeline.offers.data_size import data_size
from pipeline.offers.downloaded import downloaded_folder, is_downloaded
from pipeline.run.history import History
from tests.pipeline.offers.conftest import machine, write_rows
from tests.support.exports import export
from tests.support.project import ROOT
from tests.support.tiny import make_tiny
from wizard.steps.base_model import DEFAULT_BASE_MODEL

HALF = "Qwen/Qwen2.5-0.5B-Instruct"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "ms"))
    return tmp_path


def put(cache: Path, source: str, files: tuple[str, ...], index: dict[str, str] | None = None) -> Path:
    """A model in the hub's cache, laid out as huggingface_hub does it."""
    repo = cache / "hf" / "hub" / f"models--{source.replace('/', '--')}"
    folder = repo / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    for name in files:
        (folder / name).write_text("{}")
    if index is not None:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


@pytest.mark.parametrize("row", RECOMMENDED, ids=lambda row: row.title)
def test_a_rows_sizes_make_up_its_weights(row: RecommendedBase) -> None:
    shape = row.shape
    matrices = shape.layers * shape.layer_weights
    embeddings = shape.vocabulary * shape.hidden
    # norms and biases are what is left; some files hold the tied output layer as well
    copies = round((shape.parameters - matrices) / embeddings)
    assert copies in ((1, 2) if shape.tied else (2,))
    assert 0 < shape.parameters - matrices - copies * embeddings < 0.001 * shape.parameters
    assert row.download_bytes > 2 * shape.parameters


def test_the_default_is_first_and_titles_are_short() -> None:
    assert RECOMMENDED[0].source == DEFAULT_BASE_MODEL and RECOMMENDED[0].key == "recommended"
    titles = [row.title for row in RECOMMENDED]
    assert titles[0] == "Qwen2.5-0.5B" and "Qwen3-4B" in titles and len(set(titles)) == len(titles)
    assert [row.shape.parameters for row in RECOMMENDED] == sorted(row.shape.parameters for row in RECOMMENDED)


@pytest.mark.parametrize("word", [HALF, "qwen2.5-0.5b", "Qwen2.5-0.5B-Instruct", HALF.lower()])
def test_a_recommended_model_is_known_by_its_names(word: str) -> None:
    assert recommended(word) == RECOMMENDED[0]
    assert recommended("Qwen2.5-0.5") is None


def test_an_offer_says_what_fits_as_the_check_before_the_training_does(cache: Path, rows: Dataset) -> None:
    size, history = data_size(rows), History(cache / "runs")
    offers = base_offers(size, TrainPlan(), machine(free=8, total=16), history)
    assert [offer.source for offer in offers] == [row.source for row in RECOMMENDED]
    fitting = [offer.title for offer in offers if offer.fits]
    assert fitting == ["Qwen2.5-0.5B", "Qwen3-0.6B", "Qwen2.5-1.5B"]
    assert [offer.title for offer in offers if offer.fits_when_freed and not offer.fits] == ["Qwen3-1.7B", "Qwen2.5-3B"]
    assert all(offer.duration is None and not offer.downloaded for offer in offers)
    assert [offer.memory_needed for offer in offers] == sorted(offer.memory_needed for offer in offers)
    # 4 bits are for those who have little
    small = base_offers(size, TrainPlan(qlora=True), machine(free=8, total=16), history)
    assert len([offer for offer in small if offer.fits]) > len(fitting)


def test_an_offer_says_how_long_it_takes(cache: Path, rows: Dataset) -> None:
    offers = base_offers(data_size(rows), TrainPlan(), machine(h896=5e10), History(cache / "runs"))
    seconds = [offer.duration.seconds for offer in offers if offer.duration]
    assert len(seconds) == len(RECOMMENDED)
    # 0.5B to 7B
    assert 10 < seconds[-1] / seconds[0] < 20


def test_a_model_that_is_here_whole_needs_no_download(cache: Path, rows: Dataset) -> None:
    whole = ("config.json", "tokenizer.json", "model.safetensors")
    folder = put(cache, HALF, whole)
    assert downloaded_folder(HALF) == folder
    offers = base_offers(data_size(rows), TrainPlan(), machine(), History(cache / "runs"))
    assert (offers[0].downloaded, offers[0].download_bytes) == (True, 0)
    assert not any(offer.downloaded for offer in offers[1:])
    for name in whole:
        (folder / name).rename(folder / f"{name}.incomplete")
        assert not is_downloaded(HALF)
        (folder / f"{name}.incomplete").rename(folder / name)
    assert is_downloaded(HALF)


def test_a_model_in_several_files_is_here_when_all_of_them_are(cache: Path) -> None:
    index = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    folder = put(cache, "a/b", ("config.json", "tokenizer.json", "model-1.safetensors"), index)
    assert not is_downloaded("a/b")
    (folder / "model-2.safetensors").touch()
    assert is_downloaded("a/b")
    (folder / "model.safetensors.index.json").write_text("broken")
    assert not is_downloaded("a/b")


@pytest.mark.parametrize("place", ["ms/models/Qwen/Qwen2___5-0___5B-Instruct", f"ms/{HALF}", f"ms/models/{HALF}"])
def test_a_model_of_modelscope_is_found_where_its_package_puts_it(cache: Path, place: str) -> None:
    assert not is_downloaded(f"modelscope:{HALF}")
    (cache / place).mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (cache / place / name).touch()
    assert is_downloaded(f"modelscope:{HALF}") and not is_downloaded(HALF)


def test_what_is_known_of_a_base_model_before_it_is_loaded(cache: Path) -> None:
    folder = make_tiny(cache / "tiny")
    gguf = export(folder, cache / "tiny.gguf", file_type="f16").path
    of_folder, of_file = base_facts(str(folder)), base_facts(str(gguf))
    assert of_folder is not None and of_file is not None
    assert of_folder.shape == of_file.shape and of_folder.download_bytes == of_file.download_bytes == 0
    half = base_facts(HALF)
    assert half is not None and (half.shape, half.download_bytes) == (
        RECOMMENDED[0].shape,
        RECOMMENDED[0].download_bytes,
    )
    recorded = base_facts(HALF, recorded={"parameters": 7})
    assert recorded is not None and recorded.shape.parameters == 7 and recorded.shape.hidden == half.shape.hidden
    for unknown in ("someone/else", str(cache), str(cache / "nothing"), "~nobody/x", "ollama:nothing"):
        assert base_facts(unknown) is None
    (cache / "broken.gguf").write_bytes(b"GGUF and no more")
    assert base_facts(str(cache / "broken.gguf")) is None


def test_offers_and_costs_need_neither_torch_nor_transformers(tmp_path: Path) -> None:
    write_rows(tmp_path / "data", 24)
    program = f"""
import sys
from pathlib import Path
from lora_trainer.data.dataset import load_dataset
from lora_trainer.plan import TrainPlan
from pipeline.offers.base_facts import base_facts
from pipeline.offers.base_models import RECOMMENDED, base_offers
from pipeline.offers.cost import plan_cost
from pipeline.offers.data_size import data_size
from pipeline.offers.machine import look_at_machine
from pipeline.offers.reach import ask_hub, other_ways
from pipeline.offers.typed import check_base, clean_path
from pipeline.run.history import History
look = look_at_machine(Path({str(tmp_path)!r}))
machine = look.now()
size, history, plan = data_size(load_dataset(Path({str(tmp_path / "data")!r}))), History(), TrainPlan()
assert len(base_offers(size, plan, machine, history)) == len(RECOMMENDED)
base = base_facts(RECOMMENDED[0].source)
plan_cost(plan, size, base, machine, history)
plan_cost(plan, size, base, machine, history, rungs=(2.0, 3.0))
ask_hub(), other_ways("a/b"), check_base("qwen2.5-0.5b"), clean_path("~/x")
look.close()
print(sorted({{"torch", "transformers", "numpy", "rich", "questionary"}} & set(sys.modules)))
"""
    environment = {"PATH": "", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TRAIN_TO_OLLAMA_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
