"""Who trains: ours by trees and padded, a plain Trainer in its fastest setting, TRL and Liger where they are installed.

All have the same base weights, the same float32 adapter on all linear layers, and the same dialogues in the same order.
Others get a dialogue as one example with all of its answers supervised, which has the loss of our sequence an answer
and each token once: more than most people's set-up does, and the most that they can make of these data.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.gpu.data import PAD, Rows, whole
from bench.gpu.ours import make_trainer
from lora_trainer.engine.fallback import give_memory_back, is_out_of_memory
from lora_trainer.engine.hardware import Hardware
from lora_trainer.models.source import BaseModel
from lora_trainer.plan import TrainPlan

OURS = ("tree", "padded")
OTHERS = {
    "trainer": (),
    "trainer+liger": ("liger_kernel", "triton"),
    "trl": ("trl", "datasets"),
    "trl+liger": ("trl", "datasets", "liger_kernel", "triton"),
}
"""Name -> the packages that it needs beside ours."""


def installed(device: str) -> list[str]:
    """The contenders that can be had here, others first: each ratio is known as soon as ours are."""
    # Triton, which Liger's kernels are written in, has none for processors
    fitting = [name for name in OTHERS if device == "cuda" or "triton" not in OTHERS[name]]
    return [name for name in fitting if all(map(find_spec, OTHERS[name]))] + list(OURS)


def run(
    name: str,
    base: BaseModel,
    rows: Rows,
    plan: TrainPlan,
    folder: Path,
    hardware: Hardware,
    clock: Callable[[], Any],
) -> dict[str, Any]:
    """Let a contender train until its clock, a callback that is made for each try, stops it.

    Returns what is worth knowing beside the time: the loss of the first step, and how the batch was computed.
    """
    if name in OURS:
        return _ours(name, base, rows, plan, folder, hardware, clock)
    return _others(name, base, rows, plan, folder, hardware, clock)


def _ours(
    name: str, base: BaseModel, rows: Rows, plan: TrainPlan, folder: Path, hardware: Hardware, clock: Callable[[], Any]
) -> dict[str, Any]:
    trainer = make_trainer(base, rows, plan, folder, hardware)
    if name == "padded":
        trainer.trees = False
    trainer.add_callback(clock())
    trainer.train()
    return {
        "first_loss": trainer.state.log_history[0]["loss"],
        "token_budget": trainer.fallback.token_budget,
        "recomputed": trainer.fallback.checkpointing,
        "trees": bool(trainer.trees),
    }


def _others(
    name: str, base: BaseModel, rows: Rows, plan: TrainPlan, folder: Path, hardware: Hardware, clock: Callable[[], Any]
) -> dict[str, Any]:
    """The whole batch at once where it fits, else in as few parts as fit, at last with activations recomputed."""
    from lora_trainer.engine.schedule import step_dialogues
    from lora_trainer.models.adapter import adapted_model

    order = [i for step in range(plan.total_steps(len(rows))) for i in step_dialogues(plan, step, len(rows))]
    examples = [whole(rows[i]) for i in order]
    model = adapted_model(base, plan, hardware.device, hardware.dtype)
    model.config.use_cache = False
    fresh = {name: weight.clone() for name, weight in model.state_dict().items() if "lora_" in name}
    tries = [(plan.batch_size >> halved, False) for halved in range(plan.batch_size.bit_length())] + [(1, True)]
    for at_once, recompute in tries:
        options = _arguments(plan, folder, hardware, at_once, recompute=recompute, liger=name.endswith("liger"))
        model.load_state_dict(fresh, strict=False)
        make = _trl_trainer if name.startswith("trl") else _plain_trainer
        trainer = make(model, examples, options, hardware)
        trainer.add_callback(clock())
        try:
            trainer.train()
        except RuntimeError as error:
            if not is_out_of_memory(error) or recompute:
                raise
        else:
            losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
            return {"first_loss": losses[0], "dialogues_at_once": at_once, "recomputed": recompute}
        # the error is gone, and with it what its traceback kept in memory
        model = trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        model.zero_grad()
        del trainer
        give_memory_back(hardware.device)
    raise AssertionError("the last try raises")


def _arguments(
    plan: TrainPlan, folder: Path, hardware: Hardware, at_once: int, *, recompute: bool, liger: bool
) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "max_steps": 1000,
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": plan.batch_size // at_once,
        "learning_rate": plan.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "gradient_checkpointing": recompute,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "use_liger_kernel": liger,
        "bf16": hardware.dtype == "bfloat16",
        "fp16": hardware.dtype == "float16",
        "use_cpu": hardware.device == "cpu",
        "logging_first_step": True,
        "logging_steps": 1000,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "seed": 0,
    }


def _plain_trainer(model: Any, examples: list[dict[str, list[int]]], options: dict[str, Any], _: Hardware) -> Any:
    from torch.utils.data import SequentialSampler
    from transformers import Trainer, TrainingArguments

    trainer = Trainer(
        model,
        # what isn't named by the model's forward would be dropped
        TrainingArguments(remove_unused_columns=False, **options),
        data_collator=collate,
        train_dataset=examples,  # type: ignore[arg-type]
    )
    trainer._get_train_sampler = lambda *_: SequentialSampler(examples)  # type: ignore[method-assign]
    return trainer


def collate(examples: list[dict[str, list[int]]]) -> dict[str, Any]:
    """Padded on the right, (B, T) each. No mask: what is padded there a causal model doesn't read, and without one
    SDPA takes its fastest kernel."""
    import torch

    longest = max(len(example["input_ids"]) for example in examples)

    def padded(name: str, filler: int) -> Any:
        return torch.tensor([example[name] + [filler] * (longest - len(example[name])) for example in examples])

    return {"input_ids": padded("input_ids", PAD), "labels": padded("labels", -100)}


def _trl_trainer(model: Any, examples: list[dict[str, list[int]]], options: dict[str, Any], hardware: Hardware) -> Any:
    """Without padding: a batch is one sequence, which is what packing computes too."""
    import datasets
    from torch.utils.data import SequentialSampler
    from transformers.utils import is_flash_attn_2_available
    from trl import SFTConfig, SFTTrainer

    if hardware.device == "cuda" and is_flash_attn_2_available():
        model.set_attn_implementation("flash_attention_2")
    tokenizer = _tokenizer()
    trainer = SFTTrainer(
        model,
        SFTConfig(padding_free=True, max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, **options),
        train_dataset=datasets.Dataset.from_list(examples),
        processing_class=tokenizer,
    )
    trainer._get_train_sampler = lambda *_: SequentialSampler(examples)  # type: ignore[method-assign]
    return trainer


def _tokenizer() -> Any:
    """One that knows a few words: TRL asks for its special tokens alone."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<end>": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")
