"""Bugs in what people meet: flags, questions, words, the menu."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

REQUEST, RUN, PROMPTS, MENU = "pipeline/request.py", "wizard/work.py", "wizard/prompts.py", "quick_start.sh"
CONTINUING = 'CONTINUING = ("continue_train", "strategy", "add_epochs", "warm_start", "from_run")'
DRAFT, TALK, WALK, NAME, EXISTING = (
    f"wizard/steps/{step}.py" for step in ("draft", "talk", "walk", "name", "existing")
)
DATA, BASE, NUMBERS, FIELDS, PLAN = (
    f"wizard/steps/{step}.py" for step in ("data", "base_model", "numbers", "fields", "plan")
)

ASKED = "tests/pipeline/test_request.py::"
DECIDED = "tests/wizard/test_decisions.py::"
NEW = "tests/wizard/test_new_model.py::"
ON = "tests/wizard/test_continue.py::"
PLANNED = "tests/wizard/test_plan.py::"
LOOK = "tests/wizard/test_lookups.py::"
ENTRY = "tests/wizard/test_entry.py::"
WORDS = "tests/wizard/test_words.py::test_every_text_gets_the_values_that_its_placeholders_want"
SCRIPT, FIRST = "tests/test_quick_start.py::", "tests/test_first_run.py::"
TABLE, ENVIRONMENT = "wizard/entries/table.py", "wizard/entries/environment.py"

REFUSED = ASKED + "test_flags_that_contradict_each_other_are_refused_by_name"

FLAGS = (
    Mutant(
        "--version tells a version that no record has",
        "train_to_ollama.py",
        'output.write(f"Train to Ollama {version()}\\n")',
        'output.write("Train to Ollama 0.1.0\\n")',
        (ENTRY + "test_the_version_is_the_one_that_records_are_written_with",),
    ),
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
            CONTINUING,
            CONTINUING.replace(f'"{name}"', '"verify"'),
            (ASKED + "test_what_only_a_continuation_has_a_use_for_means_to_continue",),
        )
        for name in ("continue_train", "strategy", "add_epochs", "warm_start", "from_run")
    ),
    Mutant(
        "a warm start of a model without an adapter is passed over in silence",
        EXISTING,
        "if request.warm_start and stands.run is None:",
        "if request.warm_start and stands is None:",
        (DECIDED + "test_a_warm_start_needs_an_adapter_that_was_recorded",),
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

QUESTIONS_AND_ANSWERS = (
    Mutant(
        "a flag wins over the answer that contradicts it",
        REQUEST,
        "for name in gone - answers.keys()}",
        "for name in ()}",
        (PLANNED + "test_a_ladder_stays_where_another_line_is_changed_and_goes_where_epochs_are",),
    ),
    Mutant(
        "the numbers of flags stay where the strategy is chosen anew",
        NUMBERS,
        "gone: dict[str, Any] = dict.fromkeys(NUMBERS)",
        "gone: dict[str, Any] = {}",
        (PLANNED + "test_the_strategy_can_be_chosen_anew_from_the_plan",),
    ),
    Mutant(
        "an answer is called a flag",
        "wizard/steps/planned.py",
        'dict.fromkeys(draft.answered, "answer")',
        'dict.fromkeys(draft.answered, "flag")',
        (PLANNED + "test_an_answer_wins_over_the_flag_of_before",),
    ),
    Mutant(
        "a ladder is forgotten where another line of the plan is changed",
        NUMBERS,
        "known = draft.request.epochs is not None or draft.request.ladder is not None",
        "known = draft.request.epochs is not None",
        (PLANNED + "test_a_ladder_stays_where_another_line_is_changed_and_goes_where_epochs_are",),
    ),
    Mutant(
        "the recommended epochs stay where the data change",
        NUMBERS,
        '(not known or "epochs" in draft.advised)',
        "not known",
        (PLANNED + "test_the_data_can_be_changed_from_the_plan_and_the_recommended_epochs_follow",),
    ),
    Mutant(
        "scripts train as many epochs as the wizard recommends",
        NUMBERS,
        "if draft.is_asked and not draft.request.dry_run and (not",
        "if (not",
        (NEW + "test_scripts_keep_the_guides_two_epochs",),
    ),
    Mutant(
        "a flag for one number of a strategy leaves the others to be asked",
        NUMBERS,
        "or bool(request.plan_numbers().keys() & set(strategy(name).asks))",
        "or request.plan_numbers().keys() >= set(strategy(name).asks)",
        (DECIDED + "test_flags_alone_decide_everything_and_hold_with_every_strategy",),
    ),
    Mutant(
        "a flag that a strategy doesn't ask for answers its question",
        NUMBERS,
        "or bool(request.plan_numbers().keys() & set(strategy(name).asks))",
        "or bool(request.plan_numbers())",
        (DECIDED + "test_a_flag_that_a_strategy_does_not_ask_for_leaves_its_own_question_open",),
    ),
    Mutant(
        "keeping a number is not the first row",
        NUMBERS,
        "in_columns([now, *values], columns)",
        "in_columns([*values, now], columns)",
        (ON + "test_custom_keeps_every_number_at_enter",),
    ),
    Mutant(
        "the cursor stands on a number that isn't the present one",
        NUMBERS,
        "        first = now\n",
        "        first = 1e-5 if name == 'learning_rate' else now\n",
        (ON + "test_custom_keeps_every_number_at_enter",),
    ),
    Mutant(
        "more than ten epochs are not asked back",
        PLAN,
        "elif not many or prompts",
        "elif True or prompts",
        (NEW + "test_sixty_epochs_on_eight_rows_are_not_announced_as_if_nothing_were_wrong",),
    ),
    Mutant(
        "a preview asks whether to start",
        PLAN,
        "if draft.request.yes or draft.request.dry_run:",
        "if draft.request.yes:",
        (DECIDED + "test_a_dry_run_asks_for_no_start",),
    ),
    Mutant(
        "--yes overwrites a model that exists",
        EXISTING,
        "choice = request.exists_choice if left is None or request.restart else None",
        'choice = request.exists_choice or ("overwrite" if request.yes else None)',
        (DECIDED + "test_yes_alone_decides_nothing_about_an_existing_model",),
    ),
    Mutant(
        "overwriting takes the numbers of the old model",
        DRAFT,
        'return self.stands.run.taught if self.stands.run and self.choice == "continue" else None',
        "return self.stands.run.taught if self.stands.run else None",
        (LOOK + "test_a_continuation_keeps_the_recorded_numbers_and_an_overwriting_does_not",),
    ),
    Mutant(
        "a continuation forgets its base model",
        BASE,
        'if draft.stands.run and draft.choice != "new" else None',
        "if False else None",
        (LOOK + "test_a_continuation_keeps_the_recorded_numbers_and_an_overwriting_does_not",),
    ),
    Mutant(
        "a preview leaves a lock behind",
        NAME,
        "    if not (request.dry_run or request.report):",
        "    if not request.report:",
        (LOOK + "test_a_dry_run_of_a_training_starts_no_ollama_and_leaves_no_trace",),
    ),
    Mutant(
        "Esc leaves the program",
        WALK,
        "            if not left:\n",
        "            if True:\n",
        (NEW + "test_escape_goes_back_everywhere_with_the_answers_kept",),
    ),
    Mutant(
        "Esc goes back two questions",
        WALK,
        "            left.append((at, draft))",
        "            left[:] = [*left[:-1], (at, draft)]",
        (NEW + "test_escape_goes_back_everywhere_with_the_answers_kept",),
    ),
    Mutant(
        "an answer is forgotten on the way back",
        TALK,
        "        answer = prompts.select(message, rows, flag=flag, default=self.memory.get(question, first), **how)",
        "        answer = prompts.select(message, rows, flag=flag, default=first, **how)",
        (NEW + "test_escape_goes_back_everywhere_with_the_answers_kept",),
    ),
    Mutant(
        "an answer after Esc is asked twice",
        NUMBERS,
        "            answers.pop()\n",
        "            del answers[1:]\n",
        (ON + "test_escape_goes_back_one_question_at_a_time_with_the_answers_kept",),
    ),
    Mutant(
        "full-width digits are no number",
        NUMBERS,
        'unicodedata.normalize("NFKC", word).strip()',
        "word.strip()",
        (ON + "test_own_numbers_are_typed_and_wrong_ones_told_at_the_field",),
    ),
    Mutant(
        "a field says nothing of what is wrong with it",
        PROMPTS,
        "        said[:] = [wrong.reason]\n",
        "",
        (NEW + "test_a_wrong_path_is_told_at_the_field_which_stays_filled",),
    ),
    Mutant(
        "changed data are trained without a word",
        DATA,
        'run.record["data"]["fingerprint"] == data.fingerprint:',
        'run.record["data"]["fingerprint"]:',
        (ON + "test_changed_data_are_told_with_three_ways_on",),
    ),
    Mutant(
        "who answers a field of the plan clears the one beside it",
        FIELDS,
        "return draft.answer(system=value or None, no_system=not value)",
        "return draft.answer(system=value)",
        (PLANNED + "test_each_line_of_the_plan_is_changed_in_place",),
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
            ("a key in a variable", "wizard/screen/training.py", "t(key, steps=len", "t(key, stesp=len"),
            ("a check that went well", "pipeline/checks/preflight.py", 'facts["version"] =', 'facts["vesrion"] ='),
            (
                "a fault of the data",
                "lora_trainer/data/formats.py",
                'row.fault("not_object", type=',
                'row.fault("not_object", kind=',
            ),
            ("a tuple", "lora_trainer/data/encode.py", '{"tokens": tokens', '{"tokesn": tokens'),
            ("a note of the summary", RUN, "epochs=best.plan.epochs)", "epcohs=best.plan.epochs)"),
            ("a set of numbers", NUMBERS, "rank=rank, epochs=epochs)", "rnak=rank, epochs=epochs)"),
        )
    ),
)

ARRIVES = SCRIPT + "test_every_command_passes_its_arguments_on_as_they_are"

SCRIPTS = (
    Mutant(
        "arguments are dropped",
        TABLE,
        "return [python, *words, *rest]",
        "return [python, *words]",
        (f"{ARRIVES}[1-train_to_ollama.py]", f"{ARRIVES}[9--m wizard.status]", f"{ARRIVES}[test--m pytest]"),
    ),
    Mutant(
        "an argument of two words becomes two",
        MENU,
        '-m wizard.entries "$@"',
        "-m wizard.entries $@",
        (f"{ARRIVES}[demo--m wizard.demo]",),
    ),
    Mutant(
        "the model's name is passed twice",
        TABLE,
        "return rest[0], list(rest[1:])",
        "return rest[0], list(rest)",
        (f"{ARRIVES}[7 zzhua-train_to_ollama.py --ollama_name zzhua --chat]",),
    ),
    Mutant(
        "--lang in front is taken for the command",
        "wizard/entries/__main__.py",
        "        return words[2:]\n",
        "        return words[1:]\n",
        (ARRIVES,),
    ),
    Mutant(
        "arguments behind 3 are dropped where the model is chosen",
        "wizard/entries/__main__.py",
        "home.main([entry.word, *rest], through=",
        "home.main([entry.word], through=",
        (SCRIPT + "test_3_without_a_name_lets_one_choose_from_the_recorded_models",),
    ),
    Mutant(
        "Ctrl-C in the menu is an error",
        "wizard/home.py",
        """        output.write("\\n")
        return 130
