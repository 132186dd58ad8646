"""What is learnt: the prompt as served, the answer and its end, tokenised apart, nothing cut."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_trainer.chat_format import ChatFormat
from lora_trainer.data.dialogues import Dialogue
from lora_trainer.data.encode import encode
from lora_trainer.data.encoder import Encoder
from lora_trainer.data.layouts.file_row import Unit
from lora_trainer.errors import BaseModelError
from lora_trainer.models.load import chat_format_of, load_tokenizer
from lora_trainer.models.source import resolve_base_model
from tests.support.tiny import FAMILIES, make_tiny

SYSTEM = "你是林栀，说话轻软。"


def dialogue(
    *turns: str, system: str | None = SYSTEM, line: int = 1, unlearnt: tuple[int, ...] = (), unit: Unit = "line"
) -> Dialogue:
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]
    first = [{"role": "system", "content": system}] if system else []
    return Dialogue((*first, *messages), "data/train.jsonl", line, unlearnt=unlearnt, unit=unit)


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[ChatFormat, Any]]:
    found = {}
    for family in FAMILIES:
        base = resolve_base_model(str(make_tiny(tmp_path_factory.mktemp("tiny") / family, family)))
        tokenizer = load_tokenizer(base)
        found[family] = chat_format_of(base, tokenizer), tokenizer
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_every_answer_is_a_sequence_behind_its_prompt_as_served(
    families: dict[str, tuple[ChatFormat, Any]], family: str
) -> None:
    fmt, tokenizer = families[family]
    talk = dialogue("在吗？", "（点头）在的。", "Hello", "don't go 😀")
    encoded, faults = encode([talk], fmt, tokenizer, 1000)
    assert not faults and len(encoded) == 1
    first, second = encoded[0].sequences
    for sequence, upto in ((first, 2), (second, 4)):
        # with what the tokenizer itself puts before a prompt, as a server has it do
        assert sequence.prompt_ids == tokenizer(fmt.render(talk.messages[:upto])).input_ids
        assert sequence.prompt_ids.count(tokenizer.bos_token_id) == (family in ("llama", "gemma2", "gemma3", "mistral"))
        assert tokenizer.decode(sequence.completion_ids[-1:]) == fmt.end_of_turn
        assert tokenizer.decode(sequence.completion_ids[:-1]).strip() == talk.messages[upto]["content"]
    assert len(second) > len(first)
    assert encoded[0].supervised_tokens == len(first.completion_ids) + len(second.completion_ids)
    assert encoded.counts() == (2, encoded[0].supervised_tokens)
    sizes = [len(sequence) for sequence in encoded[0].sequences]
    assert encoded.most_tokens() == (max(sizes), sum(sizes))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_reads_as_the_model_would_write_it(families: dict[str, tuple[ChatFormat, Any]], family: str) -> None:
    """Prompt and answer decoded together are the text that the history shows later: no space comes in or is lost."""
    fmt, tokenizer = families[family]
    talk = dialogue("在吗？", "Yes, I am.", "x", "y")
    sequence = encode([talk], fmt, tokenizer, 1000)[0][0].sequences[0]
    # Phi-3's own turn tokens swallow the line break behind them
    written = tokenizer.decode(sequence.prompt_ids + sequence.completion_ids, clean_up_tokenization_spaces=False)
    ends = {"phi3": "<|assistant|> Yes, I am.<|end|>"}
    assert written.endswith(ends.get(family, fmt.generation_prompt + "Yes, I am." + fmt.end_of_turn))


def test_an_answer_has_no_space_before_it_that_only_the_beginning_of_a_text_has(tmp_path: Path) -> None:
    from tokenizers import pre_tokenizers

    base = resolve_base_model(str(make_tiny(tmp_path / "tiny", "phi3")))
    tokenizer = load_tokenizer(base)
    fmt = chat_format_of(base, tokenizer)
    # as Llama 2's and Mistral's first tokenizers do
    tokenizer.backend_tokenizer.normalizer = None
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    talk = dialogue("a", "Yes, I am.", system=None)
    sequence = encode([talk], fmt, tokenizer, 1000)[0][0].sequences[0]
    whole = tokenizer(fmt.render(talk.messages[:1]) + "Yes, I am." + fmt.end_of_turn).input_ids
    assert sequence.prompt_ids + sequence.completion_ids == whole
    assert sequence.completion_ids[:-1] != tokenizer("Yes, I am.").input_ids


def test_a_dialogue_that_is_too_long_is_a_fault_and_nothing_is_cut(families: dict[str, tuple[ChatFormat, Any]]) -> None:
    fmt, tokenizer = families["qwen2"]
    short, long = dialogue("a", "b", line=3), dialogue("a", "b", "c", "很长" * 300, line=7)
    encoded, faults = encode([short, long], fmt, tokenizer, 200)
    assert len(encoded) == 1
    assert [(f.kind, f.file, f.line, f.key) for f in faults] == [
        ("fault", "data/train.jsonl", 7, "data.fault.too_long")
    ]
    assert faults[0].values["tokens"] > 200 == faults[0].values["max_length"]
    exactly = len(encoded[0].sequences[0])
    assert not encode([short], fmt, tokenizer, exactly)[1]
    assert encode([short], fmt, tokenizer, exactly - 1)[1]


@pytest.mark.parametrize("place", range(5))
def test_an_end_of_turn_inside_any_message_is_a_fault(families: dict[str, tuple[ChatFormat, Any]], place: int) -> None:
    fmt, tokenizer = families["qwen2"]
    texts = ["s", "a", "b", "c", "d"]
    assert not encode([dialogue(*texts[1:], system="s")], fmt, tokenizer, 1000)[1]
    texts[place] = "x<|im_end|>y"
    talks, faults = encode([dialogue(*texts[1:], system=texts[0])], fmt, tokenizer, 1000)
    assert [f.key for f in faults] == ["data.fault.end_of_turn"] and len(talks) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_every_control_token_that_the_tokenizer_takes_out_of_a_text_is_a_fault(
    families: dict[str, tuple[ChatFormat, Any]], family: str
) -> None:
    fmt, tokenizer = families[family]
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    others = [token for token in special if token != fmt.end_of_turn]
    assert others
    for token in others:
        row = dialogue("a", "b", "c", f"x {token} y", line=7, unit="row")
        (fault,) = encode([dialogue("a", "b"), row], fmt, tokenizer, 1000)[1]
        assert (fault.line, fault.unit, fault.key, fault.values) == (
            7, "row", "data.fault.control_token", {"token": token},
        )  # fmt: skip
    # [INST] is one of Mistral's alone, a thought's end and half a token nobody's
    harmless = dialogue("[INST]" if "[INST]" not in special else "a", f"</think> {special[0][:-1]}", system=None)
    assert not encode([harmless], fmt, tokenizer, 1000)[1]


def test_a_token_that_stands_for_itself_as_a_word_alone_is_a_fault_as_such_alone(tmp_path: Path) -> None:
    from tokenizers import AddedToken

    base = resolve_base_model(str(make_tiny(tmp_path / "tiny", "qwen2")))
    tokenizer = load_tokenizer(base)
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("STOP", single_word=True, special=True)]})
    talks = [dialogue("a", "NONSTOP"), dialogue("a", "all STOP")]
    faults = encode(talks, chat_format_of(base, tokenizer), tokenizer, 1000)[1]
    assert [fault.values for fault in faults] == [{"token": "STOP"}]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_that_isnt_learnt_is_no_sequence_but_history_of_the_later_ones(
    families: dict[str, tuple[ChatFormat, Any]], family: str
) -> None:
    fmt, tokenizer = families[family]
    turns = ("a", "first", "b", "second", "c", "third", "d", "fourth")
    (whole, marked, other), _ = encode(
        [dialogue(*turns), dialogue(*turns, unlearnt=(0, 3)), dialogue(*turns[:4], unlearnt=(0,))], fmt, tokenizer, 1000
    )
    assert marked.sequences == whole.sequences[1:3]
    assert other.sequences == whole.sequences[1:2]
    assert marked.supervised_tokens == sum(len(sequence.completion_ids) for sequence in whole.sequences[1:3])
    encoded, _ = encode([dialogue(*turns, unlearnt=(0, 3))], fmt, tokenizer, 1000)
    assert encoded.counts() == (2, marked.supervised_tokens)
    assert encoded.most_tokens() == (len(marked.sequences[1]), sum(map(len, marked.sequences)))


def test_an_end_of_turn_that_is_no_single_token_is_refused(families: dict[str, tuple[ChatFormat, Any]]) -> None:
    fmt, tokenizer = families["qwen2"][0], families["llama"][1]
    with pytest.raises(BaseModelError, match="end_of_turn"):
        encode([dialogue("a", "b")], fmt, tokenizer, 1000)


def test_text_is_not_normalised_because_llama_cpp_does_not_either(families: dict[str, tuple[ChatFormat, Any]]) -> None:
    fmt, tokenizer = families["qwen2"]
    composed, decomposed = (
        encode([dialogue("a", text)], fmt, tokenizer, 1000)[0][0].sequences[0].completion_ids
        for text in ("é", "e\u0301")
    )
    assert composed != decomposed


def test_encoded_dialogues_are_found_again_in_the_cache(
    families: dict[str, tuple[ChatFormat, Any]], tmp_path: Path
) -> None:
    fmt, tokenizer = families["gemma3"]
    cache = tmp_path / "缓存 cache"
    talks = [dialogue("问", "答" * i, line=i) for i in range(1, 40)]
    fresh, faults = encode(talks, fmt, tokenizer, 60, cache=cache)
    again, same_faults = encode(talks, fmt, tokenizer, 60, cache=cache)
    assert faults and same_faults == faults
    assert list(again) == list(fresh) and len(list(cache.iterdir())) == 1
    encode(talks, fmt, tokenizer, 61, cache=cache)
    assert len(list(cache.iterdir())) == 2
    marked = [dialogue("a", "b", "c", "d", unlearnt=unlearnt) for unlearnt in ((), (0,))]
    first, second = (encode([talk], fmt, tokenizer, 1000, cache=cache)[0].counts()[0] for talk in marked)
    assert (first, second) == (2, 1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=6), min_size=0, max_size=8))
def test_encoding_many_at_once_is_encoding_each(families: dict[str, tuple[ChatFormat, Any]], texts: list[Any]) -> None:
    fmt, tokenizer = families["qwen2"]
    talks = [dialogue(*turns[: len(turns) // 2 * 2]) for turns in texts]
    together, _ = encode(talks, fmt, tokenizer, 10_000)
    assert list(together) == [encode([talk], fmt, tokenizer, 10_000)[0][0] for talk in talks]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_text_cut_at_special_tokens_has_the_ids_of_the_whole(
    families: dict[str, tuple[ChatFormat, Any]], data: st.DataObject
) -> None:
    fmt, tokenizer = families[data.draw(st.sampled_from(FAMILIES))]
    special = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    halves = [part for text in special for part in (text[: len(text) // 2], text[len(text) // 2 :])]
    others = [text for text in special if text != fmt.end_of_turn]
    words = st.sampled_from([*others, *halves, " ", "\n", "\n\n", "hello", "é", "在吗", "<", "|>", "\u3000"])
    turns = data.draw(st.lists(st.lists(words, min_size=1, max_size=6).map("".join), min_size=2, max_size=4))
    talk = dialogue(*turns[: len(turns) // 2 * 2])
    prompt_ids, _ = next(Encoder(fmt, tokenizer, tokenizer.eos_token_id).encode([talk]))[-1]
    bos = [tokenizer.bos_token_id] if fmt.tokenizer_adds_bos else []
    prompt = fmt.render(talk.messages[:-1])
    assert list(prompt_ids) == bos + tokenizer(prompt, add_special_tokens=False).input_ids


@pytest.mark.parametrize(
    ("family", "text", "attributes"),
    [
        ("qwen2", "<|im_start|>", {"lstrip": True}),
        ("qwen2", "<|im_end|>", {"single_word": True}),
        ("phi3", "<|end|>", {"normalized": True}),
        ("qwen2", "\n<|im_start|>", {}),
    ],
    ids=[
        "it swallows the white space before it",
        "it stands alone",
        "it is normalised",
        "it is the end of another one",
    ],
)
def test_a_text_is_not_cut_before_a_token_that_depends_on_what_stands_before_it(
    tmp_path: Path, family: str, text: str, attributes: dict[str, bool]
) -> None:
    from tokenizers import AddedToken

    base = resolve_base_model(str(make_tiny(tmp_path / "tiny", family)))
    tokenizer = load_tokenizer(base)
    fmt = chat_format_of(base, tokenizer)
    talk = dialogue("in", "x y", "hello", "on")
    prompt = fmt.render(talk.messages[:-1])
    before = tokenizer(prompt, add_special_tokens=False).input_ids
    tokenizer.backend_tokenizer.add_special_tokens(
        [AddedToken(text, special=True, **{"normalized": False, **attributes})]
    )
    whole = tokenizer(prompt, add_special_tokens=False).input_ids
    assert whole != before
    assert encode([talk], fmt, tokenizer, 1000)[0][0].sequences[-1].prompt_ids == whole


class Counting:
    """A tokenizer that keeps what it was asked for."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.asked: list[str] = []

    def __call__(self, texts: Any, **options: Any) -> Any:
        self.asked += [texts] if isinstance(texts, str) else texts
        return self.tokenizer(texts, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)


