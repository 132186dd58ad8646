"""Bugs at the data desk: in what is counted of rows, and in what is changed in them."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_STATISTICS = "tests/data_desk/test_statistics.py::"
_CHANGES = "tests/data_desk/changing/test_changes.py::"

MUTANTS = (
    Mutant(
        "rows that are nearly the same are those with a band in common",
        "data_desk/counting/near.py",
        "if groups.of(other) != groups.of(at) and are_alike(texts[other], texts[at]):",
        "if groups.of(other) != groups.of(at):",
        ("tests/data_desk/counting/test_near.py::test_what_is_found_is_what_comparing_every_pair_finds",),
    ),
    Mutant(
        "an answer against the habit is told by its place and not by its line",
        "data_desk/statistics.py",
        "        dialogue.line\n        for dialogue in dialogues\n        if not all(",
        "        at\n        for at, dialogue in enumerate(dialogues)\n        if not all(",
        (_STATISTICS + "test_rows_with_an_answer_against_the_habit_are_named_by_their_lines",),
    ),
    Mutant(
        "the longest answers fall out of the picture of lengths",
        "data_desk/statistics.py",
        "width = (longest - shortest + 1) / BUCKETS",
        "width = (longest - shortest) / BUCKETS or 1",
        (_STATISTICS + "test_rows_answers_and_their_lengths_are_counted_by_hand",),
    ),
    Mutant(
        "what another program has written meanwhile is overwritten",
        "data_desk/changing/row_file.py",
        "    if hashlib.sha256(bytes_of(rows.path)).hexdigest() != rows.digest:\n",
        "    if not rows.digest:\n",
        (_CHANGES + "test_what_another_program_has_written_meanwhile_is_not_lost",),
    ),
    Mutant(
        "a second change overwrites what the first has kept, or keeps one more",
        "data_desk/changing/row_file.py",
        "        self._made.add(file)\n",
        "",
        (_CHANGES + "test_other_lines_keep_their_bytes_and_blank_ones_go",),
    ),
    Mutant(
        "rows in which the user says the same are taught and validated on",
        "data_desk/changing/split.py",
        'groups.join(first.setdefault(" ".join(pieces(asked)) or asked, at), at)',
        "groups.join(first.setdefault(asked, at), at)",
        (_CHANGES + "test_rows_of_one_group_stay_on_one_side_and_a_seed_splits_as_before",),
    ),
    Mutant(
        "an edited row forgets which answer isn't learnt",
        "data_desk/changing/turns.py",
        '{**message, "content": text} if n == at',
        '{"role": message["role"], "content": text} if n == at',
        (_CHANGES + "test_a_row_keeps_what_isnt_changed_in_it",),
    ),
)
