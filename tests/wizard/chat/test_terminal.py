"""Conversations in a real terminal, key by key."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ollama_export.server.client import OllamaClient
from pipeline.serving import serving_of
from tests.support.project import ROOT
from tests.support.terminal import CTRL_C, ENTER, Terminal
from tests.wizard.chat.conftest import Talking
from wizard.screen.layout import cells

pytestmark = pytest.mark.posix("a pseudo-terminal of POSIX")

PASTE, PASTED = "\x1b[200~", "\x1b[201~"


def start(talking: Talking, *flags: str, language: str = "zh", name: str = "zzhua", **size: int) -> Terminal:
    command = [str(ROOT / "train_to_ollama.py"), "--ollama_name", name, "--chat", *flags]
    environment = {**talking.environment, "TRAIN_TO_OLLAMA_LANG": language}
    return Terminal(command, environment=environment, cwd=talking.program.folder, **size)


def chats(talking: Talking) -> int:
    assert talking.ollama is not None
    return talking.ollama.requests.count(("POST", "/api/chat"))


def test_a_kept_temperature_is_published_without_training_and_is_in_the_record(registered: Talking) -> None:
    client = OllamaClient(registered.environment["OLLAMA_HOST"])
    before = client.digest("zzhua")
    # what a flag says of a training stands in nobody's way
    with start(registered, "--epochs", "3") as seen:
        seen.wait_for("第 1 次训练，1.0 轮").wait_for("系统提示词：你是林栀。").wait_for("\n>")
        seen.send("你好", ENTER).wait_for("it…（").wait_for("\n>")
        seen.send("/set temprature 0.6", ENTER).wait_for("没有「temprature」这一项，是不是 temperature").wait_for("\n>")
        seen.send("/set temperature 60", ENTER).wait_for("temperature 要在 0～5 之间，不能是 60").wait_for("\n>")
        seen.send("/set temperature warm", ENTER).wait_for("不能是「warm」").wait_for("\n>")
        seen.send("/set temperature ０。６", ENTER).wait_for("下一句起 temperature 是 0.6").wait_for("\n>")
        seen.send("/set", ENTER).wait_for("repeat_penalty").wait_for("\n>")
        assert any(line.split()[:2] == ["temperature", "0.6"] for line in seen.screen.splitlines())
        seen.send("/retry", ENTER).wait_for("it…（").wait_for("\n>")
        seen.send("/bye", ENTER).wait_for("试过的（temperature 0.6）以后就一直用")
        seen.send("y", ENTER).wait_for("--register_only").wait_for("已经可以用了")
        assert seen.finish() == 0
    (run,) = registered.history.runs("zzhua")
    assert serving_of(run.record).parameters["temperature"] == 0.6 and len(run.publications) == 2
    assert run.record["stages"]["train"] and run.record["ollama"]["backup"]
    assert client.digest("zzhua") == run.record["ollama"]["digest"] != before
    assert client.digest(run.record["ollama"]["backup"]) == before
    assert "temperature" in client.show("zzhua")["parameters"] and "0.6" in client.show("zzhua")["parameters"]


def test_a_kept_system_prompt_is_served_and_proven_and_can_be_taken_back(registered: Talking) -> None:
    client = OllamaClient(registered.environment["OLLAMA_HOST"])
    with start(registered, language="en") as seen:
        seen.wait_for("run 1, 1.0 epochs").wait_for("\n>")
        seen.send("/system", ENTER).wait_for("你是林栀。").wait_for("\n>")
        seen.send("/system 你是小雨。", ENTER).wait_for("From the next line on").wait_for("\n>")
        seen.send("hello", ENTER).wait_for("it…（").wait_for("\n>")
        seen.send("/bye", ENTER).wait_for("It was trained with its own system prompt").wait_for("Use what you tried")
        seen.send("y", ENTER).wait_for("Done")
        assert seen.finish() == 0
    (run,) = registered.history.runs("zzhua")
    assert client.show("zzhua")["system"] == "你是小雨。"
    # what it was trained with stays what it was trained with
    assert run.record["system"] == "你是林栀。" and run.record["served_system"] == "你是小雨。"
    assert 'SYSTEM """你是小雨。"""' in (run.folder / "Modelfile").read_text(encoding="utf-8")
    program = registered.program
    told = program.run_bare("--ollama_name", "zzhua", "--verify", environment=registered.environment)
    assert told["verified"]
    flags = ("--ollama_name", "zzhua", "--register_only", "--system", "你是林栀。")
    program.run_bare(*flags, environment=registered.environment)
    assert client.show("zzhua")["system"] == "你是林栀。"


def test_control_c_ends_the_answer_alone_and_then_the_conversation(registered: Talking) -> None:
    assert registered.ollama is not None
    before = chats(registered)
    with start(registered) as seen:
        seen.wait_for("\n>")
        held = registered.ollama.faults.add("hold", "/api/chat", method="POST")
        seen.send("你好", ENTER)
        assert held.befallen.wait(60)
        assert not seen.echoes
        seen.send(CTRL_C).wait_for("停下了").wait_for("\n>")
        registered.ollama.faults.clear()
        seen.send("/retry", ENTER).wait_for("it…（").wait_for("\n>")
        seen.send(CTRL_C)
        assert seen.finish() == 0
    assert chats(registered) == before + 2


class Pausing(ThreadingHTTPServer):
    """An Ollama with one model, which says the beginning of its first answer, and the others whole."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Telling)
        self.asked: list[list[dict[str, str]]] = []
        self.dropped, self.closing = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Pausing:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()


