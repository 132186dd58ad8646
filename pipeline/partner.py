"""With whom a conversation about a name is: the model in Ollama, or a trained run's own file."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lora_trainer.chat_format import ChatFormat
from lora_trainer.errors import OllamaError, UsageError
from lora_trainer.events import Listener, Progress
from lora_trainer.events import ignore as ignore
from ollama_export.backups import backups_of
from ollama_export.server.names import check_name, parse_name
from pipeline.chat import InLlamaCpp, InOllama, Talker
from pipeline.publishing import gguf_path
from pipeline.run.base_model import recorded_base_model
from pipeline.run.history import History, Run
from pipeline.run.published import OllamaClient, connect, wake
from pipeline.run.standing import look
from pipeline.serving import serving_of


@dataclass(frozen=True)
class Partner:
    """Who is talked to."""

    name: str
    """The model that is meant."""
    run: Run | None
    """Whose training it is; None for a model in Ollama that no record knows."""
    in_ollama: str | None
    """The name under which Ollama has it, the model's own or a backup's; None where llama.cpp answers."""
    gguf: Path | None = None
    """The run's file; None where Ollama answers, or where it has to be made again."""

    @property
    def stands(self) -> bool:
        """Whether it is what answers under its name in Ollama."""
        return self.in_ollama == self.name

    @property
    def must_be_made(self) -> bool:
        """Whether its file is gone, and is to be made again before anybody answers."""
        return self.in_ollama is None and self.gguf is None


def find_partner(history: History, name: str, number: int | None, listener: Listener) -> tuple[Partner, OllamaClient]:
    """The partner that a name means: what stands in Ollama, else the run trained last; or run `number`, wherever it is.

    A stopped Ollama is started. Raises UsageError where there is neither model nor trained run, OllamaError where that
    can't be known.
    """
    client = connect()
    wake(client, listener)
    name = _canonical(name)
    if number is None and not _is_trainable(name):
        if not client.exists(name):
            raise UsageError("error.chat.nobody", name=name)
        return Partner(name, None, name), client
    runs = history.runs(name)
    trained = [run for run in runs if run.has_done("train")]
    if number is not None:
        run = next((run for run in trained if run.number == number), None)
        if run is None:
            key = "error.run_not_trained" if any(run.number == number for run in runs) else "error.no_such_run"
            raise UsageError(key, name=name, number=number)
        return _of_run(name, run, client, history), client
    stands = look(history, name, client)
    if stands.in_ollama:
        return Partner(name, stands.run, name), client
    if not trained:
        client.version()  # raises what keeps it from being asked
        raise UsageError("error.chat.nobody", name=name)
    known = stands.run if stands.run is not None and stands.run.is_published else None
    run = known if known is not None and known.has_done("train") else trained[-1]
    return _in_llama_cpp(name, run), client


def _canonical(name: str) -> str:
    """As Ollama's own names are told, whether or not a training may have such a name."""
    parsed = parse_name(name)
    if parsed is None:
        raise UsageError("error.chat.nobody", name=name)
    return str(parsed)


def _is_trainable(name: str) -> bool:
    """Whether runs may have this name: those of backups and of Ollama's own services have none."""
    try:
        check_name(name)
    except UsageError:
        return False
    return True


def _of_run(name: str, run: Run, client: OllamaClient, history: History) -> Partner:
    with suppress(OllamaError):
        stands = look(history, name, client)
        if stands.in_ollama and stands.run is not None and stands.run.number == run.number:
            return Partner(name, run, name)
        kept = next((backup for backup in backups_of(client, name) if backup.digest in run.digests), None)
        if kept is not None:
            return Partner(name, run, kept.name)
    return _in_llama_cpp(name, run)


def _in_llama_cpp(name: str, run: Run) -> Partner:
    gguf = gguf_path(run)
    return Partner(name, run, None, gguf if run.has_done("export") and gguf.exists() else None)


def talker_of(partner: Partner, client: OllamaClient, listener: Listener) -> Talker:
    """Who answers; a file that is gone is made again, for this conversation.

    Raises UsageError where there is no llama.cpp, and what making the file does.
    """
    if partner.in_ollama is not None:
        return InOllama(client, partner.in_ollama)
    from ollama_export.llama_cpp import engine

    assert partner.run is not None
    if not engine.is_installed():
        raise UsageError("error.chat.no_engine", name=partner.name, number=partner.run.number)
    if partner.gguf is not None:
        return InLlamaCpp(partner.gguf, partner.run)
    return InLlamaCpp(_made_again(partner.run, client, listener), partner.run, fleeting=True)


def file_size(run: Run) -> float:
    """Bytes of the file that `talker_of` would make, about."""
    from pipeline.checks.resources import written_bytes

    if size := run.record.get("gguf", {}).get("size"):
        return float(size)
    return written_bytes(run.record["base"].get("parameters") or 0, serving_of(run.record).quantize)


def _made_again(run: Run, client: OllamaClient, listener: Listener) -> Path:
    """The run's GGUF beside its record, under a name of its own: what the record knows of another file stays true."""
    from ollama_export.gguf.export import export_gguf
    from ollama_export.template import gguf_chat_template

    base = recorded_base_model(run.record["base"], client, listener)
    chat_format, serving = ChatFormat.from_json(run.record["chat_format"]), serving_of(run.record)
    out = run.folder / "talk.gguf"
    export_gguf(
        base.path,
        base.kind,
        _adapter(run),
        out,
        file_type=serving.quantize,
        chat_template=None if serving.keep_chat_template else gguf_chat_template(chat_format),
        add_bos=chat_format.tokenizer_adds_bos,
        eos_token=chat_format.end_of_turn,
        other_ends=chat_format.other_ends,
        progress=lambda done, total: listener(Progress("export", done, total)),
    )
    return out


def _adapter(run: Run) -> Path:
    """That of the point which the run is served at; of a run without one, its end's."""
    training, point = run.record["training"], run.record.get("point") or {}
    kept = (one["adapter"] for one in training.get("points", []) if one["step"] == point.get("step"))
    chosen = next(kept, training["adapter"])
    return run.folder / str(chosen)
