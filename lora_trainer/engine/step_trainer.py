"""transformers' Trainer, one item of whose data is a whole optimizer step.

So what a step computes depends on the plan's seed and the step's number alone: not on how it is split into
micro-batches, shared among processes, or interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import torch
import torch.distributed as dist
from accelerate.utils import AutocastKwargs
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback

from lora_trainer.data.encode import EncodedDialogues, EncodedSequence
from lora_trainer.engine.along.looks import Looks
from lora_trainer.engine.batching import MicroBatch, micro_batches, negative_log_likelihood, shard_for_rank
from lora_trainer.engine.checkpointing import CheckpointingTrainer, Stopped
from lora_trainer.engine.checkpoints import Checkpoints
from lora_trainer.engine.evaluation import evaluate
from lora_trainer.engine.fallback import Fallback
from lora_trainer.engine.memory import MemoryUse, peak
from lora_trainer.engine.prefix_tree import TreeBatch, fork, is_worth, tree_batches
from lora_trainer.engine.reporter import Reporter
from lora_trainer.engine.schedule import dropout_seed, learning_rate, step_dialogues
from lora_trainer.engine.sharding import allow_on_cpu, configure, shards
from lora_trainer.engine.tree_trial import off_by, supports_tree, tolerance, tree_negative_log_likelihood
from lora_trainer.errors import UsageError
from lora_trainer.events import Doing, Note, StepBegun
from lora_trainer.plan import TrainPlan

_FIRST_SCALE = 1024.0
"""What a float16 loss is multiplied by at first: from the usual 65536, a short run would lose its first steps."""


class _Steps(Dataset[dict[str, Any]]):
    """Item i: the dialogues of optimizer step i."""

    def __init__(self, plan: TrainPlan, dialogues: int) -> None:
        self.plan, self.dialogues = plan, dialogues

    def __len__(self) -> int:
        return self.plan.total_steps(self.dialogues)

    def __getitem__(self, step: int) -> dict[str, Any]:
        return {"step": step, "dialogues": step_dialogues(self.plan, step, self.dialogues)}


class StepTrainer(CheckpointingTrainer):
    """Computes each step's loss over its supervised tokens, and says how it goes through events."""

    looks: Looks | None = None

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
        memory: MemoryUse,
    ) -> None:
        super().__init__(model=model, args=arguments, callbacks=[Reporter(self)])
        self.remove_callback(PrinterCallback)
        self.rows, self.val_rows, self.plan, self.checkpoints = rows, val_rows, plan, checkpoints
        self.pad_id = pad_id
        self.fallback = Fallback(
            self.model,
            memory.token_budget,
            device=arguments.device.type,
            max_length=plan.max_length,
            alone=arguments.world_size == 1,
        )
        self.computed = 0
        """Positions of this process' last step: what its dialogues share counts once, padding counts."""
        self.trees = memory.trees
        """Whether shared beginnings are computed once; None while nothing has been shared yet."""
        asked = self.is_fsdp_enabled and configure(self.accelerator.state.fsdp_plugin)
        if memory.checkpointing or asked:
            self.fallback.checkpoint_activations()

    def create_accelerator_and_postprocess(self) -> None:
        """With FSDP, where accelerate is told so."""
        if shards() > 1:
            allow_on_cpu()
        super().create_accelerator_and_postprocess()
        scaler = self.accelerator.scaler
        if scaler is not None:
            scaler.load_state_dict({**scaler.state_dict(), "scale": _FIRST_SCALE})

    @property
    def memory_use(self) -> MemoryUse:
        """How steps are computed now."""
        return MemoryUse(self.fallback.token_budget, self.fallback.checkpointing, self.trees)

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
        """Forward and backward over the whole step; returns its loss (nats per supervised token).

        Raises UsageError where the loss isn't a number, ResourceError where memory doesn't hold one sequence, and
        Stopped where a stop was asked for.
        """
        if self.control.should_training_stop:
            # an evaluation that was made up for, before the first step, has ended the run
            raise Stopped
        began = time.perf_counter()
        model.train()
        step = inputs["step"]
        self.listener(StepBegun(step + 1))
        rate = learning_rate(self.plan, step, len(self.rows))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sequences = [s for i in inputs["dialogues"] for s in self.rows[i].sequences]
        loss = None
        while loss is None:
            # dropout masks are a function of seed, step and process, also when the step is repeated
            torch.manual_seed(dropout_seed(self.plan, step, self.args.process_index))
            loss = self._try_step(model, sequences)
        self.sum_over_processes(loss)
        if not math.isfinite(loss.item()):
            if self.args.fp16 and not any("loss" in entry for entry in self.state.log_history):
                raise UsageError("error.train.float16")
            raise self.not_finite(step + 1)
        self.state.log_history.append(
            {
                "step": step + 1,
                "loss": loss.item(),
                "tokens": sum(len(sequence) - 1 for sequence in sequences),
                "computed": self.computed * self.args.world_size,
                "supervised": sum(len(sequence.completion_ids) for sequence in sequences),
                "seconds": time.perf_counter() - began,
                "peak_memory": peak(self.args.device.type),
                "how": {"device": self.args.device.type, **asdict(self.memory_use)},
            }
        )
        return loss

    def _try_step(self, model: Any, sequences: list[EncodedSequence]) -> torch.Tensor | None:
        """This process' part of the loss, its gradients added up; None where memory ran out and less may do."""
        supervised = sum(len(sequence.completion_ids) for sequence in sequences)
        mine = self._mine(sequences)
        batches = self._batches(mine or sequences[:1])
        # a process without a sequence has to join in
        counting = len(batches) if mine else 0
        batches = self._as_many_as_others(batches, sequences)
        self.computed = sum(batch.tokens for batch in batches)
        compute = lambda: self._forward_and_backward(model, batches, counting, supervised)  # noqa: E731
        return self.fallback.attempt(compute, _most(batches), can_recompute=True, listener=self.listener)

    def _forward_and_backward(
        self, model: Any, batches: Sequence[MicroBatch | TreeBatch], counting: int, supervised: int
    ) -> torch.Tensor:
        """Loss and gradients of micro-batches, of which the first ones count; both over all supervised tokens."""
        loss = torch.zeros((), device=self.args.device)
        for number, batch in enumerate(batches):
            self.leave_if_asked()
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

    # how its sequences are computed

    def _mine(self, sequences: Sequence[EncodedSequence]) -> list[EncodedSequence]:
        """This process' part of a step's sequences, after a look, at the first ones, whether trees may be used."""
        if self.trees is None:
            self.trees = self._trees_match(sequences)
        return shard_for_rank(sequences, self.args.process_index, self.args.world_size)

    def _batches(self, sequences: list[EncodedSequence]) -> Sequence[MicroBatch | TreeBatch]:
        """The micro-batches of some sequences: trees where these are proven and save enough, padded ones elsewhere."""
        padded = micro_batches(sequences, self.fallback.token_budget, self.pad_id)
        if self.trees:
            trees = tree_batches(sequences, self.fallback.token_budget)
            if is_worth(trees, padded):
                return trees
        return padded

    def _as_many_as_others(
        self, batches: Sequence[MicroBatch | TreeBatch], sequences: Sequence[EncodedSequence]
    ) -> Sequence[MicroBatch | TreeBatch]:
        """Micro-batches, and behind them some that don't count: under FSDP each pass is made by all processes."""
        if not self.is_fsdp_enabled:
            return batches
        most = torch.tensor(len(batches), device=self.args.device)
        dist.all_reduce(most, op=dist.ReduceOp.MAX)
        (idle,) = micro_batches([min(sequences, key=len)], self.fallback.token_budget, self.pad_id)
        return [*batches, *[idle] * (int(most) - len(batches))]

    def _trees_match(self, sequences: Sequence[EncodedSequence]) -> bool | None:
        """Whether this model's trees have the loss and gradients of padded batches; None where none branch or save."""
        if not supports_tree(self.model.config):
            self.listener(Note("note.tree.layers"))
            return False
        few = fork(sequences, getattr(self.model.config.get_text_config(), "sliding_window", None) or 0)
        budget = self.fallback.token_budget
        if not few or not is_worth(tree_batches(sequences, budget), micro_batches(sequences, budget, self.pad_id)):
            return None
        self.listener(Doing("trial"))
        with self.compute_loss_context_manager():
            off, most = off_by(self.model, few, self.pad_id, self.args.device), tolerance(self.model)
        if off is not None and off > most:
            told = Note("note.tree.differs", {"off": f"{off:.1%}", "most": f"{most:.1%}"})
            self.listener(told if math.isfinite(off) else Note("note.tree.fails"))
        return off is not None and off <= most

    # validation

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The loss over the validation dialogues, told and written down; nothing where there are none.

        Raises ResourceError where memory doesn't hold one sequence, Stopped where a stop was asked for.
        """
        self.control.should_evaluate = False
        found = evaluate(self, self._nll_of)
        if self.looks is not None:
            self.looks.look(self)
        return found

    def _nll_of(self, sequences: Sequence[EncodedSequence]) -> torch.Tensor:
        """This process' part of the sum of some sequences' losses."""
        nll = None
        while nll is None:
            nll = self._try_nll_of(sequences)
        return nll

    def _try_nll_of(self, sequences: Sequence[EncodedSequence]) -> torch.Tensor | None:
        """The same; None where memory ran out and less may do."""
        batches = self._batches(self._mine(sequences))
        compute = lambda: self._forward(self._as_many_as_others(batches, sequences), len(batches))  # noqa: E731
        return self.fallback.attempt(compute, _most(batches), can_recompute=False, listener=self.listener)

    def _forward(self, batches: Sequence[MicroBatch | TreeBatch], counting: int) -> torch.Tensor:
        """The sum of micro-batches' losses, of which the first ones count."""
        dtype = torch.float64 if self.args.device.type != "mps" else None
        total = torch.zeros((), device=self.args.device, dtype=dtype)
        with torch.no_grad():
            for number, batch in enumerate(batches):
                self.leave_if_asked()
                nll = self._nll(self.model, batch)
                total += nll if number < counting else 0.0
        return total


def _most(batches: Sequence[MicroBatch | TreeBatch]) -> int:
    """Sequences of the largest micro-batch."""
    return max((batch.sequences for batch in batches), default=1)
