"""Bugs in mending data files: what is fine changes, what is hopeless is made up, and what was there is lost."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_TOO_LONG = "tests/data_desk/test_too_long.py::"
_REPAIRS, _WIZARD = "tests/data_desk/test_repairs.py::", "tests/wizard/test_mending.py::"

MUTANTS = (
    Mutant(
        "a dialogue that breaks off in its middle is closed and loses its answer",
        "data_desk/repairs/pieces.py",
        "    if not values or (_breaks_off(found[1]) and not _is_whole(values, without)):",
        "    if not values:",
        (_REPAIRS + "test_what_no_rule_mends_stays_as_it_is_and_is_named_with_its_line",),
    ),
    Mutant(
        "a string ends at the first Chinese quotation mark inside of it",
        "data_desk/repairs/loose_json.py",
        "            if len(mark[0]) > 1 or not _CLOSES.match(self.text, mark.end()):",
        "            if len(mark[0]) > 1:",
        (_REPAIRS + "test_quotation_marks_inside_of_what_is_said_stay",),
    ),
    Mutant(
        "a row that no rule makes whole is changed half",
        "data_desk/repairs/order.py",
        "    if used and read_row(now).faults:\n        return row, []\n",
        "",
        (
            "tests/data_desk/test_mending_properties.py"
            "::test_a_row_is_mended_whole_or_not_at_all_and_one_that_is_read_stays_readable",
        ),
    ),
    Mutant(
        "an answer that isn't to be learnt is joined to one that is",
        "data_desk/repairs/turns.py",
        "    return left == right and not",
        "    return not",
        (_REPAIRS + "test_turns_that_say_nothing_go_and_those_of_one_side_become_one",),
    ),
    Mutant(
        "a row that is too long loses one answer more than it has to",
        "data_desk/repairs/too_long.py",
        "    cut = up_to(row, ends[fitting - 1]) if fitting else row",
        "    cut = up_to(row, ends[fitting - 2]) if fitting > 1 else row",
        (_TOO_LONG + "test_a_row_ends_with_the_last_answer_that_fits_and_stays_where_none_does",),
    ),
    Mutant(
        "a row is cut to answers of which none is learnt",
        "data_desk/repairs/too_long.py",
        "    return cut if cut is not row and _is_learnt(read_row(cut)) else row",
        "    return cut",
        (_TOO_LONG + "test_weights_stay_and_answers_that_arent_learnt_count_only_before_one_that_is",),
    ),
    Mutant(
        "rows are measured without the system prompt that a training gives them",
        "pipeline/checks/length.py",
        "            seen = Reader(system).with_system([dialogue], Path(), self.no_system)",
        "            seen = [dialogue]",
        (
            "tests/wizard/test_too_long.py"
            "::test_the_system_prompt_that_a_training_would_add_or_take_away_counts[most have it]",
        ),
    ),
    Mutant(
        "a file that somebody has changed meanwhile is written over",
        "pipeline/mending.py",
        "            if each.file.read_bytes() != each.before:",
        "            if not each.file.exists():",
        (_WIZARD + "test_a_file_that_changes_while_it_is_looked_at_is_not_written_over",),
    ),
    Mutant(
        "when the second file can't be written the first one stays mended",
        "pipeline/mending.py",
        "    except OSError as error:\n        undo(written)\n",
        "    except OSError as error:\n",
        (_WIZARD + "test_where_a_file_cant_be_written_that_is_said_and_neither_of_them_has_changed",),
    ),
    Mutant(
        "Ctrl-C at the last question leaves the mended file where it is",
        "wizard/mending/asking.py",
        "    except Cancelled:\n        mending.undo(written)\n        raise\n",
        "",
        (_WIZARD + "test_one_key_puts_the_old_files_back",),
    ),
)
