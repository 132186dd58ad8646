"""The types that weights have in a GGUF: ggml's, of one tensor, and llama.cpp's file types, of most of them.

Plain data with no imports, so that `--help`, which lists the types, costs next to nothing.
"""

from __future__ import annotations

F32, F16, BF16 = 0, 1, 30
Q4_0, Q5_0, Q5_1, Q8_0 = 2, 6, 7, 8
Q3_K, Q4_K, Q5_K, Q6_K = 11, 12, 13, 14

BLOCKS: dict[int, tuple[int, int]] = {
    F32: (1, 4), F16: (1, 2), BF16: (1, 2), 28: (1, 8), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    Q4_0: (32, 18), 3: (32, 20), Q5_0: (32, 22), Q5_1: (32, 24), Q8_0: (32, 34), 9: (32, 36),
    10: (256, 84), Q3_K: (256, 110), Q4_K: (256, 144), Q5_K: (256, 176), Q6_K: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 29: (256, 56), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
"""ggml's type number -> weights in a block, bytes of a block (ggml-common.h)."""


class FileType:
    """One row of FILE_TYPES."""

    def __init__(
        self,
        name: str,
        number: int,
        matrices: int,
        bytes_per_weight: float,
        *,
        by_converter: bool = False,
        offered: bool = True,
    ) -> None:
        self.name = name
        """As people and `--quantize` write it."""
        self.number = number
        """`general.file_type` (llama.h, enum llama_ftype)."""
        self.matrices = matrices
        """ggml's type number of most matrices."""
        self.bytes_per_weight = bytes_per_weight
        """Bytes of a whole file over its weights, rounded up."""
        self.by_converter = by_converter
        """llama.cpp's converter knows it; the others are mixtures of types (llama.cpp's quantize tool)."""
        self.offered = offered
        """`--quantize` takes it."""


FILE_TYPES: dict[str, FileType] = {
    row.name: row
    for row in (
        FileType("f32", 0, F32, 4.0, by_converter=True),
        FileType("f16", 1, F16, 2.0, by_converter=True),
        FileType("bf16", 32, BF16, 2.0, by_converter=True),
        FileType("q8_0", 7, Q8_0, 1.07, by_converter=True),
        FileType("q6_K", 18, Q6_K, 0.83),
        FileType("q5_K_M", 17, Q5_K, 0.72),
        FileType("q5_K_S", 16, Q5_K, 0.7),
        FileType("q4_K_M", 15, Q4_K, 0.7),
        FileType("q4_K_S", 14, Q4_K, 0.7),
        FileType("q3_K_M", 12, Q3_K, 0.7),
        FileType("q5_0", 8, Q5_0, 0.75, offered=False),
        FileType("q4_0", 2, Q4_0, 0.7, offered=False),
    )
}
"""Every file type that this program writes, the most exact first."""
