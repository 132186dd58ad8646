"""A Hugging Face model folder, converted by llama.cpp's own converter, each LoRA delta added on the way.

The converter builds a graph of lazy tensors from the names in the folder to the names in the GGUF; the leaves of that
graph are ours: they read the weight, widen it to float32 and add the delta. So whatever the converter does to a
weight (reorder, split, join, add one) it does to the merged weight. Where it does nothing, the rows stream through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from file_formats.file_types import FILE_TYPES
from file_formats.gguf import TensorInfo, encode
from file_formats.pre_tokenizers import PRE_TOKENIZERS, neutral_name
from file_formats.safetensors import weight_files
from lora_trainer.errors import ConversionError
from ollama_export.gguf.lora_delta import LoraDelta, to_float32
from ollama_export.gguf.rounding import QUICK, Hear, encoded_pieces
from ollama_export.gguf.weight_names import bare_name, trained_names

if TYPE_CHECKING:
    import numpy as np

Source = Callable[[TensorInfo, Hear], Iterator[Any]]
"""The data of a weight, piece by piece, in the type that its entry in the GGUF's head has in the end."""
Plan = list[tuple[TensorInfo, Source]]
Before = Callable[[dict[str, bytes], Plan], None]
"""Hears what is known before the vocabulary is read: metadata so far, and all tensors."""
FLOATS = ("F32", "F16", "BF16")


