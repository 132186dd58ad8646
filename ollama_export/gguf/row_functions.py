"""llama.cpp's own functions that quantise rows of weights, of whichever package has them here.

xllamacpp, with which GGUFs are tried, holds the whole of llama.cpp; where its library lets them be called, they are
twice as fast as libgguf's, which are the same ones compiled otherwise. All give the same bytes.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from file_formats.file_types import BLOCKS, Q8_0

if TYPE_CHECKING:
    import numpy as np

LIBRARY = "xllamacpp.abi3.so"


def quantize_rows(rows: np.ndarray, kind: int) -> np.ndarray:
    """(n, columns) float32, C-contiguous, columns a whole number of blocks -> (n, bytes of a row) in the type `kind`.

    Without an importance matrix. Other threads go on meanwhile. Raises ImportError where neither package is installed
    and the type isn't Q8_0, which gguf has everywhere.
    """
    import numpy as np

    chunk = llama_cpp_function()
    if chunk is None:
        return _by_other_packages(rows, kind)
    columns = rows.shape[-1]
    count = rows.size // columns
    block, size = BLOCKS[kind]
    made = np.empty((count, columns // block * size), np.uint8)
    written = chunk(kind, rows.ctypes.data, made.ctypes.data, 0, count, columns, None)
    assert written == made.nbytes, f"{written} bytes in place of {made.nbytes}"
    return made


def _by_other_packages(rows: np.ndarray, kind: int) -> np.ndarray:
    made: np.ndarray
    if kind == Q8_0:
        import gguf

        made = gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q8_0)
    else:
        import libgguf

        made = libgguf.quantize_rows(rows, kind)
    return made


@lru_cache(maxsize=1)
def llama_cpp_function() -> Any:
    """ggml_quantize_chunk of ggml.h, or None where xllamacpp isn't, or keeps it to itself (as on Windows)."""
    spec = find_spec("xllamacpp")
    if spec is None or spec.origin is None:
        return None
    try:
        # the library alone: the package would be imported in ten times as long
        chunk = ctypes.CDLL(str(Path(spec.origin).with_name(LIBRARY))).ggml_quantize_chunk
    except (OSError, AttributeError):
        return None
    chunk.restype = ctypes.c_size_t
    rows_and_columns = [ctypes.c_int64] * 3
    chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *rows_and_columns, ctypes.c_void_p]
    return chunk
