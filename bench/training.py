"""Seconds, memory and losses of training steps: ours by trees and padded, a plain Trainer, and TRL where it is there.

    python -m bench.training [--data DIR] [--turns 6] [--model smollm2|0.5b|lfm2|FOLDER|FILE.gguf]
                             [--tokenizer FOLDER] [--batch 8] [--steps 4] [--rounds 3] [--only NAME ...]

Contenders: `tree` and `padded` are ours; `trainer` is transformers' Trainer with micro-batches of 2,
`trainer_whole` with the whole step at once; `trl` is SFTTrainer as it comes (its loss goes by chunks), `trl_free`
without padding, the whole step at once, which is what packing computes too. All get the same rows in the same
order, the same float32 adapter (rank 8, all linear layers), rates and batch, each in a process of its own, in turn,
several rounds. Seconds are those of the steps alone, without the first one (which loads and warms up), the median
of the rounds; memory is the peak of the process. `0.5b` has the shape of Qwen2.5-0.5B with random weights, and the
tokenizer of `--tokenizer` (SmolLM2's, which needs twice the tokens for Chinese, where none is given); `lfm2` is a
hybrid of convolutions and attention with some 60 million random weights, whose layers can't share but the turns of a
dialogue. With `--turns` the data are 64 dialogues of so many turns, made of those that there are. Prints one JSON line
for each contender, then the ratios.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.real_base import source_of

CONTENDERS = ("tree", "padded", "trainer", "trainer_whole", "trl", "trl_free")
MICRO_BATCH = 2
"""Sequences that the plain Trainer and TRL take at a time; the rest is gradient accumulation."""


def main() -> int:
    """Measure, or (with --contender) be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", help="folder with train.jsonl")
    parser.add_argument("--turns", type=int, default=0, help="of each of 64 dialogues made of the data's")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--tokenizer", help="folder with tokenizer.json and tokenizer_config.json for `0.5b`")
    parser.add_argument("--batch", type=int, default=8, help="dialogues in one optimizer step")
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps, the first one not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.contender:
            sys.stdout.write(json.dumps(measure(options, Path(folder))) + "\n")
            return 0
        if options.model in ("0.5b", "lfm2"):
            options.model = str(_random(options.model, Path(folder) / "base", options.tokenizer))
        return _compare(options)


