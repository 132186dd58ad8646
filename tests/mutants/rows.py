"""Bugs in what is read from people's files, and in what of it is learnt."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_DATA = "tests/lora_trainer/data/"
_LAYOUTS, _FORMATS = _DATA + "test_layouts.py::", _DATA + "test_formats.py::"

MUTANTS = (
    Mutant(
        "an answer of weight 0 is learnt, as it was",
        "lora_trainer/data/encoder.py",
        "        turns = [dialogue.learnt for dialogue in dialogues]\n",
        '        turns = [[i for i, m in enumerate(d.messages) if m["role"] == "assistant"] for d in dialogues]\n',
        (
            "tests/lora_trainer/engine/test_unlearnt.py"
            "::test_loss_and_gradients_are_those_masked_by_hand_in_padding_and_in_trees",
        ),
    ),
    Mutant(
        "the rows kept with a run forget which answers aren't learnt",
        "pipeline/run/rows.py",
        'marks |= {} if at in learnt else {"weight": 0}',
        "pass",
        (
            "tests/pipeline/run/test_kept.py"
            "::test_answers_that_arent_learnt_are_not_learnt_from_the_rows_of_a_run_either",
        ),
    ),
    Mutant(
        "rows encoded before are taken although another answer is learnt now",
        "lora_trainer/data/encode.py",
        "dialogue.messages, dialogue.unlearnt, dialogue.thoughts]",
        "dialogue.messages, dialogue.thoughts]",
        (_DATA + "test_encode.py::test_encoded_dialogues_are_found_again_in_the_cache",),
    ),
    Mutant(
        "of two thoughts before an answer the second is learnt",
        "lora_trainer/data/formats.py",
        "    while thought := _THOUGHT.match(answer):",
        "    if thought := _THOUGHT.match(answer):",
        (_FORMATS + "test_a_thought_before_an_answer_is_left_out_and_counted",),
    ),
    Mutant(
        "a thought that is to be learnt is left out of the answer",
        "lora_trainer/data/encoder.py",
        'return self.fmt.completion(dialogue.messages[at]["content"], dialogue.thought(at))',
        'return self.fmt.completion(dialogue.messages[at]["content"])',
        (
            "tests/lora_trainer/engine/test_unlearnt.py::"
            "test_loss_and_gradients_are_those_masked_by_hand_in_padding_and_in_trees[qwen2-Qwen-Qwen3-0.6B]",
        ),
    ),
    Mutant(
        "the thought of another answer is learnt",
        "lora_trainer/data/dialogues.py",
        "for message in self.messages[:at])]",
        "for message in self.messages[: at + 1]) - len(self.thoughts)]",
        (_FORMATS + "test_a_thought_that_is_learnt_stands_beside_its_answer",),
    ),
    Mutant(
        "a character that thinks is trained on without its thoughts",
        "pipeline/run/kept.py",
        "if request.thoughts is None and run.thinks",
        'if request.thoughts == "strip" and run.thinks',
        ("tests/pipeline/test_thoughts.py::test_thoughts_that_are_taught_are_served_open_and_kept_from_run_to_run",),
    ),
    Mutant(
        "a control token that is not the end of a turn is let through",
        "lora_trainer/data/encode.py",
        "        if token := control.inside(text):",
        "        if (token := control.inside(text)) == fmt.end_of_turn:",
        (_DATA + "test_encode.py::test_every_control_token_that_the_tokenizer_takes_out_of_a_text_is_a_fault",),
    ),
    Mutant(
        "the rows of an array on one line are all told as line 1",
        "lora_trainer/data/layouts/json_array.py",
        'unit: Unit = "line" if len(set(lines)) == len(lines) else "row"',
        'unit: Unit = "line"',
        (_LAYOUTS + "test_the_rows_of_an_array_are_told_by_their_lines_where_each_has_its_own",),
    ),
    Mutant(
        "a cell with line breaks shifts the lines of the rows behind it",
        "lora_trainer/data/layouts/table.py",
        "    while True:\n        line = reader.line_num + 1\n",
        "    line = 0\n    while True:\n        line += 1\n",
        (_LAYOUTS + "test_every_fault_of_a_table_is_found_in_one_go_with_the_line_that_its_row_begins_in",),
    ),
    Mutant(
        "a file of a few lines in GBK is taken for damaged UTF-8",
        "lora_trainer/data/files.py",
        "(wrong < _FEW and wrong < plain)",
        "wrong < _FEW",
        (_LAYOUTS + "test_two_rows_of_gbk_are_no_damaged_utf8_and_a_damaged_line_is_no_other_encoding",),
    ),
)
