"""Bugs in going on: which runs begin alike, what a record keeps, which run is meant."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

BEGINNINGS, JOB = "pipeline/run/beginnings.py", "pipeline/job.py"
HISTORY, STANDING, RECORD = "pipeline/run/history.py", "pipeline/run/standing.py", "pipeline/run/record.py"
PUBLISHED, LADDER, STRATEGIES = "pipeline/run/published.py", "pipeline/run/ladder.py", "pipeline/strategies.py"

ALIKE = "tests/pipeline/run/test_beginnings.py::"
CHANGED = ALIKE + "test_whatever_else_has_changed_is_told_and_not_gone_on_with"
DURABLE = "tests/file_formats/test_durable.py::"
RECORDS = "tests/pipeline/run/test_history.py::"
JOBS = "tests/pipeline/test_job.py::"
MEANT = "tests/pipeline/run/test_standing.py::"
IN_OLLAMA = "tests/pipeline/run/test_published.py::"
PLANS = "tests/pipeline/test_strategies.py::"

LENGTH = '_LENGTH = ("epochs", "early_stop", "sources")'
NUMBERS = (
    "learning_rate",
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
    "batch_size",
    "max_length",
    "seed",
    "scheduler",
)
PLACE = '"device": [device, dtype, torch.get_num_threads() if device == "cpu" else 0],'
COMPUTING = '_LIBRARIES = ("torch", "transformers", "peft", "accelerate")'

COMPARED = (
    *(
        Mutant(
            f"a run of another {name} is gone on with",
            BEGINNINGS,
            LENGTH,
            f'_LENGTH = ("epochs", "early_stop", "sources", "{name}")',
            (f"{CHANGED}[{name}]",),
        )
        for name in NUMBERS
    ),
    *(
        Mutant(
            f"{name} is compared, so that added epochs are never gone on with",
            BEGINNINGS,
            LENGTH,
            LENGTH.replace(f'"{name}"', '"of"'),
            (ALIKE + "test_runs_that_differ_in_their_length_alone_share_their_beginning",),
        )
        for name in ("epochs", "early_stop", "sources")
    ),
    *(
        Mutant(f"other {told} are gone on with", BEGINNINGS, line, "", (f"{CHANGED}[{told}]",))
        for told, line in (
            ("data", '"data": run_record["data"]["fingerprint"],'),
            ("base_model", '"base_model": run_record["base"]["revision"],'),
            ("chat_format", '"chat_format": _learnt(run_record["chat_format"]),'),
            ("warm_start", '"warm_start": _first_adapter_name(run_record),'),
        )
    ),
    Mutant(
        "the base model's name is compared in place of its weights",
        BEGINNINGS,
        'run_record["base"]["revision"]',
        'run_record["base"]["source"]',
        (f"{CHANGED}[base_model]",),
    ),
    Mutant(
        "a training in 4 bits goes on with one that wasn't",
        BEGINNINGS,
        'plan["qlora"] = versions["bitsandbytes"]',
        "pass",
        (f"{CHANGED}[qlora]",),
    ),
    Mutant(
        "another bitsandbytes goes on with 4 bits",
        BEGINNINGS,
        'plan["qlora"] = versions["bitsandbytes"]',
        'plan["qlora"] = True',
        (ALIKE + "test_another_bitsandbytes_matters_where_it_computes",),
    ),
    *(
        Mutant(
            f"another {name} is gone on with",
            BEGINNINGS,
            COMPUTING,
            COMPUTING.replace(f'"{name}"', '"torch"' if name != "torch" else '"peft"'),
            (f"{ALIKE}test_another_version_of_what_computes_is_not_gone_on_with[{name}]",),
        )
        for name in ("torch", "transformers", "peft", "accelerate")
    ),
    Mutant(
        "device and precision are left out",
        BEGINNINGS,
        PLACE,
        "",
        (ALIKE + "test_another_device_or_precision_is_not_gone_on_with",),
    ),
    Mutant(
        "the device is left out",
        BEGINNINGS,
        "[device, dtype, torch",
        "[dtype, torch",
        (ALIKE + "test_another_device_or_precision_is_not_gone_on_with",),
    ),
    Mutant(
        "the precision is left out",
        BEGINNINGS,
        "[device, dtype, torch",
        "[device, torch",
        (ALIKE + "test_another_device_or_precision_is_not_gone_on_with",),
    ),
    Mutant(
        "the CPU's threads are left out",
        BEGINNINGS,
        'torch.get_num_threads() if device == "cpu" else 0',
        "0",
        (ALIKE + "test_other_processes_or_threads_of_a_cpu_are_not_gone_on_with",),
    ),
    Mutant(
        "the CPU's threads matter to a graphics card",
        BEGINNINGS,
        'torch.get_num_threads() if device == "cpu" else 0',
        "torch.get_num_threads()",
        (ALIKE + "test_the_threads_of_the_cpu_do_not_matter_to_a_graphics_card",),
    ),
    Mutant(
        "a beginning that comes back from JSON is another one",
        BEGINNINGS,
        PLACE,
        PLACE.replace("[device", "(device").replace("0],", "0),"),
        (ALIKE + "test_runs_that_differ_in_their_length_alone_share_their_beginning",),
    ),
    Mutant(
        "the number of processes is left out",
        BEGINNINGS,
        'int(os.environ.get("WORLD_SIZE", "1"))',
        "1",
        (ALIKE + "test_other_processes_or_threads_of_a_cpu_are_not_gone_on_with",),
    ),
    Mutant(
        "a split model is gone on with by one that isn't",
        BEGINNINGS,
        'f"{shards()}, FSDP" if shards() > 1 else int',
        "int",
        (ALIKE + "test_other_processes_or_threads_of_a_cpu_are_not_gone_on_with",),
    ),
    Mutant(
        "the shortest beginning is taken",
        BEGINNINGS,
        "return max(found, key",
        "return min(found, key",
        (ALIKE + "test_the_longest_beginning_is_taken_whichever_run_has_it",),
    ),
    Mutant(
        "the newest run's beginning is taken, not the longest",
        BEGINNINGS,
        "return max(found, key=lambda beginning: beginning.step)",
        "return found[-1]",
        (ALIKE + "test_the_longest_beginning_is_taken_whichever_run_has_it",),
    ),
    *(
        Mutant(
            f"a run goes on from the decay of {whose}",
            BEGINNINGS,
            "if s <= min(limit, stable)",
            f"if s <= {kept}",
            (ALIKE + "test_what_lies_in_the_decay_of_either_run_is_not_gone_on_from",),
        )
        for whose, kept in (("the earlier one", "limit"), ("its own", "stable"))
    ),
    Mutant(
        "a run's own schedule is taken for steady",
        BEGINNINGS,
        "limit = stable_steps(run.plan.total_steps(rows), run.plan.scheduler)",
        "limit = stable_steps(run.plan.total_steps(rows))",
        (ALIKE + "test_only_a_schedule_that_does_not_know_its_end_is_gone_on_with",),
    ),
    Mutant(
        "an earlier run's schedule is taken for steady",
        BEGINNINGS,
        'run.record["training"]["steps"], run.plan.scheduler)',
        'run.record["training"]["steps"])',
        (ALIKE + "test_only_a_schedule_that_does_not_know_its_end_is_gone_on_with",),
    ),
    Mutant(
        "a run that isn't trained is gone on from",
        BEGINNINGS,
        ' if other.has_done("train")]',
        "]",
        (ALIKE + "test_neither_a_run_that_is_not_trained_nor_a_later_one_is_gone_on_from",),
    ),
    Mutant(
        "a later run is gone on from",
        BEGINNINGS,
        "if other.number < run.number]",
        "if other.number != run.number]",
        (ALIKE + "test_neither_a_run_that_is_not_trained_nor_a_later_one_is_gone_on_from",),
    ),
    Mutant(
        "what has changed is told against the newest run, not the continued one",
        BEGINNINGS,
        'if other.number == run.record["parent"]), earlier[-1])',
        "if other is earlier[-1]), earlier[-1])",
        (ALIKE + "test_what_has_changed_is_told_against_the_run_that_is_continued",),
    ),
    *(
        Mutant(
            what,
            BEGINNINGS,
            old,
            new,
            (ALIKE + "test_a_continuation_of_a_warm_start_begins_with_its_adapter_where_that_fits",),
        )
        for what, old, new in (
            ("--from_scratch begins with an adapter", " or request.from_scratch:", ":"),
            ("overwriting begins with an adapter", " or strategy is None or", " or"),
            ("--warm_start takes the first adapter, not the last", "return previous.number", "pass"),
            (
                "an adapter of another rank is begun with",
                "(plan.lora_rank, plan.lora_alpha)",
                "(before.lora_rank, plan.lora_alpha)",
            ),
            (
                "an adapter of another alpha is begun with",
                "(plan.lora_rank, plan.lora_alpha)",
                "(plan.lora_rank, before.lora_alpha)",
            ),
            ("another base model gets the old one's adapter", "if fits and same and not", "if fits and not"),
            (
                "the same base model, named, loses the adapter",
                "same = request.base_model is None or absolute_source(request.base_model) == absolute_source(base)",
                "same = request.base_model is None",
            ),
        )
    ),
)

RECORDED = (
    Mutant(
        "a run's number is the count of folders",
        HISTORY,
        "return max((int(child.name) for child in numbered if not _never_was(child)), default=0) + 1",
        "return len(numbered) + 1",
        (RECORDS + "test_no_number_is_given_twice_where_a_runs_folder_was_deleted",),
    ),
    Mutant(
        "a run's number is the count of runs",
        HISTORY,
        "return max((int(child.name) for child in numbered if not _never_was(child)), default=0) + 1",
        "return len(self.runs(name)) + 1",
        (RECORDS + "test_no_number_is_given_twice_where_a_runs_folder_was_deleted",),
    ),
    Mutant(
        "a folder of the user's own ends every further run",
        HISTORY,
        "for child in _children(self._folder(name)) if child.name.isdecimal()]",
        "for child in _children(self._folder(name)) if child.is_dir()]",
        (RECORDS + "test_no_number_is_given_twice_where_a_runs_folder_was_deleted",),
    ),
    Mutant(
        "run 10 comes before run 9",
        HISTORY,
        "in sorted((int(child.name) for child in numbered), reverse",
        "in sorted((child.name for child in numbered), reverse",
        (RECORDS + "test_the_tenth_run_comes_after_the_ninth",),
    ),
    Mutant(
        "a record that can't be written is lost",
        "file_formats/durable.py",
        'temporary = path.with_name(path.name + ".new")',
        "temporary = path",
        (DURABLE + "test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it",),
    ),
    Mutant(
        "a holder that is half written ends the program",
        RECORD,
        "except (OSError, ValueError):",
        "except OSError:",
        (RECORDS + "test_a_holder_that_is_half_written_is_a_holder_nobody_knows",),
    ),
    Mutant(
        "a later version's record is read as if it were ours",
        HISTORY,
        'if record["schema"] > SCHEMA:',
        'if record["schema"] > SCHEMA + 9:',
        (RECORDS + "test_a_record_of_a_later_version_bars_its_own_model_alone",),
    ),
    Mutant(
        "a name that is held is waited for",
        HISTORY,
        "lock.acquire(timeout=0)",
        "lock.acquire(timeout=5)",
        (RECORDS + "test_a_second_process_is_told_at_once_who_holds_the_name",),
    ),
    Mutant(
        "a name whose folder goes while it is made can't be used",
        HISTORY,
        "except (FileNotFoundError, FileExistsError):",
        "except FileNotFoundError:",
        (RECORDS + "test_a_folder_that_is_removed_while_it_is_made_is_made_again",),
    ),
)

ASKED = (
    Mutant(
        "a run that overwrites keeps a backup when it goes on",
        JOB,
        'overwrite=record["overwrite"],',
        "overwrite=False,",
        (JOBS + "test_a_run_goes_on_as_its_record_has_it_whatever_the_flags_say",),
    ),
    Mutant(
        "a run that goes on forgets which one it continued",
        JOB,
        'history.numbered(name, record["parent"])',
        "history.numbered(name, run.number)",
        (JOBS + "test_a_run_goes_on_as_its_record_has_it_whatever_the_flags_say",),
    ),
)

STANDS = (
    Mutant(
        "a run goes on with other dialogues",
        STANDING,
        'if data.fingerprint == run.record["data"]["fingerprint"]:',
        "if data:",
        (MEANT + "test_a_run_goes_on_with_the_dialogues_that_it_began_with",),
    ),
    Mutant(
        "--resume with other dialogues begins anew in silence",
        STANDING,
        'raise UsageError("error.data_changed", name=name)',
        "return None",
        (MEANT + "test_a_run_goes_on_with_the_dialogues_that_it_began_with",),
    ),
    Mutant(
        "that other dialogues begin anew is not said",
        STANDING,
        'listener(Note("note.data_changed"))',
        "pass",
        (MEANT + "test_a_run_goes_on_with_the_dialogues_that_it_began_with",),
    ),
    Mutant(
        "--dry_run goes on with a training",
        STANDING,
        "if run is None or request.dry_run:",
        "if run is None:",
        (MEANT + "test_a_preview_goes_on_with_nothing_and_resume_needs_something",),
    ),
    Mutant(
        "--resume of nothing begins a run",
        STANDING,
        'raise UsageError("error.nothing_to_resume", name=name)',
        "return None",
        (MEANT + "test_a_preview_goes_on_with_nothing_and_resume_needs_something",),
    ),
    Mutant(
        "a note fails the verification",
        PUBLISHED,
        "[finding.key for finding in findings if finding.fatal]",
        "[finding.key for finding in findings]",
        (IN_OLLAMA + "test_only_what_the_record_does_not_allow_for_fails",),
    ),
    Mutant(
        "another model under the name is verified",
        PUBLISHED,
        'raise OllamaError("error.verify_failed", name=name, count=len(fatal), number=run.number)',
        "pass",
        (IN_OLLAMA + "test_another_model_under_the_name_is_told_and_fails",),
    ),
    Mutant(
        "a model that was known to go on and on never verifies",
        PUBLISHED,
        'must_stop=run.record["ollama"]["stops"],',
        "must_stop=True,",
        (IN_OLLAMA + "test_what_was_published_proves_right",),
    ),
    Mutant(
        "a model that stopped when it was published may go on and on",
        PUBLISHED,
        'must_stop=run.record["ollama"]["stops"],',
        "must_stop=False,",
        (IN_OLLAMA + "test_only_what_the_record_does_not_allow_for_fails",),
    ),
    Mutant(
        "the worst rung is published",
        LADDER,
        "return min(measured",
        "return max(measured",
        ("tests/pipeline/run/test_ladder.py::test_the_rung_that_ends_lowest_is_published_and_unmeasured_the_longest",),
    ),
    Mutant(
        "a rung is judged by its best point, which isn't what is published",
        LADDER,
        "return float(losses[-1][1]) if losses else None",
        "return min((float(loss) for _, loss in losses), default=None)",
        ("tests/pipeline/run/test_ladder.py::test_the_rung_that_ends_lowest_is_published_and_unmeasured_the_longest",),
    ),
    Mutant(
        "without validation the shortest rung is published",
        LADDER,
        "else runs[-1]",
        "else runs[0]",
        ("tests/pipeline/run/test_ladder.py::test_the_rung_that_ends_lowest_is_published_and_unmeasured_the_longest",),
    ),
)

KEPT = PLANS + "test_what_is_not_spoken_of_stays_as_recorded"
NAMED = PLANS + "test_every_flag_of_a_number_wins_and_is_named_as_its_source"

PLANNED = (
    *(
        Mutant(
            f"a continuation forgets the recorded {name}",
            STRATEGIES,
            '(*PLAN_NUMBERS, "scheduler", "qlora")',
            kept,
            (KEPT,),
        )
        for name, kept in (
            ("scheduler", '(*PLAN_NUMBERS, "qlora")'),
            ("4 bits", '(*PLAN_NUMBERS, "scheduler")'),
            ("seed", '(*PLAN_NUMBERS[:-1], "scheduler", "qlora")'),
        )
    ),
    Mutant(
        "early stopping lasts for ever",
        STRATEGIES,
        '(*PLAN_NUMBERS, "scheduler", "qlora")',
        '(*PLAN_NUMBERS, "scheduler", "qlora", "early_stop")',
        (PLANS + "test_early_stop_holds_for_one_run_only",),
    ),
    Mutant(
        "a warm start counts the earlier epochs again",
        STRATEGIES,
        "if record and not request.warm_start and not new_base",
        "if record and not new_base",
        (PLANS + "test_a_warm_start_counts_its_own_epochs_alone",),
    ),
    Mutant(
        "added epochs are taken for the total",
        STRATEGIES,
        '{"epochs": before + added}',
        '{"epochs": added}',
        (PLANS + "test_incremental_adds_epochs_to_the_recorded_ones_and_keeps_the_rest",),
    ),
    Mutant(
        "a suggestion wins over a flag",
        STRATEGIES,
        """    take({name: value for name, value in suggested.items() if name != "add_epochs"}, "strategy")
    take(request.plan_numbers(), "flag")
