"""The encodings in which people's dialogues are found are told apart by their bytes."""

from __future__ import annotations

import codecs
import random

import pytest

from lora_trainer.data.encodings import NAMES, codec_of

SIMPLE = "你好，请介绍一下自己。（低头）我是林栀……在书店里卖诗集，今天下雨了呢。"
TRADITIONAL = "你好，請介紹一下自己。（低頭）我是林梔……在書店裡賣詩集，今天下雨了呢。"
ENGLISH = 'They said: "It’s a café – or isn’t it?"'


@pytest.mark.parametrize(
    ("text", "written", "read"),
    [
        (SIMPLE, "utf-8", "utf-8"),
        (SIMPLE, "utf-8-sig", "utf-8-sig"),
        (SIMPLE, "gb18030", "gb18030"),
        (SIMPLE, "gbk", "gb18030"),
        (SIMPLE + "🌸", "gb18030", "gb18030"),
        (TRADITIONAL, "big5", "big5"),
        ("用户,角色\n" + SIMPLE[:6], "gbk", "gb18030"),
        ("用戶,角色\n" + TRADITIONAL[:6], "big5", "big5"),
        ('{"a": "' + SIMPLE + '"}', "utf-16", "utf-16"),
        ('{"a": "' + SIMPLE + '"}', "utf-16-le", "utf-16-le"),
        ('{"a": "' + ENGLISH + '"}', "utf-16-be", "utf-16-be"),
        ('{"a": "b"}', "utf-32", "utf-32"),
        (ENGLISH, "cp1252", "cp1252"),
        ("It isn’t fine, don’t worry.", "cp1252", "cp1252"),
        ("Señor niño, für dich: Größe.", "cp1252", "cp1252"),
        ("囧囧囧喆堃", "gb18030", "gb18030"),
        ("plain", "ascii", "utf-8"),
    ],
)
def test_a_text_is_read_by_the_codec_that_it_was_written_in(text: str, written: str, read: str) -> None:
    found = codec_of(text.encode(written))
    assert found == read and found in NAMES and text.encode(written).decode(found) == text


def test_what_is_no_text_has_none() -> None:
    chance = random.Random(7)
    noise = bytes(chance.randrange(256) for _ in range(4000))
    assert codec_of(noise) is None
    assert codec_of(codecs.BOM_UTF16_LE + b"a") is None
    assert codec_of(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89") is None
