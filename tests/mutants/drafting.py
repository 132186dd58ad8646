"""Bugs in drafts by a model: what it is shown, what of its words is kept, and what gets into the data."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

DRAFTING = "pipeline/desk/drafting/drafting.py"
LOGIC, SEEN = "tests/pipeline/desk/test_drafting.py::", "tests/wizard/test_drafting.py::"

MUTANTS = (
    Mutant(
        "drafts teach a model the manner of drafts",
        "pipeline/desk/drafting/examples.py",
        "if dialogue.source != DRAFTED and 0 not in",
        "if 0 not in",
        (LOGIC + "test_examples_are_the_users_own_rows_under_the_common_system_prompt_and_their_learnt_answers",),
    ),
    Mutant(
        "a draft begins with a thought",
        "pipeline/desk/drafting/bare.py",
        'text.rpartition("</think>")[2].partition("<think>")[0]',
        'text.removeprefix("<think>").replace("</think>", "")',
        (LOGIC + "test_of_what_a_model_says_the_users_line_is_left",),
    ),
    Mutant(
        "a draft that was cut off is shown as a whole one",
        DRAFTING,
        "if not answer.stopped:",
        "if not answer.text:",
        (LOGIC + "test_what_is_not_worth_showing_is_made_again_and_told_after_three_tries",),
    ),
    Mutant(
        "what was thrown away comes again",
        DRAFTING,
        "        self.know(draft)\n        return draft",
        "        return draft",
        (LOGIC + "test_what_was_thrown_away_does_not_come_again",),
    ),
    Mutant(
        "situations that no row shows aren't drafted first",
        DRAFTING,
        "self._missing.pop(0) if self._missing else None",
        "None",
        (LOGIC + "test_the_missing_situations_are_asked_for_first_one_a_draft_and_then_freely",),
    ),
    Mutant(
        "a drafted row can't be told from the user's own",
        "wizard/data_desk/drafting.py",
        "draft.messages, self._backups, source=DRAFTED)",
        "draft.messages, self._backups)",
        (SEEN + "test_drafts_are_taken_edited_and_thrown_away_and_only_those_taken_are_written",),
    ),
    Mutant(
        "a draft that was stopped leaves the next one stopping",
        "wizard/stop.py",
        "came = self._arrived() and signal.getsignal(signal.SIGINT) == self.handle",
        "came = self._arrived()",
        (SEEN + "test_control_c_stops_the_draft_that_is_being_written_and_not_the_program",),
    ),
)