""",
        """    take(request.plan_numbers(), "flag")
    take({name: value for name, value in suggested.items() if name != "add_epochs"}, "strategy")
""",
        (NAMED,),
    ),
    Mutant(
        "--no_qlora is passed over", STRATEGIES, "if request.qlora or request.no_qlora:", "if request.qlora:", (NAMED,)
    ),
    Mutant(
        "--scheduler is passed over", STRATEGIES, 'take({"scheduler": request.scheduler}, "flag")', "pass", (NAMED,)
    ),
    Mutant(
        "the old alpha stays when the rank changes",
        STRATEGIES,
        'take({"lora_alpha": 0.0}, "default")',
        "pass",
        (PLANS + "test_alpha_is_twice_the_rank_also_after_the_rank_changes",),
    ),
    Mutant(
        "retune's fast preset is the suggested one",
        STRATEGIES,
        "return dict(next(iter(row.presets.values())))",
        "return dict(next(reversed(row.presets.values())))",
        (PLANS + "test_accepted_suggestions_make_a_whole_plan",),
    ),
    Mutant(
        "a strategy is lost",
        STRATEGIES,
        '    Strategy("augment", "📊", ("epochs",), {}),\n',
        "",
        (PLANS + "test_the_four_strategies_of_the_guide_ask_for_their_numbers_in_its_order",),
    ),
    Mutant(
        "a learning rate of the advice is another one",
        STRATEGIES,
        'Advice("rate_careful", 1e-5)',
        'Advice("rate_careful", 5e-5)',
        (PLANS + "test_the_advice_is_the_guides",),
    ),
)

MUTANTS = (*COMPARED, *RECORDED, *ASKED, *STANDS, *PLANNED)
