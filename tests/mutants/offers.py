"""Bugs in what the chooser and the plan are told before anything is downloaded or trained."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_COST = "tests/pipeline/offers/test_cost.py::"
_DURATION = "tests/pipeline/offers/test_duration.py::"
_SIZE = "tests/pipeline/offers/test_data_size.py::"
_MODELS = "tests/pipeline/offers/test_base_models.py::"
_TYPED = "tests/pipeline/offers/test_typed.py::"
_REACH = "tests/pipeline/offers/test_reach.py::"
_MACHINE = "tests/pipeline/offers/test_machine.py::"

MUTANTS = (
    Mutant(
        "added epochs are priced as if all of them had to be computed",
        "pipeline/offers/cost.py",
        "max(shared.step if shared else 0, min(below, stable))",
        "min(below, stable)",
        (_COST + "test_added_epochs_cost_themselves",),
    ),
    Mutant(
        "a training on other rows is thought to go on from the last one",
        "pipeline/run/beginnings.py",
        '{**kept, "data": data, **_stable',
        "{**kept, **_stable",
        (
            "tests/pipeline/run/test_beginnings.py::test_what_is_not_shared_is_not_foreseen",
            _COST + "test_other_rows_another_device_or_library_share_nothing",
        ),
    ),
    Mutant(
        "the run of another base model says how long this one takes",
        "pipeline/offers/duration.py",
        'record["base"]["parameters"] == shape.parameters',
        'record["base"]["parameters"] > 0',
        (_DURATION + "test_a_run_of_another_shape_or_device_tells_nothing",),
    ),
    Mutant(
        "the system prompt counts once for every dialogue",
        "pipeline/offers/data_size.py",
        "trees += own + shared * max(1, -(-own // room))",
        "trees += own + shared * count",
        (_SIZE + "test_a_shared_prompt_counts_once_a_step",),
    ),
    Mutant(
        "a model of which a part is still being fetched counts as downloaded",
        "pipeline/offers/downloaded.py",
        "return all((folder / name)",
        "return any((folder / name)",
        (_MODELS + "test_a_model_in_several_files_is_here_when_all_of_them_are",),
    ),
    Mutant(
        "a hotel's page counts as the hub",
        "pipeline/offers/reach.py",
        ' and "html" not in answer.headers.get("content-type", "")',
        "",
        (_REACH + "test_nobody_and_a_portal_are_no_hub",),
    ),
    Mutant(
        "a quote in the name of a folder that is there is taken off",
        "pipeline/offers/typed.py",
        "    if _is_there(word):\n        return word\n",
        "",
        (_TYPED + "test_a_path_that_is_there_as_it_was_typed_stays_so",),
    ),
    Mutant(
        "whoever only looks at the chooser finds a folder for runs",
        "pipeline/offers/machine.py",
        "if self._found is not None and self._file.parent.is_dir():",
        "if self._found is not None and not self._file.parent.mkdir(parents=True, exist_ok=True):",
        (_MACHINE + "test_who_only_looks_leaves_no_folder_behind",),
    ),
)
