"""The texts in a PNG, without its picture: PNG specification (W3C), 5 "Datastream structure" and 11.3.3 "tEXt"."""

from __future__ import annotations

from collections.abc import Collection

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 100_000


def text_chunks(data: bytes, keywords: Collection[str], most: int) -> dict[str, bytes]:
    """Keyword -> text of the tEXt chunks that are asked for, of `most` bytes at most.

    Nothing is unpacked: a compressed text (zTXt, iTXt) isn't read, whatever it would become.
    """
    found: dict[str, bytes] = {}
    at = len(_SIGNATURE)
    if not data.startswith(_SIGNATURE):
        return found
    for _ in range(_MOST_CHUNKS):
        head = data[at : at + 8]
        if len(head) < 8:
            break
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"tEXt" and length <= most and at + 8 + length <= len(data):
            keyword, _, text = data[at + 8 : at + 8 + length].partition(b"\0")
            name = keyword.decode("latin-1").lower()
            if name in keywords:
                found[name] = text
        at += 12 + length
    return found