""",
        """        output.write("\\n")
        return 1
""",
        (SCRIPT + "test_ctrl_c_leaves_the_menu_quietly",),
    ),
    Mutant(
        "a package that was killed half unpacked is taken for whole",
        ENVIRONMENT,
        """    if not all((path / "INSTALLER").exists() for path in about):
        return False
""",
        "",
        (SCRIPT + "test_an_installation_that_was_killed_while_it_unpacked_begins_anew[half a package]",),
    ),
    Mutant(
        "a broken environment that is activated ends every start",
        ENVIRONMENT,
        'if os.name != "posix" or not os.access(',
        "if True or not os.access(",
        (SCRIPT + "test_an_environment_that_is_activated_and_broken_is_made_anew",),
    ),
    Mutant(
        "CUDA is loaded for machines without a card",
        "wizard/entries/sources.py",
        'named in (None, "AMD")',
        'named == "AMD"',
        (FIRST + "test_pytorch_comes_as_the_build_that_a_machine_has_use_for",),
    ),
    Mutant(
        "a card on Windows gets a build that can't use it",
        "wizard/entries/sources.py",
        'platform == "win32" and named is not None',
        "False",
        (FIRST + "test_pytorch_comes_as_the_build_that_a_machine_has_use_for",),
    ),
    Mutant(
        "a script is asked about a mirror",
        "wizard/entries/installation.py",
        "return not chosen and typed.is_terminal() and sys.stderr.isatty()",
        "return not chosen",
        (FIRST + "test_scripts_and_who_has_chosen_an_index_are_never_asked",),
    ),
    Mutant(
        "a mirror is changed to whatever is answered",
        "wizard/entries/installation.py",
        '        if said in ("n", "no", "否", "不", "0", typed.ESCAPE):\n            return False\n',
        '        if said in ("n", "no", "否", "不", "0", typed.ESCAPE):\n            return True\n',
        (FIRST + "test_who_wants_no_mirror_keeps_what_is_loaded_already",),
    ),
    Mutant(
        "what is new is said at every start",
        "wizard/entries/news.py",
        "    take_note(folder)\n    return newest()\n",
        "    return newest()\n",
        (FIRST + "test_an_updated_checkout_says_once_what_became_new",),
    ),
    Mutant(
        "without an installation Ollama's own models are passed over",
        "wizard/entries/bare.py",
        "    if others:\n        _say(",
        "    if False:\n        _say(",
        (FIRST + "test_what_was_trained_and_what_ollama_has_is_told_without_an_installation",),
    ),
    Mutant(
        "pip's log is not named where it fails",
        "wizard/entries/installation.py",
        '"log": pip.LOG}',
        '"log": ""}',
        (FIRST + "test_an_installation_that_fails_in_the_middle_names_the_log_and_goes_on",),
    ),
    Mutant(
        "the demo tells its whole plan and card",
        "train_to_ollama.py",
        "brief=brief,",
        "brief=False,",
        ("tests/wizard/test_demo.py::test_the_demo_runs_to_the_answers_and_names_the_command_that_registers",),
    ),
    Mutant(
        "the demo passes over its flags",
        "wizard/demo.py",
        "code = _run([*train_command(base, register=with_ollama), *arguments], ",
        "code = _run(train_command(base, register=with_ollama), ",
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

HOME, FRONT = "tests/wizard/test_home.py::", "wizard/home.py"
STARTED, INTERPRETER = "tests/wizard/test_commands.py::", "tests/wizard/test_interpreter.py::"

FIRST_SCREENS = (
    Mutant(
        "the front page waits for an Ollama that doesn't answer",
        "ollama_export/server/glance.py",
        "self._thread.join(max(0.0, self._end - time.monotonic()))",
        "return self._models",
        (HOME + "test_a_glance_takes_canonical_names_and_digests",),
    ),
    Mutant(
        "a run that was published later stands though Ollama has an older one",
        "pipeline/run/overview.py",
        "if there in run.digests), None)",
        "if run.digests), None)",
        (HOME + "test_the_overview_knows_what_stands_by_digest_and_what_is_unfinished",),
    ),
    Mutant(
        "the front page tells the newest run's habit of the one that stands",
        "pipeline/run/overview.py",
        "habits=habit_count(known.record) if known else None",
        "habits=habit_count(record)",
        (HOME + "test_how_like_the_character_it_is_is_told_of_the_run_that_stands",),
    ),
    Mutant(
        "every record is read for the front page",
        "pipeline/run/overview.py",
        "        yield from self._runs\n        for run in self._found:",
        "        yield from self._runs\n        for run in list(self._found):",
        (HOME + "test_records_are_read_no_further_than_it_takes",),
    ),
    Mutant(
        "a full-width digit is no choice",
        FRONT,
        'text = unicodedata.normalize("NFKC", typed.line(t("home.ask"))).strip()',
        'text = typed.line(t("home.ask")).strip()',
        (HOME + "test_answers_may_come_from_a_pipe",),
    ),
    Mutant(
        "Ctrl-C in the list of models leaves the front page",
        FRONT,
        """        except KeyboardInterrupt:
            output.write("\\n")
            continue
