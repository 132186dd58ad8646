"""transformers' Trainer, one item of whose data is a whole optimizer step.

So what a step computes depends on the plan's seed and the step's number alone: not on how it is split into
micro-batches, shared among processes, or interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate.utils import AutocastKwargs
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from lora_trainer.batching import MicroBatch, micro_batches, negative_log_likelihood, share
from lora_trainer.checkpoints import Checkpoints, best_step, has_given_up
from lora_trainer.encode import EncodedDialogues, EncodedSequence
from lora_trainer.errors import ResourceError, UsageError
from lora_trainer.events import CheckpointSaved, Evaluated, Listener, Note, StepDone, ignore
from lora_trainer.hardware import give_memory_back, is_out_of_memory
from lora_trainer.plan import TrainPlan, steady_steps
from lora_trainer.prefix_tree import (
    TreeBatch,
    agrees_with_padding,
    can_be_told,
    is_worth,
    tree_batches,
    tree_negative_log_likelihood,
)
from lora_trainer.schedule import dropout_seed, evaluation_steps, learning_rate, step_dialogues
from lora_trainer.sharding import allow_on_cpu, configure, shards, split, whole

CHECKPOINT_SECONDS = 600
"""A kill loses at most this much, where evaluations are further apart."""
_FIRST_SCALE = 1024.0
"""What a float16 loss is multiplied by at first: from the usual 65536, a short run would lose its first steps."""
_RECENT = 20
"""Steps over which the speed is averaged."""


_EVALUATED = 512
"""Validation dialogues whose token ids are in memory at a time."""


class _Steps(Dataset[dict[str, Any]]):
    """Item i: the dialogues of optimizer step i."""

    def __init__(self, plan: TrainPlan, dialogues: int) -> None:
        self.plan, self.dialogues = plan, dialogues

    def __len__(self) -> int:
        return self.plan.total_steps(self.dialogues)

    def __getitem__(self, step: int) -> dict[str, Any]:
        return {"step": step, "dialogues": step_dialogues(self.plan, step, self.dialogues)}


class StepTrainer(Trainer):
    """Computes each step's loss over its supervised tokens, and says how it goes through events."""

    listener: Listener = staticmethod(ignore)
    stop: Callable[[], bool] = staticmethod(lambda: False)

    def __init__(
        self,
        model: Any,
        arguments: Any,
        rows: EncodedDialogues,
        val_rows: EncodedDialogues | None,
        plan: TrainPlan,
        checkpoints: Checkpoints,
        *,
        pad_id: int,
        token_budget: int,
        checkpointing: bool,
    ) -> None:
        super().__init__(model=model, args=arguments, callbacks=[_Reporter(self)])
        self.remove_callback(PrinterCallback)
        self.rows, self.val_rows, self.plan, self.checkpoints = rows, val_rows, plan, checkpoints
        self.pad_id, self.token_budget, self.checkpointing = pad_id, token_budget, False
        self.trees: bool | None = None
        """Whether shared beginnings are computed once; None while nothing has been shared yet."""
        asked = self.is_fsdp_enabled and configure(self.accelerator.state.fsdp_plugin)
        if checkpointing or asked:
            self._checkpoint_activations()

    def create_accelerator_and_postprocess(self) -> None:
        """With FSDP, where accelerate is told so."""
        if shards() > 1:
            allow_on_cpu()
        super().create_accelerator_and_postprocess()
        scaler = self.accelerator.scaler
        if scaler is not None:
            scaler.load_state_dict({**scaler.state_dict(), "scale": _FIRST_SCALE})

    def compute_loss_context_manager(self) -> Any:
        """accelerate wraps a model's forward in autocast, but not where it splits the weights."""
        if not self.is_fsdp_enabled:
            return super().compute_loss_context_manager()
        # what is cached of weights that are gathered anew would be stale
        return self.accelerator.autocast(AutocastKwargs(cache_enabled=False))

    # the data

    def get_train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """One item a step, the same in every process: not to be sharded by accelerate."""
        return DataLoader(_Steps(self.plan, len(self.rows)), batch_size=1, collate_fn=lambda items: items[0])

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:  # noqa: ARG002
        """Not counted: an item holds no tensors."""
        return 0

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:  # noqa: ARG002
        """The plan's schedule, for the Trainer's books: the rate itself is set anew at every step."""
        factor = lambda step: learning_rate(self.plan, step, len(self.rows)) / self.plan.learning_rate  # noqa: E731
        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
        self._created_lr_scheduler = True
        return self.lr_scheduler

    # one step

    def training_step(self, model: Any, inputs: dict[str, Any], *_: Any) -> torch.Tensor:
        """Forward and backward over the whole step; returns its loss (nats per supervised token)."""
        began = time.perf_counter()
        model.train()
        step = inputs["step"]
        rate = learning_rate(self.plan, step, len(self.rows))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sequences = [s for i in inputs["dialogues"] for s in self.rows[i].sequences]
        loss = None
        while loss is None:
            # dropout masks are a function of seed, step and process, also when the step is repeated
            torch.manual_seed(dropout_seed(self.plan, step, self.args.process_index))
            loss = self._try_step(model, sequences)
        self._sum_over_processes(loss)
        if not math.isfinite(loss.item()):
            if self.args.fp16 and not any("loss" in entry for entry in self.state.log_history):
                raise UsageError("error.train.float16")
            raise UsageError("error.train.not_finite", step=step + 1, learning_rate=rate)
        tokens = sum(len(sequence) - 1 for sequence in sequences)
        self.state.log_history.append(
            {"step": step + 1, "loss": loss.item(), "tokens": tokens, "seconds": time.perf_counter() - began}
        )
        return loss

    def _try_step(self, model: Any, sequences: list[EncodedSequence]) -> torch.Tensor | None:
        """This process' part of the loss, its gradients added up; None where memory ran out and less may do."""
        supervised = sum(len(sequence.answer_ids) for sequence in sequences)
        mine = self._share(sequences)
        batches = self._batches(mine or sequences[:1])
        # a process without a sequence has to join in
        counting = len(batches) if mine else 0
        batches = self._as_many_as_others(batches, sequences)
        compute = lambda: self._forward_and_backward(model, batches, counting, supervised)  # noqa: E731
        return self._unless_memory_runs_out(compute, batches, can_recompute=not self.checkpointing)

    def _forward_and_backward(
        self, model: Any, batches: Sequence[MicroBatch | TreeBatch], counting: int, supervised: int
    ) -> torch.Tensor:
        """Loss and gradients of micro-batches, of which the first ones count; both over all supervised tokens."""
        loss = torch.zeros((), device=self.args.device)
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            # DDP and FSDP average over the processes
            weight = self.args.world_size / supervised if number < counting else 0.0
            with nullcontext() if last else self.accelerator.no_sync(model):
                nll = self._nll(model, batch)
                self.accelerator.backward(nll * weight)
            loss += nll.detach() * weight / self.args.world_size
        return loss

    def _nll(self, model: Any, batch: MicroBatch | TreeBatch) -> torch.Tensor:
        loss_of: Any = tree_negative_log_likelihood if isinstance(batch, TreeBatch) else negative_log_likelihood
        with self.compute_loss_context_manager():
            nll: torch.Tensor = loss_of(model, batch.to(self.args.device))
        return nll

    def _share(self, sequences: list[EncodedSequence]) -> list[EncodedSequence]:
        """This process' part of a step's sequences, after a look, at the first ones, whether trees may be used."""
        if self.trees is None:
            self.trees = self._trees_agree(sequences)
        return share(sequences, self.args.process_index, self.args.world_size)

    def _batches(self, sequences: list[EncodedSequence]) -> Sequence[MicroBatch | TreeBatch]:
        """The micro-batches of some sequences: trees where these are proven and save enough, padded ones elsewhere."""
        padded = micro_batches(sequences, self.token_budget, self.pad_id)
        if self.trees:
            trees = tree_batches(sequences, self.token_budget)
            if is_worth(trees, padded):
                return trees
        return padded

    def _as_many_as_others(
        self, batches: Sequence[MicroBatch | TreeBatch], sequences: list[EncodedSequence]
    ) -> Sequence[MicroBatch | TreeBatch]:
        """Micro-batches, and behind them some that don't count: under FSDP each pass is made by all processes."""
        if not self.is_fsdp_enabled:
            return batches
        most = torch.tensor(len(batches), device=self.args.device)
        dist.all_reduce(most, op=dist.ReduceOp.MAX)
        (idle,) = micro_batches([min(sequences, key=len)], self.token_budget, self.pad_id)
        return [*batches, *[idle] * (int(most) - len(batches))]

    def _trees_agree(self, sequences: list[EncodedSequence]) -> bool | None:
        """Whether this model's trees have the loss and gradients of padded batches; None where nothing is shared."""
        if not can_be_told(self.model.config):
            self.listener(Note("note.tree.layers"))
            return False
        few = sorted(sequences, key=lambda s: s.prompt_ids + s.answer_ids)[:2]
        if not is_worth(tree_batches(few, 1 << 20), micro_batches(few, 1 << 20, self.pad_id)):
            return None
        with self.compute_loss_context_manager():
            agree = agrees_with_padding(self.model, few, self.pad_id, self.args.device)
        if agree is False:
            self.listener(Note("note.tree.differs"))
        return bool(agree)

    def _unless_memory_runs_out(
        self, compute: Callable[[], torch.Tensor], batches: Sequence[MicroBatch | TreeBatch], *, can_recompute: bool
    ) -> torch.Tensor | None:
        """What is computed over some micro-batches; None where memory ran out, and less is used from now on."""
        try:
            return compute()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error)
        # the error is gone, and with it what its traceback kept in memory
        self.model.zero_grad()
        self._use_less_memory(max((batch.sequences for batch in batches), default=1), reason, can_recompute)
        return None

    def _use_less_memory(self, sequences: int, reason: str, can_recompute: bool) -> None:
        """Halve the token budget, then recompute activations, then give up (at once among several processes)."""
        alone = self.args.world_size == 1
        if alone and sequences > 1:
            self.token_budget //= 2
            self.listener(Note("note.token_budget_halved", {"tokens": self.token_budget}))
        elif alone and can_recompute:
            self._checkpoint_activations()
            self.listener(Note("note.activations_recomputed"))
        else:
            raise ResourceError("error.resource.training_memory", max_length=self.plan.max_length, reason=reason)
        give_memory_back(self.args.device.type)

    def _checkpoint_activations(self) -> None:
        self.checkpointing = True
        self.model.activation_checkpointing_enable({"use_reentrant": False})

    def _sum_over_processes(self, value: torch.Tensor) -> None:
        if self.args.world_size > 1:
            dist.all_reduce(value)

    # validation and checkpoints

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The loss over the validation dialogues, told and written down; nothing where there are none."""
        self.control.should_evaluate = False
        if not self.val_rows:
            return {}
        total = 0.0
        self.model.eval()
        for start in range(0, len(self.val_rows), _EVALUATED):
            sequences = [s for dialogue in self.val_rows[start : start + _EVALUATED] for s in dialogue.sequences]
            nll = None
            while nll is None:
                nll = self._try_evaluate(sequences)
            self._sum_over_processes(nll)
            total += nll.item()
        loss = total / self.val_rows.counts()[1]
        step = self.state.global_step
        self.state.log_history.append({"step": step, "eval_loss": loss})
        best = best_step(self.state.log_history) == step and step > 0
        self.listener(Evaluated(step, step / self.plan.steps_per_epoch(len(self.rows)), loss, best))
        if self.plan.early_stop and has_given_up(self.state.log_history):
            self.control.should_training_stop = True
        return {"eval_loss": loss}

    def _try_evaluate(self, sequences: list[EncodedSequence]) -> torch.Tensor | None:
        """This process' part of the sum of some sequences' losses; None where memory ran out and less may do."""
        batches = self._batches(self._share(sequences))
        return self._unless_memory_runs_out(
            lambda: self._forward(self._as_many_as_others(batches, sequences), len(batches)),
            batches,
            can_recompute=False,
        )

    def _forward(self, batches: Sequence[MicroBatch | TreeBatch], counting: int) -> torch.Tensor:
        """The sum of micro-batches' losses, of which the first ones count."""
        dtype = torch.float64 if self.args.device.type != "mps" else None
        total = torch.zeros((), device=self.args.device, dtype=dtype)
        with torch.no_grad():
            for number, batch in enumerate(batches):
                nll = self._nll(self.model, batch)
                total += nll if number < counting else 0.0
        return total

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        step = self.state.global_step
        if self.args.should_save:
            self.checkpoints.complete(step)
            best = best_step(self.state.log_history)
            # a longer run can go on from the end of the steady phase
            steady = steady_steps(self.state.max_steps, self.plan.scheduler)
            self.checkpoints.prune(keep=[steady] if best is None else [best, steady])
        self.accelerator.wait_for_everyone()
        self.listener(CheckpointSaved(step, str(self.checkpoints.at(step))))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The adapter alone, and whole; PEFT is kept from asking the hub about the base model."""
        adapter = whole({name: value for name, value in self.model.state_dict().items() if "lora_" in name})
        if self.args.should_save and output_dir:
            self.model.save_pretrained(output_dir, state_dict=adapter, save_embedding_layers=False)
            (Path(output_dir) / "README.md").unlink(missing_ok=True)

    def _load_from_checkpoint(self, *_: Any) -> None:
        """Nothing: the adapter is there before the model is split among processes."""

    def _load_rng_state(self, *_: Any) -> None:
        """Nothing: each step sets its own, and a checkpoint of another device has others."""

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Where there is one: a checkpoint of a float16 card may go on elsewhere."""
        if self.accelerator.scaler is not None:
            super()._load_scaler(checkpoint)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        optimizer = whole(self.optimizer.state_dict())
        if self.args.should_save:
            torch.save(optimizer, Path(output_dir, OPTIMIZER_NAME))
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir, SCHEDULER_NAME))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            optimizer = torch.load(Path(checkpoint, OPTIMIZER_NAME), map_location="cpu", weights_only=True)
            self.optimizer.load_state_dict(split(optimizer, self.optimizer))
            self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint, SCHEDULER_NAME), weights_only=True))


