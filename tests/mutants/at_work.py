"""Bugs in what is seen while the program works, and in how it stops."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

ENGINE, SCREEN = "lora_trainer/engine", "wizard/screen"
WITHIN = "tests/lora_trainer/test_stops.py::"
STAGES = "tests/pipeline/test_stops.py::"
SEEN = "tests/wizard/test_at_work.py::"
ENTRY = "tests/wizard/test_entry.py::"
ALONG = f"{ENGINE}/along"
LOOKS, POINTS = (f"tests/lora_trainer/engine/along/test_{name}.py::" for name in ("looks", "points"))
NO_BYTE = WITHIN + "test_a_stop_within_a_step_or_an_evaluation_changes_no_byte"
FINISHES = STAGES + "test_a_stop_is_told_as_it_is_and_the_same_command_finishes"

MUTANTS = (
    Mutant(
        "a stop waits for the end of the step",
        f"{ENGINE}/step_trainer.py",
        "            self.leave_if_asked()\n            last =",
        "            last =",
        (NO_BYTE,),
    ),
    Mutant(
        "a stop waits for the end of an evaluation",
        f"{ENGINE}/step_trainer.py",
        "                self.leave_if_asked()\n                nll =",
        "                nll =",
        (NO_BYTE,),
    ),
    Mutant(
        "a stop within a step loses what was learnt since the last checkpoint",
        f"{ENGINE}/checkpointing.py",
        "                self._save_checkpoint(self.model, None)\n",
        "                pass\n",
        (NO_BYTE,),
    ),
    Mutant(
        "an evaluation that a stop left out is never made up for",
        f"{ENGINE}/reporter.py",
        "step in (0, *evaluation_steps(state.max_steps, trainer.plan.steps_per_epoch(len(trainer.rows))))",
        "step == 0",
        (NO_BYTE,),
    ),
    Mutant(
        "a run whose last evaluation a stop left out counts as trained",
        "lora_trainer/train.py",
        "            return bool(val_rows) and not is_evaluated(history, total)\n",
        "            return False\n",
        (NO_BYTE,),
    ),
    Mutant(
        "a run that an evaluation has ended takes one more step",
        f"{ENGINE}/step_trainer.py",
        "        if self.control.should_training_stop:\n",
        "        if False:\n",
        (WITHIN + "test_an_evaluation_that_is_made_up_for_can_end_the_run",),
    ),
    Mutant(
        "weights that are no numbers are kept",
        f"{ENGINE}/checkpointing.py",
        "        if not all(bool(value.isfinite().all())",
        "        if not any(bool(value.isfinite().all())",
        (WITHIN + "test_weights_that_are_no_numbers_end_the_run_and_are_never_kept",),
    ),
    Mutant(
        "a stop before the first step is said to have a checkpoint",
        "pipeline/run/stopped.py",
        "    if step == 0:\n",
        "    if step < 0:\n",
        (FINISHES,),
    ),
    Mutant(
        "a stop in the checks is said to be one in a training",
        "pipeline/checks/preflight.py",
        "    except KeyboardInterrupt:\n",
        "    except ZeroDivisionError:\n",
        (FINISHES,),
    ),
    Mutant(
        "the second Ctrl-C is taken for the first",
        "wizard/stop.py",
        "if not (first and self.training())",
        "if not self.training()",
        (STAGES + "test_the_second_control_c_aborts_at_once",),
    ),
    Mutant(
        "Ctrl-C is heard when the library has come back",
        "wizard/stop.py",
        "return self.requested or self._came",
        "return self.requested",
        (SEEN + "test_control_c_is_acknowledged_while_a_step_is_being_computed",),
    ),
    Mutant(
        "what is typed at work is shown in the picture",
        f"{SCREEN}/keyboard.py",
        "quiet[3] &= ~(termios.ECHO | termios.ECHONL)",
        "quiet[3] |= termios.ECHO",
        (SEEN + "test_the_terminal_is_left_as_it_was_by_whatever_ends_the_program",),
    ),
    Mutant(
        "what is typed at work answers the next question",
        f"{SCREEN}/keyboard.py",
        "            _set(mode, forget=True)\n",
        "            _set(mode)\n",
        (SEEN + "test_what_is_typed_meanwhile_is_not_shown_and_answers_nothing",),
    ),
    Mutant(
        "a suspended program leaves a terminal that shows no keys",
        f"{SCREEN}/keyboard.py",
        '_LEAVING = ("SIGTSTP", "SIGHUP", "SIGQUIT")',
        '_LEAVING = ("SIGHUP", "SIGQUIT")',
        (SEEN + "test_the_terminal_is_left_as_it_was_while_the_program_is_suspended",),
    ),
    Mutant(
        "the word for a loss is up to its last two steps",
        f"{SCREEN}/curves.py",
        "if abs(slope) <= 2 * error or",
        "if",
        (SEEN + "test_a_word_for_the_training_loss_is_not_up_to_the_rows_of_the_last_step",),
    ),
    Mutant(
        "the end jumps with every step",
        f"{SCREEN}/ending.py",
        "        if abs(self._smooth - self.shown) > max(STEADY_SECONDS, STEADY_PART * (self._smooth - now)):\n",
        "        if self._smooth != self.shown:\n",
        (SEEN + "test_the_end_stays_where_it_is_while_steps_are_of_unequal_length",),
    ),
    Mutant(
        "a checked line is shown for every check of a terminal",
        f"{SCREEN}/at_work.py",
        'if state in ("ok", "skipped") and',
        'if state == "ok" and',
        (SEEN + "test_something_moves_while_nothing_is_told",),
    ),
    Mutant(
        "nothing moves but where something is told",
        f"{SCREEN}/moving.py",
        "                    live.refresh()\n",
        "                    pass\n",
        (SEEN + "test_something_moves_while_nothing_is_told",),
    ),
    Mutant(
        "a stop that a library made an error of its own is called a bug",
        "train_to_ollama.py",
        "isinstance(error, KeyboardInterrupt) or stopped()",
        "isinstance(error, KeyboardInterrupt)",
        (ENTRY + "test_a_stop_that_a_library_made_an_error_of_its_own_is_one_all_the_same",),
    ),
    Mutant(
        "the adapter stays off when general text was read by the base model",
        f"{ALONG}/general.py",
        "            layer.scaling.update(scale)\n",
        "            pass\n",
        (LOOKS + "test_looking_changes_no_bit_of_what_is_learnt",),
    ),
    Mutant(
        "an answer takes as long as it likes",
        f"{ALONG}/samples.py",
        "while len(found) < MOST and go_on():",
        "while len(found) < MOST:",
        (LOOKS + "test_an_answer_ends_where_its_time_does",),
    ),
    Mutant(
        "the time for answers grows with every answer",
        f"{ALONG}/samples.py",
        '- sum(entry["seconds"] for entry in asked) if steps',
        "if steps",
        (LOOKS + "test_answers_have_a_twentieth_of_the_steps_time_and_begin_where_that_is_enough",),
    ),
    Mutant(
        "what was answered before is read again in place of what is cached",
        f"{ALONG}/samples.py",
        "read = found[-1:] if cache is not None",
        "read = [*prompt.ids, *found] if cache is not None",
        (LOOKS + "test_an_answer_is_the_likeliest_token_after_token",),
    ),
    Mutant(
        "points of a longer way stay where a run goes on from before them",
        f"{ALONG}/points.py",
        "self.drop({step for step in self.steps() if step > done})",
        "pass",
        (POINTS + "test_what_a_kill_has_left_out_is_made_up_for_and_half_a_point_is_none",),
    ),
    Mutant(
        "a kill behind a checkpoint loses the point",
        f"{ALONG}/points.py",
        "if step <= done and self.is_due(step):",
        "if False:",
        (POINTS + "test_what_a_kill_has_left_out_is_made_up_for_and_half_a_point_is_none",),
    ),
)
