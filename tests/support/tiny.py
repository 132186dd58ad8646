"""Real tiny models for the tests: random weights, an own small tokenizer, a real chat template of the family's style.

`python -m tests.support.tiny FOLDER [FAMILY]` writes one by hand.
"""

from __future__ import annotations

import io
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FAMILIES = ("qwen2", "llama", "qwen3", "gemma2", "gemma3", "phi3", "mistral")

TEXT = [
    "你是林栀，一个24岁的温柔女孩。你的特点：文静少言，说话轻软，容易害羞脸红。",
    "（轻轻点头）嗯，今天的天气很好呢。你要不要一起去散步？",
    "你好！你叫什么名字？我叫林栀，很高兴认识你。",
    "请完全按照林栀的性格回应，包括语气、动作描写和心理活动。",
    "（不好意思地把手机藏到身后）是、是朋友送的……（其实是自己挑的）",
    "You are a helpful assistant. Answer the question in one short sentence.",
    "The quick brown fox jumps over the lazy dog while the captain sails the sea.",
    "What is your name? My name is Polly, and I like to talk about the weather.",
    "She said: \"don't worry, it's {fine}\" and then 3 + 4 = 7.",
    "Hello there, how are you today? I am fine, thank you. See you tomorrow!",
]

LONGEST = 64
"""Tokens of a speaker's greedy answer at most, its end included."""
MARK = secrets.token_bytes(16)
"""This process's own."""