class Telling(BaseHTTPRequestHandler):
    server: Pausing

    def do_GET(self) -> None:
        models = [{"name": "slow:latest", "digest": "d" * 64}]
        self._send({"version": "0.99.0", "models": [] if self.path == "/api/ps" else models})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/show":
            self._send({"system": "", "parameters": "", "modelfile": ""})
            return
        self.server.asked.append(asked["messages"])
        self.send_response(200)
        self.end_headers()
        first = len(self.server.asked) == 1
        self._say({"content": "说到一半"} if first else {"content": "", "thinking": "嗯"})
        while first and not self.server.closing.wait(0.05):
            try:
                self._say({"content": ""})
            except OSError:
                self.server.dropped.set()
                return
        self._say({"content": "都说完了。"}, done=True, done_reason="stop")

    def _say(self, message: dict[str, str], **more: object) -> None:
        self.wfile.write(json.dumps({"message": message, "done": False, **more}).encode() + b"\n")

    def _send(self, value: dict[str, object]) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_an_answer_is_stopped_in_the_middle_and_replaced_by_another(unregistered: Talking) -> None:
    with Pausing() as ollama:
        unregistered.environment["OLLAMA_HOST"] = f"127.0.0.1:{ollama.server_port}"
        with start(unregistered, name="slow") as seen:
            seen.wait_for("slow（不是这里训练的）").wait_for("\n>")
            seen.send("你好", ENTER).wait_for("说到一")
            seen.send("typed ahead", CTRL_C).wait_for("停下了").wait_for("\n>")
            assert ollama.dropped.wait(60)  # it need not go on for nobody
            assert "typed ahead" not in seen.everything
            seen.send("继续", ENTER).wait_for("想一想").wait_for("都说完了。").wait_for("\n>")
            seen.send("/retry", ENTER).wait_for("都说完了。").wait_for("\n>").send(CTRL_C)
            assert seen.finish() == 0
    first = [{"role": "user", "content": "你好"}]
    second = [*first, {"role": "assistant", "content": "说到一半"}, {"role": "user", "content": "继续"}]
    assert ollama.asked == [first, second, second]


def test_an_ollama_that_dies_in_the_middle_ends_the_answer_and_not_the_conversation(registered: Talking) -> None:
    assert registered.ollama is not None
    with start(registered) as seen:
        seen.wait_for("\n>")
        registered.ollama.faults.add("die_during", "/api/chat")
        seen.send("你好", ENTER).wait_for("断").wait_for("\n>")
        seen.send("你好", ENTER).wait_for("OLLAMA_HOST").wait_for("\n>")
        registered.ollama.start()
        seen.send("/retry", ENTER).wait_for("it…（").wait_for("\n>")
        seen.send("\x04")
        assert seen.finish() == 0


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("columns", [60, 80])
def test_without_ollama_llama_cpp_answers_and_nothing_is_wider_than_the_terminal(
    unregistered: Talking, columns: int, language: str
) -> None:
    with start(unregistered, language=language, columns=columns) as seen:
        seen.wait_for("llama.cpp").wait_for("\n>")
        seen.send(PASTE + "第一行\n第二行" + PASTED, ENTER).wait_for("it…（").wait_for("\n>")
        seen.send("／ｈｅｌｐ", ENTER).wait_for("/bye").wait_for("Alt+Enter").wait_for("\n>")
        seen.send("/set", ENTER).wait_for("num_ctx").wait_for("\n>")
        for command in ("/retry", "/set temperature 0.6", "/system", "/reset", "/clear", "/help"):
            assert command in seen.everything
        # nothing was broken by the terminal itself, and nothing cut off
        lines = seen.everything.splitlines()
        assert max(map(cells, lines)) < columns
        seen.send("/system -", ENTER).wait_for("/reset").wait_for("\n>")
        seen.send("/reset", ENTER).wait_for("\n>").send("/bye", ENTER)
        assert seen.finish() == 0


