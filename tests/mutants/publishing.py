"""Bugs in the way of a model into Ollama: staging, proof, backup, swap, and what the program says to the server."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

PUBLISH = "ollama_export/publish.py"
PROOF = "ollama_export/proof.py"
CLIENT = "ollama_export/server/client.py"
TRANSPORT = "ollama_export/server/transport.py"
START = "ollama_export/server/start.py"
PUBLISHED = "pipeline/run/published.py"
PROOFS = "pipeline/checks/proofs.py"
PUBLISHING = "tests/ollama_export/test_publish.py::"
ASKING = "tests/ollama_export/server/test_client.py::"
STARTING = "tests/ollama_export/server/test_start.py::"
REGISTERING = "tests/pipeline/test_publishing.py::"
PROVING = "tests/pipeline/checks/test_proofs.py::"
REHEARSING = "tests/pipeline/checks/test_rehearsal.py::"
REHEARSING += "test_a_base_model_that_ollama_renders_otherwise_is_refused_and_nothing_stays"
ANSWERING = "tests/ollama_export/llama_cpp/test_engine.py::"

MUTANTS = (
    Mutant(
        "a journal is trusted though its staging is gone or another model",
        PUBLISH,
        ' and facts["digest"] == client.digest(staging)',
        "",
        (PUBLISHING + "test_a_staged_model_that_is_gone_or_another_by_now_is_made_again",),
    ),
    Mutant(
        "a proof in the journal counts for any model",
        PUBLISH,
        'if facts and facts["digest"] == staged["digest"]:',
        "if facts:",
        (PUBLISHING + "test_a_proof_in_the_journal_counts_for_the_digest_that_was_proven_alone",),
    ),
    Mutant(
        "a journal that says swapped is trusted whatever has the name",
        PUBLISH,
        'if not swapped or swapped["digest"] != client.digest(publication.name):',
        "if not swapped:",
        (PUBLISHING + "test_a_name_that_is_another_model_by_now_is_published_again",),
    ),
    Mutant(
        "a staged model that can't be loaded stays",
        PUBLISH,
        "except (ProofFailed, Refused):",
        "except ProofFailed:",
        (PUBLISHING + "test_a_model_that_cannot_be_loaded_is_deleted",),
    ),
    Mutant(
        "another rendering is told as a note instead of refused",
        PROOF,
        'Finding("error.proof.rendered", values, strict)',
        'Finding("error.proof.rendered", values, fatal=False)',
        (PUBLISHING + "test_a_model_that_renders_otherwise_is_deleted_and_the_old_one_stays",),
    ),
    Mutant(
        "white space at the end of a prompt is nothing",
        PROOF,
        "rendered != proof.prompt:",
        "rendered.strip() != proof.prompt.strip():",
        (PUBLISHING + "test_a_line_end_more_is_another_rendering",),
    ),
    Mutant(
        "another number of tokens is told as a note instead of refused",
        PROOF,
        'Finding("error.proof.tokens", values, strict)',
        'Finding("error.proof.tokens", values, fatal=False)',
        (PUBLISHING + "test_a_prompt_of_another_number_of_tokens_is_a_failure",),
    ),
    Mutant(
        "only a prompt with more tokens than the training's is refused",
        PROOF,
        "if tokens != proof.tokens:",
        "if tokens < proof.tokens:",
        (PUBLISHING + "test_a_prompt_of_another_number_of_tokens_is_a_failure",),
    ),
    Mutant(
        "an own chat template that renders otherwise is refused",
        PROOF,
        'Finding("error.proof.rendered", values, strict)',
        'Finding("error.proof.rendered", values)',
        (PUBLISHING + "test_an_own_chat_template_may_render_otherwise_and_it_is_told",),
    ),
    Mutant(
        "only the first conversation is proven",
        PROOF,
        "enumerate(proofs, 1)",
        "enumerate(proofs[:1], 1)",
        (PUBLISHING + "test_a_model_that_renders_otherwise_is_deleted_and_the_old_one_stays",),
    ),
    Mutant(
        "an Ollama too old to render fails the proof",
        PROOF,
        '"note.publish.no_render", {"version": client.version()}, fatal=False)',
        '"note.publish.no_render", {"version": client.version()})',
        (PUBLISHING + "test_an_ollama_too_old_to_render_is_proven_by_its_token_counts",),
    ),
    Mutant(
        "an answer without an end is only noted",
        PROOF,
        'Finding("error.proof.endless", values, must_stop)',
        'Finding("error.proof.endless", values, fatal=False)',
        (PUBLISHING + "test_an_answer_without_an_end_is_a_failure_unless_it_need_not_stop",),
    ),
    Mutant(
        "an empty answer is only noted",
        PROOF,
        'Finding("error.proof.silent", {}, must_stop)',
        'Finding("error.proof.silent", {}, fatal=False)',
        (PUBLISHING + "test_an_empty_answer_is_no_answer",),
    ),
    Mutant(
        "another model passes where it renders alike",
        PROOF,
        '"what": ", ".join(parts)}))',
        '"what": ", ".join(parts)}, fatal=False))',
        (PUBLISHING + "test_verifying_finds_nothing_or_what_has_changed",),
    ),
    Mutant(
        "a chat is given up after a minute",
        CLIENT,
        'return self._http.json("POST", "/api/chat", body, timeout=PATIENT)',
        'return self._http.json("POST", "/api/chat", body)',
        (ASKING + "test_what_a_model_does_takes_as_long_as_it_takes",),
    ),
    Mutant(
        "a continuation is given up after a minute",
        CLIENT,
        'return self._http.json("POST", "/api/generate", body, timeout=PATIENT)',
        'return self._http.json("POST", "/api/generate", body)',
        (ASKING + "test_what_a_model_does_takes_as_long_as_it_takes",),
    ),
    Mutant(
        "a create is given up when nothing is told for a minute",
        TRANSPORT,
        "response = self.call(method, path, body, timeout=PATIENT, stream=True)",
        "response = self.call(method, path, body, stream=True)",
        (ASKING + "test_what_a_model_does_takes_as_long_as_it_takes",),
    ),
    Mutant(
        "an upload breaks off where the server pauses for as long as connecting may take",
        CLIENT,
        "timeout=(None, None)",
        "timeout=PATIENT",
        (ASKING + "test_a_server_may_pause_in_an_upload_and_after_it",),
    ),
    Mutant(
        "an upload whose digest takes a minute to compute is given up",
        CLIENT,
        "data=body, timeout=(None, None)",
        "data=body",
        (ASKING + "test_a_server_may_pause_in_an_upload_and_after_it",),
    ),
    Mutant(
        "a server that hangs is waited for for ever",
        TRANSPORT,
        "= (CONNECT_SECONDS, READ_SECONDS)",
        "= PATIENT",
        (ASKING + "test_a_simple_question_is_given_up_in_the_end",),
    ),
    Mutant(
        "nobody notices that the other machine is gone",
        TRANSPORT,
        "(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)",
        "",
        (ASKING + "test_what_a_model_does_takes_as_long_as_it_takes",),
    ),
    Mutant(
        "an error in an answer that says 200 is no error",
        TRANSPORT,
        'if "error" in value:\n            raise self.refusal(f"{method} {path}"',
        'if "error" in value and response.status_code != 200:\n            raise self.refusal(f"{method} {path}"',
        (ASKING + "test_an_error_in_an_answer_that_says_200_is_an_error",),
    ),
    Mutant(
        "an error line inside a stream is a status like others",
        TRANSPORT,
        'if "error" in value:\n                    raise',
        'if "error" in value and "status" in value:\n                    raise',
        (ASKING + "test_an_error_line_inside_a_200_stream_is_an_error",),
    ),
    Mutant(
        "a full quota isn't told as a full disk",
        TRANSPORT,
        ', "disk quota exceeded"',
        "",
        (ASKING + "test_an_error_status_says_what_it_means",),
    ),
    Mutant(
        "success anywhere in a stream is success",
        CLIENT,
        'if last != "success":',
        'if last == "":',
        (ASKING + "test_a_stream_that_ends_without_success_is_an_error",),
    ),
    Mutant(
        "an answer cut by the limit counts as one that stopped",
        "ollama_export/server/answer.py",
        'reply.get("done_reason", "stop") == "stop"',
        'reply.get("done_reason", "stop") != ""',
        (ASKING + "test_an_answer_knows_whether_it_stopped_by_itself",),
    ),
    Mutant(
        "a started server that stays silent is left running",
        START,
        "if way.lasting:\n                    _end(process)\n                raise",
        "raise",
        (STARTING + "test_a_server_that_stays_silent_is_ended_and_told",),
    ),
    Mutant(
        "a started server that ignores the request to end is left running",
        START,
        "        process.kill()\n        process.wait()",
        "        pass",
        (STARTING + "test_a_server_that_stays_silent_is_ended_and_told",),
    ),
    Mutant(
        "a started server dies with the user's Ctrl-C",
        START,
        "start_new_session=True",
        "start_new_session=False",
        (STARTING + "test_a_plain_installation_is_served_and_answers",),
    ),
    Mutant(
        "a server is started beside another program on its port",
        START,
        """        if error.key != "error.ollama.unreachable" or not client.is_local:
            raise
    way = find_way""",
        """        if not client.is_local:
            raise
    way = find_way""",
        (STARTING + "test_beside_another_program_on_the_port_nothing_is_started",),
    ),
    Mutant(
        "a started server listens elsewhere",
        START,
        '{"OLLAMA_HOST": client.given} if client.given else {}',
        "{}",
        (STARTING + "test_a_plain_installation_is_served_and_answers",),
    ),
    Mutant(
        "--verify passes whatever it finds",
        PUBLISHED,
        "if finding.fatal]",
        "if finding.fatal and not finding.values]",
        (REGISTERING + "test_verifying_fails_on_another_model_though_it_renders_alike",),
    ),
    Mutant(
        "--verify passes on a model that doesn't stop any more",
        PUBLISHED,
        'must_stop=run.record["ollama"]["stops"]',
        "must_stop=False",
        (REGISTERING + "test_verifying_fails_where_ollama_serves_the_same_model_otherwise_by_now",),
    ),
    Mutant(
        "a dialogue with a system prompt of its own is proven without it",
        PROOFS,
        'sent = turns if found == (system or "") else messages',
        "sent = turns",
        (PROVING + "test_the_shortest_the_longest_and_one_with_a_system_prompt_of_its_own_are_proven",),
    ),
    Mutant(
        "the model's own system prompt isn't proven to be in it",
        PROOFS,
        'sent = turns if found == (system or "") else messages',
        "sent = messages",
        (PROVING + "test_the_shortest_the_longest_and_one_with_a_system_prompt_of_its_own_are_proven",),
    ),
    Mutant(
        "no dialogue with a system prompt of its own is proven",
        PROOFS,
        "(*by_turns[:1], *by_turns[-1:], own_system)",
        "(*by_turns[:1], *by_turns[-1:])",
        (PROVING + "test_the_shortest_the_longest_and_one_with_a_system_prompt_of_its_own_are_proven",),
    ),
    Mutant(
        "the longest dialogue isn't proven",
        PROOFS,
        "(*by_turns[:1], *by_turns[-1:], own_system)",
        "(*by_turns[:1], own_system)",
        (PROVING + "test_the_shortest_the_longest_and_one_with_a_system_prompt_of_its_own_are_proven",),
    ),
    Mutant(
        "a proof forgets the BOS token",
        PROOFS,
        "bos = [tokenizer.bos_token_id] if chat_format.tokenizer_adds_bos else []",
        "bos: list[int] = []",
        (PROVING + "test_the_shortest_the_longest_and_one_with_a_system_prompt_of_its_own_are_proven",),
    ),
    Mutant(
        "a difference of tokens is seen only where their number differs",
        PROOFS,
        "if ours != theirs:",
        "if len(ours) != len(theirs):",
        (PROVING + "test_dialogues_whose_tokens_are_others_in_llama_cpp_are_refused",),
    ),
    Mutant(
        "the tokens of the answers aren't held against llama.cpp's",
        PROOFS,
        ' + dialogue.messages[-1]["content"] + chat_format.end_of_turn',
        "",
        (PROVING + "test_dialogues_whose_tokens_are_others_in_llama_cpp_are_refused",),
    ),
    Mutant(
        "only the first dialogue's tokens are held against llama.cpp's",
        PROOFS,
        "dialogues[:: max(1, len(dialogues) // TOKEN_SAMPLE)]",
        "dialogues[:1]",
        (PROVING + "test_dialogues_whose_tokens_are_others_in_llama_cpp_are_refused",),
    ),
    Mutant(
        "another rendering in the rehearsal is no reason to stop",
        "pipeline/checks/rehearsal.py",
        "strict=strict",
        "strict=False",
        (REHEARSING,),
    ),
    Mutant(
        "the model of a rehearsal that failed stays in Ollama",
        "pipeline/checks/rehearsal.py",
        "    finally:\n        client.delete",
        "    except ZeroDivisionError:\n        client.delete",
        (REHEARSING,),
    ),
    Mutant(
        "an answer that fills its length counts as one that stopped",
        "ollama_export/llama_cpp/engine.py",
        'in ("eos", "word")',
        'in ("eos", "word", "limit")',
        (ANSWERING + "test_a_greedy_completion_is_the_same_each_time_and_tells_its_tokens",),
    ),
    Mutant(
        "the user's Ctrl-C ends llama.cpp before the work can end in order",
        "ollama_export/llama_cpp/server.py",
        "    signal.signal(signal.SIGINT, signal.SIG_IGN)\n",
        "",
        (ANSWERING + "test_a_ctrl_c_that_reaches_llama_cpp_is_not_its_to_obey",),
    ),
)
