"""The exported file: its order and metadata, what is refused, and what is left when the export stops half way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from file_formats.gguf import read_head, serving_order
from lora_trainer.errors import ConversionError
from ollama_export.gguf.export import supported_architecture
from ollama_export.gguf.lora_delta import read_adapter
from ollama_export.llama_cpp.engine import Engine
from tests.support.adapters import make_adapter, merge_with_peft
from tests.support.exports import PROMPTS, divergence, export, same_sums, smollm2, tensors
from tests.support.tiny import add_tokens, make_tiny


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("qwen2") / "base", "qwen2")


@pytest.fixture(scope="module")
def f16(qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(qwen, tmp_path_factory.mktemp("f16") / "out.gguf", file_type="f16").path


def damaged(base: Path, folder: Path, name: str, **changes: Any) -> Path:
    """A copy of the model folder `base` in which the JSON file `name` is changed."""
    shutil.copytree(base, folder)
    values = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps(values | changes), encoding="utf-8")
    return folder


def test_q8_0_answers_nearly_as_f32_does(qwen: Path, tmp_path: Path) -> None:
    adapter = make_adapter(qwen, tmp_path / "adapter")
    exact = export(qwen, tmp_path / "f32.gguf", adapter)
    small = export(qwen, tmp_path / "q8_0.gguf", adapter, file_type="q8_0")
    assert small.size < exact.size / 3
    with Engine(exact.path, context=256) as one, Engine(small.path, context=256) as other:
        for prompt in PROMPTS:
            assert divergence(one.logprobs(prompt), other.logprobs(prompt)) < 1e-2


def test_half_precision_rslora_and_ranks_and_alphas_by_module_merge_as_in_peft(qwen: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    base = Path(shutil.copytree(qwen, tmp_path / "base"))
    AutoModelForCausalLM.from_pretrained(qwen, dtype="float16").save_pretrained(base)
    adapter = make_adapter(
        base,
        tmp_path / "adapter",
        use_rslora=True,
        rank_pattern={"q_proj": 2, "layers.1.mlp.down_proj": 8},
        alpha_pattern={"v_proj": 32, ".*o_proj": 3},
    )
    merge_with_peft(base, adapter, tmp_path / "merged")
    expected = tensors(export(tmp_path / "merged", tmp_path / "expected.gguf").path)
    for name, tensor in tensors(export(base, tmp_path / "exported.gguf", adapter).path).items():
        assert same_sums(tensor.data, expected[name].data), name


def test_the_digest_is_the_files_and_progress_ends_at_its_size(qwen: Path, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    made = export(qwen, tmp_path / "模型 1.gguf", progress=lambda done, total: heard.append((done, total)))
    assert made.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert made.size == made.path.stat().st_size
    assert heard[-1] == (made.size, made.size)
    assert heard == sorted(heard)
    assert list(tmp_path.iterdir()) == [made.path]


def test_tensors_and_last_keys_stand_in_the_order_of_llama_quantize(f16: Path) -> None:
    head = read_head(f16)
    attention = ["k.bias", "k.weight", "norm.weight", "output.weight", "q.bias", "q.weight", "v.bias", "v.weight"]
    layer = [f"attn_{name}" for name in attention] + [f"ffn_{name}.weight" for name in ("down", "gate", "norm", "up")]
    layers = [f"blk.{number}.{name}" for number in (0, 1) for name in layer]
    assert [tensor.name for tensor in head.tensors] == ["output_norm.weight", "token_embd.weight", *layers]
    # By number, not as texts.
    assert serving_order("blk.2.ffn_up.weight") < serving_order("blk.10.attn_k.weight")
    assert list(head.metadata)[-2:] == ["general.quantization_version", "general.file_type"]
    assert (head.get("general.quantization_version"), head.get("general.file_type")) == (2, 1)
    assert all(tensor.offset % 32 == 0 for tensor in head.tensors)


def test_the_conversation_keys_are_written_as_asked(qwen: Path, f16: Path, tmp_path: Path) -> None:
    options = {"chat_template": "{{ messages[0].content }}", "add_bos": True, "eos_token": "<|endoftext|>"}
    head = read_head(export(qwen, tmp_path / "out.gguf", **options).path)
    assert head.get("tokenizer.chat_template") == options["chat_template"]
    assert head.get("tokenizer.ggml.add_bos_token") is True
    assert read_head(f16).get("tokenizer.ggml.add_bos_token") is False
    assert head.get("tokenizer.ggml.add_eos_token") is False
    end = head.get("tokenizer.ggml.tokens").index("<|endoftext|>")
    assert head.get("tokenizer.ggml.eos_token_id") == head.get("tokenizer.ggml.eot_token_id") == end
    own = json.loads((qwen / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
    assert read_head(f16).get("tokenizer.chat_template") == own


def test_of_several_chat_templates_one_is_left(qwen: Path, tmp_path: Path) -> None:
    templates = [{"name": name, "template": name + "{{ messages }}"} for name in ("default", "tool_use")]
    base = damaged(qwen, tmp_path / "base", "tokenizer_config.json", chat_template=templates)
    head = read_head(export(base, tmp_path / "out.gguf").path)
    assert [key for key in head.metadata if "chat_template" in key] == ["tokenizer.chat_template"]
    assert head.get("tokenizer.chat_template") == "default{{ messages }}"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"fan_in_fan_out": True}, "error.adapter.kind"),
        ({"use_dora": True}, "error.adapter.kind"),
        ({"modules_to_save": ["lm_head"]}, "error.adapter.kind"),
        ({"lora_bias": True}, "error.adapter.kind"),
        ({"peft_type": "LOHA"}, "error.adapter.kind"),
        ({"r": 5}, "error.adapter.broken"),
    ],
)
def test_an_adapter_that_is_not_a_plain_lora_is_refused(
    qwen: Path, tmp_path: Path, changes: dict[str, Any], key: str
) -> None:
    adapter = make_adapter(qwen, tmp_path / "plain")
    assert read_adapter(adapter)
    with pytest.raises(ConversionError) as caught:
        read_adapter(damaged(adapter, tmp_path / "adapter", "adapter_config.json", **changes))
    assert caught.value.key == key


def test_an_embedding_that_was_trained_is_refused(qwen: Path, tmp_path: Path) -> None:
    adapter = make_adapter(qwen, tmp_path / "adapter", target_modules=["q_proj", "embed_tokens"])
    with pytest.raises(ConversionError) as caught:
        read_adapter(adapter)
    assert caught.value.key == "error.adapter.kind"
    assert "embed_tokens" in str(caught.value.values["what"])


@pytest.mark.parametrize(
    ("size", "key"),
    [
        ({"num_hidden_layers": 3}, "error.adapter.unmerged"),
        ({"num_hidden_layers": 2, "intermediate_size": 256}, "error.adapter.shape"),
    ],
)
def test_an_adapter_of_another_model_is_refused_and_leaves_no_file(
    qwen: Path, tmp_path: Path, size: dict[str, int], key: str
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = {k: v for k, v in AutoConfig.from_pretrained(qwen).to_dict().items() if k != "layer_types"} | size
    AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)).save_pretrained(tmp_path / "other")
    adapter = make_adapter(tmp_path / "other", tmp_path / "adapter")
    with pytest.raises(ConversionError) as caught:
        export(qwen, tmp_path / "out.gguf", adapter)
    assert caught.value.key == key
    assert not list(tmp_path.glob("out.gguf*"))


def test_an_unknown_pre_tokenizer_is_refused(tmp_path: Path) -> None:
    # not a Qwen2: transformers would put Qwen2's own in its place, whatever the file says
    base = make_tiny(tmp_path / "llama", "llama")
    split = {"type": "Split", "pattern": {"Regex": r"\p{L}+|\s+|."}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    sequence = {"type": "Sequence", "pretokenizers": [split, level]}
    base = damaged(base, tmp_path / "base", "tokenizer.json", pre_tokenizer=sequence)
    with pytest.raises(ConversionError) as caught:
        export(base, tmp_path / "out.gguf", eos_token="<|eot_id|>")
    assert caught.value.key == "error.export.pre_tokenizer"


def test_the_converters_own_reason_is_told(qwen: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(qwen, tmp_path / "base"))
    (base / "model.safetensors").write_bytes((base / "model.safetensors").read_bytes()[:100])
    with pytest.raises(ConversionError) as caught:
        export(base, tmp_path / "out.gguf")
    assert caught.value.key == "error.export.converter"
    assert "metadata" in caught.value.values["reason"]
    with pytest.raises(ConversionError) as caught:
        export(qwen, tmp_path / "out.gguf", eos_token="<|no_such_token|>")
    assert caught.value.key == "error.export.no_token"
    with pytest.raises(ConversionError) as caught:
        export(qwen, tmp_path / "out.gguf", llama_cpp=tmp_path)
    assert caught.value.key == "error.export.not_a_converter" and caught.value.values["named"] == "--llama_cpp"


def test_a_bare_assertion_of_the_converter_is_told_by_what_it_asserts_and_where(qwen: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(qwen, tmp_path / "base"))
    add_tokens(base, 64)
    with pytest.raises(ConversionError) as caught:
        export(base, tmp_path / "out.gguf")
    assert caught.value.key == "error.export.converter"
    reason = caught.value.values["reason"]
    assert "AssertionError: assert max(" in reason and "(conversion/base.py, line " in reason


def test_a_file_that_the_converter_lacks_is_told(tmp_path: Path) -> None:
    base = make_tiny(tmp_path / "base", "gemma2")
    (base / "tokenizer.model").unlink()
    with pytest.raises(ConversionError) as caught:
        export(base, tmp_path / "out.gguf")
    assert caught.value.key == "error.export.file_missing" and "tokenizer.model" in caught.value.values["reason"]


def test_weights_too_large_for_f16_are_refused(qwen: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    base = Path(shutil.copytree(qwen, tmp_path / "base"))
    model = AutoModelForCausalLM.from_pretrained(qwen, dtype=torch.bfloat16)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[3, 5] = -70000.0
    model.save_pretrained(base)
    with pytest.raises(ConversionError) as caught:
        export(base, tmp_path / "out.gguf", file_type="f16")
    assert caught.value.key == "error.export.overflow"


def test_stopping_half_way_leaves_no_file(qwen: Path, tmp_path: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(qwen, tmp_path / "out.gguf", progress=stop)
    assert not list(tmp_path.iterdir())


EXPORT = """
import sys
from pathlib import Path
from ollama_export.gguf.export import export_gguf
options = {"file_type": "f32", "chat_template": None, "add_bos": False, "eos_token": "<|im_end|>"}
def report(done, total):
    print(done, flush=True)
    if len(sys.argv) > 3:
        sys.stdin.read()
