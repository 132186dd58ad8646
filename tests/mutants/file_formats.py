"""Bugs in reading and writing the formats."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_GGUF = "tests/file_formats/test_gguf.py::"

MUTANTS = (
    Mutant(
        "a GGUF's own alignment is ignored",
        "file_formats/gguf.py",
        "    alignment = decode(metadata[ALIGNMENT]) if ALIGNMENT in metadata else 32\n",
        "    alignment = 32\n",
        (_GGUF + "test_what_we_write_the_reference_reader_reads",),
    ),
    Mutant(
        "the head is aligned, the places of the data behind it are not",
        "file_formats/gguf.py",
        "offset += padded(tensor.size, alignment)",
        "offset += padded(tensor.size, 32)",
        (_GGUF + "test_what_we_write_the_reference_reader_reads",),
    ),
    Mutant(
        "the stream pads to 32 whatever the head says",
        "ollama_export/gguf/stream.py",
        "self._put(bytes(padded(size, self._alignment) - size))",
        "self._put(bytes(padded(size, 32) - size))",
        ("tests/ollama_export/gguf/test_from_gguf.py::test_a_base_of_another_alignment_keeps_it_and_loads",),
    ),
    Mutant(
        "a cut GGUF is taken for whole",
        "file_formats/gguf.py",
        "if end > len(data):\n                    raise",
        "if end > 2 * len(data):\n                    raise",
        (_GGUF + "test_a_file_that_is_cut_anywhere_is_broken",),
    ),
    Mutant(
        "a safetensors file with too many bytes is taken for whole",
        "file_formats/safetensors.py",
        "if size != end:",
        "if size < end:",
        ("tests/file_formats/test_safetensors.py::test_a_file_that_is_cut_or_too_long_is_broken",),
    ),
    Mutant(
        "a type that is not for users is offered",
        "file_formats/file_types.py",
        'FileType("q4_0", 2, Q4_0, 0.7, offered=False)',
        'FileType("q4_0", 2, Q4_0, 0.7)',
        (_GGUF + "test_only_types_that_can_be_made_are_offered",),
    ),
)
