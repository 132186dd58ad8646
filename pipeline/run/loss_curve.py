"""The loss curve of a run as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def draw(training: Mapping[str, Any], steps_per_epoch: int, path: Path) -> None:
    """Write a PNG: training loss of every step, its running mean, validation loss, over epochs; `best_step` is marked.

    Labels are English: the fonts that come with matplotlib have no Chinese characters.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    epochs = [step / steps_per_epoch for step, _ in training["losses"]]
    losses = [loss for _, loss in training["losses"]]
    axes.plot(epochs, losses, color="tab:blue", alpha=0.3, linewidth=1)
    axes.plot(epochs, running_mean(losses), color="tab:blue", label="training loss")
    if training["val_losses"]:
        axes.plot(
            [step / steps_per_epoch for step, _ in training["val_losses"]],
            [loss for _, loss in training["val_losses"]],
            color="tab:orange",
            marker="o",
            label="validation loss",
        )
    if training["best_step"] is not None:
        best = training["best_step"] / steps_per_epoch
        axes.axvline(best, color="tab:green", linestyle="--", linewidth=1, label=f"lowest validation loss ({best:.2f})")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss per supervised token (nats)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def running_mean(losses: list[float], weight: float = 0.9) -> list[float]:
    """An exponential moving average, corrected for its start (Kingma and Ba, 2015, section 3)."""
    mean, means = 0.0, []
    for count, loss in enumerate(losses, start=1):
        mean = weight * mean + (1 - weight) * loss
        means.append(mean / (1 - weight**count))
    return means
