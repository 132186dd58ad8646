"""Which encoding a text file has that says nothing about it: those in which people's dialogues are found."""

from __future__ import annotations

import codecs
import re

_MARKS = (
    # UTF-32's little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_PIECE = 1 << 20
_LOOKED_AT = 1 << 16
"""Bytes that are enough to tell two encodings apart."""
_RARE = 0.1
"""Share of common characters below which a text is hardly Chinese."""
_HIGH = re.compile(rb"[\x80-\xff]+")
_TRAILS = frozenset(range(0xA1, 0xFF))
_COMMON = {
    # lead bytes of the characters that are written every day, and of punctuation: level 1 of GB 2312 is 0xB0 to
    # 0xD7, that of Big5 0xA4 to 0xC6 (Lunde, CJKV Information Processing, appendices on the two)
    "gb18030": (frozenset(range(0xA1, 0xA4)) | frozenset(range(0xB0, 0xD8)), _TRAILS),
    "big5": (frozenset(range(0xA1, 0xC7)), _TRAILS | frozenset(range(0x40, 0x7F))),
}
NAMES = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "utf-32": "UTF-32",
    "gb18030": "GBK",
    "big5": "Big5",
    "cp1252": "Windows-1252",
}
"""Codec -> what people call it."""


def codec_of(data: bytes) -> str | None:
    """The codec that a text's bytes are read by, of those in NAMES; None where they are no text.

    Bytes that are UTF-8 but for a few are cp1252's or none's: who wants such lines told asks before.
    """
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return codec if reads(data, codec) else None
    zeros = data.count(0)
    # UTF-16 of ASCII alone would be UTF-8 full of zeros
    if zeros <= len(data) // 8 and reads(data, "utf-8"):
        return "utf-8"
    if zeros:
        # ASCII, which every such file has, has its zero before or behind it
        order = "utf-16-le" if data[1::2].count(0) >= data[::2].count(0) else "utf-16-be"
        return order if reads(data, order) else None
    shares = {codec: _everyday(data[:_LOOKED_AT], *_COMMON[codec]) for codec in _COMMON if reads(data, codec)}
    likely = max(shares, key=shares.__getitem__, default=None)
    # an accent or a quote mark and the letter behind it are a character of GBK that nobody writes
    if likely and (shares[likely] >= _RARE or not _stand_alone(data[:_LOOKED_AT])):
        return likely
    return "cp1252" if reads(data, "cp1252") else likely


def reads(data: bytes, codec: str) -> bool:
    """Whether a codec can read all of it."""
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        # piece by piece: as one text, a file with one emoji in it takes several times its size
        for start in range(0, len(data), _PIECE):
            decoder.decode(data[start : start + _PIECE], final=start + _PIECE >= len(data))
    except UnicodeDecodeError:
        return False
    return True


def _stand_alone(data: bytes) -> bool:
    """Whether most of the bytes that aren't ASCII have only ASCII beside them."""
    runs = [len(run) for run in _HIGH.findall(data)]
    return runs.count(1) * 2 > sum(runs)


def _everyday(data: bytes, leads: frozenset[int], trails: frozenset[int]) -> float:
    """The share of two-byte characters that are common ones."""
    at = pairs = common = 0
    while at + 1 < len(data):
        if data[at] < 0x80:
            at += 1
            continue
        pairs += 1
        common += data[at] in leads and data[at + 1] in trails
        at += 2
    return common / max(pairs, 1)
