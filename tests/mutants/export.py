"""Bugs in what is written for Ollama: weights of the wrong kind, a template that no server can read."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

K_QUANTS = "ollama_export/gguf/k_quants.py"
HEAD_START = "ollama_export/gguf/head_start.py"
LORA_DELTA = "ollama_export/gguf/lora_delta.py"
FROM_GGUF = "ollama_export/gguf/from_gguf.py"
ROUNDING = "ollama_export/gguf/rounding.py"
SERVING = "ollama_export/gguf/serving_metadata.py"
TEMPLATE = "ollama_export/template.py"
MODELFILE = "ollama_export/modelfile.py"
MIXED = "tests/ollama_export/gguf/test_k_quants.py::test_each_matrix_has_the_bits_that_llama_quantize_gives_it"
SHORT = "tests/ollama_export/gguf/test_k_quants.py::"
SHORT += "test_rows_of_no_whole_number_of_blocks_get_a_type_of_smaller_ones_or_stay_in_16_bits"
TIED = "tests/ollama_export/gguf/test_k_quants.py::test_an_embedding_that_is_the_output_too_has_the_outputs_bits"
JOINED = "tests/ollama_export/gguf/test_k_quants.py::test_one_matrix_for_queries_keys_and_values_has_the_values_bits"
RECORDED = "tests/ollama_export/gguf/test_llama_quantize.py::"
RECORDED += "test_every_matrix_has_the_type_that_llama_quantize_gave_it"
EXPORTED = "tests/ollama_export/gguf/test_export.py::"
FAMILIES = "tests/ollama_export/gguf/test_families.py::"
GO = "tests/ollama_export/test_template.py::test_go_renders_the_template_as_the_training_prompt"
JINJA = "tests/ollama_export/test_template.py::test_llama_cpp_renders_the_chat_template_as_the_training_prompt"

MUTANTS = (
    Mutant(
        "a medium mix gives no layer more bits",
        K_QUANTS,
        "return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2",
        "return False",
        (f"{MIXED}[q4_K_M]",),
    ),
    Mutant(
        "a medium mix gives the last layers no more bits",
        K_QUANTS,
        " or index >= 7 * count // 8",
        "",
        (f"{MIXED}[q5_K_M]",),
    ),
    Mutant(
        "q5_K_M gives values and down projections as few bits as the rest",
        K_QUANTS,
        'if file_type in ("q4_K_M", "q5_K_M") and _more_bits(index, count):',
        'if file_type == "q4_K_M" and _more_bits(index, count):',
        (f"{MIXED}[q5_K_M]",),
    ),
    Mutant(
        "q4_K_S gives the first values no more bits",
        K_QUANTS,
        'elif file_type == "q4_K_S" and index < 4:',
        'elif file_type == "q4_K_S" and index < 0:',
        (f"{MIXED}[q4_K_S]",),
    ),
    Mutant(
        "q3_K_M gives the attention's output 3 bits",
        K_QUANTS,
        "kind = Q4_K",
        "kind = Q3_K",
        (f"{MIXED}[q3_K_M]",),
    ),
    Mutant(
        "the output layer has no more bits than the rest",
        K_QUANTS,
        "kind = Q8_0 if falls_back or kind == Q8_0 else Q6_K",
        "kind = Q8_0 if falls_back else kind",
        (f"{MIXED}[q4_K_M]",),
    ),
    Mutant(
        "an embedding that is the output too has no more bits than the rest",
        K_QUANTS,
        ' or (name in EMBEDDINGS and "output.weight" not in names)',
        "",
        (TIED,),
    ),
    Mutant(
        "a joined matrix of queries, keys and values has no more bits than the rest",
        K_QUANTS,
        ', "attn_qkv.weight"',
        "",
        (JOINED,),
    ),
    Mutant(
        "layers that are quantised already aren't counted",
        K_QUANTS,
        "if not _may_be_quantised(tensor):",
        "if tensor.type not in FLOATS or not _may_be_quantised(tensor):",
        ("tests/ollama_export/gguf/test_k_quants.py::test_a_layer_that_is_quantised_already_is_counted_all_the_same",),
    ),
    Mutant(
        "eight experts have their values in as few bits as the rest",
        K_QUANTS,
        "return Q8_0 if shape.experts == 8 else kind",
        "return kind",
        (f"{RECORDED}[8 experts]",),
    ),
    Mutant(
        "more is rounded ahead than there is room for",
        HEAD_START,
        "room -= tensor.size",
        "room -= 0",
        ("tests/ollama_export/gguf/test_head_start.py::test_no_more_waits_in_memory_than_there_is_room_for",),
    ),
    Mutant("short rows in 5 bits get 4", K_QUANTS, "Q5_K: Q5_1", "Q5_K: Q4_0", (SHORT,)),
    Mutant("short rows in 6 bits get 5", K_QUANTS, "Q6_K: Q8_0", "Q6_K: Q5_1", (SHORT,)),
    Mutant(
        "six digits where Go wants eight",
        TEMPLATE,
        "{code:08x}",
        "{code:06x}",
        (GO,),
    ),
    Mutant("as few digits as a character needs where Go wants four", TEMPLATE, "{code:04x}", "{code:x}", (GO,)),
    Mutant("four digits for every character", TEMPLATE, "if code < 0x10000 else", "if code else", (GO,)),
    Mutant(
        "six digits where Go wants eight in what the Modelfile can't hold",
        MODELFILE,
        "{ord(c):08x}",
        "{ord(c):06x}",
        ("tests/ollama_export/test_modelfile.py::test_characters_that_the_parser_drops_survive_in_the_template",),
    ),
    Mutant(
        "a quotation mark ends a constant",
        TEMPLATE,
        """if character in '"\\\\':""",
        """if character in '\\\\':""",
        (GO, JINJA),
    ),
    Mutant(
        "a rank-stabilised adapter is merged as a plain one",
        LORA_DELTA,
        'if config.get("use_rslora") else alpha / rank',
        'if config.get("rslora") else alpha / rank',
        (EXPORTED + "test_half_precision_rslora_and_ranks_and_alphas_by_module_merge_as_in_peft",),
    ),
    Mutant(
        "an alpha of a module's own is ignored",
        LORA_DELTA,
        'config.get("alpha_pattern")',
        "None",
        (EXPORTED + "test_half_precision_rslora_and_ranks_and_alphas_by_module_merge_as_in_peft",),
    ),
    Mutant(
        "an adapter with biases is merged without them",
        LORA_DELTA,
        ', "lora_bias")',
        ")",
        (EXPORTED + "test_an_adapter_that_is_not_a_plain_lora_is_refused",),
    ),
    Mutant(
        "a delta of Llama's keys keeps transformers' order of rows",
        FROM_GGUF,
        'name.endswith(("attn_q.weight", "attn_k.weight"))',
        'name.endswith("attn_q.weight")',
        (FAMILIES + "test_the_deltas_find_their_tensors_in_a_base_that_is_a_gguf[llama]",),
    ),
    Mutant(
        "a weight too large for 16 bits becomes infinite",
        ROUNDING,
        "max(rows.max(), -rows.min())",
        "rows.max()",
        (EXPORTED + "test_weights_too_large_for_f16_are_refused",),
    ),
    Mutant(
        "BOS is added where it isn't wanted",
        SERVING,
        "encode(add_bos, BOOL)",
        "encode(True, BOOL)",
        (EXPORTED + "test_the_conversation_keys_are_written_as_asked",),
    ),
    Mutant(
        "the base's end token stays the end of a turn",
        SERVING,
        'metadata[f"tokenizer.ggml.{name}_token_id"] = encode(number, UINT32)',
        'metadata.setdefault(f"tokenizer.ggml.{name}_token_id", encode(number, UINT32))',
        (EXPORTED + "test_the_conversation_keys_are_written_as_asked",),
    ),
    Mutant(
        "the user's Ctrl-C ends the export before the work can end in order",
        "ollama_export/gguf/worker.py",
        "    signal.signal(signal.SIGINT, signal.SIG_IGN)\n",
        "",
        (EXPORTED + "test_a_ctrl_c_that_reaches_the_worker_is_not_its_to_obey",),
    ),
)