export_gguf(Path(sys.argv[1]), "folder", None, Path(sys.argv[2]), **options, progress=report)
"""


@pytest.mark.posix("a named pipe of POSIX")
def test_after_a_killed_worker_the_old_file_stands_and_the_next_export_succeeds(qwen: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "out.gguf"
    out.write_bytes(b"the old one")
    (tmp_path / "out" / "out.gguf.part").write_bytes(b"half of one")
    base = Path(shutil.copytree(qwen, tmp_path / "base"))
    (base / "config.json").unlink()
    os.mkfifo(base / "config.json")
    command = [sys.executable, "-c", EXPORT, str(base), str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        with (base / "config.json").open("wb"):  # opens when the worker reads, which then waits for what is written
            (worker,) = psutil.Process(running.pid).children()
            worker.kill()
            worker.wait()
        assert running.stderr is not None
        assert "error.export.killed" in running.stderr.read()
    assert out.read_bytes() == b"the old one"
    export(qwen, out)
    assert [path.name for path in out.parent.iterdir()] == ["out.gguf"]


@pytest.mark.posix("a named pipe of POSIX")
def test_a_ctrl_c_that_reaches_the_worker_is_not_its_to_obey(qwen: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(qwen, tmp_path / "base"))
    config, whole = base / "config.json", (base / "config.json").rename(base / "whole.json")
    os.mkfifo(config)
    others = set(psutil.Process().children())

    def interrupt() -> None:
        with config.open("wb") as pipe:  # opens when the worker reads, which then waits for what is written
            content = whole.read_bytes()
            whole.replace(config)
            (worker,) = set(psutil.Process().children()) - others
            worker.send_signal(signal.SIGINT)
            pipe.write(content)

    # what is ignored here (in the background, under nohup) would be ignored by the worker without its doing
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        assert export(base, tmp_path / "out.gguf").path.exists()
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_worker_ends_when_the_export_is_killed(qwen: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", EXPORT, str(qwen), str(tmp_path / "out.gguf"), "wait"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline()
        workers = psutil.Process(running.pid).children(recursive=True)
        running.kill()
    assert workers
    assert not psutil.wait_procs(workers, timeout=300)[1]
    assert not (tmp_path / "out.gguf.part").exists()


@pytest.mark.posix("a limit on the size of files is POSIX's")
def test_a_file_that_may_not_be_so_large_is_told_as_such_and_leaves_no_file(qwen: Path, tmp_path: Path) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n" + EXPORT
    command = [sys.executable, "-B", "-c", limited, str(qwen), str(tmp_path / "out.gguf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "ResourceError: error.disk.file_too_large" in done.stderr
    assert not list(tmp_path.iterdir())


def test_supported_architectures_are_told_without_heavy_imports(qwen: Path, tmp_path: Path) -> None:
    assert supported_architecture(qwen, "folder")
    assert supported_architecture(smollm2(), "gguf")
    (tmp_path / "config.json").write_text('{"architectures": ["NoSuchForCausalLM"]}', encoding="utf-8")
    assert not supported_architecture(tmp_path, "folder")
    script = (
        "import sys; from pathlib import Path; from ollama_export.gguf.export import supported_architecture;"
        "supported_architecture(Path(sys.argv[1]), 'folder'); print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", script, str(qwen)], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False"]


def test_k_quants_are_mixed_as_llama_cpp_mixes_them(f16: Path, tmp_path: Path) -> None:
    made = export(f16, tmp_path / "q4.gguf", kind="gguf", file_type="q4_K_M")
    # 64 and 128 columns are no multiple of 256: these are llama.cpp's fallbacks for such shapes
    kinds = {name: tensor.tensor_type.name for name, tensor in tensors(made.path).items()}
    assert (kinds["token_embd.weight"], kinds["blk.0.attn_q.weight"]) == ("Q8_0", "Q5_0")
    assert kinds["blk.1.ffn_down.weight"] == kinds["blk.1.attn_v.weight"] == "Q8_0"
    assert kinds["blk.0.attn_norm.weight"] == "F32"
    assert read_head(made.path).get("general.file_type") == 15
    assert made.sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
    with Engine(f16, context=256) as one, Engine(made.path, context=256) as other:
        assert divergence(one.logprobs(PROMPTS[0]), other.logprobs(PROMPTS[0])) < 0.5


def test_what_the_export_of_the_real_base_model_would_fail_of_is_found_by_planning_it(
    qwen: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    adapter = make_adapter(qwen, tmp_path / "adapter")
    assert export(qwen, tmp_path / "out.gguf", adapter, foretaste=qwen).tensors
    real = Path(shutil.copytree(qwen, tmp_path / "real"))
    weights = load_file(real / "model.safetensors")

    def planned(**changed: Any) -> ConversionError:
        kept = {name: weight for name, weight in {**weights, **changed}.items() if weight is not None}
        save_file(kept, real / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ConversionError) as caught:
            export(qwen, tmp_path / "no.gguf", adapter, foretaste=real)
        return caught.value

    odd = planned(**{"model.layers.0.self_attn.gizmo.weight": weights["model.norm.weight"].clone()})
    assert odd.key == "error.export.converter" and "gizmo" in odd.values["reason"]
    names = [name for name in weights if name.endswith("mlp.up_proj.weight")]
    assert planned(**dict.fromkeys(names)).values["names"] == "layers.N.mlp.up_proj.weight"
    assert not (tmp_path / "no.gguf").exists()
