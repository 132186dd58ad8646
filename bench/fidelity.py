"""The exported GGUF in llama.cpp against the merged model in transformers, on a real model.

    python -m bench.fidelity [--adapter DIR] [--questions FILE] [--tokens 24]

SmolLM2-135M-Instruct, dequantised to a float32 folder, with a trained adapter (random where none is named), exported as
f32 and as q8_0. For every question: the same prompt ids in both, the greedy tokens of both, and at the answer's first
token the largest difference of log-probabilities over the whole vocabulary and the Kullback-Leibler divergence.
Prints one JSON line for each file type.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.real_base import dequantised, random_adapter


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--questions", type=Path, default=Path("data/demo/questions.txt"))
    parser.add_argument("--tokens", type=int, default=24)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for row in compare(options, Path(folder)):
            sys.stdout.write(json.dumps(row) + "\n")
    return 0


def compare(options: argparse.Namespace, folder: Path) -> Any:
    """One row of results for each file type."""
    import torch
    from peft import PeftModel

    from lora_trainer.models.load import load_model
    from ollama_export.gguf.export import export_gguf
    from ollama_export.llama_cpp.engine import Engine
    from ollama_export.template import gguf_chat_template
    from pipeline.conversation import embedded_base_model

    base, tokenizer, chat_format = dequantised(embedded_base_model(), folder / "base")
    adapter = options.adapter or random_adapter(base, folder / "adapter")
    model = PeftModel.from_pretrained(load_model(base, "cpu", "float32"), adapter).merge_and_unload().eval()
    questions = options.questions.read_text(encoding="utf-8").splitlines()
    prompts = [chat_format.render([{"role": "user", "content": question}]) for question in questions]
    for file_type in ("f32", "q8_0"):
        gguf = export_gguf(
            base.path,
            "folder",
            adapter,
            folder / f"{file_type}.gguf",
            file_type=file_type,  # type: ignore[arg-type]
            chat_template=gguf_chat_template(chat_format),
            add_bos=chat_format.tokenizer_adds_bos,
            eos_token=chat_format.end_of_turn,
            other_ends=chat_format.other_ends,
        )
        same_ids, same_tokens, apart, divergences = 0, 0, 0.0, list[float]()
        with Engine(gguf.path) as engine:
            for prompt in prompts:
                ids = tokenizer(prompt, add_special_tokens=False).input_ids
                same_ids += ids == engine.tokenize(prompt, add_special=True)
                with torch.no_grad():
                    logits = model(torch.tensor([ids])).logits[0, -1].double()
                    told = model.generate(torch.tensor([ids]), max_new_tokens=options.tokens, do_sample=False)
                ours = torch.log_softmax(logits, -1).numpy()
                theirs = np.array(engine.logprobs(prompt))
                # llama.cpp sums 50,000 probabilities in float32; the divergence is between distributions that sum to 1
                theirs -= np.log(np.exp(theirs).sum())
                apart = max(apart, float(np.abs(ours - theirs).max()))
                divergences.append(float((np.exp(ours) * (ours - theirs)).sum()))
                answer = told[0, len(ids) :].tolist()
                found = engine.complete(prompt, max_tokens=options.tokens).tokens
                same_tokens += answer[: len(found)] == found
        yield {
            "file_type": file_type,
            "prompts": len(prompts),
            "same_prompt_ids": same_ids,
            "same_greedy_tokens": same_tokens,
            "largest_logprob_difference": apart,
            "mean_kl": sum(divergences) / len(divergences),
            "largest_kl": max(divergences),
        }


if __name__ == "__main__":
    sys.exit(main())
