"""A comparison as Markdown beside the run, headed in both languages; whatever answers hold is shown as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from file_formats.durable import write_whole
from pipeline.outcome.asked import Answer, Comparison, Side
from pipeline.run.history import Run

NAME = "comparison.md"
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~&$@]|:(?=//)|(?<=www)\.|^[-+=]|(?<=^[0-9])[.)])", re.IGNORECASE)
"""What means something anywhere, makes a link of an address, or means something where it begins a line."""
_LONG_NUMBER = re.compile(r"^([0-9]{2,9})([.)])")
_LINE_ENDS = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def keep_markdown(run: Run, record: Mapping[str, Any]) -> None:
    """Write comparison.md beside a run's record, of a comparison as that is to have it."""
    text = comparison_markdown(run.record["name"], Comparison.from_record(record))
    write_whole(run.folder / NAME, text.encode("utf-8"))


def comparison_markdown(name: str, comparison: Comparison) -> str:
    """The whole page: who was asked and how, then each question with its answers."""
    before, after = _named(comparison.before), _named(comparison.after)
    sampled = ", ".join(f"{key} {value}" for key, value in comparison.parameters.items())
    lines = [
        f"# {escaped(name)}：训练前后对比 / before and after",
        "",
        f"- 前 / before: {before}",
        f"- 后 / after: {after}",
        f"- 同样的随机种子和采样 / the same seed and sampling: seed {comparison.seed}, {escaped(sampled)}",
    ]
    for number, one in enumerate(comparison.asked, 1):
        lines += ["", f"## {number}\\. {escaped(one.question.text)}", ""]
        if one.question.system is not None:
            lines += [f"系统提示词 / system prompt: {escaped(one.question.system)}", ""]
        lines += ["**前 / before**", "", *_quoted(one.before), "", "**后 / after**", "", *_quoted(one.after)]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """`text` on one line, as Markdown that shows it as it is: no markup, no control characters."""
    return _escaped_line(" ".join(text.split()))


def _quoted(answer: Answer | None) -> list[str]:
    """An answer as a quotation, its lines kept."""
    if answer is None:
        return ["> （没有可问的模型 / nobody to ask）"]
    lines = [_escaped_line(line.strip()) for line in _LINE_ENDS.split(answer.text)]
    # a backslash keeps the end of a line; an empty one is a paragraph's end
    ends = ["\\" if line and after else "" for line, after in zip(lines, [*lines[1:], ""], strict=True)]
    quoted = [f"> {line}{end}".rstrip() for line, end in zip(lines, ends, strict=True)]
    return quoted if answer.stopped else [*quoted, ">", "> （到上限为止，没有自己结束 / cut at the limit）"]


def _escaped_line(text: str) -> str:
    visible = "".join(character if character.isprintable() else " " for character in text).strip()
    return _LONG_NUMBER.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", visible))


def _named(side: Side | None) -> str:
    if side is None:
        return "没有 / none"
    if side.kind == "base":
        return f"基座模型 / base model {escaped(side.name)}"
    if side.kind == "ollama":
        return f"Ollama 里的 / in Ollama: {escaped(side.name)}"
    return f"第 {side.run} 次训练 / run {side.run}, {side.epochs} 轮 / epochs"