class InPython(Counting):
    """A tokenizer that isn't one of the library `tokenizers`."""

    def __getattr__(self, name: str) -> Any:
        if name == "backend_tokenizer":
            raise AttributeError(name)
        return super().__getattr__(name)


def test_a_tokenizer_in_python_gives_the_same_ids_and_is_known_again(
    families: dict[str, tuple[ChatFormat, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    fmt, tokenizer = families["qwen2"]
    slow = InPython(tokenizer)
    talks = [dialogue("in", "x y", "hello", "on"), dialogue("a", "b")]
    assert encode(talks, fmt, slow, 1000)[0][:] == encode(talks, fmt, tokenizer, 1000)[0][:]
    # whole texts: where it cuts them is its own affair
    assert fmt.render(talks[0].messages[:-1]) in slow.asked
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: slow)
    assert load_tokenizer(resolve_base_model(str(make_tiny(tmp_path / "tiny")))) is slow


def test_what_rows_share_is_tokenised_once(families: dict[str, tuple[ChatFormat, Any]]) -> None:
    fmt, tokenizer = families["qwen2"]
    counting = Counting(tokenizer)
    talks = [dialogue(f"问题 {i}", f"答案 {i}", "还有呢", f"没有 {i}") for i in range(2500)]
    encode(talks, fmt, counting, 1000)
    assert sum(SYSTEM in text for text in counting.asked) == 1
    assert sum(text.endswith("问题 7") for text in counting.asked) == 1
    assert sum(text.endswith("还有呢") for text in counting.asked) == 1


def test_memory_is_that_of_the_rows_at_work_not_of_all(families: dict[str, tuple[ChatFormat, Any]]) -> None:
    fmt, tokenizer = families["qwen2"]
    talks = [dialogue(f"问题 {i}" + "很长" * 100, f"答案 {i}") for i in range(6000)]

    def peak(count: int) -> int:
        tracemalloc.start()
        encoded, _ = encode(talks[:count], fmt, tokenizer, 1000)
        tokens = sum(map(len, encoded[0].sequences))
        assert len(encoded) == count and tokens > 200
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(100)
    # four bytes a token alone would be 800
    assert peak(6000) - peak(3000) < 3000 * 200
