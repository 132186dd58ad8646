"""The LoRA run: dialogues and a base model in, an adapter out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from lora_trainer.data.encode import EncodedDialogues
from lora_trainer.engine.along.looks import Looks
from lora_trainer.engine.along.points import Points
from lora_trainer.engine.along.samples import Prompt, Sample
from lora_trainer.engine.along.seen import Point, Seen
from lora_trainer.engine.checkpoints import Checkpoints, best_step, has_given_up, is_evaluated, publish_adapter
from lora_trainer.engine.fallback import give_memory_back, is_out_of_memory
from lora_trainer.engine.hardware import Hardware, detect
from lora_trainer.engine.memory import MemoryUse, count_peak_anew, fit_memory
from lora_trainer.errors import ResourceError
from lora_trainer.events import Doing, Listener, Note, Sampled, TrainingStarted, ignore
from lora_trainer.models.adapter import adapted_model, load_adapter
from lora_trainer.models.layers import kinds_with_adapter
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
    speed: dict[str, Any] = field(default_factory=dict)
    """What that time depends on: `computed_tokens` and `supervised_tokens` of these steps, `evaluation_seconds` of all
    evaluations, `device_name`; empty where a checkpoint of an older version didn't count them."""
    points: list[Point] = field(default_factory=list)
    """Oldest first, the run's adapter among them; empty while that isn't there."""
    samples: list[Sample] = field(default_factory=list)
    """Of every time that something was asked, oldest first."""
    general_loss: tuple[float, float] | None = None
    """Mean loss per token (nats) on the general text of the base model, and with the adapter; None where it wasn't
    read."""
    peak_memory: int | None = None
    """The most bytes that one process held of the device's memory (of several, the first one); None where no checkpoint
    of these steps says it."""
    adapted: dict[str, int] = field(default_factory=dict)
    """Kind of layer (`q_proj`) -> how many of the model's got an adapter; empty where nothing was trained just now."""


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
    prompts: Sequence[Prompt] = (),
    general_text: str | None = None,
) -> TrainResult:
    """Train a LoRA adapter and leave it in `run_dir/adapter`; checkpoints stand in `run_dir/checkpoints`.

    What it was after whole and half epochs is in `run_dir/points`. `prompts` are answered along the way, and the loss
    on `general_text` is taken, which changes no bit of what is learnt.

    `stop` is asked before every micro-batch, of evaluations too: true ends the run with a checkpoint after the last
    whole step (several processes: after the step that they are at), so it has to stay true. `resume` goes on from the
    newest checkpoint, to the same result as if there had been no interruption; without it, old checkpoints are deleted.
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
    points = Points(run_dir / "points", plan, len(train_rows))
    arguments = _arguments(plan, hardware, total, checkpoints)
    main = arguments.process_index == 0
    if main:
        checkpoints.clear(all_of_them=not resume)
    done = _newest(checkpoints, arguments)
    history = checkpoints.history(done) if done else []
    if main:
        points.take_up(checkpoints, done)

    def is_unfinished() -> bool:
        if done == total:
            # a stop may have left out the last evaluation
            return bool(val_rows) and not is_evaluated(history, total)
        return not (plan.early_stop and has_given_up(history))

    adapted: dict[str, int] = {}
    if is_unfinished():
        if main:
            listener(Doing("model"))
        count_peak_anew(hardware.device)
        use = MemoryUse.of_steps(history, hardware.device)
        trainer = _trainer(arguments, base, tokenizer, train_rows, val_rows, plan, checkpoints, hardware, use)
        adapted = kinds_with_adapter(trainer.model)
        trainer.listener = listener if main else ignore
        trainer.stop = stop
        trainer.points = points
        trainer.looks = Looks(tokenizer, prompts, general_text, plan.max_length)
        begin_with = checkpoints.at(done) if done else initial_adapter
        if main and begin_with is not None:
            load_adapter(trainer.model, begin_with)
        trainer.listener(_started(trainer, plan, done, hardware, history))
        trainer.train(resume_from_checkpoint=str(checkpoints.at(done)) if done else None)
        done, history = trainer.state.global_step, trainer.state.log_history
        del trainer
        give_memory_back(hardware.device)
    interrupted = is_unfinished()
    val_losses = [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    best = best_step(history)
    seen = Seen(history, plan, len(train_rows), general_text)
    published = best if plan.early_stop and best else total
    if main and not interrupted:
        if plan.early_stop and best is None:
            listener(Note("note.early_stop_without_validation"))
        if done < total:
            listener(Note("note.early_stopped", {"step": done, "total": total, "best": best}))
        publish_adapter(checkpoints.at(published), run_dir / "adapter")
        if done != published:
            points.keep(done, checkpoints.at(done))
        points.drop({published})
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
        speed=_speed(history, hardware),
        points=[] if interrupted else seen.points(points, published),
        samples=seen.samples(),
        general_loss=seen.general_loss(published),
        adapted=adapted,
        peak_memory=max((entry["peak_memory"] for entry in history if "peak_memory" in entry), default=None),
    )


def _speed(history: list[dict[str, Any]], hardware: Hardware) -> dict[str, Any]:
    steps = [entry for entry in history if "loss" in entry]
    if not steps or not all("computed" in entry for entry in steps):
        return {}
    return {
        "computed_tokens": sum(entry["computed"] for entry in steps),
        "supervised_tokens": sum(entry["supervised"] for entry in steps),
        "evaluation_seconds": round(sum(entry.get("seconds", 0.0) for entry in history if "eval_loss" in entry), 2),
        "device_name": hardware.name,
    }


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
    use: MemoryUse | None = None,
) -> Any:
    from lora_trainer.engine.step_trainer import StepTrainer

    # what is split among several devices may be larger than one of them
    device = "cpu" if hardware.shards > 1 else str(arguments.device)
    # as much as is free before the model is there
    memory = use or fit_memory(base, plan, hardware, *train_rows.most_tokens())
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


def _started(
    trainer: Any, plan: TrainPlan, done: int, hardware: Hardware, history: list[dict[str, Any]]
) -> TrainingStarted:
    rows = trainer.rows
    sequences, supervised = rows.counts()
    per_epoch = plan.steps_per_epoch(len(rows))
    return TrainingStarted(
        total_steps=plan.total_steps(len(rows)),
        start_step=done,
        steps_per_epoch=per_epoch,
        dialogues=len(rows),
        sequences=sequences,
        supervised_tokens=supervised,
        device=hardware.name,
        dtype=hardware.dtype,
        trainable_parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        device_kind=hardware.device,
        val_dialogues=len(trainer.val_rows or ()),
        losses=tuple(entry["loss"] for entry in history if "loss" in entry),
        val_losses=tuple((entry["step"] / per_epoch, entry["eval_loss"]) for entry in history if "eval_loss" in entry),
        samples=tuple(Sampled(*astuple(sample)) for sample in Seen(history, plan, len(rows)).samples()),
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
