"""Bugs in conversations: what is remembered, replaced, stopped, tried out and kept."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

CHAT, SERVING = "pipeline/chat.py", "pipeline/serving.py"
SESSION, COMMANDS, SCREEN = (f"wizard/chat/{name}.py" for name in ("session", "commands", "screen"))
CONVERSATION = "wizard/chat/conversation.py"
REMEMBERED, LINES, TYPED = (f"tests/wizard/chat/test_{name}.py::" for name in ("session", "lines", "terminal"))

MUTANTS = (
    Mutant(
        "a second try hears the first answer",
        SESSION,
        "self.turns = before[:-2]",
        "self.turns = before",
        (REMEMBERED + "test_a_second_try_has_another_seed_and_takes_the_place_of_the_first",),
    ),
    Mutant(
        "a second try is the first one again",
        SESSION,
        "secrets.randbelow(1 << 31)",
        "42",
        (REMEMBERED + "test_a_second_try_has_another_seed_and_takes_the_place_of_the_first",),
    ),
    Mutant(
        "what was said before Ctrl-C is forgotten",
        SESSION,
        'Reply("".join(said), stopped=False',
        'Reply("", stopped=False',
        (REMEMBERED + "test_what_was_said_before_it_was_stopped_counts_and_can_be_replaced",),
    ),
    Mutant(
        "a second try that fails takes the first answer along",
        SESSION,
        "self.turns, self._is_answered = before, was_answered",
        "pass",
        (REMEMBERED + "test_an_error_leaves_the_conversation_and_the_question_as_they_were",),
    ),
    Mutant(
        "a question that is asked twice replaces the answer to the first",
        SESSION,
        "self.question, self._is_answered = question, False",
        "self.question = question",
        (REMEMBERED + "test_two_questions_alike_are_two_questions",),
    ),
    Mutant(
        "a long conversation leaves no room for the answer",
        CHAT,
        "room = context - min(ANSWER_ROOM, context // 4)",
        "room = context",
        (REMEMBERED + "test_where_there_is_no_room_the_oldest_pairs_go_and_that_is_told_once",),
    ),
    Mutant(
        "that the beginning is forgotten is told each time",
        SESSION,
        "len(kept) < len(asked) and not self._was_cut",
        "len(kept) < len(asked)",
        (REMEMBERED + "test_where_there_is_no_room_the_oldest_pairs_go_and_that_is_told_once",),
    ),
    Mutant(
        "the model is loaded once, whatever the context",
        CHAT,
        "if self._engine is None or self._loaded != context:",
        "if self._engine is None:",
        (REMEMBERED + "test_in_llama_cpp_no_prompt_outgrows_the_context",),
    ),
    Mutant(
        "llama.cpp doesn't hear the system prompt",
        CHAT,
        "return self._format.render(_with_system([*self._before, *turns], system))",
        "return self._format.render([*self._before, *turns])",
        (LINES + "test_llama_cpp_gets_exactly_the_prompts_of_the_training",),
    ),
    Mutant(
        "what is tried out isn't heard",
        CHAT,
        "wanted = {**_OTHERS, **self.parameters, **tried.parameters}",
        "wanted = {**_OTHERS, **self.parameters}",
        (REMEMBERED + "test_pieces_are_the_answer_and_a_seed_makes_it_again",),
    ),
    Mutant(
        "a path is taken for a command",
        COMMANDS,
        r"[/／]([\w?]*)(?:\s+(.*))?",
        r"[/／]([\w?]*)(.*)?",
        (REMEMBERED + "test_a_command_is_told_from_what_is_meant_for_the_model",),
    ),
    Mutant(
        "a model moves the cursor",
        SCREEN,
        'self._waiting += _CONTROL.sub("", piece',
        "self._waiting += (piece",
        (REMEMBERED + "test_a_word_wider_than_the_terminal_is_cut_and_nothing_moves_the_cursor",),
    ),
    Mutant(
        "a file that was made for a conversation stays",
        CHAT,
        "self._gguf.unlink(missing_ok=True)",
        "pass",
        (LINES + "test_a_file_that_is_gone_is_made_again_only_where_a_script_says_so",),
    ),
    Mutant(
        "an error stands among the answers",
        CONVERSATION,
        "if asked or request.json or request.debug:",
        "if True:",
        (LINES + "test_a_wrong_line_is_told_beside_the_answers_and_ends_a_script",),
    ),
    Mutant(
        "a prompt that is served instead goes where another is trained",
        SERVING,
        'changes["served_system"] = (request.system or "") if request.register_only else None',
        'changes["served_system"] = request.system or ""',
        ("tests/pipeline/test_serving.py::test_a_system_prompt_is_served_without_training_until_one_is_trained",),
    ),
    Mutant(
        "a prompt that was kept is not put into Ollama",
        "pipeline/publishing.py",
        '        system=serving.system_of(record["system"]),\n',
        '        system=record["system"],\n',
        (TYPED + "test_a_kept_system_prompt_is_served_and_proven_and_can_be_taken_back",),
    ),
    Mutant(
        "a run that is not in use is changed",
        "wizard/chat/leaving.py",
        "if run.is_published and not partner.stands:",
        "if False:",
        (TYPED + "test_of_a_run_that_is_not_in_use_nothing_is_kept_and_it_is_told_how",),
    ),
)
