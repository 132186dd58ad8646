"""POST /v1/chat/completions, unstreamed: the chat answer in OpenAI's clothes."""

from __future__ import annotations

import random
import time
from typing import Any

from .answer import Answers
from .errors import ApiError
from .replies import PLAIN_JSON, Reply

OPTIONS = {
    "max_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}


def chat_completion(answers: Answers, request: dict[str, Any]) -> Reply:
    if request.get("stream"):
        raise ApiError("streaming here is no part of this stand-in", 501)
    options = {ours: request[theirs] for theirs, ours in OPTIONS.items() if request.get(theirs) is not None}
    # OpenAI's defaults, not Ollama's.
    options = {"temperature": 1.0, "top_p": 1.0, **options}
    if request.get("stop"):
        options["stop"] = [request["stop"]] if isinstance(request["stop"], str) else request["stop"]
    reply = answers.chat(
        {"model": request.get("model"), "messages": request.get("messages"), "options": options, "stream": False}
    )
    assert isinstance(reply, Reply)
    said = reply.body
    prompt, words = said.get("prompt_eval_count", 0), said.get("eval_count", 0)
    message = {"role": "assistant", "content": said["message"]["content"]}
    body = {
        "id": f"chatcmpl-{random.randrange(1000)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": said["model"],
        "system_fingerprint": "fp_ollama",
        "choices": [{"index": 0, "message": message, "finish_reason": said.get("done_reason")}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": words, "total_tokens": prompt + words},
    }
    return Reply(200, body, PLAIN_JSON)
