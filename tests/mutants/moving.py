"""Bugs in how a run travels, and in what is cleaned up."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_HOSTILE = "tests/pipeline/travel/test_hostile.py::"
_TRAVEL = "tests/pipeline/travel/test_travel.py::"
_CLEANING = "tests/pipeline/cleaning/test_cleaning.py::"
_REFUSED = _HOSTILE + "test_what_is_no_run_is_refused_by_name_and_nothing_of_it_is_left"

MUTANTS = (
    Mutant(
        "a name in an archive may climb out of its folder",
        "pipeline/travel/archive.py",
        '{"", ".", ".."} & {*parts}',
        '{""} & {*parts}',
        (_REFUSED + "[a name that climbs]",),
    ),
    Mutant(
        "a link in an archive is a file like others",
        "pipeline/travel/archive.py",
        "if kind not in _KINDS:",
        "if kind is None:",
        (_REFUSED + "[a link]",),
    ),
    Mutant(
        "two names that differ in case are two files",
        "pipeline/travel/archive.py",
        'unicodedata.normalize("NFC", name).casefold()',
        'unicodedata.normalize("NFC", name)',
        (_REFUSED + "[a name that differs in case]",),
    ),
    Mutant(
        "a file in an archive may grow without measure",
        "pipeline/travel/archive.py",
        "info.file_size > _SMALL and",
        "False and",
        (_REFUSED + "[a bomb]",),
    ),
    Mutant(
        "the rows may be other ones than the record's",
        "pipeline/travel/fitting.py",
        'or rows.fingerprint != data["fingerprint"]',
        "",
        (_REFUSED + "[another dialogue]",),
    ),
    Mutant(
        "an adapter may bring code",
        "pipeline/travel/fitting.py",
        '    "auto_mapping": (None,),\n',
        "",
        (_REFUSED + "[an adapter that brings code]",),
    ),
    Mutant(
        "what was refused stays beside the runs",
        "pipeline/travel/adopting.py",
        "    finally:\n        shutil.rmtree(folder, ignore_errors=True)",
        "    finally:\n        pass",
        (_REFUSED + "[an adapter of another rank]",),
    ),
    Mutant(
        "the folder of the base model travels along",
        "pipeline/travel/packing.py",
        'config["base_model_name_or_path"] = record["base"]["source"]',
        "pass",
        (_TRAVEL + "test_what_is_packed_says_nothing_of_the_machine_but_the_base_models_name",),
    ),
    Mutant(
        "where the rows lay travels along",
        "pipeline/travel/packing.py",
        "file=cleaned(place_name(one.file))",
        "file=one.file",
        (_TRAVEL + "test_what_is_packed_says_nothing_of_the_machine_but_the_base_models_name",),
    ),
    Mutant(
        "any base model does for a run from elsewhere",
        "lora_trainer/models/recorded.py",
        "if not _are_same_weights(record, base, unless_known=weights_are_proven):",
        "if False:",
        (_TRAVEL + "test_another_base_model_is_refused_and_a_missing_one_is_named",),
    ),
    Mutant(
        "what didn't prove to be the recorded model stays",
        "wizard/work.py",
        'if is_new and not run.has_done("prove"):',
        "if False:",
        (_TRAVEL + "test_weights_that_are_not_the_recorded_ones_are_refused_and_nothing_is_left",),
    ),
    Mutant(
        "a folder is deleted under its own name",
        "pipeline/cleaning/removing.py",
        "    folder.rename(doomed)\n    shutil.rmtree(doomed)",
        "    shutil.rmtree(folder)",
        (_CLEANING + "test_a_kill_in_the_middle_leaves_nothing_that_looks_whole",),
    ),
    Mutant(
        "what somebody works on is cleaned up",
        "pipeline/cleaning/survey.py",
        "if history.is_at_work(folder):",
        "if False:",
        (_CLEANING + "test_what_somebody_works_on_is_neither_listed_nor_touched",),
    ),
    Mutant(
        "a backup that nobody else could make counts as one of ours",
        "pipeline/cleaning/of_ollama.py",
        "ours = [backup for backup in backups if backup.digest in known]",
        "ours = list(backups)",
        (_CLEANING + "test_older_backups_of_runs_are_proposed_and_what_nobody_can_make_again_is_not",),
    ),
    Mutant(
        "a temporary folder of a living process is a leftover",
        "pipeline/temporary.py",
        "and not psutil.pid_exists(int(match[1]))",
        "",
        (_CLEANING + "test_temporary_folders_are_known_by_their_process",),
    ),
    Mutant(
        "a base model that a run was trained on is nobody's",
        "pipeline/cleaning/of_bases.py",
        "if named.lower() == source.lower():",
        "if False:",
        (_CLEANING + "test_base_models_of_no_character_are_listed_and_never_proposed",),
    ),
)