def _compare(options: argparse.Namespace) -> int:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.only}
    flags = ["--data", options.data, "--model", options.model, "--batch", options.batch, "--steps", options.steps]
    flags += ["--turns", options.turns]
    for _ in range(options.rounds):
        for name in options.only:
            command = [sys.executable, "-m", "bench.training", *map(str, flags), "--contender", name]
            done = subprocess.run(command, capture_output=True, encoding="utf-8")
            if done.returncode:
                sys.stderr.write(f"{name}: {done.stderr.strip().splitlines()[-1]}\n")
                continue
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    medians = {}
    for name, rounds in found.items():
        if rounds:
            medians[name] = statistics.median(one["seconds"] for one in rounds)
            told = {**rounds[0], "seconds": [round(one["seconds"], 2) for one in rounds], "median": medians[name]}
            sys.stdout.write(json.dumps(told) + "\n")
    first = next(iter(medians))
    ratios = {f"{name}/{first}": round(seconds / medians[first], 2) for name, seconds in medians.items()}
    sys.stdout.write(json.dumps(ratios) + "\n")
    return 0


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One contender's steps."""
    import torch

    from lora_trainer.data.dataset import load_dataset
    from lora_trainer.data.encode import encode
    from lora_trainer.models.load import chat_format_of, load_tokenizer
    from lora_trainer.models.source import resolve_base_model
    from lora_trainer.plan import TrainPlan

    base = resolve_base_model(source_of(options.model))
    tokenizer = load_tokenizer(base)
    dialogues: Any = load_dataset(Path(options.data)).train
    if options.turns:
        dialogues = _talks(dialogues, options.turns)
    rows, _ = encode(dialogues, chat_format_of(base, tokenizer), tokenizer, 4096)
    per_epoch = -(-len(rows) // options.batch)
    plan = TrainPlan(epochs=options.steps / per_epoch, batch_size=options.batch)
    torch.manual_seed(0)
    ways = {"tree": _ours, "padded": _ours, "trl": _trl, "trl_free": _trl}
    run = ways.get(options.contender, _plain_trainer)
    seconds, losses = run(options.contender, base, tokenizer, rows, plan, folder)
    return {
        "contender": options.contender,
        "seconds": sum(seconds[1:]),
        "losses": [round(loss, 6) for loss in losses],
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "batch": options.batch,
        "threads": torch.get_num_threads(),
    }


def _talks(dialogues: Any, turns: int) -> list[Any]:
    """64 dialogues: the first question and answer of so many rows, one after the other, behind one system prompt."""
    from dataclasses import replace

    found = []
    for number in range(64):
        parts = [dialogues[(number * turns + i) % len(dialogues)] for i in range(turns)]
        said = [message for part in parts for message in part.messages if message["role"] != "system"][: 2 * turns]
        system = [message for message in parts[0].messages if message["role"] == "system"]
        found.append(replace(parts[0], messages=(*system, *said), unlearnt=()))
    return found


def _ours(name: str, base: Any, tokenizer: Any, rows: Any, plan: Any, folder: Path) -> tuple[list[float], list[float]]:
    import lora_trainer.train as room
    from lora_trainer.engine import step_trainer

    if name == "padded":
        step_trainer.supports_tree = lambda _: False  # type: ignore[assignment]
    clock, seconds = _clock()
    make = room._trainer

    def timed(*arguments: Any) -> Any:
        trainer = make(*arguments)
        trainer.add_callback(clock)
        return trainer

    room._trainer = timed
    result = room.train(base, tokenizer, rows, None, plan, folder)
    return seconds, [loss for _, loss in result.losses]


def _examples(rows: Any, plan: Any) -> list[dict[str, list[int]]]:
    """The sequences of all steps in our order, with labels at supervised tokens alone."""
    from lora_trainer.engine.schedule import step_dialogues

    order = [i for step in range(plan.total_steps(len(rows))) for i in step_dialogues(plan, step, len(rows))]
    return [
        {
            "input_ids": sequence.prompt_ids + sequence.completion_ids,
            "labels": [-100] * len(sequence.prompt_ids) + sequence.completion_ids,
        }
        for i in order
        for sequence in rows[i].sequences
    ]


def _arguments(kind: Any, name: str, rows: Any, plan: Any, folder: Path, **more: Any) -> Any:
    whole = name in ("trainer_whole", "trl_free")
    sequences = plan.batch_size * (rows.counts()[0] // len(rows))
    return kind(
        output_dir=str(folder),
        per_device_train_batch_size=sequences if whole else MICRO_BATCH,
        gradient_accumulation_steps=1 if whole else sequences // MICRO_BATCH,
        learning_rate=plan.learning_rate,
        num_train_epochs=1,
        weight_decay=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
        **more,
    )


def _plain_model(base: Any, plan: Any) -> Any:
    """Our adapter as PEFT has it."""
    from lora_trainer.engine import fused_layers
    from lora_trainer.train import trainable_model

    fused_layers.fuse_layers = lambda _: None  # type: ignore[assignment]
    return trainable_model(base, plan, "cpu", "float32")


def _clock() -> tuple[Any, list[float]]:
    from transformers import TrainerCallback

    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.began)

    return Clock(), seconds


def _go(trainer: Any, rows: Any, plan: Any) -> list[float]:
    """Train in our order and with our rates; returns the losses."""
    from torch.optim.lr_scheduler import LambdaLR
    from torch.utils.data import SequentialSampler

    from lora_trainer.engine.schedule import learning_rate

    def rates(*_: Any, **__: Any) -> Any:
        trainer.lr_scheduler = LambdaLR(
            trainer.optimizer, lambda step: learning_rate(plan, step, len(rows)) / plan.learning_rate
        )
        return trainer.lr_scheduler

    trainer._get_train_sampler = lambda *_: SequentialSampler(trainer.train_dataset)
    trainer.create_scheduler = rates
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def _plain_trainer(
    name: str, base: Any, tokenizer: Any, rows: Any, plan: Any, folder: Path
) -> tuple[list[float], list[float]]:
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    model = _plain_model(base, plan)
    examples = _examples(rows, plan)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    clock, seconds = _clock()
    trainer = Trainer(
        model,
        _arguments(TrainingArguments, name, rows, plan, folder),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        train_dataset=examples,
        callbacks=[clock],
    )
    return seconds, _go(trainer, rows, plan)


def _trl(name: str, base: Any, tokenizer: Any, rows: Any, plan: Any, folder: Path) -> tuple[list[float], list[float]]:
    import datasets
    from trl import SFTConfig, SFTTrainer

    model = _plain_model(base, plan)
    examples = _examples(rows, plan)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    clock, seconds = _clock()
    more = {
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": None,
        "padding_free": name == "trl_free",
    }
    trainer = SFTTrainer(
        model,
        _arguments(SFTConfig, name, rows, plan, folder, bf16=False, gradient_checkpointing=False, **more),
        train_dataset=datasets.Dataset.from_list(examples),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    return seconds, _go(trainer, rows, plan)


def _random(shape: str, folder: Path, tokenizer_folder: str | None) -> Path:
    """A model of random weights: Qwen2.5-0.5B's shape, or a small LFM2's."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, Lfm2Config, Qwen2Config

    from lora_trainer.models.load import load_tokenizer
    from lora_trainer.models.source import resolve_base_model
    from pipeline.conversation import embedded_base_model

    if tokenizer_folder:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    else:
        tokenizer = load_tokenizer(resolve_base_model(str(embedded_base_model())))
    torch.manual_seed(0)
    qwen = {
        "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2, "rope_theta": 1e6,
    }  # fmt: skip
    lfm2 = {
        "vocab_size": len(tokenizer), "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 12,
        "num_attention_heads": 8, "num_key_value_heads": 2, "block_auto_adjust_ff_dim": False,
        "layer_types": ["conv", "conv", "full_attention"] * 4,
    }  # fmt: skip
    own = {"tie_word_embeddings": True, "eos_token_id": tokenizer.eos_token_id}
    config: Any = Qwen2Config(**qwen, **own) if shape == "0.5b" else Lfm2Config(**lfm2, **own)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    sys.exit(main())