# Qwen2's own pre-tokenizer (tokenizer.json of Qwen2.5): llama.cpp knows it as "qwen2".
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHATML = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA2 = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
GEMMA3 = (
    "{{ bos_token }}{% set first = '' %}{% set loop_messages = messages %}{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'] + '\n\n' %}{% set loop_messages = messages[1:] %}{% endif %}"
    "{% for m in loop_messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ first if loop.first else '' }}{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI3 = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% set system = '' %}{% set loop_messages = messages %}{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] + '\n\n' %}{% set loop_messages = messages[1:] %}{% endif %}"
    "{% for m in loop_messages %}{% if m['role'] == 'user' %}"
    "[INST]{{ system if loop.last else '' }}{{ m['content'] }}[/INST]"
    "{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)

# family: kind of tokenizer, special tokens in id order, bos, eos, pad, tokenizer class, chat template
TOKENIZERS: dict[str, tuple[str, list[str], str | None, str, str, str, str]] = {
    "qwen2": ("bpe", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None, "<|im_end|>", "<|endoftext|>",
              "Qwen2Tokenizer", CHATML),
    "qwen3": ("bpe", ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None, "<|im_end|>", "<|endoftext|>",
              "Qwen2Tokenizer", QWEN3),
    # one of those for which llama.cpp's converter would run code that lies beside the weights
    "glm4": ("bpe", ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|observation|>", "[gMASK]", "<sop>"],
             None, "<|im_end|>", "<|endoftext|>", "PreTrainedTokenizerFast", CHATML),
    "llama": ("bpe", ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
              "<|begin_of_text|>", "<|eot_id|>", "<|end_of_text|>", "PreTrainedTokenizerFast", LLAMA3),
    "mistral": ("bpe", ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>"], "<s>", "</s>", "<pad>",
                "PreTrainedTokenizerFast", MISTRAL),
    "gemma2": ("sentencepiece", ["<mask>", "<start_of_turn>", "<end_of_turn>"], "<bos>", "<eos>", "<pad>",
               "GemmaTokenizer", GEMMA2),
    "gemma3": ("sentencepiece", ["<mask>", "<start_of_turn>", "<end_of_turn>"], "<bos>", "<eos>", "<pad>",
               "GemmaTokenizer", GEMMA3),
    "phi3": ("sentencepiece", ["</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"], "<s>", "<|endoftext|>",
             "<|endoftext|>", "LlamaTokenizer", PHI3),
}  # fmt: skip


def make_tiny(folder: Path, family: str = "qwen2", *, tied: bool = True, shards: int = 1, seed: int = 0) -> Path:
    """Write a model folder (below 1 MB, bfloat16) of `family` that transformers and llama.cpp's converter both read."""
    model = _random_model(_config(family, write_tokenizer(folder, family).get_vocab(), tied), seed)
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    model.save_pretrained(folder, max_shard_size=size + 1 if shards == 1 else size // shards + 1)
    return folder


def make_speaker(folder: Path, *, says: Sequence[int] = (), seed: int = 0) -> Path:
    """Write a qwen2 (untied) that answers as a trained model does: printable text, no token twice, then its end.

    Random weights write halves of characters and repeat themselves, and servers break such answers off. Here each
    token follows from the one before, by so much that a greedy answer is the same whoever computes it, and by so
    little that sampled ones differ. `says`: the tokens of the answers, in order, instead of printable ones.

    The last row of the embedding, which no token reads, holds `MARK`: no other process makes the same file.
    """
    import torch

    tokenizer = write_tokenizer(folder, "qwen2")
    vocabulary = tokenizer.get_vocab()
    model = _random_model(_config("qwen2", vocabulary, tied=False), seed)
    end, newline = vocabulary["<|im_end|>"], vocabulary["Ċ"]
    printable = [token for token in range(vocabulary["<|endoftext|>"]) if _is_printable(tokenizer.decode([token]))]
    text = list(says) or [printable[i] for i in torch.randperm(len(printable))]
    # the generation prompt ends in a newline
    before, after = torch.tensor([newline, *text]), torch.tensor([*text, end])
    after[LONGEST - 1 :: LONGEST] = end
    with torch.no_grad():
        for layer in model.model.layers:
            for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
                weight *= 0.05
                weight[-1] = 0
        given, wanted = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        given *= 2.4 / given.norm(dim=1, keepdim=True)
        given[:, -1] = 1
        wanted.zero_().index_add_(0, after, given[before], alpha=0.4)
        # the last hidden dimension is the same after every token: a bias
        wanted[:, -1] = -8
        wanted[after, -1] = 0
        given[-1, : len(MARK)] = torch.tensor(list(MARK)) / 256
    model.save_pretrained(folder)
    return folder


def _is_printable(text: str) -> bool:
    return text.isprintable() and "\ufffd" not in text


def _random_model(config: Any, seed: int) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    # so large that greedy answers wander instead of repeating one token; Gemma multiplies its embedding by 8
    embedding = 0.03 if config.model_type.startswith("gemma") else 0.3
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, embedding if "embed" in name or "lm_head" in name else 0.15)
    return model.to(torch.bfloat16)


def add_tokens(folder: Path, count: int) -> None:
    """Give a model folder's tokenizer special tokens <0>, <1>, … and its embedding none."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    names = [f"<{number}>" for number in range(count)]
    tokenizer.add_special_tokens(names)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["added_tokens_decoder"] |= {
        str(tokenizer.token_to_id(name)): {"content": name, "special": True} for name in names
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")


def _config(family: str, vocabulary: dict[str, int], tied: bool) -> Any:
    from transformers import AutoConfig

    _, _, bos, eos, pad, _, _ = TOKENIZERS[family]
    # llama.cpp knows Gemma 3's pattern (five sliding, one full) by heart
    layers = 6 if family == "gemma3" else 2
    shape: dict[str, Any] = {
        # Like Qwen's, the embedding matrix has more rows than the tokenizer has tokens.
        "vocab_size": -(-len(vocabulary) // 64) * 64,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": tied,
        "bos_token_id": vocabulary[bos] if bos else None,
        "eos_token_id": vocabulary[eos],
        "pad_token_id": vocabulary[pad],
    }
    if family in ("qwen3", "gemma2", "gemma3", "mistral", "llama"):
        shape["head_dim"] = 16
    if family in ("gemma2", "gemma3"):
        shape |= {"sliding_window": 64, "query_pre_attn_scalar": 16}
        shape["layer_types"] = ["sliding_attention"] * (layers - 1) + ["full_attention"]
    if family == "mistral":
        shape["sliding_window"] = None
    if family == "phi3":
        shape["original_max_position_embeddings"] = 2048
    return AutoConfig.for_model("gemma3_text" if family == "gemma3" else family, **shape)


def write_tokenizer(folder: Path, family: str) -> Any:
    """Write the files of a small tokenizer of a family's style, with a chat template; the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    kind, special, bos, eos, pad, tokenizer_class, template = TOKENIZERS[family]
    tokenizer = _byte_level(special) if kind == "bpe" else _sentencepiece(folder, family, special)
    if bos and family != "phi3":
        from tokenizers.processors import TemplateProcessing

        tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {
        "tokenizer_class": tokenizer_class,
        "bos_token": bos,
        "eos_token": eos,
        "pad_token": pad,
        "unk_token": "<unk>" if "<unk>" in tokenizer.get_vocab() else None,
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
        "added_tokens_decoder": {
            str(tokenizer.token_to_id(text)): {"content": text, "special": True}
            | dict.fromkeys(("lstrip", "normalized", "single_word"), False)
            | {"rstrip": _strips(family, text)}
            for text in _added(kind, special, bos, eos, pad)
        },
    }
    if kind == "sentencepiece":
        config |= {"add_bos_token": family != "phi3", "add_eos_token": False}
    if family == "phi3":
        config |= {"legacy": False, "add_prefix_space": True}
    if family in ("qwen2", "qwen3"):
        config["add_bos_token"] = False
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1), encoding="utf-8")
    return tokenizer


