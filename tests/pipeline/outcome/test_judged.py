"""A run is judged by what was kept with it."""

from __future__ import annotations

from pathlib import Path

from lora_trainer.data.dataset import Dataset
from lora_trainer.data.dialogues import Dialogue, Dialogues
from pipeline.outcome.asked import Answer, Asked, Comparison, Question, Side
from pipeline.outcome.judged import best_of, judge, judged_points, judged_runs
from pipeline.run import rows
from pipeline.run.history import History
from tests.support.past_runs import keep_rows, record_run

COMPARED = Comparison(
    None, Side("run", "linzhi", 1, 2.0), (Asked(Question("你好", "always"), None, Answer("嗯", True, 1)),), 42, {}
)


def test_a_run_with_its_rows_gets_a_card_that_its_record_keeps(tmp_path: Path) -> None:
    run = record_run(tmp_path, "2026-11-20T11:30:00+00:00", 2.0, comparison=COMPARED.to_record())
    keep_rows(run, ["在吗"], ["你好"])
    card = judge(run, History(tmp_path), None)
    assert card is not None and History(tmp_path).runs("linzhi")[0].record["card"]["verdict"] == card.verdict


def test_an_answer_that_isnt_learnt_is_none_that_could_be_recited_and_its_question_none_that_is_taught(
    tmp_path: Path,
) -> None:
    first, second = "今天书店里很安静，只有雨声和翻书的声音。", "（低头）我喜欢旧书，它们有阳光和灰尘的味道。"
    said = [Asked(Question(text, "typed"), None, Answer(first, True, 1)) for text in ("一", "二", "三")]
    comparison = Comparison(None, Side("run", "linzhi", 1, 2.0), tuple(said), 42, {})
    run = record_run(tmp_path, "2026-11-20T11:30:00+00:00", 2.0, comparison=comparison.to_record())
    marks = (((), 2, 2), ((0,), 0, 3), ((1,), 2, 2))
    for unlearnt, recited, untaught in marks:
        talk = [("user", "一"), ("assistant", first), ("user", "四"), ("assistant", second)]
        messages = tuple({"role": role, "content": text} for role, text in talk)
        train = Dialogues([Dialogue(messages, "a.jsonl", 1, unlearnt=unlearnt)])
        rows.keep_rows(run.folder, Dataset(train, Dialogues(), (), None, "", {}, split=False))
        card = judge(run, History(tmp_path), None)
        assert card is not None
        assert (card.facts["copied"], card.facts["untaught"]) == (recited, untaught)


def test_an_older_run_whose_rows_were_not_kept_is_not_judged(tmp_path: Path) -> None:
    run = record_run(tmp_path, "2026-11-20T11:30:00+00:00", 2.0, comparison=COMPARED.to_record())
    assert judge(run, History(tmp_path), None) is None and "card" not in run.record
    assert judged_runs([run]) == [(run, None)] and judged_points(run) == []


def test_of_several_lengths_the_last_is_recommended_or_the_latest_without_a_warning(tmp_path: Path) -> None:
    runs = [record_run(tmp_path, f"2026-11-20T11:3{at}:00+00:00", epochs) for at, epochs in enumerate((2.0, 4.0, 6.0))]
    for run, after in zip(runs, (3.4, 3.5, 3.6), strict=True):
        keep_rows(run, ["在吗"], ["你好"])
        run.update(training={**run.record["training"], "general_loss": {"before": 3.4, "after": after}})
    assert best_of(judged_runs(runs)) is runs[-1]
    runs[2].update(training={**runs[2].record["training"], "general_loss": {"before": 3.4, "after": 3.9}})
    assert best_of(judged_runs(runs)) is runs[1]