def test_what_is_kept_of_a_run_that_waits_holds_when_it_is_put_into_ollama(unregistered: Talking) -> None:
    with start(unregistered) as seen:
        seen.wait_for("\n>").send("/set top_k 7", ENTER).wait_for("top_k 是 7").wait_for("\n>")
        seen.send("/bye", ENTER).wait_for("试过的（top_k 7）记下来").send("y", ENTER).wait_for("记下了")
        assert seen.finish() == 0
    (run,) = unregistered.history.runs("zzhua")
    assert serving_of(run.record).parameters == {"temperature": 0.3, "top_k": 7} and not run.publications
    assert "PARAMETER top_k 7" in (run.folder / "Modelfile").read_text(encoding="utf-8")


def test_what_is_not_wanted_changes_nothing(unregistered: Talking) -> None:
    def record(talking: Talking) -> str:
        return (talking.history.runs("zzhua")[0].folder / "run.json").read_text(encoding="utf-8")

    before = record(unregistered)
    for answer in (ENTER, CTRL_C):
        with start(unregistered) as seen:
            seen.wait_for("\n>").send("/set top_k 7", ENTER).wait_for("top_k 是 7").wait_for("\n>")
            seen.send("\x04").wait_for("记下来").send(answer)
            assert seen.finish() == 0
    assert record(unregistered) == before


def test_a_file_that_is_gone_is_made_again_when_that_is_wanted_and_goes_with_the_conversation(
    unregistered: Talking,
) -> None:
    (run,) = unregistered.history.runs("zzhua")
    (run.folder / "zzhua.gguf").unlink()
    with start(unregistered) as seen:
        seen.wait_for("就做").send("n", ENTER)
        assert seen.finish() == 3
    with start(unregistered) as seen:
        seen.wait_for("就做").send(ENTER).wait_for("llama.cpp").wait_for("\n>")
        seen.send("你好", ENTER).wait_for("it…（").wait_for("\n>")
        assert [path.name for path in run.folder.glob("*.gguf")] == ["talk.gguf"]
        seen.send("/bye", ENTER)
        assert seen.finish() == 0
    assert list(run.folder.glob("*.gguf")) == []


def test_a_model_that_no_record_knows_is_talked_to_as_well(registered: Talking) -> None:
    client = OllamaClient(registered.environment["OLLAMA_HOST"])
    client.copy("zzhua", "elsewhere:v2")
    with start(registered, name="elsewhere:v2") as seen:
        seen.wait_for("elsewhere:v2（不是这里训练的）").wait_for("\n>")
        seen.send("/set min_p 0.1", ENTER).wait_for("min_p 是 0.1").wait_for("\n>")
        seen.send("你好", ENTER).wait_for("it…（").wait_for("\n>")
        seen.send("/bye", ENTER).wait_for("试过的（min_p 0.1）没有保存")
        assert seen.finish() == 0
    assert not (registered.history.home / "elsewhere@v2").exists()


def test_of_a_run_that_is_not_in_use_nothing_is_kept_and_it_is_told_how(registered: Talking) -> None:
    client = OllamaClient(registered.environment["OLLAMA_HOST"])
    (run,) = registered.history.runs("zzhua")
    client.copy("zzhua", "zzhua:backup-20261101-1")
    client.create("zzhua", from_="zzhua", system="另一个")
    # another training's weights
    run.update(gguf={**run.record["gguf"], "digest": "0" * 64, "mark": ""})
    run.update(publications=[{**entry, "gguf": "0" * 64} for entry in run.publications])
    before = (run.folder / "run.json").read_text(encoding="utf-8")
    with start(registered, "--run", "1") as seen:
        seen.wait_for("zzhua:backup-20261101-1（第 1 次训练").wait_for("\n>")
        seen.send("/set top_k 7", ENTER).wait_for("top_k 是 7").wait_for("\n>")
        seen.send("/bye", ENTER).wait_for("现在用的不是第 1 次训练的结果").wait_for("--top_k 7 --register_only")
        assert seen.finish() == 0
    assert (run.folder / "run.json").read_text(encoding="utf-8") == before
