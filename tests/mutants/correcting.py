"""Bugs in teaching by correcting: what is written of a conversation, and which training learns it."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

CORRECTIONS, LESSONS = "pipeline/run/corrections.py", "wizard/chat/lessons.py"
WRITTEN = "tests/pipeline/run/test_corrections.py::"
TALKED = "tests/wizard/chat/test_lessons.py::"
LEARNT = "tests/pipeline/test_learning_corrections.py::"

MUTANTS = (
    Mutant(
        "what the model said before is learnt as well",
        CORRECTIONS,
        'heard = [{**turn, "weight": 0} if',
        'heard = [{**turn, "weight": 1} if',
        (WRITTEN + "test_a_row_teaches_its_last_answer_alone_and_keeps_what_was_rejected",),
    ),
    Mutant(
        "an answer that is corrected twice is there twice",
        CORRECTIONS,
        "lines[at : at + 1] = [line]",
        "lines.append(line)",
        (WRITTEN + "test_a_later_correction_of_the_same_answer_replaces_it_and_what_the_model_said_stays",),
    ),
    Mutant(
        "the conversation goes on with the answer that was put right",
        LESSONS,
        "        if text != answer:\n            self._amend(talk, turn, text)\n",
        "",
        (TALKED + "test_the_conversation_goes_on_with_the_corrected_answer",),
    ),
    Mutant(
        "overwriting learns the corrections of the model that it replaces",
        "wizard/steps/data.py",
        'continues=draft.choice == "continue"',
        "continues=True",
        (LEARNT + "test_other_trainings_leave_them_out_and_say_so",),
    ),
    Mutant(
        "an unfinished training goes on with other corrections than it was begun with",
        "pipeline/job.py",
        "rows_of(going_on) if going_on is not None else None",
        "None",
        (LEARNT + "test_an_unfinished_training_goes_on_with_the_corrections_that_it_was_begun_with",),
    ),
)