class FileRows:
    """A weight in a safetensors file, its delta added; raises ConversionError where that has another shape."""

    def __init__(self, local: Any, delta: LoraDelta | None) -> None:
        self._local = local
        self._delta = delta
        self.shape: tuple[int, ...] = tuple(local.shape)
        if delta is not None and delta.shape != self.shape:
            raise ConversionError("error.adapter.shape", adapter=delta.shape, weight=self.shape)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` in float32, read from the file now."""
        import numpy as np

        span = self._local.data_range
        row_bytes = span.size // (self.all_rows or 1)
        raw = np.fromfile(span.filename, np.uint8, (stop - start) * row_bytes, offset=span.offset + start * row_bytes)
        weights = to_float32(raw, self._local.dtype).reshape(stop - start, -1)
        if self._delta is not None:
            self._delta.added_to(weights, start)
        return weights

    @property
    def all_rows(self) -> int:
        """All dimensions but the last, multiplied; 1 for a vector."""
        count = 1
        for size in self.shape[:-1]:
            count *= size
        return count

    def whole(self) -> Any:
        """The weight as one float32 tensor of torch."""
        import torch

        return torch.from_numpy(self.rows(0, self.all_rows)).reshape(self.shape)


class ArrayRows:
    """A weight that the converter had to compute as a whole."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array.reshape(-1, array.shape[-1])

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop`."""
        return self._array[start:stop]


def plan_folder(
    folder: Path,
    deltas: dict[str, LoraDelta],
    file_type: str,
    name: str,
    *,
    only_tensors: bool = False,
    before_vocabulary: Before | None = None,
) -> tuple[dict[str, bytes], Plan]:
    """Metadata and tensors of the GGUF, no weight read yet. To be called where `use_converter` has been.

    `file_type` is one that the converter knows (f32, f16, bf16, q8_0); each source rounds once, to any other as well.
    `only_tensors`: next to no metadata, for which the whole vocabulary would be read. `before_vocabulary` is called
    when all else is known.
    Raises ConversionError with the converter's reason when it can't convert.
    """
    import gguf
    from conversion import ModelType, get_model_architecture, get_model_class
    from conversion.base import LazyTorchTensor, ModelBase

    architecture = get_model_architecture(ModelBase.load_hparams(folder, False), ModelType.TEXT)
    try:
        model_class = get_model_class(architecture)
    except NotImplementedError as error:
        raise ConversionError("error.export.architecture", architecture=architecture) from error
    kind = gguf.LlamaFileType(FILE_TYPES[file_type].number)
    # what guesses several tokens ahead would go on guessing what the base model says; and many files don't have it
    model_class.no_mtp = True
    # left to itself it takes whatever is called model*.safetensors, and pickles where nothing is
    names = weight_files(folder)
    ModelBase.get_model_part_names = lambda *_: names
    converter = model_class(folder, kind, folder / "model.gguf", model_name=name)
    # Mistral 3's does nothing itself but hand everything on to another one, with a writer of its own
    converter = getattr(converter, "impl", converter)
    own_tensors, own_pre_tokenizer = converter.get_tensors, converter.get_vocab_base_pre
    by_weight = _match(deltas, list(converter.model_tensors), folder)

    def merged_tensors() -> Iterator[tuple[str, Any]]:
        for weight, tensor in own_tensors():
            yield weight, _merged(tensor, by_weight.get(weight), LazyTorchTensor)

    def pre_tokenizer(tokenizer: Any) -> str:
        try:
            return str(own_pre_tokenizer(tokenizer))
        except NotImplementedError:
            return known_pre_tokenizer(tokenizer, folder)

    converter.get_tensors = merged_tensors
    converter.get_vocab_base_pre = pre_tokenizer
    converter.prepare_tensors()
    writer, own_vocabulary = converter.gguf_writer, converter.set_vocab
    plan: Plan = []
    for tensor_name, info in writer.tensors[0].items():
        tensor = TensorInfo(tensor_name, tuple(info.shape), int(info.dtype))
        plan.append((tensor, partial(_pieces, tensor.type, info.tensor, LazyTorchTensor)))

    def vocabulary() -> None:
        if before_vocabulary is not None:
            before_vocabulary(_metadata(writer), list(plan))
        own_vocabulary()

    converter.set_vocab = vocabulary
    if not only_tensors:
        converter.prepare_metadata(vocab_only=False)
    return _metadata(writer), plan


def _metadata(writer: Any) -> dict[str, bytes]:
    return {key: encode(v.value, v.type, v.sub_type) for key, v in writer.kv_data[0].items()}


def _match(deltas: dict[str, LoraDelta], weights: list[str], folder: Path) -> dict[str, LoraDelta]:
    by_bare = {bare_name(name): delta for name, delta in deltas.items()}
    found = {weight: by_bare[bare_name(weight)] for weight in weights if bare_name(weight) in by_bare}
    if len(found) < len(deltas):
        names = trained_names(folder, weights)
        found |= {weight: by_bare[bare] for weight, name in names.items() if (bare := bare_name(name)) in by_bare}
    return found


def _merged(tensor: Any, delta: LoraDelta | None, lazy: Any) -> Any:
    import torch

    local = tensor._args[0] if isinstance(tensor, lazy) and tensor._args else None
    if local is not None and getattr(local, "data_range", None) and local.shape and local.dtype in FLOATS:
        source = FileRows(local, delta)
        meta = lazy.meta_with_dtype_and_shape(torch.float32, source.shape)
        return lazy(meta=meta, args=(source,), func=lambda rows: rows.whole())
    if delta is None:
        return tensor
    if delta.shape != tuple(tensor.shape):
        raise ConversionError("error.adapter.shape", adapter=delta.shape, weight=tuple(tensor.shape))
    # a weight that the converter itself had to compute (a base model in FP8, say)
    meta = lazy.meta_with_dtype_and_shape(torch.float32, tuple(tensor.shape))

    def add(weight: Any) -> Any:
        return torch.from_numpy(delta.added_to(weight.float().numpy().copy(), 0))

    return lazy(meta=meta, args=(tensor,), func=add)


def _pieces(planned: int, array: Any, lazy: Any, tensor: TensorInfo, hear: Hear) -> Iterator[Any]:
    """The tensor's data; by rows where the graph is: our leaf (or any float tensor) -> numpy -> rounding to the type
    that the converter has planned.
    """
    import gguf
    import numpy as np

    if isinstance(array, gguf.LazyNumpyTensor):
        before = array._args[0] if array._args else None
        source = before._args[0] if isinstance(before, gguf.LazyNumpyTensor) and before._args else None
        if isinstance(source, lazy) and planned in QUICK and tuple(source.shape) == tensor.shape:
            if source._args and isinstance(source._args[0], FileRows):
                yield from encoded_pieces(tensor, source._args[0], hear)
            else:
                yield from encoded_pieces(tensor, ArrayRows(lazy.to_eager(source).float().numpy()), hear)
            return
        array = gguf.LazyNumpyTensor.to_eager(array)
    if tensor.type == planned:
        yield np.ascontiguousarray(array)
    else:
        kind = gguf.GGMLQuantizationType(planned)
        weight = ArrayRows(gguf.quants.dequantize(np.ascontiguousarray(array), kind))
        yield from encoded_pieces(tensor, weight, hear)


def known_pre_tokenizer(tokenizer: Any, folder: Path) -> str:
    """The name under which llama.cpp has the pre-tokenizer of `tokenizer`, for one whose hash it doesn't know.

    Only an equal way of splitting counts; raises ConversionError when none of the known families has it.
    """
    fast = getattr(tokenizer, "backend_tokenizer", None)
    pre = json.loads(fast.pre_tokenizer.__getstate__()) if fast and fast.pre_tokenizer else {}
    steps = tuple(_step(s) for s in (pre["pretokenizers"] if pre.get("type") == "Sequence" else [pre]))
    normalizer = json.loads(fast.normalizer.__getstate__())["type"] if fast and fast.normalizer else None
    whole_words = bool(getattr(fast and fast.model, "ignore_merges", False))
    for name, known in PRE_TOKENIZERS.items():
        # llama.cpp normalizes nothing; composed characters are taken for granted as it does for Qwen
        if steps == known.steps and normalizer in (None, "NFC") and whole_words == known.whole_words_first:
            return name
    raise ConversionError("error.export.pre_tokenizer", path=str(folder))


def _step(step: dict[str, Any]) -> tuple[Any, ...]:
    kind = step.get("type")
    if kind == "Split":
        return kind, step["pattern"].get("Regex"), step["behavior"], step["invert"]
    if kind == "Digits":
        return kind, step["individual_digits"]
    if kind == "ByteLevel":
        return kind, step["add_prefix_space"], step["use_regex"]
    return (kind,)


def general_name(folder: Path, stem: str) -> str:
    """A `general.name` with which llama.cpp cuts text as the folder's tokenizer does.

    llama.cpp (llama-vocab.cpp) lets special tokens swallow the white space behind them if that name says Phi-3, and
    only then: a Phi-3 has to be called so, and nothing else may be, whatever its user calls it.
    """
    neutral = neutral_name(stem)
    try:
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        # most have no such token: megabytes of vocabulary need not be parsed to know that
        added = json.loads(text)["added_tokens"] if re.search(r'"rstrip":\s*true', text) else []
    except (OSError, ValueError, KeyError):
        return neutral
    return f"{neutral} (phi-3)" if any(token["special"] and token.get("rstrip") for token in added) else neutral
