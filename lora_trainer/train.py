"""The LoRA run: dialogues and a base model in, an adapter out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_trainer.data.encode import EncodedDialogues
from lora_trainer.engine.checkpoints import Checkpoints, best_step, has_given_up, publish_adapter
from lora_trainer.engine.fallback import give_memory_back, is_out_of_memory
from lora_trainer.engine.hardware import Hardware, detect
from lora_trainer.engine.memory import fit_memory
from lora_trainer.errors import ResourceError
from lora_trainer.events import Listener, Note, TrainingStarted, ignore
from lora_trainer.models.adapter import adapted_model, load_adapter
from lora_trainer.models.load import silence_libraries
from lora_trainer.models.source import BaseModel
from lora_trainer.plan import TrainPlan

MAX_GRADIENT_NORM = 1.0
"""One odd row can't throw the adapter off; the usual value, and ordinary steps of a LoRA stay below it."""


@dataclass(frozen=True)
class TrainResult:
    """What a run has come to."""

    adapter: Path
    """PEFT's adapter_config.json and adapter_model.safetensors; not there when the run was interrupted."""
    steps: int
    total_steps: int
    losses: list[tuple[int, float]]
    """(optimizer step, mean loss per supervised token in nats)."""
    val_losses: list[tuple[int, float]]
    """The same over the validation dialogues; step 0 is the base model."""
    best_step: int | None
    """Where the validation loss was lowest."""
    seconds: float
    """Time of all steps, those before an interruption too."""
    device: str
    dtype: str
    interrupted: bool


