"""Bugs in how past trainings are told, compared, switched between and written notes on."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_PAST = "tests/pipeline/outcome/test_past.py::"
_TABLE = "tests/wizard/history/test_table.py::"
_SCRIPTS = "tests/wizard/history/test_without_a_terminal.py::"

MUTANTS = (
    Mutant(
        "losses on other validation rows look as if they could be compared",
        "pipeline/outcome/past.py",
        "or is_comparable(run, measured)",
        "or True or is_comparable(run, measured)",
        (_PAST + "test_five_runs_are_told_as_they_were_made",),
    ),
    Mutant(
        "rows that were split off by another seed are taken for the same",
        "pipeline/outcome/validation.py",
        '_part(record, "plan").get("seed"))',
        "None)",
        (_PAST + "test_rows_that_were_split_off_are_the_files_and_the_seeds",),
    ),
    Mutant(
        "a published point counts as the whole run",
        "pipeline/outcome/past.py",
        'return float(point["epochs"]) if point else run.plan.epochs',
        "return run.plan.epochs",
        (_PAST + "test_a_published_point_is_what_counts",),
    ),
    Mutant(
        "what another run answered is told as this one's",
        "pipeline/outcome/answers.py",
        'and side.kind == "run" and side.run == run.number',
        'and side.kind == "run"',
        (_PAST + "test_answers_to_the_same_questions_come_from_both_comparisons_and_from_those_with_each_other",),
    ),
    Mutant(
        "a note keeps what a terminal obeys",
        "pipeline/outcome/note.py",
        'if c == _JOINER or not unicodedata.category(c).startswith("C")',
        "if c",
        (_PAST + "test_a_note_has_one_line_and_nothing_that_a_terminal_would_obey",),
    ),
    Mutant(
        "a note beside flags of a training trains nothing",
        "pipeline/request.py",
        "self.ollama_name is not None and not any(map(self._given, others))",
        "self.ollama_name is not None",
        (_SCRIPTS + "test_a_note_beside_flags_of_a_training_belongs_to_that",),
    ),
    Mutant(
        "a note goes to the oldest run",
        "wizard/history/listing.py",
        "for run in reversed(runs) if request.run in (None, run.number)",
        "for run in runs if request.run in (None, run.number)",
        (_SCRIPTS + "test_a_note_goes_to_the_run_that_is_named_or_the_newest",),
    ),
    Mutant(
        "the notes widen the table beyond the terminal",
        "wizard/history/table.py",
        'widths["note"] = min(widths["note"], width - _MARK - others - len(gap) * (len(columns) - 1))',
        "pass",
        (_TABLE + "test_long_names_and_large_numbers_fit",),
    ),
    Mutant(
        "the second line of a command that is broken is another command",
        "wizard/history/lines.py",
        'lines[-1].append("\\\\")',
        'lines[-1].append("")',
        (_TABLE + "test_a_command_in_several_lines_is_one_command",),
    ),
)
