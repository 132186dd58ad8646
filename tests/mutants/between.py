"""Bugs on the way to Ollama: proxies before it, its disk, errors that say 200, licences, conversions."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_CLIENT = "ollama_export/server/client.py"
_MODELS = "ollama_export/server/models.py"
_TRANSPORT = "ollama_export/server/transport.py"
_ASKING = "tests/ollama_export/server/test_client.py::"
_BETWEEN = "tests/pipeline/test_in_between.py::"
_LICENCES = "tests/pipeline/test_licence.py::"
_RUNS = "tests/pipeline/test_base_model.py::"
_GENERATIONS = "tests/pipeline/test_generations.py::"

MUTANTS = (
    Mutant(
        "what a proxy didn't wait for is made again",
        _CLIENT,
        'if refused.key == "error.ollama.in_between.time" and self._has_made(name, digest):',
        'if refused.key == "error.ollama.in_between" and self._has_made(name, digest):',
        (_ASKING + "test_a_create_that_a_proxy_did_not_wait_for_is_looked_for_and_not_sent_again",),
    ),
    Mutant(
        "whatever has the name is taken for what a proxy didn't wait for",
        _CLIENT,
        'if found and self.stored_gguf(name) in (digest.removeprefix("sha256:"), None):',
        "if found:",
        (_ASKING + "test_a_create_that_a_proxy_broke_off_and_ollama_did_not_finish_is_an_error",),
    ),
    Mutant(
        "of an Ollama whose disk isn't seen a failed create is never told as its disk",
        _CLIENT,
        "perhaps = _QUANTIZE_FAILED in message",
        "perhaps = False",
        (_ASKING + "test_where_its_disk_is_not_seen_a_file_that_was_not_written_anew_is_perhaps_for_lack_of_room",),
    ),
    Mutant(
        "a folder in the usual place is taken for the store of a container",
        _MODELS,
        '            if "sha256-" in told:\n                return None\n',
        "",
        (_ASKING + "test_the_store_is_where_the_models_say_and_nowhere_else",),
    ),
    Mutant(
        "a store that may not be looked into is a crash",
        _MODELS,
        "    except OSError:  # a service's home",
        "    except FileNotFoundError:  # a service's home",
        (_ASKING + "test_the_store_is_where_the_models_say_and_nowhere_else",),
    ),
    Mutant(
        "a login is read off OLLAMA_HOST and not sent",
        _TRANSPORT,
        "        self._session.auth = self._parsed.login\n",
        "",
        (_BETWEEN + "test_a_proxy_that_wants_a_login_is_named_and_gets_the_one_that_stands_before_the_address",),
    ),
    Mutant(
        "an error in an answer that says 200 is an answer",
        _TRANSPORT,
        '        if "error" in value:\n            raise self.refusal(f"{method} {path}"',
        '        if "errors" in value:\n            raise self.refusal(f"{method} {path}"',
        (_BETWEEN + "test_an_error_in_an_answer_that_says_200_proves_nothing",),
    ),
    Mutant(
        "a licence is fetched from the hub by one spelling alone",
        "lora_trainer/models/hub.py",
        '"vocab.txt", *LICENSES]',
        '"vocab.txt", "LICENSE*"]',
        (_LICENCES + "test_the_licence_of_a_hub_model_is_fetched_with_it",),
    ),
    Mutant(
        "a folder of licences is a crash",
        "lora_trainer/models/folder.py",
        "except (UnicodeDecodeError, OSError):",
        "except UnicodeDecodeError:",
        (_LICENCES + "test_the_licence_in_a_folder_goes_into_ollama_and_with_what_is_made_of_that",),
    ),
    Mutant(
        "a dry run takes models out of Ollama's memory",
        "pipeline/checks/resources.py",
        " or job.request.dry_run:\n        return\n    hardware",
        ":\n        return\n    hardware",
        (
            "tests/pipeline/checks/test_preflight.py::"
            "test_ollama_gives_memory_back_only_where_the_training_would_lack_it",
        ),
    ),
    Mutant(
        "a model that Ollama converts is another one",
        "ollama_export/proof.py",
        'same = not parts or (parts == ["FROM"] and is_held(findings, greedy))',
        "same = not parts",
        (_GENERATIONS + "test_a_model_that_ollama_converts_when_it_is_loaded_is_published_and_stays_the_same",),
    ),
)
