"""Bugs in what becomes of a base model: found again, judged, and never let run."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_RECORDED = "tests/lora_trainer/models/test_recorded.py::"
_BASE_MODELS = "tests/lora_trainer/models/test_base_models.py::"
_PREFLIGHT = "tests/pipeline/checks/test_preflight.py::"
_RUNS = "tests/pipeline/test_base_model.py::"
_FOREIGN_CODE = "tests/ollama_export/gguf/test_foreign_code.py::"
_SAFETENSORS = "tests/file_formats/test_safetensors.py::"

MUTANTS = (
    Mutant(
        "an Ollama model's file is the one that its name has now",
        "ollama_export/server/models.py",
        "return _readable_gguf(name, known.with_name(file))",
        "return _readable_gguf(name, known)",
        (
            "tests/ollama_export/server/test_client.py::"
            "test_a_file_is_found_in_the_store_by_its_digest_whichever_model_holds_it",
        ),
    ),
    Mutant(
        "a file that only the server can see is said to be gone",
        "ollama_export/server/models.py",
        "        if not self.has_blob(digest):\n            return None\n        file",
        "        if not self.has_blob(digest) or not self.tags():\n            return None\n        file",
        ("tests/ollama_export/server/test_client.py::test_a_file_that_only_the_server_can_see_is_not_said_to_be_gone",),
    ),
    Mutant(
        "a hub model is downloaded as it is now",
        "lora_trainer/models/recorded.py",
        "hub.download(source, check_config, listener, revision)",
        "hub.download(source, check_config, listener)",
        (_RECORDED + "test_a_hub_model_is_known_by_its_commit",),
    ),
    Mutant(
        "a tokenizer that changed is not noticed",
        "lora_trainer/models/recorded.py",
        "if before is None:",
        "if before is not None:",
        (_RECORDED + "test_a_folder_is_known_by_its_weights_configuration_and_tokenizer",),
    ),
    Mutant(
        "a file of no matter makes a folder another model",
        "lora_trainer/models/folder.py",
        '_CONFIGURATION = ("config.json", ',
        '_CONFIGURATION = ("*.json", ',
        (_RECORDED + "test_a_folder_is_known_by_its_weights_configuration_and_tokenizer",),
    ),
    Mutant(
        "a folder that is gone is looked up on the hub",
        "lora_trainer/models/recorded.py",
        'if not source.startswith("modelscope:") and not Path(source).expanduser().exists():',
        'if source.startswith("/") and not Path(source).expanduser().exists():',
        (_RECORDED + "test_a_folder_is_known_by_its_weights_configuration_and_tokenizer",),
    ),
    Mutant(
        "a path means another folder from elsewhere",
        "lora_trainer/models/source.py",
        "return str(path.absolute()) if path.exists() else source",
        "return str(path) if path.exists() else source",
        (_BASE_MODELS + "test_a_path_is_remembered_so_that_it_means_the_same_from_everywhere",),
    ),
    Mutant(
        "a path that isn't there is looked up on the hub",
        "lora_trainer/models/source.py",
        "if rest and Path(first).is_dir():",
        "if rest and Path(source).is_dir():",
        (_BASE_MODELS + "test_what_begins_with_a_folder_that_is_there_is_a_path",),
    ),
    Mutant(
        "a model is trained on top of its own publication",
        "pipeline/run/base_model.py",
        'if request.base_model is not None and afresh and not source.startswith("ollama:"):',
        "if request.base_model is not None and afresh:",
        ("tests/pipeline/run/test_base_model.py::test_a_base_model_is_the_recorded_one_or_what_has_its_name_now",),
    ),
    Mutant(
        "another machine trains on whatever lies in the same place",
        "pipeline/run/processes.py",
        'if error.key in ("error.base.gone", "error.base.changed"):',
        'if error.key == "error.base.changed" and base.path.exists():\n            return base\n'
        '        if error.key in ("error.base.gone", "error.base.changed"):',
        (
            "tests/pipeline/run/test_base_model.py::"
            "test_a_machine_that_has_another_model_in_the_same_place_does_not_train_along",
        ),
    ),
    Mutant(
        "a dry run doesn't look whether there is a base model",
        "wizard/work.py",
        "here = draft.found or look_for(draft.base, draft.recorded, client, screen.listen)",
        "here = draft.found",
        (_RUNS + "test_a_dry_run_with_a_base_model_that_does_not_exist_says_so",),
    ),
    Mutant(
        "the converter trusts a folder's code",
        "ollama_export/gguf/worker.py",
        "        refuse_foreign_code(base)\n",
        "",
        (_FOREIGN_CODE + "test_a_folder_with_code_becomes_the_gguf_that_it_would_be_without",),
    ),
    Mutant(
        "pickles are opened",
        "ollama_export/gguf/foreign_code.py",
        'if event == "pickle.find_class":',
        'if event == "pickle.load":',
        (_FOREIGN_CODE + "test_a_folders_code_runs_in_no_loader_though_it_would",),
    ),
    Mutant(
        "code of the cache is run, into which loaders copy the folder's",
        "ollama_export/gguf/foreign_code.py",
        "_names(str(folder)) | _names(HF_MODULES_CACHE)",
        "_names(str(folder))",
        (_FOREIGN_CODE + "test_a_folders_code_runs_in_no_loader_though_it_would",),
    ),
    Mutant(
        "code is run that is a link to elsewhere, as everything in the hub's cache",
        "ollama_export/gguf/foreign_code.py",
        'os.path.split(getattr(arguments[0], "co_filename", ""))',
        'os.path.split(os.path.realpath(getattr(arguments[0], "co_filename", "")))',
        (_FOREIGN_CODE + "test_a_folders_code_runs_in_no_loader_though_it_would",),
    ),
    Mutant(
        "the converter takes a .bin where it finds no model*.safetensors",
        "ollama_export/gguf/from_folder.py",
        "    ModelBase.get_model_part_names = lambda *_: names\n",
        "",
        (_FOREIGN_CODE + "test_pickles_beside_the_weights_are_never_opened",),
    ),
    Mutant(
        "a bare assertion says nothing",
        "ollama_export/gguf/worker.py",
        "said = str(error).strip() or place.line",
        "said = str(error).strip()",
        (
            "tests/ollama_export/gguf/test_export.py::"
            "test_a_bare_assertion_of_the_converter_is_told_by_what_it_asserts_and_where",
        ),
    ),
    Mutant(
        "the first token without a row is let through",
        "lora_trainer/models/load.py",
        "if index >= rows)",
        "if index > rows)",
        (_PREFLIGHT + "test_tokens_that_the_embedding_has_no_rows_for_are_refused_before_the_converter_asserts_it",),
    ),
    Mutant(
        "llama.cpp is blamed for what our own table lacks",
        "pipeline/checks/preflight.py",
        'if base.kind == "gguf":\n                raise',
        'if base.kind == "folder":\n                raise',
        (_PREFLIGHT + "test_a_gguf_that_only_this_program_does_not_know_is_not_blamed_on_llama_cpp",),
    ),
    Mutant(
        "a model that chats by its TEMPLATE is said to have never learnt to",
        "pipeline/run/base_model.py",
        '.strip() in ("", "{{ .Prompt }}")',
        ".strip()",
        (_RUNS + "test_a_model_that_chats_by_the_template_beside_it_is_not_said_to_have_never_learnt_to",),
    ),
    Mutant(
        "missing weights are random numbers",
        "lora_trainer/models/load.py",
        '{*told["missing_keys"], *mismatched}',
        "{*mismatched}",
        (_BASE_MODELS + "test_weights_that_are_missing_or_of_another_shape_are_no_random_numbers",),
    ),
    Mutant(
        "weights of another shape are random numbers",
        "lora_trainer/models/load.py",
        '{*told["missing_keys"], *mismatched}',
        '{*told["missing_keys"]}',
        (_BASE_MODELS + "test_weights_that_are_missing_or_of_another_shape_are_no_random_numbers",),
    ),
    Mutant(
        "a configuration of a larger model is believed",
        "lora_trainer/models/load.py",
        "if needed > base.parameters:",
        "if needed > 4 * base.parameters:",
        (_BASE_MODELS + "test_a_configuration_of_a_larger_model_is_found_before_anything_is_made_of_it",),
    ),
    Mutant(
        "an adapter beside the weights is loaded with them",
        "lora_trainer/models/load.py",
        '    options["adapter_kwargs"] = {"subfolder": "none"}\n',
        "",
        (_BASE_MODELS + "test_an_adapter_beside_the_weights_is_not_part_of_the_base_model",),
    ),
    Mutant(
        "tensors that overlap are taken for whole",
        "file_formats/safetensors.py",
        "if entry.start != end:",
        "if entry.start > end:",
        (_SAFETENSORS + "test_a_head_that_the_library_would_refuse_is_broken",),
    ),
    Mutant(
        "an index may name files in other folders",
        "file_formats/safetensors.py",
        "if not names or any(Path(name).name != name for name in names):",
        "if not names:",
        (_SAFETENSORS + "test_an_index_that_names_no_files_beside_it_is_broken",),
    ),
)
