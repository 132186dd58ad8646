"""Bugs in what is kept: which run stands, what belongs to a model, which request is the same one."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

FLAGS, SERVING = "pipeline/flags.py", "pipeline/serving.py"
HISTORY, STANDING = "pipeline/run/history.py", "pipeline/run/standing.py"
PUBLISHED, KEPT, ROWS = "pipeline/run/published.py", "pipeline/run/kept.py", "pipeline/run/rows.py"
PUBLISH, BACKUPS, PUBLISHING = "ollama_export/publish.py", "ollama_export/backups.py", "pipeline/publishing.py"
FILE_TYPES = "file_formats/file_types.py"
JOBS = "tests/pipeline/test_job.py::"
MEANT = "tests/pipeline/run/test_standing.py::"
SERVED = "tests/pipeline/test_serving.py::"
IN_OLLAMA = "tests/pipeline/run/test_published.py::"
SWAPPED = "tests/ollama_export/test_publish.py::"
REGISTERED = "tests/pipeline/test_publishing.py::"
OLD = "tests/pipeline/run/test_history.py::"
BITS = "tests/ollama_export/gguf/test_k_quants.py::test_each_matrix_has_the_bits_that_llama_quantize_gives_it"
CHANGES = JOBS + "test_every_flag_says_what_it_changes"
KEEPS = JOBS + "test_registering_again_with_other_serving_keeps_what_is_not_spoken_of"
SAMPLING = '("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "num_ctx")'

REQUESTS = (
    *(
        Mutant(f"--{name} makes another request", FLAGS, f'"{name}")', f'"{name}", nature="trains")', (CHANGES,))
        for name in (
            "yes",
            "json",
            "debug",
            "dry_run",
            "resume",
            "restart",
            "keep_gguf",
            "no_register",
            "no_backup",
            "history",
            "rollback",
            "verify",
            "register_only",
        )
    ),
    *(
        Mutant(f"--{name} makes no other request", FLAGS, f'{rest}, nature="trains")', f"{rest})", (CHANGES,))
        for name, rest in (
            ("epochs", '"epochs", "float", "N"'),
            ("learning_rate", '"learning_rate", "float", "RATE"'),
            ("seed", '"seed", "int", "N"'),
            ("system", '"system", "text", "TEXT"'),
            ("warm_start", '"warm_start"'),
        )
    ),
    Mutant(
        "another temperature trains again",
        FLAGS,
        '"temperature", "float", "T", low=0, high=5, nature="serves"',
        '"temperature", "float", "T", low=0, high=5, nature="trains"',
        (MEANT + "test_what_is_served_or_told_otherwise_is_the_same_training",),
    ),
    Mutant(
        "a request with --seed 0 is taken for one without a seed",
        "pipeline/request.py",
        "if values.get(name) is not None and values[name] is not False}",
        "if values.get(name) not in (None, False)}",
        (JOBS + "test_a_request_for_another_training_is_another_one_also_where_it_asks_for_zero",),
    ),
    Mutant(
        "--restart goes on",
        STANDING,
        " or request.restart:",
        ":",
        (MEANT + "test_what_is_served_or_told_otherwise_is_the_same_training",),
    ),
    Mutant(
        "any request goes on with what is unfinished",
        STANDING,
        "return newest if alike or request.resume else None",
        "return newest",
        (MEANT + "test_what_is_served_or_told_otherwise_is_the_same_training",),
    ),
    Mutant(
        "overwriting goes on with a continuation",
        STANDING,
        '{"continue": continues, "overwrite": not continues}',
        '{"continue": continues}',
        (MEANT + "test_what_was_begun_as_a_continuation_is_not_gone_on_with_by_overwriting",),
    ),
    Mutant(
        "--resume ignores flags in silence",
        STANDING,
        "if request.resume and not alike and",
        "if not request and",
        (MEANT + "test_resuming_with_flags_that_would_train_otherwise_names_them",),
    ),
    Mutant(
        "rows that came after a training are not learnt",
        STANDING,
        "    if trained and request.resume:\n",
        "    if trained:\n",
        (MEANT + "test_rows_that_came_after_a_training_begin_a_new_one_unless_it_is_resumed",),
    ),
    Mutant(
        "the rungs of an earlier ladder are taken for this one's",
        STANDING,
        "if run.number > last_done and run.identity",
        "if run.identity",
        (MEANT + "test_the_rungs_of_a_ladder_are_those_begun_since_the_last_run_that_is_done",),
    ),
)

STANDS = (
    Mutant(
        "the newest run stands, whatever Ollama has",
        STANDING,
        "next((run for run in reversed(runs) if digest in run.digests), None)",
        "next(reversed(runs), None)",
        (MEANT + "test_the_run_that_stands_is_the_one_of_its_digest",),
    ),
    Mutant(
        "a model made elsewhere is taken for the last run's",
        STANDING,
        "run or _converted(runs, last_published(history, name), client.show(name)))",
        "run or last_published(history, name))",
        (MEANT + "test_a_model_made_elsewhere_is_no_runs_even_where_there_are_runs",),
    ),
    Mutant(
        "without Ollama the highest number stands",
        STANDING,
        'key=lambda run: (run.publications[-1]["order"], run.publications[-1]["finished"])',
        "key=lambda run: run.number",
        (MEANT + "test_without_ollama_it_is_the_one_published_last_whatever_the_clock_says",),
    ),
    Mutant(
        "--run is passed over",
        STANDING,
        "if run.number == number), None)",
        "if run.number), None)",
        (MEANT + "test_registering_again_is_about_the_run_that_stands",),
    ),
    Mutant(
        "the newest run is registered again, not the one that stands",
        STANDING,
        "chosen = unpublished or look(history, name, client).run",
        "chosen = trained[-1] if trained else None",
        (MEANT + "test_registering_again_is_about_the_run_that_stands",),
    ),
    Mutant(
        "a record of schema 1 forgets that it was published",
        "pipeline/run/record.py",
        "if published and known else []",
        "if False else []",
        (OLD + "test_a_record_of_schema_1_knows_its_publication_from_then_on",),
    ),
    Mutant(
        "a roll back isn't written down",
        PUBLISHED,
        "        run.update(publications=[*run.publications, entry])\n",
        "        assert entry\n",
        (IN_OLLAMA + "test_rolling_back_brings_the_backup_and_its_run_back",),
    ),
    Mutant(
        "--rollback --run brings back any backup",
        PUBLISHED,
        "done = rollback(client, name, digests)",
        "done = rollback(client, name)",
        (IN_OLLAMA + "test_a_run_is_brought_back_by_its_number_or_has_to_be_made_again",),
    ),
    Mutant(
        "--verify passes on another model that renders alike",
        PUBLISHED,
        "digest=current if current in run.digests else known",
        "digest=current",
        (REGISTERED + "test_verifying_fails_on_another_model_though_it_renders_alike",),
    ),
    Mutant(
        "--verify passes on another rendering",
        PUBLISHED,
        "strict=not serving.keep_chat_template",
        "strict=False",
        (REGISTERED + "test_verifying_fails_where_ollama_serves_the_same_model_otherwise_by_now",),
    ),
    Mutant(
        "--verify fails on the base's own template",
        PUBLISHED,
        "strict=not serving.keep_chat_template",
        "strict=True",
        (REGISTERED + "test_the_bases_own_template_may_render_otherwise_and_it_is_told",),
    ),
)

BACKED_UP = (
    Mutant(
        "the name isn't looked at again after the swap",
        PUBLISH,
        "            if client.digest(name) == staged:\n                return backup\n",
        "            return backup\n",
        (SWAPPED + "test_a_swap_after_which_another_model_has_the_name_is_an_error",),
    ),
    Mutant(
        "the staged model isn't looked at again before the swap",
        PUBLISH,
        "if client.digest(staging) != staged:",
        "if not staged:",
        (SWAPPED + "test_a_staged_model_that_is_another_when_it_is_to_be_swapped_in_is_not",),
    ),
    Mutant(
        "an older backup of the same model counts as the newest one",
        BACKUPS,
        "    if existing and existing[0].digest == current:\n        return existing[0].name\n",
        "    for one in existing:\n        if one.digest == current:\n            return one.name\n",
        (SWAPPED + "test_a_model_that_is_an_older_backup_already_becomes_the_newest",),
    ),
    Mutant(
        "a backup made after the clock was set back is an old one",
        BACKUPS,
        "max([(today, 0), *taken])",
        "max([(today, 0), *(one for one in taken if one[0] == today)])",
        (SWAPPED + "test_the_newest_backup_is_the_last_one_made_whatever_the_clock_said",),
    ),
    Mutant(
        "backups are sorted as texts",
        BACKUPS,
        "((int(match[1]), int(match[2])), Backup",
        "((match[1], match[2]), Backup",
        (SWAPPED + "test_the_newest_backup_is_the_last_one_made_whatever_the_clock_said",),
    ),
    Mutant(
        "a model of the same name in another namespace is taken for ours",
        BACKUPS,
        'f"{name.host}/{name.namespace}/{name.model}".lower()',
        "name.model.lower()",
        (SWAPPED + "test_the_tags_of_other_models_are_nobodys_business",),
    ),
    Mutant(
        "a model made by hand is deleted with the backups in excess",
        BACKUPS,
        "if everything or backup.digest in known]",
        "if backup]",
        (SWAPPED + "test_a_backup_that_no_record_knows_stays_unless_none_is_to_stay",),
    ),
    Mutant(
        "--no_backup loses a model made by hand",
        PUBLISH,
        "(publication.backup or current not in publication.known)",
        "publication.backup",
        (SWAPPED + "test_a_backup_that_no_record_knows_stays_unless_none_is_to_stay",),
    ),
    Mutant(
        "a roll back loses what stood",
        BACKUPS,
        "if current is not None and stands_at < 0 else None",
        "if not name else None",
        (SWAPPED + "test_what_stands_is_backed_up_before_a_roll_back_unless_it_is_a_backup",),
    ),
    Mutant(
        "rolling back twice goes forward again",
        BACKUPS,
        "if backup.digest not in newer), None)",
        "if backup.digest != current), None)",
        (SWAPPED + "test_each_roll_back_goes_one_older_and_never_forward_again",),
    ),
    Mutant(
        "another program's staging is cleaned away",
        PUBLISH,
        "    for tag in dict.fromkeys((publication.staging, *publication.stagings)):\n",
        '    others = (m["name"] for m in client.tags() if "staging-" in m["name"])\n'
        "    for tag in dict.fromkeys((publication.staging, *others)):\n",
        (SWAPPED + "test_two_programs_that_want_different_models_never_take_each_others_staging",),
    ),
    Mutant(
        "the journal of another publication is trusted",
        PUBLISH,
        'if journal.get("staging", {}).get("wanted") != wanted:',
        "if not wanted:",
        (SWAPPED + "test_what_is_asked_for_otherwise_by_now_is_made_anew",),
    ),
    *(
        Mutant(
            f"a staged model with another {what} is gone on with",
            PUBLISH,
            old,
            new,
            (f"{SWAPPED}test_what_is_asked_for_otherwise_by_now_is_made_anew[0.33-{what}]",),
        )
        for what, old, new in (
            ("template", "[self.digest, self.template, self.system,", "[self.digest, self.system,"),
            ("system", "[self.digest, self.template, self.system,", "[self.digest, self.template,"),
            ("parameters", "self.system, sorted(self.parameters.items())]", "self.system]"),
            ("weights", "[self.digest, self.template, self.system,", "[self.template, self.system,"),
        )
    ),
    Mutant(
        "a tag that can't be deleted fails a model that stands",
        PUBLISH,
        "        except Refused as error:\n            notes.append(Finding(",
        "        except ZeroDivisionError as error:\n            notes.append(Finding(",
        (SWAPPED + "test_a_tag_that_ollama_does_not_delete_fails_nothing",),
    ),
    Mutant(
        "a tag that Ollama refuses to delete once is left behind",
        PUBLISH,
        "        with contextlib.suppress(Refused):\n            return client.delete(tag, missing_ok=True)\n",
        "",
        (SWAPPED + "test_a_tag_that_ollama_refuses_to_delete_once_is_deleted_all_the_same",),
    ),
    Mutant(
        "a killed rehearsal stays in Ollama",
        "pipeline/checks/rehearsal.py",
        "and not psutil.pid_exists(int(match[1]))]",
        "and not match]",
        ("tests/pipeline/checks/test_rehearsal.py::"
         "test_a_rehearsal_that_was_killed_is_swept_at_the_next_start_and_no_living_one",),
    ),
)  # fmt: skip

SERVES = (
    *(
        Mutant(
            f"--{name} is not served",
            SERVING,
            f"SAMPLING = {SAMPLING}",
            f"SAMPLING = {SAMPLING}".replace(f'"{name}"', '"temperature"' if name != "temperature" else '"top_p"'),
            (KEEPS,),
        )
        for name in ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "num_ctx")
    ),
    Mutant(
        "a temperature makes a model forget its other parameters",
        SERVING,
        "{**self.parameters, **given}",
        "dict(given)",
        (KEEPS,),
    ),
    Mutant(
        "--quantize is passed over when registering again",
        SERVING,
        'changes["quantize"] = given["quantize"] = request.quantize',
        'given["quantize"] = request.quantize',
        (KEEPS,),
    ),
    Mutant(
        "a model made elsewhere keeps only its last stop",
        SERVING,
        'found.setdefault("stop", []).append(read)',
        'found["stop"] = [read]',
        (SERVED + "test_what_a_model_made_elsewhere_was_made_with_is_read_off_ollama",),
    ),
    Mutant(
        "a prompt that was chosen is forgotten",
        KEPT,
        'return replace(request, system=run.record["system"]), "record"',
        'return request, "default"',
        ("tests/pipeline/run/test_kept.py::test_a_chosen_prompt_is_kept_and_one_of_the_rows_is_theirs",),
    ),
    Mutant(
        "the example data are taught under somebody else's name",
        KEPT,
        "            request = with_recorded_data(request, run)\n",
        "            assert run\n",
        ("tests/pipeline/run/test_kept.py::test_a_model_keeps_its_files_until_a_flag_names_others",),
    ),
    Mutant(
        "a changed row isn't seen",
        ROWS,
        "Change(new=(now - was).total(), gone=(was - now).total())",
        "Change(new=(now - was).total(), gone=0)",
        ("tests/pipeline/run/test_kept.py::test_rows_that_changed_since_are_counted",),
    ),
)

GOES_OUT = (
    Mutant(
        "the GGUF's number of tokens isn't held against the training's",
        PUBLISHING,
        'if answer.prompt_tokens != proof["tokens"]:',
        "if not answer.prompt_tokens:",
        (REGISTERED + "test_a_gguf_in_which_a_prompt_is_another_number_of_tokens_is_refused",),
    ),
    Mutant(
        "an answer of the GGUF without an end is kept quiet",
        PUBLISHING,
        'if not all(answer["stopped"]',
        'if answers and not any("stopped" in answer',
        (REGISTERED + "test_an_answer_without_an_end_is_told_and_remembered",),
    ),
    Mutant(
        "another rendering at the publishing is told and the model registered",
        PUBLISHING,
        "strict=not serving.keep_chat_template",
        "strict=False",
        (REGISTERED + "test_a_model_that_ollama_renders_otherwise_is_refused",),
    ),
    Mutant(
        "the base's own template can't be kept where it renders otherwise",
        PUBLISHING,
        "strict=not serving.keep_chat_template",
        "strict=True",
        (REGISTERED + "test_the_bases_own_template_may_render_otherwise_and_it_is_told",),
    ),
    Mutant(
        "the registered model has no system prompt",
        PUBLISHING,
        '        system=serving.system_of(record["system"]),\n',
        "        system=None,\n",
        (REGISTERED + "test_what_is_recorded_is_what_is_served",),
    ),
    Mutant(
        "the registered model has none of the sampling parameters",
        SERVING,
        "return {**self.sampled_with, ",
        "return {",
        (REGISTERED + "test_what_is_recorded_is_what_is_served",),
    ),
    Mutant(
        "what Ollama was to quantize stays in 16 bits",
        PUBLISHING,
        'if other or not wanted == made.get("file_type", wanted) == job.serving.quantize:',
        "if other or wanted != job.serving.quantize:",
        (REGISTERED + "test_a_type_that_ollama_was_to_make_by_an_earlier_version_is_made_here",),
    ),
    *(
        Mutant(f"{name} has other bits", FILE_TYPES, old, new, (f"{BITS}[{name}]",))
        for name, old, new in (
            ("q5_K_M", '"q5_K_M", 17, Q5_K', '"q5_K_M", 17, Q4_K'),
            ("q5_K_S", '"q5_K_S", 16, Q5_K', '"q5_K_S", 16, Q4_K'),
            ("q6_K", '"q6_K", 18, Q6_K', '"q6_K", 18, Q5_K'),
            ("q3_K_M", '"q3_K_M", 12, Q3_K', '"q3_K_M", 12, Q4_K'),
            ("q5_0", '"q5_0", 8, Q5_0', '"q5_0", 8, Q4_0'),
            ("q4_K_M", '"q4_K_M", 15,', '"q4_K_M", 14,'),
        )
    ),
)

MUTANTS = (*REQUESTS, *STANDS, *BACKED_UP, *SERVES, *GOES_OUT)
