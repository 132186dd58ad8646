"""Bugs in what people meet: flags, questions, words, the menu."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

REQUEST, FLOW, RUN = "pipeline/request.py", "wizard/flow.py", "wizard/run.py"
QUESTIONS, PROMPTS, MENU = "wizard/questions.py", "wizard/prompts.py", "quick_start.sh"

ASKED = "tests/pipeline/test_request.py::"
TALK = "tests/wizard/test_wizard.py::"
LOOK = "tests/wizard/test_lookups.py::"
ENTRY = "tests/wizard/test_entry.py::"
WORDS = "tests/wizard/test_words.py::test_every_text_gets_the_values_that_its_placeholders_want"
SCRIPT = "tests/test_quick_start.py::"

REFUSED = ASKED + "test_flags_that_contradict_each_other_are_refused_by_name"

FLAGS = (
    Mutant(
        "--dry_run --rollback rolls back",
        REQUEST,
        '    ("dry_run", "rollback"),\n',
        "",
        (REFUSED, LOOK + "test_a_dry_run_of_what_looks_or_goes_back_is_refused_and_asks_ollama_nothing[--rollback]"),
    ),
    *(
        Mutant(
            f"--{first} --{second} is taken",
            REQUEST,
            f'    ("{first}", "{second}"),\n',
            "",
            (REFUSED,),
        )
        for first, second in (
            ("dry_run", "verify"),
            ("dry_run", "register_only"),
            ("system", "no_system"),
            ("resume", "restart"),
            ("add_epochs", "epochs"),
            ("from_scratch", "warm_start"),
            ("ladder", "epochs"),
            ("ladder", "add_epochs"),
            ("qlora", "no_qlora"),
            ("no_register", "register_only"),
            ("no_backup", "keep_backups"),
            ("history", "rollback"),
            ("history", "verify"),
            ("history", "register_only"),
            ("rollback", "verify"),
            ("rollback", "register_only"),
            ("verify", "register_only"),
        )
    ),
    Mutant(
        "--no_backup --keep_backups 0 is taken, because 0 is no number",
        REQUEST,
        "return value is not None and value is not False",
        "return bool(value)",
        (REFUSED,),
    ),
    *(
        Mutant(
            f"--strategy incremental --{flag} is taken for a total in silence",
            REQUEST,
            'for total in ("epochs", "ladder"):',
            f'for total in ("{other}",):',
            (
                ASKED + "test_a_total_of_epochs_is_not_for_the_incremental_strategy",
                LOOK + "test_what_can_not_be_meant_ends_with_two_and_the_flag_that_is",
            ),
        )
        for flag, other in (("epochs", "ladder"), ("ladder", "epochs"))
    ),
    Mutant(
        "--strategy augment --epochs is refused as well",
        REQUEST,
        'if self.strategy == "incremental" and',
        "if self.strategy is not None and",
        (ASKED + "test_a_total_of_epochs_is_not_for_the_incremental_strategy",),
    ),
    Mutant(
        "the message doesn't say which flag adds epochs",
        "wizard/texts/en.json",
        "Say how many to add with --add_epochs; for a total",
        "Leave one of them out; for a total",
        (LOOK + "test_what_can_not_be_meant_ends_with_two_and_the_flag_that_is",),
    ),
    Mutant(
        "--strategy augment --add_epochs is taken",
        REQUEST,
        'self.strategy not in (None, "incremental"):',
        "self.strategy is None:",
        (ASKED + "test_added_epochs_belong_to_the_incremental_strategy",),
    ),
    *(
        Mutant(
            f"--{name} of a model that isn't there is passed over in silence",
            REQUEST,
            'CONTINUING = ("continue_train", "strategy", "add_epochs", "warm_start")',
            'CONTINUING = ("continue_train", "strategy", "add_epochs", "warm_start")'.replace(f'"{name}"', '"verify"'),
            (ASKED + "test_what_only_a_continuation_has_a_use_for_means_to_continue",),
        )
        for name in ("continue_train", "strategy", "add_epochs", "warm_start")
    ),
    Mutant(
        "a warm start of a model without an adapter is passed over in silence",
        FLOW,
        "if request.warm_start and facts.epochs is None:",
        "if request.warm_start and facts is None:",
        (TALK + "test_a_warm_start_needs_an_adapter_that_was_recorded",),
    ),
    Mutant(
        "a rung of no epochs is climbed",
        REQUEST,
        "for epochs in self.rungs if self.ladder else ():",
        "for epochs in ():",
        (ASKED + "test_values_that_can_not_be_meant_are_usage_errors",),
    ),
    Mutant(
        "a ladder is climbed in the order in which it was written",
        REQUEST,
        'rungs = sorted({float(part) for part in (self.ladder or "").split(",")})',
        'rungs = [float(part) for part in (self.ladder or "").split(",")]',
        (ASKED + "test_a_ladder_is_climbed_from_the_shortest_rung",),
    ),
    Mutant(
        "--keep_backups 0 keeps one",
        REQUEST,
        "1 if self.keep_backups is None else self.keep_backups",
        "self.keep_backups or 1",
        (ASKED + "test_one_backup_is_kept_unless_flags_say_otherwise",),
    ),
    *(
        Mutant(
            f"exit code of a {kind} is another one",
            "lora_trainer/errors.py",
            f'class {kind}(UserError):\n    """{says}"""\n\n    exit_code = {code}',
            f'class {kind}(UserError):\n    """{says}"""\n\n    exit_code = {code - 1}',
            (ENTRY + "test_every_failure_becomes_a_message_and_an_exit_code",),
        )
        for kind, says, code in (
            ("DataError", "The training data can't be used as they are.", 4),
            ("OllamaError", "Ollama can't be reached, or refuses.", 5),
            ("BaseModelError", "The base model is not available or not supported.", 6),
            ("ResourceError", "Not enough disk, memory or device memory.", 7),
            ("ConversionError", "The GGUF could not be written, or does not prove right.", 8),
        )
    ),
)

AGAIN = (
    TALK + "test_answers_after_the_review_win_over_the_flags_of_before",
    TALK + "test_answers_after_the_review_win_over_the_flags_of_a_new_model_too",
)

QUESTIONS_AND_ANSWERS = (
    *(
        Mutant(
            f"after the review the flag's {name} wins over the answer",
            FLOW,
            f"{name}=None",
            f"{name}=request.{name}",
            AGAIN,
        )
        for name in ("learning_rate", "lora_rank")
    ),
    Mutant(
        "after the review the flag's epochs win over the answer", FLOW, " epochs=None", " epochs=request.epochs", AGAIN
    ),
    Mutant(
        "after the review the flag's added epochs win over the answer",
        FLOW,
        "add_epochs=None",
        "add_epochs=request.add_epochs",
        AGAIN[:1],
    ),
    Mutant(
        "after the review the flag's strategy stays",
        FLOW,
        "strategy=None, add",
        "strategy=request.strategy, add",
        (TALK + "test_the_review_can_be_gone_back_from_even_when_flags_decided_everything",),
    ),
    Mutant(
        "after the review the ladder wins over the answer",
        FLOW,
        "ladder=None,",
        "ladder=request.ladder,",
        (TALK + "test_a_ladder_is_climbed_unless_epochs_are_answered_in_its_place",),
    ),
    Mutant(
        "a ladder is forgotten in the review",
        FLOW,
        "replace(asked, ladder=request.ladder)",
        "replace(asked, ladder=None)",
        (TALK + "test_a_ladder_is_climbed_unless_epochs_are_answered_in_its_place",),
    ),
    Mutant(
        "a ladder is climbed though epochs were answered in its place",
        RUN,
        "request=decision.request,",
        "request=request,",
        ("tests/wizard/test_interactive.py::test_epochs_that_are_answered_in_the_place_of_a_ladder_are_trained_alone",),
    ),
    Mutant(
        "a flag for one number of a strategy leaves the others to be asked",
        FLOW,
        "or request.plan_numbers().keys() & strategy(name).asks:",
        "or request.plan_numbers().keys() >= set(strategy(name).asks):",
        (TALK + "test_flags_alone_decide_everything_and_hold_with_every_strategy",),
    ),
    Mutant(
        "a flag that a strategy doesn't ask for answers its question",
        FLOW,
        "or request.plan_numbers().keys() & strategy(name).asks:",
        "or request.plan_numbers():",
        (TALK + "test_a_flag_that_a_strategy_does_not_ask_for_leaves_its_own_question_open",),
    ),
    Mutant(
        "more than ten epochs are not asked back",
        FLOW,
        "if needs_confirmation(decision.plan) and not",
        "if False and not",
        (TALK + "test_more_than_ten_epochs_are_asked_back",),
    ),
    Mutant(
        "a preview asks whether to start",
        FLOW,
        "if request.yes or request.dry_run:",
        "if request.yes:",
        (TALK + "test_a_dry_run_asks_for_no_start",),
    ),
    Mutant(
        "--yes overwrites a model that exists",
        FLOW,
        "choice = request.exists_choice or questions",
        'choice = request.exists_choice or ("overwrite" if request.yes else None) or questions',
        (TALK + "test_yes_alone_decides_nothing_about_an_existing_model",),
    ),
    Mutant(
        "overwriting takes the numbers of the old model",
        RUN,
        'continued = record.plan if record and choice == "continue" else None',
        "continued = record.plan if record else None",
        (LOOK + "test_a_continuation_keeps_the_recorded_numbers_and_an_overwriting_does_not",),
    ),
    Mutant(
        "a continuation forgets its base model",
        RUN,
        'record.record["base"]["source"] if record else None,',
        "None,",
        (LOOK + "test_a_continuation_keeps_the_recorded_numbers_and_an_overwriting_does_not",),
    ),
    Mutant(
        "a preview leaves a lock behind",
        RUN,
        "with nullcontext() if request.dry_run else history.lock(name):",
        "with history.lock(name):",
        (LOOK + "test_a_dry_run_of_a_training_starts_no_ollama_and_leaves_no_trace",),
    ),
    Mutant(
        "Esc at the first question leaves the program",
        QUESTIONS,
        "            if not row.presets:\n                raise\n",
        "            raise\n",
        (TALK + "test_escape_from_own_numbers_returns_to_the_presets",),
    ),
    Mutant(
        "an answer after Esc is asked twice",
        QUESTIONS,
        "answers.popitem()",
        "answers.clear()",
        (TALK + "test_escape_goes_back_one_question_and_no_further",),
    ),
    Mutant(
        "full-width digits are no number",
        QUESTIONS,
        'unicodedata.normalize("NFKC", word).strip()',
        "word.strip()",
        (TALK + "test_retune_takes_own_numbers_and_explains_wrong_ones",),
    ),
    Mutant(
        "a question is asked where nobody can answer",
        PROMPTS,
        "return _allowed and sys.stdin.isatty() and sys.stdout.isatty()",
        "return sys.stdin.isatty() and sys.stdout.isatty()",
        (ENTRY + "test_with_json_nothing_is_asked_at_a_terminal_either",),
    ),
)

WORDS_AND_VALUES = (
    Mutant(
        "a placeholder is misspelt in both languages: the Chinese one",
        "wizard/texts/zh.json",
        "已经把 {tag} 换回「{name}」",
        "已经把 {tag} 换回「{nmae}」",
        (f"{WORDS}[zh]",),
    ),
    *(
        Mutant(f"a value is misspelt in the code: {what}", file, old, new, (f"{WORDS}[zh]",))
        for what, file, old, new in (
            ("a dict in a variable", "lora_trainer/engine/hardware.py", '| {"cuda": torch', '| {"cdua": torch'),
            ("two stars", "lora_trainer/models/hub.py", 'values = {"repo": repo, "end', 'values = {"rpeo": repo, "end'),
            ("a refusal of Ollama's", "ollama_export/server/transport.py", '"message": message}', '"mesage": message}'),
            ("a key in a variable", "wizard/screen/screen.py", "stage=t(f", "satge=t(f"),
            ("a check that went well", "pipeline/checks/preflight.py", 'facts["version"] =', 'facts["vesrion"] ='),
            (
                "a fault of the data",
                "lora_trainer/data/formats.py",
                'row.fault("not_object", type=',
                'row.fault("not_object", kind=',
            ),
            ("a tuple", "lora_trainer/data/files.py", '{"last": line', '{"lsat": line'),
            ("a note of the summary", RUN, "epochs=best.plan.epochs)", "epcohs=best.plan.epochs)"),
            ("a preset", QUESTIONS, 'rank=preset["lora_rank"]', 'rnak=preset["lora_rank"]'),
        )
    ),
)

ARRIVES = SCRIPT + "test_every_command_passes_its_arguments_on_as_they_are"

SCRIPTS = (
    *(
        Mutant(f"arguments behind {word} are dropped", MENU, f'{line} "$@"', line, (f"{ARRIVES}[{case}]",))
        for word, line, case in (
            ("1", '1) exec "$venv_python" train_to_ollama.py', "1-train_to_ollama.py"),
            (
                "3",
                '--ollama_name "$name" --continue_train',
                "3 zzhua-train_to_ollama.py --ollama_name zzhua --continue_train",
            ),
            ("6", "train_to_ollama.py --history", "6-train_to_ollama.py --history"),
            ("7", 'exec ollama run "$name"', "7 zzhua-run zzhua"),
            ("9", "-m wizard.status", "9--m wizard.status"),
            ("demo", "-m wizard.demo", "demo--m wizard.demo"),
            ("test", "-m pytest", "test--m pytest"),
        )
    ),
    Mutant(
        "an argument of two words becomes two",
        MENU,
        '-m wizard.demo "$@"',
        "-m wizard.demo $@",
        (f"{ARRIVES}[demo--m wizard.demo]",),
    ),
    Mutant(
        "the model's name is passed twice",
        MENU,
        "*) name=$1 && shift ;;",
        "*) name=$1 ;;",
        (f"{ARRIVES}[7 zzhua-run zzhua]",),
    ),
    Mutant(
        "--lang in front is taken for the command",
        MENU,
        "--lang) shift $(($# > 1 ? 2 : 1)) ;;",
        "--lang) shift ;;",
        (ARRIVES,),
    ),
    Mutant(
        "arguments behind 3 are dropped where the model is chosen",
        MENU,
        "'' | -*) choose_model ;;",
        "'' | -*) choose_model; set -- ;;",
        (SCRIPT + "test_3_without_a_name_lets_one_choose_from_the_recorded_models",),
    ),
    Mutant(
        "Ctrl-C in the menu is an error of bash",
        MENU,
        """trap 'printf "\\n"; exit 130' INT""",
        ":",
        (SCRIPT + "test_ctrl_c_leaves_the_menu_quietly",),
    ),
    Mutant(
        "the demo passes over its flags",
        "wizard/demo.py",
        "code = _run([*train_command(base, register=with_ollama), *arguments])",
        "code = _run(train_command(base, register=with_ollama))",
        ("tests/wizard/test_demo.py::test_further_flags_go_to_the_training_and_its_exit_code_comes_back",),
    ),
    Mutant(
        "a demo that failed says that all is well",
        "wizard/demo.py",
        "            return code\n",
        "            return 0\n",
        ("tests/wizard/test_demo.py::test_further_flags_go_to_the_training_and_its_exit_code_comes_back",),
    ),
)

MUTANTS = (*FLAGS, *QUESTIONS_AND_ANSWERS, *WORDS_AND_VALUES, *SCRIPTS)
