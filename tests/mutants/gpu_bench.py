"""Bugs of `python -m bench.gpu`: a bench that finds nothing, or loses what it had."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

TESTS = "tests/bench/test_gpu.py"
FAULTS = f"{TESTS}::test_a_check_finds_a_fault_of_its_kind"

MUTANTS = (
    Mutant(
        "a check without a figure passes",
        "bench/gpu/checks/outcome.py",
        "if not self.figures:",
        "if self.figures is None:",
        (f"{TESTS}::test_a_figure_that_is_no_number_fails_and_no_figure_at_all_is_refused",),
    ),
    Mutant(
        "a figure that is not a number passes",
        "bench/gpu/checks/outcome.py",
        "all(figure <= limit for",
        "not any(figure > limit for",
        (f"{TESTS}::test_a_figure_that_is_no_number_fails_and_no_figure_at_all_is_refused",),
    ),
    Mutant(
        "no tensors at all are alike",
        "bench/gpu/checks/outcome.py",
        "if ours.keys() != theirs.keys() or not theirs:",
        "if ours.keys() != theirs.keys():",
        (f"{TESTS}::test_nothing_is_alike_to_nothing",),
    ),
    Mutant(
        "the reference is held against itself",
        "bench/gpu/checks/step.py",
        "alike(step_of(setup, hardware, tree=tree, recompute=recompute), reference(setup), dtype)",
        "alike(reference(setup), reference(setup), dtype)",
        (FAULTS,),
    ),
    Mutant(
        "memory is never short",
        "bench/gpu/checks/memory.py",
        "            if refuse(inputs[0], trainer):",
        "            if False:",
        (FAULTS,),
    ),
    Mutant(
        "going on is held against itself",
        "bench/gpu/checks/going_on.py",
        'return same(setup, plan, run(setup, plan, folder / "parts", resume=True), whole,',
        "return same(setup, plan, whole, whole,",
        (FAULTS,),
    ),
    Mutant(
        "a process that breaks off takes the other checks with it",
        "bench/gpu/__main__.py",
        'while rest and not self.is_late(f"{len(rest)} checks"):',
        'if rest and not self.is_late(f"{len(rest)} checks"):',
        (f"{TESTS}::test_a_process_that_breaks_off_fails_its_check_and_the_others_are_done",),
    ),
    Mutant(
        "shapes that don't fit are begun",
        "bench/gpu/__main__.py",
        "if self.needs[shape] > free:",
        "if self.needs[shape] > 10 * free:",
        (f"{TESTS}::test_shapes_that_do_not_fit_are_left_out_with_the_figures",),
    ),
    Mutant(
        "a training of ours that fails is no failure",
        "bench/gpu/report.py",
        '"failed" in one and one["contender"] in OURS',
        '"failed" in one and one["contender"] not in OURS',
        (f"{TESTS}::test_ours_failing_fails_the_run_and_another_trainer_failing_does_not",),
    ),
    Mutant(
        "ratios are against the slowest",
        "bench/gpu/report.py",
        "best = max(others",
        "best = min(others",
        (f"{TESTS}::test_several_rounds_count_by_their_median_and_another_loss_is_named",),
    ),
    Mutant(
        "prompts that are repeated in each sequence count as tokens",
        "bench/gpu/measure.py",
        "sum(len(rows[i].sequences[-1]) for i in chosen)",
        "sum(len(s) for i in chosen for s in rows[i].sequences)",
        (f"{TESTS}::test_tokens_are_the_dialogues_own_of_the_steps_that_count",),
    ),
    Mutant(
        "a hung part is waited for",
        "bench/gpu/parts.py",
        "                    patience = self._patience()\n",
        "                    patience = 60.0\n",
        (f"{TESTS}::test_a_part_that_hangs_is_ended_and_keeps_what_it_had_said",),
    ),
    Mutant(
        "nothing can be trained where datasets isn't installed",
        "lora_trainer/models/load.py",
        "with suppress(ImportError):",
        "with suppress(KeyError):",
        ("tests/lora_trainer/models/test_base_models.py::test_libraries_are_silenced_where_datasets_is_not_installed",),
    ),
)