def train(
    base: BaseModel,
    tokenizer: Any,
    train_rows: EncodedDialogues,
    val_rows: EncodedDialogues | None,
    plan: TrainPlan,
    run_dir: Path,
    *,
    listener: Listener = ignore,
    stop: Callable[[], bool] = lambda: False,
    resume: bool = False,
    initial_adapter: Path | None = None,
    hardware: Hardware | None = None,
) -> TrainResult:
    """Train a LoRA adapter and leave it in `run_dir/adapter`; checkpoints stand in `run_dir/checkpoints`.

    `stop` is asked after every step: true ends the run with a checkpoint. `resume` goes on from the newest
    checkpoint, to the same result as if there had been no interruption; without it, old checkpoints are deleted.
    `initial_adapter`: a folder with the adapter of the same shape to begin with, in place of a fresh one.
    Runs in every process that `accelerate launch` starts, on one or several machines; the first one alone speaks, and
    its adapter and checkpoints count for all, whatever `run_dir` the others have.
    Raises UsageError where the loss stops being a number, ResourceError where memory doesn't even hold one sequence,
    what `load_model` raises, and where the disk is full what `errors.as_full_disk` knows.
    """
    silence_libraries()
    hardware = hardware or detect()
    total = plan.total_steps(len(train_rows))
    checkpoints = Checkpoints(run_dir / "checkpoints")
    arguments = _arguments(plan, hardware, total, checkpoints)
    main = arguments.process_index == 0
    if main:
        checkpoints.clear(all_of_them=not resume)
    done = _newest(checkpoints, arguments)
    history = checkpoints.history(done) if done else []

    def is_unfinished() -> bool:
        return done < total and not (plan.early_stop and has_given_up(history))

    if is_unfinished():
        trainer = _trainer(arguments, base, tokenizer, train_rows, val_rows, plan, checkpoints, hardware)
        trainer.listener = listener if main else ignore
        trainer.stop = stop
        begin_with = checkpoints.at(done) if done else initial_adapter
        if main and begin_with is not None:
            load_adapter(trainer.model, begin_with)
        trainer.listener(_started(trainer, train_rows, plan, done, hardware))
        trainer.train(resume_from_checkpoint=str(checkpoints.at(done)) if done else None)
        done, history = trainer.state.global_step, trainer.state.log_history
        del trainer
        give_memory_back(hardware.device)
    interrupted = is_unfinished()
    val_losses = [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    best = best_step(history)
    if main and not interrupted:
        if plan.early_stop and best is None:
            listener(Note("note.early_stop_without_validation"))
        if done < total:
            listener(Note("note.early_stopped", {"step": done, "total": total, "best": best}))
        publish_adapter(checkpoints.at(best if plan.early_stop and best else total), run_dir / "adapter")
    _wait(arguments)
    steps = [entry for entry in history if "loss" in entry]
    return TrainResult(
        adapter=run_dir / "adapter",
        steps=done,
        total_steps=total,
        losses=[(entry["step"], entry["loss"]) for entry in steps],
        val_losses=val_losses,
        best_step=best,
        seconds=sum(entry["seconds"] for entry in steps),
        device=hardware.device,
        dtype=hardware.dtype,
        interrupted=interrupted,
    )


def _arguments(plan: TrainPlan, hardware: Hardware, total: int, checkpoints: Checkpoints) -> Any:
    from transformers import TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(checkpoints.writing),
        max_steps=total,
        per_device_train_batch_size=1,
        learning_rate=plan.learning_rate,
        optim="adamw_torch",
        weight_decay=0.0,
        max_grad_norm=MAX_GRADIENT_NORM,
        seed=plan.seed,
        use_cpu=hardware.device == "cpu",
        bf16=hardware.dtype == "bfloat16",
        fp16=hardware.dtype == "float16",
        ddp_backend="gloo" if hardware.device == "cpu" and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=False,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    # several GPUs are for `accelerate launch`; nn.DataParallel would split one step's item
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _trainer(
    arguments: Any,
    base: BaseModel,
    tokenizer: Any,
    train_rows: EncodedDialogues,
    val_rows: EncodedDialogues | None,
    plan: TrainPlan,
    checkpoints: Checkpoints,
    hardware: Hardware,
) -> Any:
    from lora_trainer.engine.step_trainer import StepTrainer

    # what is split among several devices may be larger than one of them
    device = "cpu" if hardware.shards > 1 else str(arguments.device)
    # as much as is free before the model is there
    memory = fit_memory(base, plan, hardware, *train_rows.most_tokens())
    try:
        model = trainable_model(base, plan, device, hardware.dtype)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        raise ResourceError("error.resource.model_memory", source=base.source, reason=reason) from None
    pad = tokenizer.pad_token_id
    return StepTrainer(
        model,
        arguments,
        train_rows,
        val_rows,
        plan,
        checkpoints,
        pad_id=tokenizer.eos_token_id or 0 if pad is None else pad,
        memory=memory,
    )


def trainable_model(base: BaseModel, plan: TrainPlan, device: str, dtype: str) -> Any:
    """The base model on `device` as `dtype` with a fresh adapter, as it is trained: its layers fused where they can be.

    Raises what `adapted_model` raises.
    """
    from lora_trainer.engine.fused_layers import fuse_layers

    model = adapted_model(base, plan, device, dtype)
    fuse_layers(model)
    return model


def _started(trainer: Any, rows: EncodedDialogues, plan: TrainPlan, done: int, hardware: Hardware) -> TrainingStarted:
    sequences, supervised = rows.counts()
    return TrainingStarted(
        total_steps=plan.total_steps(len(rows)),
        start_step=done,
        steps_per_epoch=plan.steps_per_epoch(len(rows)),
        dialogues=len(rows),
        sequences=sequences,
        supervised_tokens=supervised,
        device=hardware.name,
        dtype=hardware.dtype,
        trainable_parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    )


def _newest(checkpoints: Checkpoints, arguments: Any) -> int:
    """Steps of the first process' newest checkpoint, 0 where it has none; those who don't have it are given it."""
    from accelerate.utils import broadcast_object_list

    newest = max(checkpoints.steps(), default=0) if arguments.process_index == 0 else 0
    if arguments.world_size > 1:
        box = [(newest, checkpoints.read(newest) if newest else {})]
        broadcast_object_list(box, from_process=0)
        newest, files = box[0]
        if newest and newest not in checkpoints.steps():
            checkpoints.write(newest, files)
    return newest


def _wait(arguments: Any) -> None:
    """Let every process get here."""
    import torch.distributed as dist

    if arguments.world_size > 1:
        dist.barrier()