def _added(kind: str, special: list[str], bos: str | None, eos: str, pad: str) -> list[str]:
    names = special if kind == "bpe" else [*special, "<unk>", bos or "", eos, pad]
    return list(dict.fromkeys(name for name in names if name))


def _byte_level(special: list[str]) -> Any:
    """A byte-level BPE with Qwen2's pre-tokenizer; special tokens stand after the others, as in Qwen2 and Llama 3."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=sorted(alphabet), show_progress=False)
    tokenizer.train_from_iterator(TEXT * 2, trainer)
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    return tokenizer


def _sentencepiece(folder: Path, family: str, special: list[str]) -> Any:
    """A sentencepiece BPE with byte fallback: tokenizer.model for llama.cpp and the same thing as tokenizer.json."""
    import sentencepiece
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

    _, _, bos, eos, pad, _, _ = TOKENIZERS[family]
    ids: dict[str, Any] = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "bos_piece": bos, "eos_piece": eos, "pad_id": -1}
    if pad != eos:
        ids = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "bos_piece": bos, "eos_piece": eos, "pad_piece": pad}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 4),
        model_writer=model,
        model_type="bpe",
        vocab_size=700,
        byte_fallback=True,
        split_digits=True,
        add_dummy_prefix=family == "phi3",
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        control_symbols=special,
        minloglevel=2,
        **ids,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [processor.id_to_piece(i) for i in range(processor.vocab_size())]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    # sentencepiece joins the pair whose piece has the best score, however it came about: the merges in that order
    texts = [p for p, i in vocabulary.items() if not (processor.is_byte(i) or processor.is_control(i))]
    merges = [
        (piece[:cut], piece[cut:])
        for piece in sorted(texts, key=lambda p: -processor.get_score(vocabulary[p]))
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    if family == "phi3":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    else:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern=" ", behavior="merged_with_previous", invert=False)
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    added = _added("sentencepiece", special, bos, eos, pad)
    tokenizer.add_special_tokens(
        [AddedToken(text, normalized=False, special=True, rstrip=_strips(family, text)) for text in added]
    )
    return tokenizer


def _strips(family: str, text: str) -> bool:
    """Phi-3's own oddity: its turn tokens swallow the white space behind them.

    llama.cpp does the same if the GGUF's general.name contains "phi3" or "phi-3".
    """
    return family == "phi3" and text not in ("<unk>", "<s>", "<|endoftext|>")


if __name__ == "__main__":
    make_tiny(Path(sys.argv[1]), *sys.argv[2:3])
