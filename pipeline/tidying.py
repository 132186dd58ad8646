"""What a run leaves behind is removed when it is over: checkpoints, points, the GGUF that Ollama holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lora_trainer.engine.schedule import stable_steps
from lora_trainer.events import Listener, Note
from pipeline.outcome.points import drop_points
from pipeline.publishing import gguf_path
from pipeline.run.history import Run


def tidy(run: Run, listener: Listener, *, keeps_gguf: bool, keeps_points: bool) -> None:
    """Remove what nothing needs any more: the run is over, so what can't be removed is told and no more."""
    steps: list[Callable[[], None]] = [lambda: _drop_checkpoints(run)]
    if not keeps_points:
        steps.append(lambda: drop_points(run))
    if not keeps_gguf:
        steps.insert(0, lambda: remove_gguf(run))
    told_if_it_fails(steps, run, listener)


def told_if_it_fails(steps: Sequence[Callable[[], None]], run: Run, listener: Listener) -> None:
    """Do what is no reason to fail: the model is there all the same."""
    for step in steps:
        try:
            step()
        except OSError as error:
            path = error.filename or run.folder
            listener(Note("note.not_tidied", {"path": path, "reason": error.strerror or str(error)}))


def _drop_checkpoints(run: Run) -> None:
    from lora_trainer.engine.checkpoints import Checkpoints

    checkpoints = Checkpoints(run.folder / "checkpoints")
    wanted = {stable_steps(run.record["training"]["steps"], run.plan.scheduler)}
    if run.taught_point is not None:
        # epochs that are added to the point begin here: a run of its length and theirs is the same up to there
        wanted.add(max((step for step in checkpoints.steps() if step <= run.taught_point["step"]), default=0))
    checkpoints.keep_only(*wanted)


def remove_gguf(run: Run) -> None:
    """Ollama holds it, or nobody wants it now; the Modelfile, which needs it, says how it is had again."""
    gguf_path(run).unlink(missing_ok=True)
    path, name = run.folder / "Modelfile", run.record["name"]
    text = path.read_text(encoding="utf-8")
    if not text.startswith("#"):
        how = f"python train_to_ollama.py --ollama_name {name} --register_only --run {run.number} --keep_gguf"
        said = "# GGUF 已存入 Ollama，这里的已删除；重新生成 / Ollama has the GGUF, it is gone here; to have it again:"
        if not run.is_published:
            said = (
                "# 没有用这一次，GGUF 已删除；重新生成并放进 Ollama / Not taken, the GGUF is gone; to make and take it:"
            )
        path.write_text(f"{said}\n#   {how}\n{text}", encoding="utf-8", newline="\n")
