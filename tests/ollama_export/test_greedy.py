"""What a model says greedily tells it from another, and near things that fall the other way don't."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ollama_export.greedy import TOLERANCE, Greedy, Token, from_record, in_tokens, parting, tokens_of
from ollama_export.llama_cpp.engine import Engine
from tests.support.exports import export
from tests.support.tiny import make_speaker

SAID = (Token("嗯", -0.1, 3.0), Token("，", -0.7, 0.2), Token("好", -0.4, 1.5), Token(None, -0.2, 2.0))
KNOWN = Greedy("在吗？", SAID, 5)


def said(**changed: Token) -> Greedy:
    """What was said, but for the tokens at some places (t0, t1, …), behind which nothing is the same."""
    place = int(next(iter(changed))[1:]) if changed else len(SAID)
    return Greedy("在吗？", (*SAID[:place], *changed.values(), *(Token("?", -9.0, 9.0) for _ in SAID[place + 1 :])))


@pytest.mark.parametrize(
    ("found", "at"),
    [
        (said(), None),
        (said(t0=Token("啊", -0.1, 3.0)), 1),
        (said(t3=Token("？", -0.1, 3.0)), 4),
        (Greedy("在吗？", (*SAID[:2], Token(None))), 3),
        # it was a near thing, and says nothing from there on
        (said(t1=Token("。", -0.6, 0.1)), None),
        # what was cut off, or never told
        (Greedy("在吗？", SAID[:1]), None),
        (Greedy("在吗？", ()), None),
        (Greedy("在吗？", tuple(Token(token.text) for token in SAID)), None),
    ],
)
def test_another_word_is_another_model_unless_it_was_a_near_thing(found: Greedy, at: int | None) -> None:
    apart = parting(KNOWN, found)
    assert (apart and apart.at) == at


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("place", range(len(SAID)))
def test_the_same_words_by_other_probabilities_are_another_model(place: int, sign: int) -> None:
    def moved(logprob: float, gap: float) -> Greedy:
        token = SAID[place]
        assert token.logprob is not None and token.gap is not None
        changed = Token(token.text, token.logprob + sign * logprob, token.gap + sign * gap)
        return Greedy("在吗？", (*SAID[:place], changed, *SAID[place + 1 :]))

    assert parting(KNOWN, moved(0.9 * TOLERANCE, 1.9 * TOLERANCE)) is None
    for other in (moved(1.1 * TOLERANCE, 0), moved(0, 2.1 * TOLERANCE)):
        apart = parting(KNOWN, other)
        assert apart is not None and apart.at == place + 1 and apart.known == SAID[place]


def test_a_token_whose_choice_was_not_seen_whole_is_no_proof_of_another_model() -> None:
    known = Greedy("", (Token("栀", -0.1, None),))
    assert parting(known, Greedy("", (Token("枝", -0.1, 5.0),))) is None
    assert parting(known, Greedy("", (Token("栀", -0.1 - 2 * TOLERANCE, None),))) is not None


@pytest.mark.parametrize(
    ("text", "ended", "texts"),
    [
        ("嗯，好", True, ["嗯", "，", "好", None]),
        ("嗯，好", False, ["嗯", "，", "好"]),
        ("嗯。", True, ["嗯", "。"]),
        ("嗯，", True, ["嗯", "，", None]),
        ("嗯，好的", False, ["嗯", "，", "好", "的"]),
    ],
)
def test_a_bare_text_is_read_by_the_tokens_that_were_known(text: str, ended: bool, texts: list[str | None]) -> None:
    tokens = in_tokens(KNOWN, text, ended=ended)
    assert [token.text for token in tokens] == texts
    assert not Greedy("", tokens).tells_probabilities


def test_it_comes_back_from_a_record_as_it_went_in() -> None:
    record = json.loads(json.dumps(KNOWN.to_record()))
    assert from_record(record) == KNOWN and KNOWN.tells_probabilities


def test_the_gap_is_to_the_likeliest_of_the_others_in_whatever_order_they_are_told() -> None:
    told = [{"token": "a", "logprob": -0.5, "top_logprobs": [{"logprob": -2.0}, {"logprob": -0.5}]}]
    assert tokens_of(told) == (Token("a", -0.5, 1.5),)
    assert tokens_of([{"token": "a", "logprob": -0.5}]) == (Token("a", -0.5, None),)


def test_llama_cpp_says_it_and_the_end_of_an_answer_with_it(tmp_path: Path) -> None:
    base = make_speaker(tmp_path / "base")
    letters = json.loads((base / "tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    # those in the middle are a character's three bytes, as byte-level tokenizers spell them
    files = [make_speaker(tmp_path / "halves", says=[letters[letter] for letter in ("a", "å", "ķ", "Ĭ", "b")]), base]
    halves, whole = (export(folder, tmp_path / f"{folder.name}.gguf", file_type="f16").path for folder in files)
    prompt = "<|im_start|>assistant\n"
    with Engine(whole, threads=1) as engine:
        found, answer = engine.greedy(prompt, 80), engine.complete(prompt, max_tokens=80)
        again = engine.greedy(prompt, 4)
    *words, end = found.tokens
    assert "".join(str(token.text) for token in words) == answer.text and end.text is None
    assert len(found.tokens) == len(answer.tokens) and found.prompt_tokens == answer.prompt_tokens
    assert all(token.logprob is not None and token.gap is not None for token in found.tokens)
    assert again.tokens == found.tokens[:4]
    with Engine(halves, threads=1) as engine:
        texts = [(token.text, token.gap is None) for token in engine.greedy(prompt, 5).tokens]
    assert texts == [("a", False), ("啊", True), ("b", False)]
