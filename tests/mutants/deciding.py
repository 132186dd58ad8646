"""Bugs in what is asked before anything is replaced, and in the points along the way."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

RUN, POINTS, STANDING = "pipeline/run/run.py", "pipeline/outcome/points.py", "pipeline/run/standing.py"
STAGES, PUBLISHING = "pipeline/stages.py", "pipeline/publishing.py"
TIDYING = "pipeline/tidying.py"
WIZARD, DECISION = "wizard/work.py", "wizard/steps/decision.py"
MEANT = "tests/pipeline/run/test_standing.py::"
KEPT = "tests/pipeline/outcome/test_points.py::"
ASKED = "tests/wizard/test_decision.py::"
APART = KEPT + "test_a_point_and_the_end_are_two_models_each_held_against_its_own_files"
TAKEN = ASKED + "test_another_point_can_be_taken_and_counts_as_the_runs_length"

WARNED = ASKED + "test_where_a_warning_stands_an_earlier_point_is_recommended_and_the_warning_told"
CARDS = "tests/pipeline/outcome/report_card/test_report.py::"

MUTANTS = (
    Mutant(
        "publishing is recommended whatever came out",
        DECISION,
        'flag="--yes", first=first))',
        'flag="--yes", first="publish"))',
        (WARNED,),
    ),
    Mutant(
        "of several lengths the last is recommended whatever is known of it",
        "pipeline/outcome/judged.py",
        "[card.warnings if card else () for _, card in judged]",
        "[() for _ in judged]",
        (
            "tests/pipeline/outcome/test_judged.py"
            "::test_of_several_lengths_the_last_is_recommended_or_the_latest_without_a_warning",
        ),
    ),
    Mutant(
        "an answer that was taught to several questions is a copy",
        "pipeline/outcome/report_card/warnings.py",
        "COPIED + taught.recurring",
        "COPIED",
        (CARDS + "test_where_an_answer_is_taught_to_several_questions_to_give_it_to_one_more_is_no_copy",),
    ),
    Mutant(
        "what was declined is offered as unfinished",
        RUN,
        'return self.record["status"] == "declined"',
        "return False",
        (MEANT + "test_what_was_declined_is_never_unfinished_nor_taken_for_what_stands",),
    ),
    Mutant(
        "a run that waits is forgotten behind one that was declined",
        RUN,
        "next((run for run in newest_first if not run.is_declined), None)",
        "next(iter(newest_first), None)",
        (MEANT + "test_a_run_that_waits_goes_on_by_the_same_request_and_is_never_trained_again",),
    ),
    Mutant(
        "a ladder that waits is climbed again",
        STANDING,
        "(not request.ladder or _is_climbed(history, run))",
        "not request.ladder",
        (MEANT + "test_of_a_ladder_that_waits_nothing_is_climbed_again",),
    ),
    Mutant(
        "an earlier ladder's rungs are this one's",
        STANDING,
        "if (other.plan.epochs - last.plan.epochs) * way <= 0:",
        "if other.plan.epochs == last.plan.epochs:",
        (MEANT + "test_of_a_ladder_that_waits_nothing_is_climbed_again",),
    ),
    Mutant(
        "a run that was decided about waits on",
        STAGES,
        'status="waiting" if until == "prove" else "trained"',
        'status="trained"',
        (ASKED + "test_escape_lets_it_wait_with_zero_and_tells_the_way_back",),
    ),
    Mutant(
        "a point is held against the end's weights",
        PUBLISHING,
        "return others.pop(run.adapter_name(run.point), {}), others",
        "return made, others",
        (APART,),
    ),
    Mutant(
        "another point's file is taken for the one that is wanted",
        PUBLISHING,
        'other = other or made.get("adapter", "adapter") != run.adapter_name(run.point)',
        "other = bool(other)",
        (TAKEN,),
    ),
    Mutant(
        "what is wanted is counted, not what stands",
        RUN,
        'return published[-1].get("point") if published else self.point',
        "return self.point",
        (APART,),
    ),
    Mutant(
        "a published point counts as the whole run",
        RUN,
        'replace(self.plan, epochs=float(point["epochs"]))',
        "self.plan",
        (KEPT + "test_added_epochs_are_added_to_the_point", TAKEN),
    ),
    Mutant(
        "the point that is published is deleted",
        POINTS,
        '{*keep, *(point["step"] for point in (run.point, run.taught_point) if point)}',
        "{*keep}",
        (KEPT + "test_the_points_that_nothing_needs_go_and_the_record_tells_of_the_others",),
    ),
    Mutant(
        "the checkpoint before a point goes with the others",
        TIDYING,
        'wanted.add(max((step for step in checkpoints.steps() if step <= run.taught_point["step"]), default=0))',
        "pass",
        (KEPT + "test_they_go_on_from_the_checkpoint_that_is_kept_at_the_point",),
    ),
    Mutant(
        "whoever leaves with Esc has taken the new one",
        DECISION,
        'return Decision("wait", run)',
        'return Decision("publish", run)',
        (ASKED + "test_escape_lets_it_wait_with_zero_and_tells_the_way_back",),
    ),
    Mutant(
        "a note is thrown away",
        WIZARD,
        "decided.run.update(note=decided.note)",
        "pass",
        (ASKED + "test_taking_the_new_one_replaces_the_old_one_which_stays_as_a_backup",),
    ),
)
