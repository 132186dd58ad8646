"""Bugs in what is brought in: messages, turns, private details, what is written."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

SAMPLES = "tests/data_desk/test_importers.py::test_a_sample_becomes_the_rows_that_a_reader_would_have_made"
OTHERS = "tests/data_desk/test_importers.py::test_no_importer_takes_the_file_of_another"
WRITING, PRIVATE = "tests/data_desk/test_writing.py::", "tests/data_desk/test_private.py::"
ARCHIVES = "tests/data_desk/test_archives.py::"
BETWEEN = "tests/wizard/test_importing_in_between.py::"
HOSTILE, ASKED = "tests/data_desk/test_hostile.py::", "tests/wizard/test_importing.py::"

MUTANTS = (
    Mutant(
        "a pause begins no other dialogue",
        "data_desk/chat.py",
        "pause > choices.pause * 60",
        "pause > choices.pause * 3600",
        (
            SAMPLES,
            "tests/data_desk/test_importers.py::test_a_pause_that_is_longer_than_the_users_begins_another_dialogue",
        ),
    ),
    Mutant(
        "a long thread stays one row",
        "data_desk/chat.py",
        "len(changes) < MOST_TURNS and",
        "len(changes) < 1000 * MOST_TURNS or",
        (
            "tests/data_desk/test_importers.py::test_a_long_thread_is_cut_at_its_longest_pause_and_nothing_of_it_is_lost",
        ),
    ),
    Mutant(
        "a quoted message is taught as the character's words",
        "data_desk/importers/wechat_csv.py",
        '("引用:", "引用：")',
        '("引用;",)',
        (SAMPLES,),
    ),
    Mutant(
        "every text that has a table's heads is a table, WeChat's too",
        "data_desk/importers/table.py",
        "return not wechat_csv.reads(sample) and any(",
        "return any(",
        (OTHERS,),
    ),
    Mutant(
        "noon is midnight",
        "data_desk/times.py",
        "half in _AFTERNOON and hour < 12",
        "half in _AFTERNOON and hour <= 12",
        (SAMPLES,),
    ),
    Mutant(
        "of several answers the first one is taken",
        "data_desk/importers/sillytavern_chat.py",
        "text = swipes[number]",
        "text = swipes[0]",
        (SAMPLES,),
    ),
    Mutant(
        "a compressed card is looked for, too",
        "data_desk/png.py",
        'kind == b"tEXt" and',
        'kind in (b"tEXt", b"zTXt") and',
        (HOSTILE + "test_a_compressed_text_in_a_picture_is_not_unpacked",),
    ),
    Mutant(
        "an archive is unpacked whatever it becomes",
        "data_desk/archive.py",
        "sum(member.file_size for member in members) > most",
        "sum(member.compress_size for member in members) > most",
        (ARCHIVES + "test_an_archive_that_would_become_too_large_is_refused_before_anything_is_unpacked",),
    ),
    Mutant(
        "of a workbook the first sheet is read, whatever is in it",
        "data_desk/importers/table.py",
        "return max(filter(_is_table, sample.tables), key=fits)",
        "return next(filter(_is_table, sample.tables))",
        (ARCHIVES + "test_the_sheet_that_has_the_given_columns_is_read",),
    ),
    Mutant(
        "an answer that isn't learnt is, once a thought was left out of its row",
        "data_desk/importers/training_rows.py",
        "if answers in row.unlearnt:",
        "if answers + 1 in row.unlearnt:",
        (ARCHIVES + "test_what_is_left_out_of_a_row_leaves_its_weights_and_its_other_keys",),
    ),
    Mutant(
        "the same number has another stand-in each time",
        "data_desk/privacy/stand_ins.py",
        "if key not in self._known:",
        "if True:",
        (PRIVATE + "test_the_same_thing_has_the_same_stand_in_wherever_it_stands",),
    ),
    Mutant(
        "every long number is a bank card",
        "data_desk/privacy/stand_ins.py",
        'if kind == "card" and not _is_card(detail):',
        'if kind == "card" and not detail:',
        (PRIVATE + "test_what_only_looks_like_a_detail_stays",),
    ),
    Mutant(
        "rows are written without a backup",
        "data_desk/writing.py",
        "backup = backed_up(file) if file.exists() else None",
        "backup = None",
        (WRITING + "test_what_stands_there_stays_before_the_new_rows_and_as_a_backup",),
    ),
    Mutant(
        "what stood there is overwritten",
        "data_desk/writing.py",
        "for line in [*old, *new]",
        "for line in new",
        (WRITING + "test_what_stands_there_stays_before_the_new_rows_and_as_a_backup",),
    ),
    Mutant(
        "a script's character is guessed",
        "wizard/importing/desk.py",
        "if not self._asks:\n            told = imports.told_speakers",
        "if self._asks:\n            told = imports.told_speakers",
        (ASKED + "test_what_isnt_clear_is_asked_for_by_its_flag_and_nothing_is_written",),
    ),
    Mutant(
        "leaving writes",
        "wizard/importing/desk.py",
        'if chosen == "leave":\n                raise Left',
        'if chosen == "leave":\n                return None',
        (ASKED + "test_esc_goes_back_a_question_and_leaving_writes_nothing",),
    ),
    Mutant(
        "faulty rows are offered to be brought in",
        "wizard/importing/asking.py",
        "return found if found.importer.name != _OURS else None",
        "return found",
        (BETWEEN + "test_a_faulty_row_is_no_other_format",),
    ),
    Mutant(
        "a chat log that is typed is read as training data",
        "wizard/steps/data.py",
        "for_training.other_format(path, surely=True)",
        "for_training.other_format(path, surely=False) and False",
        (BETWEEN + "test_a_chat_log_becomes_what_a_new_character_is_taught",),
    ),
    Mutant(
        "after an import the old dialogues are taught",
        "wizard/steps/faults.py",
        "return draft.answer(data_dir=folder, train_file=None, val_file=None, rows_of_run=None)",
        "return draft.answer(data_dir=folder, val_file=None, rows_of_run=None)",
        (BETWEEN + "test_what_a_training_can_not_read_is_offered_to_be_brought_in",),
    ),
)