""",
        """        except KeyboardInterrupt:
            return 130
""",
        (HOME + "test_a_model_is_chosen_by_number_or_name_and_ctrl_c_goes_back_to_the_page",),
    ),
    Mutant(
        "what is typed ahead is thrown away",
        "wizard/screen/typed.py",
        "tty.setcbreak(terminal, termios.TCSADRAIN)",
        "tty.setcbreak(terminal, termios.TCSAFLUSH)",
        (HOME + "test_what_is_typed_ahead_is_for_the_next_question",),
    ),
    Mutant(
        "an arrow key leaves the front page",
        "wizard/screen/typed.py",
        "    if not select([terminal], [], [], _SECONDS)[0]:\n        return True\n",
        "    return True\n",
        (HOME + "test_a_wrong_entry_gives_one_line_and_no_second_page",),
    ),
    Mutant(
        "a value that begins like a flag becomes one",
        "wizard/commands.py",
        '[f"{name}={text}"] if text.startswith("-") else [name, text]',
        "[name, text]",
        (STARTED + "test_a_value_that_begins_like_a_flag_stays_one",),
    ),
    Mutant(
        "a learning rate is rounded in the command that is shown",
        "wizard/commands.py",
        "return short if float(short) == value else repr(float(value))",
        "return short",
        (STARTED + "test_the_words_of_a_request_ask_for_the_same_request",),
    ),
    Mutant(
        "the entry goes into an environment without packages for ever",
        "wizard/interpreter.py",
        "not launched and not took_over_from:",
        "not launched:",
        (INTERPRETER + "test_an_environment_is_gone_into_once",),
    ),
    Mutant(
        "a process of accelerate launch leaves its launcher",
        "wizard/interpreter.py",
        "python is not None and not launched and not took",
        "python is not None and not took",
        (INTERPRETER + "test_a_process_of_a_launcher_never_changes_its_python",),
    ),
    Mutant(
        "a name that nothing came of keeps a folder",
        "pipeline/run/history.py",
        "        folder.rmdir()\n",
        "        pass\n",
        ("tests/wizard/test_nothing_left.py::test_a_name_that_nothing_came_of_has_no_folder",),
    ),
    Mutant(
        "a Chinese name is proposed as my-model",
        "ollama_export/server/names.py",
        "from pypinyin import lazy_pinyin",
        "from pypinyin import lazy_pinyins as lazy_pinyin",
        ("tests/ollama_export/server/test_names.py::test_the_proposal_keeps_what_is_ascii_and_spells_chinese",),
    ),
)

MUTANTS = (*FIRST_SCREENS, *FLAGS, *QUESTIONS_AND_ANSWERS, *WORDS_AND_VALUES, *SCRIPTS)
