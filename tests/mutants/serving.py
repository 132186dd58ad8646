"""Bugs in how a model is served and known again: its parameters, its weights, the answers of every Ollama."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

SERVING, PUBLISHING, BASES = "pipeline/serving.py", "pipeline/publishing.py", "pipeline/run/base_model.py"
ANSWER, TRANSPORT, CLIENT = (f"ollama_export/server/{name}.py" for name in ("answer", "transport", "client"))
FINGERPRINT, K_QUANTS = "ollama_export/gguf/fingerprint.py", "ollama_export/gguf/k_quants.py"
FORETASTE = "ollama_export/gguf/foretaste.py"
SAID = "tests/pipeline/test_serving.py::"
ASKED = "tests/ollama_export/server/test_client.py::"
BITS = "tests/ollama_export/gguf/test_k_quants.py::"
AGAIN = "tests/ollama_export/gguf/test_fingerprint.py::"
FOUND = "tests/pipeline/test_base_model.py::"
GREEDY, PROOF, PUBLISH = (f"ollama_export/{name}.py" for name in ("greedy", "proof", "publish"))
PARTED, HEARD = "tests/ollama_export/test_greedy.py::", "tests/pipeline/test_what_is_said.py::"

MUTANTS = (
    Mutant(
        "each Ollama takes its own defaults",
        SERVING,
        "return {**SAMPLING_DEFAULTS, **self.parameters}",
        "return dict(self.parameters)",
        (SAID + "test_what_nobody_speaks_of_is_ours_and_comes_behind_base_record_and_flag",),
    ),
    Mutant(
        "what was taught is punished as repetition",
        SERVING,
        '"repeat_penalty": 1.0,',
        '"repeat_penalty": 1.1,',
        (SAID + "test_what_nobody_speaks_of_is_ours_and_comes_behind_base_record_and_flag",),
    ),
    Mutant(
        "the base model's parameters go before flags",
        SERVING,
        "parameters={**sampled, **self.parameters}",
        "parameters={**self.parameters, **sampled}",
        (SAID + "test_what_nobody_speaks_of_is_ours_and_comes_behind_base_record_and_flag",),
    ),
    Mutant(
        "a context has no room for an answer",
        SERVING,
        "needed = tokens + ANSWER_ROOM",
        "needed = tokens",
        (SAID + "test_the_context_has_room_for_the_longest_dialogue_and_an_answer",),
    ),
    Mutant(
        "an answer that repeats itself is a server that failed",
        ANSWER,
        "if not repeats and _NO_TEXT not in message:",
        "if _NO_TEXT not in message:",
        (ASKED + "test_an_answer_that_the_server_breaks_off_with_an_error_is_an_answer_without_an_end",),
    ),
    Mutant(
        "every error while answering is an answer",
        ANSWER,
        "        raise refused\n",
        "        pass\n",
        (ASKED + "test_any_other_error_in_an_answer_is_one",),
    ),
    Mutant(
        "a count that was not told is zero",
        ANSWER,
        "int(reply[name]) or None if name in reply else None",
        "int(reply.get(name) or 0)",
        (ASKED + "test_an_answer_knows_whether_it_stopped_by_itself",),
    ),
    Mutant(
        "a login is dropped",
        TRANSPORT,
        "self._session.auth = self._parsed.login",
        "self._session.auth = None",
        (ASKED + "test_a_login_before_the_address_is_sent_and_never_shown",),
    ),
    Mutant(
        "a create that a proxy gave up is sent again",
        CLIENT,
        'if refused.key == "error.ollama.in_between.time" and self._has_made(name, digest):',
        "if False:",
        (ASKED + "test_a_create_that_a_proxy_did_not_wait_for_is_looked_for_and_not_sent_again",),
    ),
    Mutant(
        "a full disk beside a failed create is passed over",
        CLIENT,
        "raise self._for_lack_of_disk(refused, path) or refused from None",
        "raise",
        (ASKED + "test_a_create_that_fails_beside_a_full_disk_is_said_to_lack_room",),
    ),
    Mutant(
        "a delta that is added twice passes",
        FINGERPRINT,
        "or (same_order and abs(along - other_along) > most)",
        "or (same_order and abs(along - other_along) > norm)",
        (AGAIN + "test_a_delta_of_a_small_share_that_is_added_twice_is_another_weight",),
    ),
    Mutant(
        "a delta that goes in twice at the first export passes",
        "ollama_export/gguf/lora_delta.py",
        'raise ConversionError("error.adapter.added", first=start, last=stop - 1, off=float(off))',
        "pass",
        (AGAIN + "test_a_delta_that_does_not_go_in_once_is_refused_at_the_first_export",),
    ),
    Mutant(
        "other weights under the same run are published",
        PUBLISHING,
        "if differ := other_weights(known, written.fingerprints, same_order=same_order):",
        "if differ := list[str]():",
        (FOUND + "test_weights_that_changed_inside_their_file_make_no_other_model_of_the_same_run",),
    ),
    Mutant(
        "a model whose base is gone can't be trained on",
        BASES,
        'return error if error.key in ("error.base.gone", "error.base.changed") else None',
        "return None",
        (FOUND + "test_a_model_whose_base_is_gone_is_trained_on_from_what_stands_and_that_is_told",),
    ),
    Mutant(
        "the values of eight experts have the bits of others",
        K_QUANTS,
        "return Q8_0 if shape.experts == 8 else kind",
        "return kind",
        (BITS + "test_eight_experts_have_the_attention_in_8_bits_and_layers_by_their_names",),
    ),
    Mutant(
        "layers without such a matrix are counted",
        K_QUANTS,
        'serving_order(name)[0] if shape.experts > 1 else seen["down"]',
        "serving_order(name)[0]",
        (BITS + "test_without_experts_the_layers_that_have_such_a_matrix_are_counted",),
    ),
    Mutant(
        "a matrix that an adapter has and the base model hasn't is found after the training",
        FORETASTE,
        "    if missing:\n",
        "    if False:\n",
        (
            "tests/ollama_export/gguf/test_export.py::"
            "test_what_the_export_of_the_real_base_model_would_fail_of_is_found_by_planning_it",
        ),
    ),
    Mutant(
        "a near thing that falls the other way is another model",
        GREEDY,
        "return Parting(at, one, other) if one.gap is not None and one.gap > TOLERANCE else None",
        "return Parting(at, one, other)",
        (PARTED + "test_another_word_is_another_model_unless_it_was_a_near_thing",),
    ),
    Mutant(
        "how likely a word was is not held",
        GREEDY,
        "if _differ(one.logprob, other.logprob, TOLERANCE) or _differ(",
        "if _differ(",
        (PARTED + "test_the_same_words_by_other_probabilities_are_another_model",),
    ),
    Mutant(
        "the last part of a character speaks for the whole of it",
        "ollama_export/llama_cpp/engine.py",
        "found[at] = replace(found[at], gap=None)",
        "pass",
        (PARTED + "test_llama_cpp_says_it_and_the_end_of_an_answer_with_it",),
    ),
    Mutant(
        "a GGUF made again may say what it likes",
        PUBLISHING,
        "if one.prompt in known and (apart := parting(known[one.prompt], one)):",
        "if one.prompt not in known and (apart := parting(one, one)):",
        (HEARD + "test_a_gguf_that_says_something_else_than_before_is_refused_and_not_kept",),
    ),
    Mutant(
        "what one type said is forgotten with the next",
        PUBLISHING,
        'return {"gguf": made | {"greedy": before.get("greedy", {})}}',
        'return {"gguf": made}',
        (HEARD + "test_an_export_records_what_the_model_says_for_each_type",),
    ),
    Mutant(
        "a model that Ollama converted is called another one",
        PROOF,
        'same = not parts or (parts == ["FROM"] and is_held(findings, greedy))',
        "same = not parts",
        (HEARD + "test_a_model_that_a_later_ollama_converts_is_still_ours",),
    ),
    Mutant(
        "other weights are taken for a conversion",
        PROOF,
        'same = not parts or (parts == ["FROM"] and is_held(findings, greedy))',
        'same = not parts or parts == ["FROM"]',
        (HEARD + "test_one_that_says_something_else_or_has_other_words_is_not",),
    ),
    Mutant(
        "our own model in another form was made elsewhere",
        "pipeline/run/standing.py",
        "return Standing(True, run or _converted(runs, last_published(history, name), client.show(name)))",
        "return Standing(True, run)",
        (HEARD + "test_a_model_that_a_later_ollama_converts_is_still_ours",),
    ),
    Mutant(
        "the mark of any run is this one's",
        "pipeline/run/standing.py",
        "if mark in run.marks), None)",
        "), None)",
        (HEARD + "test_the_mark_of_another_run_is_not_ours",),
    ),
    Mutant(
        "a model with another's words is taken for ours where Ollama converts",
        "pipeline/run/standing.py",
        "return None if differing_beside_weights(shown, last) else last",
        "return last",
        (HEARD + "test_without_a_mark_a_converted_model_is_known_by_its_words",),
    ),
    Mutant(
        "a model that is converted when it is proven can't be published",
        PUBLISH,
        'if digest in (None, staged["digest"]) or not publication.greedy:',
        "if digest:",
        (HEARD + "test_a_model_that_is_converted_when_it_is_proven_is_published_as_it_is_kept",),
    ),
    Mutant(
        "the tiny model learns nothing",
        "lora_trainer/trial_steps.py",
        "        optimizer.step()\n",
        "",
        ("tests/pipeline/checks/test_rehearsal.py::test_the_tiny_model_learns_for_two_steps_what_the_first_rows_say",),
    ),
    Mutant(
        "Apple's model of a name is taken for the one that llama.cpp reads",
        "ollama_export/server/models.py",
        'if row["name"] not in rows or _rank(row) < _rank(rows[row["name"]]):',
        'if row["name"] not in rows:',
        ("tests/ollama_export/server/test_runners.py::test_the_model_that_is_meant_is_the_one_for_llama_cpp",),
    ),
    Mutant(
        "a delete that another one overtakes is a failure",
        CLIENT,
        "if missing_ok and _was_quicker(refused):",
        "if False:",
        (
            "tests/ollama_export/server/test_shared_server.py::"
            "test_a_name_that_another_delete_takes_in_the_same_moment_is_gone",
        ),
    ),
)
