"""The tiny models that Ollamas are given say what every server passes on, and share their files with nobody."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from ollama_export.llama_cpp.engine import Completion, Engine
from tests.ollama_server.tiny_gguf import make_tiny_gguf
from tests.support.exports import export
from tests.support.project import ROOT
from tests.support.tiny import LONGEST, make_speaker

QUESTIONS = [f"第{number}问：what is {number} + {number}?" for number in range(20)]


def prompt(question: str) -> str:
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speaker")
    return export(make_speaker(folder / "base"), folder / "speaker.gguf", file_type="q8_0").path


def assert_clean(answer: Completion) -> None:
    assert answer.text.isprintable() and "\ufffd" not in answer.text, answer.text
    # Ollama 0.33 bears thirty
    assert max(len(list(equal)) for _, equal in groupby(answer.tokens)) < 30


@pytest.mark.parametrize("model", ["speaker", "tiny_gguf"])
def test_twenty_greedy_and_twenty_sampled_answers_are_printable_text(
    model: str, request: pytest.FixtureRequest
) -> None:
    sampled = set()
    with Engine(request.getfixturevalue(model), context=256, threads=1) as engine:
        for seed, question in enumerate(QUESTIONS):
            assert_clean(engine.complete(prompt(question), max_tokens=LONGEST))
            answer = engine.complete(
                prompt(question), max_tokens=LONGEST, temperature=1, top_p=1, seed=seed, stop=["<|im_end|>"]
            )
            assert_clean(answer)
            sampled.add(answer.text)
    assert len(sampled) > 15


def test_a_speakers_greedy_answer_has_an_end_and_no_near_tie(speaker: Path) -> None:
    with Engine(speaker, context=256, threads=1) as engine:
        answer = engine.complete(prompt("在吗"), max_tokens=2 * LONGEST)
        assert answer.stopped and len(set(answer.tokens)) == len(answer.tokens) == LONGEST
        ids = engine.tokenize(prompt("在吗"), add_special=False)
        for length in range(0, LONGEST, 8):
            best, second = sorted(engine.logprobs(ids + answer.tokens[:length]))[:-3:-1]
            assert best - second > 1


MAKE = """
import sys
from itertools import groupby
from pathlib import Path
from tests.ollama_server.tiny_gguf import make_tiny_gguf
from tests.support.tiny import make_speaker
make_speaker(Path(sys.argv[1]))
make_tiny_gguf(Path(sys.argv[1]) / "tiny.gguf")
"""


def test_this_process_makes_the_same_files_again_and_another_one_makes_others(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_tiny_gguf(make_speaker(tmp_path / name) / "tiny.gguf")
    subprocess.run([sys.executable, "-c", MAKE, str(tmp_path / "other")], cwd=ROOT, check=True, capture_output=True)
    for file in ("model.safetensors", "tiny.gguf"):
        one, two, other = (
            hashlib.sha256((tmp_path / name / file).read_bytes()).hexdigest() for name in ("one", "two", "other")
        )
        assert one == two != other