class _Reporter(TrainerCallback):
    """Tells of each step, and decides when to evaluate, to save and to stop."""

    def __init__(self, trainer: StepTrainer) -> None:
        self.trainer = trainer
        self.saved_at = time.monotonic()

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self.trainer.evaluate()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer, step = self.trainer, state.global_step
        per_epoch = trainer.plan.steps_per_epoch(len(trainer.rows))
        recent = [entry for entry in state.log_history[-2 * _RECENT :] if "loss" in entry][-_RECENT:]
        seconds = sum(entry["seconds"] for entry in recent)
        trainer.listener(
            StepDone(
                step=step,
                total_steps=state.max_steps,
                epoch=step / per_epoch,
                loss=recent[-1]["loss"],
                learning_rate=learning_rate(trainer.plan, step - 1, len(trainer.rows)),
                tokens_per_second=sum(entry["tokens"] for entry in recent) / seconds,
                seconds_left=(state.max_steps - step) * seconds / len(recent),
            )
        )
        # every process does the same, so what only one of them saw (a signal, a clock) counts for all
        due = time.monotonic() - self.saved_at > CHECKPOINT_SECONDS
        wishes = torch.tensor([trainer.stop(), due], dtype=torch.float32, device=args.device)
        trainer._sum_over_processes(wishes)
        stop, due = (wish > 0 for wish in wishes.tolist())
        control.should_evaluate = step in evaluation_steps(state.max_steps, per_epoch)
        steady = step == steady_steps(state.max_steps, trainer.plan.scheduler)
        control.should_save = control.should_evaluate or stop or due or steady
        control.should_training_stop = stop or step >= state.max_steps
        if control.should_save:
            self.saved_at = time.monotonic()
