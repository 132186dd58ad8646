"""Bugs in the page of a run."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

ROOM = "wizard/page/"
PAGE, FLAG = "tests/wizard/page/test_page.py::", "tests/wizard/page/test_report_flag.py::"
MARKUP, STORY, CURVES = (f"tests/wizard/page/test_{name}.py::" for name in ("markup", "story", "curves"))
SAME = "tests/pipeline/outcome/test_validation.py::test_losses_are_compared_only_where_they_are_known_to_be_of_the_same"

MUTANTS = (
    Mutant(
        "an answer makes markup of its own",
        ROOM + "markup.py",
        "html.escape(lines.translate(_UNSHOWABLE))",
        "lines.translate(_UNSHOWABLE)",
        (MARKUP + "test_any_text_stays_text_for_a_browser_and_for_a_strict_parser",),
    ),
    Mutant(
        "a quote ends an attribute",
        ROOM + "markup.py",
        "html.escape(lines.translate(_UNSHOWABLE))",
        "html.escape(lines.translate(_UNSHOWABLE), quote=False)",
        (MARKUP + "test_any_attribute_stays_one_and_turns_no_direction",),
    ),
    Mutant(
        "half a surrogate pair keeps the page from being written",
        ROOM + "markup.py",
        '    **dict.fromkeys(range(0xD800, 0xE000), "\\ufffd"),\n',
        "",
        (PAGE + "test_the_worst_texts_are_shown_and_do_nothing",),
    ),
    Mutant(
        "a label turns the direction of writing",
        ROOM + "markup.py",
        "{text(plain(value))}",
        "{text(value)}",
        (MARKUP + "test_any_attribute_stays_one_and_turns_no_direction",),
    ),
    Mutant(
        "the page may load what it likes",
        ROOM + "report.py",
        '        element("meta", http_equiv="Content-Security-Policy", content=POLICY),\n',
        "",
        (PAGE + "test_the_page_of_a_record_without_anything_says_what_is_missing",),
    ),
    Mutant(
        "a full disk leaves half a page behind",
        "file_formats/durable.py",
        "            temporary.unlink(missing_ok=True)\n",
        "            pass\n",
        (
            PAGE + "test_a_page_is_replaced_whole_or_not_at_all",
            "tests/file_formats/test_durable.py::test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it",
        ),
    ),
    Mutant(
        "a page that can't be written fails the run",
        ROOM + "report.py",
        "    except OSError as error:\n        values",
        "    except ValueError as error:\n        values",
        (PAGE + "test_a_page_that_can_not_be_written_is_a_note",),
    ),
    Mutant(
        "a ladder's other rungs have no page",
        ROOM + "report.py",
        '    if not part(run.record, "request").get("ladder"):\n',
        "    if True:\n",
        (FLAG + "test_every_run_ends_with_its_page_and_so_does_every_rung_of_a_ladder",),
    ),
    Mutant(
        "losses on other validation rows are drawn as if they were the same",
        "pipeline/outcome/validation.py",
        "if source is not None and source == _source(other)",
        "if source == _source(other)",
        (SAME,),
    ),
    Mutant(
        "losses under another system prompt are compared",
        "pipeline/outcome/validation.py",
        'if record.get("system") != other.get("system"):',
        "if False:",
        (SAME,),
    ),
    Mutant(
        "a later run is drawn as an earlier one",
        ROOM + "story.py",
        "if other.number < run.number]",
        "if other.number != run.number]",
        (STORY + "test_only_earlier_runs_with_curves_are_drawn_and_the_continued_one_is_held_against",),
    ),
    Mutant(
        "a long earlier run presses this one flat",
        ROOM + "curves.py",
        " if epoch <= WIDENED * last",
        "",
        (CURVES + "test_an_earlier_run_widens_the_axes_but_does_not_press_this_one_flat",),
    ),
    Mutant(
        "a verdict that is bad looks good",
        ROOM + "head.py",
        "    if card.warnings or card.verdict in _AMISS:\n",
        "    if card.warnings:\n",
        (PAGE + "test_the_verdict_has_its_colour_and_what_warns_stands_under_it",),
    ),
    Mutant(
        "a browser is opened where nobody sees it",
        ROOM + "browser.py",
        " or any(environment.get(name) for name in _FAR)",
        "",
        (FLAG + "test_a_browser_is_opened_at_a_desk_only",),
    ),
    Mutant(
        "no page is made while the model is worked on",
        "wizard/steps/name.py",
        "    if not (request.dry_run or request.report):",
        "    if not request.dry_run:",
        (FLAG + "test_a_page_is_made_while_somebody_works_on_the_model",),
    ),
)
