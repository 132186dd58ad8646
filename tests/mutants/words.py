"""Bugs in what is said of failures, and in what is done where a record or an adapter is broken."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ADAPTERS = "tests/pipeline/run/test_adapters.py::"
_RECORDS = "tests/pipeline/run/test_broken_records.py::"
_CLIENT = "tests/ollama_export/server/test_client.py::"
_PROXIES = "tests/pipeline/test_proxies.py::"
_UNKNOWN = "tests/wizard/test_unknown_ollama.py::"
_DATASET = "tests/lora_trainer/data/test_dataset.py::"

MUTANTS = (
    Mutant(
        "an adapter gets its name before its bytes are on the disk",
        "lora_trainer/engine/checkpoints.py",
        "    _sync(fresh)\n",
        "",
        (_ADAPTERS + "test_an_adapter_is_on_the_disk_before_it_has_its_name",),
    ),
    Mutant(
        "an adapter of zeros is taken for whole",
        "lora_trainer/engine/checkpoints.py",
        "        read_head(weights)\n",
        "        weights.stat()\n",
        (_ADAPTERS + "test_what_a_power_cut_leaves_of_an_adapter_is_no_adapter",),
    ),
    Mutant(
        "a path among an error's values crashes the journal",
        "pipeline/run/record.py",
        "indent=1, default=str)",
        "indent=1)",
        (_RECORDS + "test_a_record_takes_what_json_has_no_word_for",),
    ),
    Mutant(
        "a file name that isn't UTF-8 crashes the journal",
        "pipeline/run/record.py",
        ', errors="backslashreplace")',
        ")",
        (_RECORDS + "test_a_record_takes_what_json_has_no_word_for",),
    ),
    Mutant(
        "a run with a broken record vanishes in silence",
        "pipeline/run/history.py",
        "if broken.path.exists() or",
        "if",
        (_RECORDS + "test_a_broken_record_is_told_also_where_nothing_else_is_left",),
    ),
    Mutant(
        "an Ollama that is down has no model",
        "wizard/steps/existing.py",
        '"ask.exists_trained" if stands.in_ollama is None else "ask.exists_unregistered"',
        '"ask.exists_unregistered"',
        (_UNKNOWN + "test_a_model_is_not_called_unregistered_by_an_ollama_that_is_down",),
    ),
    Mutant(
        "a name that Ollama may have is called unknown to it",
        "wizard/steps/existing.py",
        "        if stands.run is None and request.wants_continuation:\n",
        "        if stands.run is None and request.register_only:\n",
        (_UNKNOWN + "test_whether_there_is_something_to_continue_is_not_guessed",),
    ),
    Mutant(
        "/v1 at the end of OLLAMA_HOST is a model that isn't there",
        "ollama_export/server/transport.py",
        "        if status == 404 and response.request.method",
        "        if status == 410 and response.request.method",
        (_CLIENT + "test_a_path_of_the_api_at_the_end_of_the_host_is_to_be_taken_off",),
    ),
    Mutant(
        "a proxy's password is shown",
        "lora_trainer/proxies.py",
        'scheme + found + rest.rpartition("@")[2]',
        "value",
        (_PROXIES + "test_a_socks_proxy_without_its_package_is_named_with_the_package_and_not_the_repository",),
    ),
    Mutant(
        "an empty system message is a fault",
        "lora_trainer/data/formats.py",
        "for turn in found if not _says_nothing(turn)]",
        "for turn in found]",
        (_DATASET + "test_an_empty_system_message_is_no_system_message",),
    ),
)
