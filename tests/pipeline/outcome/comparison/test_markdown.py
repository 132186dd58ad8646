"""comparison.md shows what was said as it was said, whatever that holds."""

from __future__ import annotations

import re
from html import unescape

import pytest
from markdown_it import MarkdownIt

from pipeline.outcome.asked import Answer, Asked, Comparison, Question, Side
from pipeline.outcome.comparison.markdown import comparison_markdown

NASTY = [
    "# heading\n## more\n---\n===\n- list\n+ list\n1. one\n12) twelve\n> quote",
    "*bold* _em_ `code` ~~gone~~ [a](javascript:alert(1)) ![i](x) <script>alert(1)</script> &lt; &amp; \\ | a | b |",
    "```\nfence\n```\n    indented\n\ttab\n\n\n<!-- comment -->",
    "https://example.org www.example.org me@example.org $x^2$ a:b C# 3.5 -1",
    "（低头）\x1b[31m红\x07色\u202e反\u2028新行\r\n下一行",
    "",
    "* * *\n_ _ _\n2024. 年",
]


def compared(text: str, *, stopped: bool = True) -> Comparison:
    answer = Answer(text, stopped, 3)
    asked = Asked(Question(text.replace("\n", " ") or "?", "typed"), None, answer)
    return Comparison(None, Side("run", "zz", 2, 3.5), (asked,), 42, {"temperature": 0.7, "top_k": 40})


def shown(markdown: str) -> str:
    """What a reader sees of it."""
    html = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(markdown)
    assert not re.search(r"<(script|a|img|table|ul|ol|em|s|code|pre|hr)\b", html.split("<h2>")[1]), html
    text = re.sub(r"<br />\n?|</p>\s*<p>", "\n", html.split("<blockquote>")[-1])
    return unescape(re.sub(r"<[^>]*>", "", text)).strip()


@pytest.mark.parametrize("text", NASTY)
def test_an_answer_is_shown_as_it_is_and_nothing_in_it_is_obeyed(text: str) -> None:
    found = shown(comparison_markdown("zz", compared(text)))
    visible = "".join(c if c.isprintable() or c in "\n\r\u2028" else " " for c in text)
    lines = [line.split() for line in re.split("\r\n|[\n\u2028]", visible)]
    assert [line.split() for line in found.split("\n") if line.strip()] == [line for line in lines if line]


def test_the_page_says_who_was_asked_and_how_in_both_languages() -> None:
    asked = Asked(
        Question("在吗？", "validation", "你是*别人*。"), Answer("我是助手", False, 256), Answer("在", True, 2)
    )
    before = Side("base", "Qwen/Qwen2.5-0.5B-Instruct")
    page = comparison_markdown("zz", Comparison(before, Side("run", "zz", 1, 2.0), (asked,), 42, {"temperature": 0.7}))
    assert "基座模型 / base model Qwen/Qwen2.5-0.5B-Instruct" in page
    assert "第 1 次训练 / run 1, 2.0 轮 / epochs" in page and "seed 42, temperature 0.7" in page
    assert r"系统提示词 / system prompt: 你是\*别人\*。" in page
    assert page.index("我是助手") < page.index("cut at the limit") < page.index("> 在")
    nobody = comparison_markdown("zz", compared("在"))
    assert "没有 / none" in nobody and "nobody to ask" in nobody
    other = comparison_markdown("zz", Comparison(Side("ollama", "zz"), Side("run", "zz", 1, 2.0), (asked,), 42))
    assert "Ollama 里的 / in Ollama: zz" in other
