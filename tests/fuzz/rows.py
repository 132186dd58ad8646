"""Files of dialogues as people have them, with a share of their rows changed: lines, an array, a table, parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from random import Random
from typing import Any

from tests.fuzz.mutations import TEXTS, changed, damaged, plain

ROWS_OF_A_FILE = 10
_CODECS = ("utf-8",) * 6 + ("utf-8-sig", "gb18030", "big5", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252")
_HEADS = (("问", "答"), ("Question", "Answer"), ("prompt", "completion"), ("instruction", "output"), ("标题", "正文"))


def _row(number: int) -> Any:
    """A good row of some format."""
    talk = [("system", "你是林栀。"), ("user", f"第{number}问？ 🙂"), ("assistant", f"（点头）{number}")]
    user, answer = {"role": "user", "content": "a"}, {"role": "assistant", "content": f"b{number}"}
    kinds: tuple[Any, ...] = (
        {"messages": [{"role": role, "content": text} for role, text in talk], "style": "x", "category": "y"},
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": f"b{number}"}], "system": "s"},
        {"instruction": "a", "input": "b", "output": f"c{number}", "history": [["d", "e"]]},
        {"prompt": "a", "completion": f"b{number}"},
        {"prompt": [user], "response": [answer]},
        {"messages": [{**user, "content": [{"type": "text", "text": "a"}]}, answer]},
        {"messages": [user, {**answer, "weight": number % 2}, user, {**answer, "train": True}]},
        {"messages": [{"role": "developer", "content": "s"}, user, {"role": "assistant", "tool_calls": [{"id": "1"}]},
                      {"role": "tool", "content": "{}"}, {**answer, "reasoning_content": "hm"}]},
        {"messages": [user, {**answer, "content": f"<think>hm</think>\n\n{number}"}]},
        {"conversation": [{"role": "用户", "text": "a"}, {"role": "bot", "text": f"<|im_start|>{number}"}]},
        {"问": "a", "答": f"b{number}"},
    )  # fmt: skip
    return kinds[number % len(kinds)]


def _rows(chance: Random, share: float) -> list[bytes]:
    rows = [_row(chance.randrange(1000)) for _ in range(ROWS_OF_A_FILE)]
    raw = [plain(changed(row, chance) if chance.random() < share else row, chance) for row in rows]
    return [damaged(line, chance) if chance.random() < share / 6 else line for line in raw]


def _share(chance: Random) -> float:
    return chance.choice((0, 0.05, 0.3, 0.8))


def _encoded(data: bytes, chance: Random) -> bytes:
    codec = chance.choice(_CODECS)
    return data if codec == "utf-8" else data.decode("utf-8", "replace").encode(codec, "replace")


def _lines(chance: Random) -> bytes:
    return _encoded(b"\n".join(_rows(chance, _share(chance))) + chance.choice((b"", b"\n")), chance)


def _array(chance: Random) -> bytes:
    between, around = chance.choice(((b",", b""), (b",\n", b"\n"), (b", \r\n", b" ")))
    end = chance.choice((b"]", b"]", b"]", b",]", b"", b"]\n[]"))
    return _encoded(b"[" + around + between.join(_rows(chance, _share(chance))) + around + end, chance)


def _table(chance: Random) -> bytes:
    share, text = _share(chance), io.StringIO()
    table = csv.writer(text, delimiter=chance.choice(",\t;|"), lineterminator=chance.choice(("\n", "\r\n", "\r")))
    table.writerow([*chance.choice(_HEADS), "system", "style"])
    for number in range(ROWS_OF_A_FILE):
        cells = [f'"{number}", 好吗？', f"（点头）\n{number}", "s", "x"]
        if chance.random() < share:
            cells[chance.randrange(4)] = chance.choice(TEXTS)
            cells = cells[: chance.randint(0, 4)] + chance.choice(([], [], ["y"]))
        table.writerow(cells)
    data = text.getvalue().encode("utf-8", "surrogatepass")
    return _encoded(damaged(data, chance) if chance.random() < share / 2 else data, chance)


def _parquet(chance: Random) -> bytes:
    import pyarrow
    from pyarrow import parquet

    numbers = range(ROWS_OF_A_FILE)
    talks = [
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": f"b{n}", "weight": n % 2}] for n in numbers
    ]
    columns: dict[str, Any] = chance.choice(
        (
            {"messages": talks, "picture": [b"\0" * 9 for _ in numbers]},
            {"prompt": [f"a{n}" for n in numbers], "response": [chance.choice(("b", "", None)) for _ in numbers]},
            {"question": [1.5] * ROWS_OF_A_FILE, "answer": [b"\xff"] * ROWS_OF_A_FILE},
            {"title": ["a"]},
        )
    )
    written = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), written, compression=chance.choice(("none", "snappy", "gzip", "zstd")))
    data = written.getvalue()
    return damaged(data, chance) if chance.random() < 0.4 else data


LAYOUTS: tuple[tuple[float, Callable[[Random], bytes]], ...] = ((4, _lines), (2, _array), (2, _table), (2, _parquet))
"""Weight, and what makes such a file."""
