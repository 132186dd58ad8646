"""Heads of GGUF files, ours and others', read and written."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from file_formats.errors import BrokenFile
from file_formats.file_types import BLOCKS, FILE_TYPES
from file_formats.gguf import (
    ALIGNMENT,
    BOOL,
    FLOAT32,
    STRING,
    UINT32,
    TensorInfo,
    alignment_of,
    decode,
    encode,
    padded,
    read_head,
    write_head,
)

NAMES = np.array([1.0, 2.0, 3.0], np.float32)


def written_by_gguf(path: Path, alignment: int | None = None) -> Path:
    """A file of the reference writer's with one value of each kind and two tensors whose sizes aren't round."""
    writer = gguf.GGUFWriter(path, "qwen2")
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_uint32("a.number", 7)
    writer.add_float32("a.float", 0.5)
    writer.add_bool("a.bool", True)
    writer.add_string("a.text", "林栀")
    writer.add_array("a.texts", ["x", "", "嗯"])
    writer.add_array("a.numbers", [1, -2, 3])
    writer.add_tensor("one.weight", NAMES)
    writer.add_tensor("two.weight", np.ones((2, 5), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("alignment", [None, 32, 64, 256])
def test_what_the_reference_writer_wrote_is_read(tmp_path: Path, alignment: int | None) -> None:
    path = written_by_gguf(tmp_path / "reference.gguf", alignment)
    head = read_head(path)
    assert head.architecture == "qwen2" and head.parameters == 13
    found = [head.get(f"a.{name}") for name in ("number", "float", "bool", "text", "texts", "numbers")]
    assert found == [7, 0.5, True, "林栀", ["x", "", "嗯"], [1, -2, 3]]
    assert head.get("nothing", "default") == "default"
    one, two = head.tensors
    assert (one.name, one.shape, two.name, two.shape) == ("one.weight", (3,), "two.weight", (2, 5))
    data = path.read_bytes()
    assert np.array_equal(np.frombuffer(data, np.float32, 3, one.offset), NAMES)
    assert two.offset % (alignment or 32) == 0 and alignment_of(head.metadata) == (alignment or 32)


@pytest.mark.parametrize("alignment", [None, 8, 64, 256])
def test_what_we_write_the_reference_reader_reads(tmp_path: Path, alignment: int | None) -> None:
    metadata = {"general.architecture": encode("qwen2", STRING), "a.texts": encode(["x", "嗯"], 9, STRING)}
    if alignment:
        metadata[ALIGNMENT] = encode(alignment, UINT32)
    tensors = [TensorInfo("one.weight", (3,), 0), TensorInfo("two.weight", (2, 5), 1)]
    contents = [NAMES.tobytes(), np.full((2, 5), 2, np.float16).tobytes()]
    step = alignment or 32
    data = b"".join(content.ljust(padded(len(content), step), b"\0") for content in contents)
    path = tmp_path / "ours.gguf"
    path.write_bytes(write_head(metadata, tensors) + data)
    reader = gguf.GGUFReader(path)
    assert [tensor.data.tobytes() for tensor in reader.tensors] == contents
    assert reader.fields["a.texts"].contents() == ["x", "嗯"]
    assert [tensor.offset % step for tensor in read_head(path).tensors] == [0, 0]


@pytest.mark.parametrize("alignment", [0, 1, 4, 48, -32])
def test_an_alignment_that_the_format_does_not_allow_is_refused(alignment: int) -> None:
    with pytest.raises(ValueError, match="alignment"):
        alignment_of({ALIGNMENT: encode(alignment, 5)})
    with pytest.raises(ValueError, match="alignment"):
        alignment_of({ALIGNMENT: encode("64", STRING)})


def test_a_file_that_is_cut_anywhere_is_broken(tmp_path: Path) -> None:
    whole = written_by_gguf(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    end = max(tensor.offset + tensor.size for tensor in read_head(tmp_path / "whole.gguf").tensors)
    for length in range(end):
        path.write_bytes(whole[:length])
        with pytest.raises(BrokenFile) as broken:
            read_head(path)
        assert broken.value.path == path and broken.value.reason
    path.write_bytes(whole[:end])
    assert read_head(path).parameters == 13


def gguf_with(entries: int, tensors: int, rest: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, entries) + struct.pack("<Q", 1) + b"k" + rest


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"GGML" + bytes(60), "GGML"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (gguf_with(1, 0, struct.pack("<I", 99)), None),
        (gguf_with(0, 1, struct.pack("<IQIQ", 1, 4, 77, 0)), "77"),
        (gguf_with(0, 1, struct.pack("<I", 1 << 31)), None),
        (gguf_with(1, 0, struct.pack("<IIQ", 9, 9, 1) * 3000), None),
        (gguf_with(1, 0, struct.pack("<IIQ", 9, 4, 1 << 40)), "ends behind"),
    ],
)
def test_a_head_that_is_none_is_broken(tmp_path: Path, content: bytes, reason: str | None) -> None:
    (tmp_path / "odd.gguf").write_bytes(content)
    with pytest.raises(BrokenFile, match=reason):
        read_head(tmp_path / "odd.gguf")


def test_a_value_survives_being_written_and_read() -> None:
    for value, kind in ((7, UINT32), (0.25, FLOAT32), (False, BOOL), ("a\n嗯", STRING)):
        assert decode(encode(value, kind)) == value


def test_the_blocks_are_those_of_ggml() -> None:
    known = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    # gguf-py counts the two halves of Q8_1, which stands in no file, as floats
    assert {kind: sizes for kind, sizes in BLOCKS.items() if known.get(kind) != sizes} == {9: (32, 36)}


def test_the_file_types_are_those_of_llama_cpp() -> None:
    names = {"f32": "ALL_F32", "q6_K": "MOSTLY_Q6_K"}
    for name, row in FILE_TYPES.items():
        known = gguf.LlamaFileType[names.get(name, "MOSTLY_" + name.upper())]
        assert (row.name, row.number) == (name, known.value)
        block, size = BLOCKS[row.matrices]
        # what is not in those matrices (norms, an output layer in more bits) takes more
        assert size / block <= row.bytes_per_weight


def test_only_types_that_can_be_made_are_offered() -> None:
    offered = [name for name, row in FILE_TYPES.items() if row.offered]
    ours = ["f32", "f16", "bf16", "q8_0", "q6_K", "q5_K_M", "q5_K_S", "q4_K_M", "q4_K_S", "q3_K_M"]
    assert offered == ours
