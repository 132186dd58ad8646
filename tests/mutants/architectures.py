"""Bugs in what makes a model of any architecture trainable: its layers, its text model, its ends, its rows."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

LAYERS, TOWER = "lora_trainer/models/layers.py", "lora_trainer/models/text_tower.py"
CHAINS, BATCHING, FUSED = (f"lora_trainer/engine/{name}.py" for name in ("chains", "batching", "fused_layers"))
_MODELS, _ENGINE = "tests/lora_trainer/models", "tests/lora_trainer/engine"
KINDS = f"{_MODELS}/test_layers.py::test_every_linear_layer_gets_one_but_experts_routers_and_what_is_no_layer"
SAME = f"{_MODELS}/test_text_tower.py::test_it_computes_what_the_whole_model_computes_of_a_text"
ALONE = f"{_ENGINE}/test_chains.py::test_loss_and_gradients_are_those_of_each_sequence_alone"
OFTEN = f"{_ENGINE}/test_chains.py::test_every_continuation_is_learnt_as_often_as_it_is_there"
RUNS = "tests/pipeline/test_base_model.py::"

MUTANTS = (
    Mutant(
        "a router gets an adapter",
        LAYERS,
        " or own in _ROUTERS",
        "",
        (f"{KINDS}[qwen2_moe-kinds0-True]",),
    ),
    Mutant(
        "what no kernel calls as a layer gets an adapter",
        LAYERS,
        ' and own != "in_proj"',
        ' and own == "out_proj"',
        (f"{KINDS}[falcon_mamba-kinds5-False]",),
    ),
    Mutant(
        "PEFT is taken at its word which layers have an adapter",
        LAYERS,
        "        if names and _takes(empty(), attach, names):\n",
        "        if names:\n",
        (KINDS,),
    ),
    Mutant(
        "experts that stay as they are aren't told",
        "pipeline/checks/preflight.py",
        "    if layers.experts:\n",
        "    if False:\n",
        (RUNS + "test_experts_stay_as_they_are_which_is_told_and_the_rest_learns",),
    ),
    Mutant(
        "that a published model sees nothing isn't told",
        "pipeline/checks/preflight.py",
        "    if takes_more_than_text(base):\n",
        "    if False:\n",
        (RUNS + "test_of_a_model_that_sees_the_text_model_is_trained_and_published_and_that_is_told_before",),
    ),
    Mutant(
        "a wrapper's own word for its output layer is taken",
        TOWER,
        "    text.tie_word_embeddings = text_prefixes(names)[1] is None\n",
        "",
        (f"{_MODELS}/test_text_tower.py::test_whether_the_output_layer_is_the_embedding_is_what_the_files_say",),
    ),
    Mutant(
        "weights of what sees count as the text model's",
        "lora_trainer/models/folder.py",
        "if name in own)",
        "if own)",
        (SAME,),
    ),
    Mutant(
        "a part that is null makes a wrapper",
        TOWER,
        "any(config.get(name) for name in _OTHERS)",
        "any(name in config for name in _OTHERS)",
        (f"{_MODELS}/test_text_tower.py::test_a_part_for_images_that_is_null_is_none",),
    ),
    Mutant(
        "a function of ours gives a view",
        FUSED,
        "        ctx.scale = layer[-1]\n        return out\n",
        "        ctx.scale = layer[-1]\n        return out.view(out.shape)\n",
        (f"{ALONE}[olmo]",),
    ),
    Mutant(
        "a shared expert is the last block",
        FUSED,
        "last.fullmatch(name)",
        "True",
        (ALONE,),
    ),
    Mutant(
        "sequences that only begin alike are one row",
        CHAINS,
        ".ids[: len(read[number])] != read[number]:",
        ".ids[: len(read[number]) - 1] != read[number][:-1]:",
        (OFTEN, ALONE),
    ),
    Mutant(
        "what is there twice is learnt once",
        CHAINS,
        "self.wanted.get(key, 0) + 1",
        "1",
        (OFTEN,),
    ),
    Mutant(
        "a sequence behind all others belongs to no process",
        BATCHING,
        "min((2 * done + tokens) * processes // (2 * total), processes - 1)",
        "(2 * done + tokens) * processes // (2 * total)",
        (f"{_ENGINE}/test_batching.py::test_processes_share_a_step_without_rest",),
    ),
    Mutant(
        "a dialogue's turns are dealt to several processes",
        BATCHING,
        "    ordered = sorted(items, key=read_ids)\n",
        "    ordered = sorted(items, key=len)\n",
        (f"{_ENGINE}/test_batching.py::test_processes_compute_what_is_shared_once",),
    ),
    Mutant(
        "what a killed process was deleting stays for ever",
        "lora_trainer/engine/checkpoints.py",
        'f"deleting-{other}"))\n        self._finish_deleting()\n',
        'f"deleting-{other}"))\n',
        (f"{_ENGINE}/test_checkpoints.py::test_what_a_killed_process_was_deleting_goes_with_the_others",),
    ),
    Mutant(
        "a run that goes on is computed as the memory of the moment has it",
        "lora_trainer/train.py",
        "memory = use or fit_memory(",
        "memory = fit_memory(",
        ("tests/lora_trainer/test_train.py::test_a_run_goes_on_in_the_way_it_began_whatever_memory_is_free_then",),
    ),
    Mutant(
        "the end that the family really ends with isn't taught",
        "lora_trainer/chat_format.py",
        "next((end for end in ends if user_before.startswith(end)), EOS)",
        "EOS",
        (
            "tests/lora_trainer/test_chat_format.py::"
            "test_where_the_template_writes_no_end_the_one_is_taught_that_the_next_turn_begins_with",
        ),
    ),
    Mutant(
        "the GGUF knows one end of a family's several",
        "ollama_export/gguf/serving_metadata.py",
        "(end_of_turn, *(others or [end_of_turn]))",
        "(end_of_turn, end_of_turn)",
        (
            "tests/ollama_export/llama_cpp/test_engine.py::"
            "test_each_token_that_the_family_ends_an_answer_with_ends_it[<|im_start|>]",
        ),
    ),
)
