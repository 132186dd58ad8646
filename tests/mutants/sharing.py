"""Several processes on one Ollama, answers that servers break off, and work that grows where nobody looks."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

SHARED, TINY = "tests/ollama_export/server/test_shared_server.py", "tests/lora_trainer/models/test_base_models.py"
START = "tests/wizard/test_entry.py::test_what_answers_at_once_loads_no_heavy_package"

MUTANTS = (
    Mutant(
        "a GGUF that another process took along is not uploaded again",
        "ollama_export/server/client.py",
        "if not tries_left or not _lacks_layer(refused):",
        "if refused:",
        (f"{SHARED}::test_a_file_that_goes_with_another_model_before_it_is_used_is_uploaded_again",),
    ),
    Mutant(
        "whatever the refusal, a create is tried again",
        "ollama_export/server/client.py",
        "if not tries_left or not _lacks_layer(refused):",
        "if not tries_left:",
        (f"{SHARED}::test_another_refusal_is_told_at_once",),
    ),
    Mutant(
        "a model without one of its layers passes for made",
        "ollama_export/server/client.py",
        "                self.show(name)\n",
        "",
        (f"{SHARED}::test_a_model_that_loses_a_layer_while_it_is_made_is_made_again",),
    ),
    Mutant(
        "the rehearsal's model with an output layer of its own says anything",
        "lora_trainer/models/tiny.py",
        "            wanted.copy_(given)\n",
        "            pass\n",
        (f"{TINY}::test_a_tiny_model_has_the_architecture_and_the_tokenizer",),
    ),
    Mutant(
        "the layers of the rehearsal's model outweigh its embedding",
        "lora_trainer/models/tiny.py",
        "_LOUD = 100",
        "_LOUD = 1",
        (f"{TINY}::test_a_tiny_model_has_the_architecture_and_the_tokenizer",),
    ),
    Mutant(
        "each validation row is compared with every training row",
        "lora_trainer/data/reading.py",
        "for dialogue in val if dialogue.key in lines]",
        "for dialogue in val if dialogue.key in list(lines)]",
        (
            "tests/lora_trainer/data/test_dataset.py::"
            "test_a_row_is_looked_up_among_the_others_and_not_compared_with_each",
        ),
    ),
    Mutant(
        "help reads the run records first",
        "wizard/command_line.py",
        "def help_text() -> str:\n",
        "def help_text() -> str:\n    import pipeline.run.history\n",
        (START,),
    ),
    Mutant(
        "the history asks for a model first",
        "wizard/history/listing.py",
        "    there = _stands(history, screen, runs)\n",
        "    import torch\n\n    there = _stands(history, screen, runs)\n",
        (START,),
    ),
)
