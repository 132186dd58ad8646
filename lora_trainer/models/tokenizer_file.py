"""Whether transformers makes of a folder's tokenizer.json what stands in it: for some families it has rules of its own.

Which of the two the base model was trained with nobody can tell from here; llama.cpp's converter asks transformers too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

PROBES = (
    "Hello, world! It's 3:45 pm; 12345 + 67 = 12412.",
    "你好，世界！“引号”……第12章\n\n　　他说：我们don't去。",
    "  two  spaces,\ttab\r\n\r\nend  ",
    "naïve café, ﬁne ½ Straße Привет こんにちは สวัสดี",
    "def f(x):\n    return x ** 2  # ok\n",
    "🙂👍🏽 (ﾟ∀ﾟ)",
)
"""Texts that the families cut differently, and that no normalisation to NFC changes."""


def cut_differently(folder: Path, tokenizer: Any) -> str | None:
    """A text of which `tokenizer`, that transformers made of a folder, makes other tokens than the folder's
    tokenizer.json; None where all are the same, or there is none that can be read.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    try:
        own = Tokenizer.from_file(str(path))
    except Exception:  # the library has one class for all that it can't read; transformers has read it in its own way
        return None
    for text in PROBES:
        if tokenizer(text, add_special_tokens=False).input_ids != own.encode(text, add_special_tokens=False).ids:
            return text
    return None
