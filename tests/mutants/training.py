"""Bugs in what is learnt, and how: chat format, token ids, loss, gradient, rate, checkpoints."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ENGINE, _TESTS = "lora_trainer/engine", "tests/lora_trainer"
_FORMAT, _TEMPLATE = "lora_trainer/chat_format.py", "lora_trainer/chat_template.py"
_ENCODE, _ENCODER = "lora_trainer/data/encode.py", "lora_trainer/data/encoder.py"
_TRAIN = "lora_trainer/train.py"

_RATES = (
    f"{_TESTS}/engine/test_step_trainer.py"
    "::test_the_optimizer_takes_each_step_at_the_plans_rate_and_so_it_is_told",
)  # fmt: skip
_STEP = (
    f"{_TESTS}/engine/test_step_trainer.py::test_a_step_takes_the_gradient_of_its_mean_loss_cut_to_a_length_of_one",
)
_SHARING = (
    f"{_TESTS}/engine/test_step_trainer.py"
    "::test_beginnings_are_computed_once_where_that_is_the_same_and_else_each_time",
)  # fmt: skip
_FACTORS = (
    f"{_TESTS}/engine/test_schedule.py::test_the_rate_rises_for_a_tenth_of_an_epoch_and_ends_as_its_schedule_says",
)
_BEST = (f"{_TESTS}/engine/test_checkpoints.py::test_the_best_step_is_the_first_of_the_lowest_validation_loss",)
_ENOUGH = (f"{_TESTS}/engine/test_checkpoints.py::test_four_evaluations_without_a_better_one_are_enough",)
_CUTS = (f"{_TESTS}/data/test_encode.py::test_a_text_is_not_cut_before_a_token_that_depends_on_what_stands_before_it",)
_SERVED = (f"{_TESTS}/data/test_encode.py::test_every_answer_is_a_sequence_behind_its_prompt_as_served",)
_END = (f"{_TESTS}/test_chat_format.py::test_the_first_special_token_behind_an_answer_is_its_end",)
_SWITCH = (f"{_TESTS}/test_chat_format.py::test_a_thinking_switch_that_the_template_knows_is_used",)
_FUSED = (f"{_TESTS}/engine/test_fused_layers.py::test_every_gated_block_is_fused_whatever_its_activation",)
_PEFT = (f"{_TESTS}/engine/test_fused_layers.py::test_a_fused_model_has_the_loss_and_the_gradients_of_pefts",)
_TRIAL = (f"{_TESTS}/engine/test_prefix_tree.py::test_gradients_that_are_off_where_the_loss_is_not_are_found_out",)
_EARLY = (f"{_TESTS}/test_train.py::test_early_stop_publishes_the_best_point_and_the_other_way_the_last",)

_PEAK = (
    f"{_TESTS}/test_train.py::test_the_most_memory_of_a_run_is_told_over_all_its_parts_and_not_of_what_came_before",
)

MUTANTS = (
    # memory
    Mutant(
        "the most memory of a run is what its last step held",
        _TRAIN,
        'max((entry["peak_memory"] for entry in history if "peak_memory" in entry), default=None)',
        'next((entry["peak_memory"] for entry in reversed(history) if "peak_memory" in entry), None)',
        _PEAK,
    ),
    Mutant(
        "what the process took before the training counts as its memory",
        _TRAIN,
        "        count_peak_anew(hardware.device)\n",
        "",
        _PEAK,
    ),
    # the rate
    Mutant(
        "the learning rate comes one step late",
        f"{_ENGINE}/step_trainer.py",
        "rate = learning_rate(self.plan, step,",
        "rate = learning_rate(self.plan, max(0, step - 1),",
        _RATES,
    ),
    Mutant(
        "the rate that is told is the next step's",
        f"{_ENGINE}/reporter.py",
        "learning_rate(trainer.plan, step - 1,",
        "learning_rate(trainer.plan, step,",
        _RATES,
    ),
    Mutant(
        "every run has the steady schedule, whatever was asked for",
        f"{_ENGINE}/schedule.py",
        "per_epoch, plan.scheduler)",
        "per_epoch)",
        _RATES,
    ),
    Mutant(
        "the cosine schedule rises",
        f"{_ENGINE}/schedule.py",
        "0.5 - 0.5 * math.cos(",
        "0.5 + 0.5 * math.cos(",
        _FACTORS,
    ),
    Mutant("the linear schedule rises", f"{_ENGINE}/schedule.py", '"linear": left', '"linear": 1.0 - left', _FACTORS),
    Mutant(
        "the warmup is a hundredth of an epoch",
        f"{_ENGINE}/schedule.py",
        "math.ceil(steps_per_epoch / 10)",
        "math.ceil(steps_per_epoch / 100)",
        _FACTORS,
    ),
    Mutant(
        "the warmup depends on how long the run is",
        f"{_ENGINE}/schedule.py",
        "math.ceil(steps_per_epoch / 10)",
        "math.ceil(total_steps / 10)",
        (f"{_TESTS}/engine/test_schedule.py::test_the_warmup_is_a_tenth_of_an_epoch_rounded_up",),
    ),
    Mutant(
        "the first step has a rate of 0", f"{_ENGINE}/schedule.py", "(step + 1) / warmup", "step / warmup", _FACTORS
    ),
    Mutant(
        "the last quarter of a run decays", f"{_ENGINE}/schedule.py", "total_steps // 8", "total_steps // 4", _FACTORS
    ),
    Mutant(
        "the decay begins one step late",
        f"{_ENGINE}/schedule.py",
        "(total_steps - stable_steps(total_steps) + 1)",
        "(total_steps - stable_steps(total_steps))",
        _FACTORS,
    ),
    # a step
    Mutant("gradients are not clipped", _TRAIN, "max_grad_norm=MAX_GRADIENT_NORM", "max_grad_norm=0.0", _STEP),
    Mutant("gradients are clipped too late", _TRAIN, "MAX_GRADIENT_NORM = 1.0", "MAX_GRADIENT_NORM = 10.0", _STEP),
    Mutant("gradients are clipped too early", _TRAIN, "MAX_GRADIENT_NORM = 1.0", "MAX_GRADIENT_NORM = 0.1", _STEP),
    Mutant(
        "weights decay",
        _TRAIN,
        "weight_decay=0.0",
        "weight_decay=0.1",
        (f"{_TESTS}/engine/test_step_trainer.py::test_weights_that_nothing_is_learnt_for_stay_as_they_are",),
    ),
    Mutant(
        "the loss is averaged over the prompts' tokens too",
        f"{_ENGINE}/step_trainer.py",
        "supervised = sum(len(sequence.completion_ids) for",
        "supervised = sum(len(sequence) for",
        _STEP,
    ),
    Mutant(
        "each micro-batch's loss is averaged for itself",
        f"{_ENGINE}/step_trainer.py",
        "self.args.world_size / supervised if",
        "self.args.world_size / len(batch.targets) if",
        _STEP,
    ),
    Mutant(
        "the dropout masks of all steps are the same",
        f"{_ENGINE}/schedule.py",
        "(plan.seed << 31) ^ (step << 8) ^ process",
        "(plan.seed << 31) ^ process",
        (f"{_TESTS}/engine/test_schedule.py::test_no_two_steps_processes_or_seeds_drop_the_same_inputs",),
    ),
    Mutant(
        "no input is dropped after the first evaluation",
        f"{_ENGINE}/step_trainer.py",
        "        model.train()\n",
        "",
        (f"{_TESTS}/test_train.py::test_going_on_after_a_stop_gives_the_same_bytes",),
    ),
    Mutant(
        "inputs are dropped in evaluations",
        f"{_ENGINE}/evaluation.py",
        "trainer.model.eval()",
        "trainer.model.train()",
        (f"{_TESTS}/test_train.py::test_the_adapter_is_pefts_and_gives_the_reported_loss",),
    ),
    Mutant(
        "what several dialogues have in common is learnt once",
        f"{_ENGINE}/prefix_tree.py",
        "wanted.get(key, 0) + 1",
        "1",
        (f"{_TESTS}/engine/test_prefix_tree.py::test_what_is_common_is_written_once_and_duplicates_weigh_more",),
    ),
    # prefix trees
    Mutant(
        "a tree is taken for its padded batch where only its loss is the same",
        f"{_ENGINE}/tree_trial.py",
        "    found = [float((gradients[0] - gradients[1]).norm()) / length if length else math.nan]\n",
        "    found = [0.0]\n",
        _TRIAL,
    ),
    Mutant("the trial of trees is a lax one", f"{_ENGINE}/tree_trial.py", "1e-3 if", "0.1 if", _TRIAL),
    Mutant(
        "trees are tried on two turns of one dialogue, which make no branch",
        f"{_ENGINE}/step_trainer.py",
        'few = fork(sequences, getattr(self.model.config.get_text_config(), "sliding_window", None) or 0)',
        "few = sorted(sequences, key=lambda s: s.prompt_ids + s.completion_ids)[:2]",
        _SHARING,
    ),
    Mutant(
        "a sequence that only goes on is taken for a branch",
        f"{_ENGINE}/prefix_tree.py",
        "< min(map(len, read))",
        "<= min(map(len, read))",
        (f"{_TESTS}/engine/test_prefix_tree.py::test_a_trial_is_made_of_two_sequences_that_part",),
    ),
    Mutant(
        "trees are used whatever their trial says",
        f"{_ENGINE}/step_trainer.py",
        "return off is not None and off <= most",
        "return True",
        _SHARING,
    ),
    Mutant(
        "trees are never used",
        f"{_ENGINE}/step_trainer.py",
        "        if self.trees:",
        "        if not self.trees:",
        _SHARING,
    ),
    Mutant(
        "a sliding window is one token too wide",
        f"{_ENGINE}/tree_attention.py",
        "position[:, None] < (position + window)",
        "position[:, None] <= (position + window)",
        (f"{_TESTS}/engine/test_prefix_tree.py::test_sliding_windows_are_kept_in_dialogues_longer_than_them",),
    ),
    # the loss
    Mutant(
        "float16 output layers lose small gradients",
        f"{_ENGINE}/loss.py",
        "head.weight.dtype is not torch.float16",
        "head.weight.dtype is not None",
        (f"{_TESTS}/engine/test_loss.py::test_a_float16_gradient_is_not_lost_before_it_is_scaled",),
    ),
    Mutant(
        "a model that scales its logits goes unnoticed behind a loss of 0",
        f"{_ENGINE}/loss.py",
        "bool(torch.equal(out, loss) and out.count_nonzero())",
        "torch.equal(out, loss)",
        (f"{_TESTS}/engine/test_loss.py::test_a_loss_of_nothing_does_not_hide_that_a_model_scales_its_logits",),
    ),
    Mutant(
        "continuations that come several times count once",
        f"{_ENGINE}/loss.py",
        "return (weights * (normaliser - chosen)).sum()",
        "return (normaliser - chosen).sum()",
        (f"{_TESTS}/engine/test_loss.py::test_loss_and_gradient_are_those_of_float64",),
    ),
    # fused layers
    Mutant(
        "the tanh form of GELU has the exact one's gradient",
        f"{_ENGINE}/fused_layers.py",
        'x, approximate="tanh", grad_input=out',
        'x, approximate="none", grad_input=out',
        _FUSED,
    ),
    Mutant(
        "Gemma's blocks are not fused", f"{_ENGINE}/fused_layers.py", "in (_SILU, _GELU) if", "in (_SILU,) if", _FUSED
    ),
    Mutant(
        "a block is proven by its values alone",
        f"{_ENGINE}/fused_layers.py",
        "(out, *torch.autograd.grad(out, learnt, x)) for out",
        "(out,) for out",
        (f"{_TESTS}/engine/test_fused_layers.py::test_a_block_whose_gradient_would_be_another_one_keeps_its_own_way",),
    ),
    Mutant(
        "the exact GELU is taken for its tanh form",
        f"{_ENGINE}/fused_layers.py",
        "_PROVEN = 2e-5",
        "_PROVEN = 1e-3",
        (f"{_TESTS}/engine/test_fused_layers.py::test_a_block_that_computes_something_else_keeps_its_own_way",),
    ),
    Mutant(
        "the adapter's scale is forgotten on the way back",
        f"{_ENGINE}/fused_layers.py",
        "(upstream @ self.b).mul_(self.scale)",
        "upstream @ self.b",
        _PEFT,
    ),
    Mutant(
        "a norm's gradient has the wrong length",
        f"{_ENGINE}/fused_layers.py",
        "inverse.pow(3)",
        "inverse.pow(2)",
        _PEFT,
    ),
    # checkpoints
    Mutant(
        "the base model is taken for the best checkpoint",
        f"{_ENGINE}/checkpoints.py",
        ' and entry["step"] > 0]',
        "]",
        (f"{_TESTS}/test_train.py::test_a_run_that_only_gets_worse_publishes_the_best_of_what_it_learnt", *_BEST),
    ),
    Mutant(
        "the last of equally good checkpoints is the best",
        f"{_ENGINE}/checkpoints.py",
        "min(evaluated,",
        "min(reversed(evaluated),",
        _BEST,
    ),
    Mutant("early stopping gives up at once", f"{_ENGINE}/checkpoints.py", "PATIENCE = 4", "PATIENCE = 1", _ENOUGH),
    Mutant("early stopping is one evaluation late", f"{_ENGINE}/checkpoints.py", ">= PATIENCE", "> PATIENCE", _ENOUGH),
    Mutant(
        "evaluations before the best one count against it",
        f"{_ENGINE}/checkpoints.py",
        ' and entry["step"] > best for',
        " for",
        _ENOUGH,
    ),
    Mutant(
        "the best checkpoint is deleted",
        f"{_ENGINE}/checkpoints.py",
        " - set(keep):",
        ":",
        (f"{_TESTS}/engine/test_checkpoints.py::test_the_newest_two_checkpoints_are_kept_and_those_that_are_named",),
    ),
    Mutant(
        "early stopping publishes the last checkpoint",
        _TRAIN,
        "best if plan.early_stop and best else total",
        "done",
        _EARLY,
    ),
    Mutant(
        "the best checkpoint is published unasked",
        _TRAIN,
        "best if plan.early_stop and best else total",
        "best or total",
        _EARLY,
    ),
    Mutant(
        "nothing is saved from where a longer run could go on",
        f"{_ENGINE}/reporter.py",
        "or stop or due or stable",
        "or stop or due",
        (f"{_TESTS}/test_train.py::test_it_learns_and_tells_how_it_goes",),
    ),
    Mutant(
        "what a longer run could go on from is deleted",
        f"{_ENGINE}/checkpointing.py",
        "else [best, stable])",
        "else [best])",
        _EARLY,
    ),
    Mutant(
        "an adapter to begin with is passed over",
        _TRAIN,
        "if done else initial_adapter",
        "if done else None",
        (f"{_TESTS}/test_train.py::test_a_run_that_only_gets_worse_publishes_the_best_of_what_it_learnt",),
    ),
    # the adapter
    Mutant(
        "no inputs are dropped",
        "lora_trainer/models/adapter.py",
        "lora_dropout=plan.lora_dropout",
        "lora_dropout=0.0",
        (
            f"{_TESTS}/engine/test_fused_layers.py"
            "::test_layers_and_gated_blocks_are_fused_but_not_under_dropout_or_with_the_adapter_off",
        ),
    ),
    Mutant(
        "alpha is always twice the rank",
        "lora_trainer/models/adapter.py",
        "lora_alpha=int(plan.lora_alpha) if plan.lora_alpha.is_integer() else plan.lora_alpha",
        "lora_alpha=2 * plan.lora_rank",
        (f"{_TESTS}/test_train.py::test_an_adapter_has_the_plans_rank_and_alpha",),
    ),
    Mutant(
        "an adapter begins with other values each time",
        "lora_trainer/models/adapter.py",
        "torch.manual_seed(plan.seed)",
        "torch.seed()",
        (f"{_TESTS}/test_train.py::test_another_seed_is_another_run_and_the_same_seed_the_same",),
    ),
    Mutant(
        "activations are never recomputed",
        f"{_ENGINE}/step_trainer.py",
        "if memory.checkpointing or asked:",
        "if asked:",
        (f"{_TESTS}/test_train.py::test_little_memory_recomputes_activations_to_the_same_losses",),
    ),
    # token ids
    Mutant(
        "the end-of-turn text is sought in the last message only",
        _ENCODE,
        '(message["content"] for message in dialogue.messages)',
        '(message["content"] for message in dialogue.messages[-1:])',
        (f"{_TESTS}/data/test_encode.py::test_an_end_of_turn_inside_any_message_is_a_fault",),
    ),
    Mutant(
        "texts are cut before tokens that swallow the white space before them", _ENCODER, " or token.lstrip", "", _CUTS
    ),
    Mutant("texts are cut before tokens that stand alone", _ENCODER, " or token.single_word", "", _CUTS),
    Mutant("texts are cut before tokens that are normalised", _ENCODER, "token.normalized or ", "", _CUTS),
    Mutant("texts are cut within tokens that end with another one", _ENCODER, " or _is_met(text, added)", "", _CUTS),
    Mutant(
        "a dialogue of just the most tokens is refused",
        _ENCODE,
        "if tokens > max_length",
        "if tokens >= max_length",
        (f"{_TESTS}/data/test_encode.py::test_a_dialogue_that_is_too_long_is_a_fault_and_nothing_is_cut",),
    ),
    Mutant(
        "the end of turn is not learnt", _ENCODER, "[self.lead_tokens :] + self.end", "[self.lead_tokens :]", _SERVED
    ),
    Mutant("prompts have no BOS", _ENCODER, "(self.bos + next(ids),", "(next(ids),", _SERVED),
    Mutant(
        "an answer begins with a space that the model would not write",
        _ENCODER,
        '(fmt.generation_prompt, len(behind[0])) if differs else ("", 0)',
        '("", 0)',
        (f"{_TESTS}/data/test_encode.py::test_an_answer_has_no_space_before_it_that_only_the_beginning_of_a_text_has",),
    ),
    Mutant(
        "a BOS is put before prompts that have none when they are served",
        "lora_trainer/models/load.py",
        ' and tokenizer("a").input_ids[0] == tokenizer.bos_token_id',
        "",
        _SERVED,
    ),
    # chat format
    Mutant(
        "a format is taken as it was found, without proof",
        _FORMAT,
        "render(conversation) != expected:",
        "render(conversation) is None:",
        (f"{_TESTS}/test_chat_format.py::test_a_template_that_constants_cannot_explain_is_refused",),
    ),
    Mutant(
        "the system prompt stands in every user turn",
        _FORMAT,
        "if system and place == [i]:",
        "if system and place:",
        (f"{_TESTS}/test_chat_format.py::test_a_familys_prompt_is_what_transformers_renders",),
    ),
    Mutant("the last special token behind an answer ends it", _FORMAT, "first = min((", "first = max((", _END),
    Mutant(
        "the last token-like text behind an answer ends it",
        _FORMAT,
        "token = _TOKEN.search(assistant_after)",
        "token = [*_TOKEN.finditer(assistant_after), None][-2:][0]",
        _END,
    ),
    Mutant(
        "the shortest of overlapping tokens ends an answer", _FORMAT, "-len(token), token)", "len(token), token)", _END
    ),
    Mutant(
        "a token before EOS ends an answer",
        _FORMAT,
        "if EOS in assistant_after or (eos and eos in assistant_after):",
        "if assistant_after.startswith(EOS):",
        (f"{_TESTS}/test_chat_format.py::test_eos_is_the_end_of_turn_where_other_tokens_stand_before_it",),
    ),
    Mutant("`thinking` is not switched off", _TEMPLATE, ', "thinking")', ",)", _SWITCH),
    Mutant(
        "`enable_thinking` is not switched off", _TEMPLATE, '("enable_thinking", "thinking")', '("thinking",)', _SWITCH
    ),
    Mutant(
        "prompts change with the date",
        _TEMPLATE,
        "strftime_now=FROZEN_DATE.strftime",
        "strftime_now=datetime.now().strftime",
        (f"{_TESTS}/test_chat_format.py::test_todays_date_is_frozen",),
    ),
)
