"""Several processes, launched as docs/several-gpus.md has it, against one: `python -m bench.gpu.checks.several` is run.

On a CPU two processes over gloo stand in for two cards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

from bench.gpu.checks.going_on import in_folders, run, same
from bench.gpu.checks.outcome import Failed, Outcome, Skipped
from bench.gpu.checks.setup import PLAN, Setup
from lora_trainer.train import TrainResult

KINDS = {"DDP": ["--multi_gpu"], "FSDP": ["--use_fsdp", "--fsdp_version", "2"]}
SECONDS = 240
"""A launch that takes longer hangs: processes wait for each other."""


def command(kind: str, processes: int) -> list[str]:
    """The words of a launch before what is launched; port 0 is a free one."""
    count = ["--num_processes", str(processes), "--num_machines", "1", "--main_process_port", "0"]
    quiet = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    return [sys.executable, "-m", "accelerate.commands.launch", *KINDS[kind], *count, *quiet]


def check_several(setup: Setup, kind: str) -> Outcome:
    """A training by several processes."""
    if setup.device == "mps":
        raise Skipped("there is one Apple GPU in a machine")
    processes = 2 if setup.device == "cpu" else setup.devices
    if processes < 2:
        raise Skipped("there is one device")
    return in_folders(lambda setup, folder: _launched(setup, folder, kind, processes))(setup)


def _launched(setup: Setup, folder: Path, kind: str, processes: int) -> Outcome:
    # it also writes the base model, before the processes want it
    alone = run(setup, PLAN, folder / "alone")
    asked = {"device": setup.device, "tiny": setup.tiny}
    words = [*command(kind, processes), "-m", "bench.gpu.checks.several", json.dumps(asked), str(folder / "together")]
    # its own words go to a file: a pipe that a lost process holds open would be waited for
    log = folder / "output.txt"
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(words, stdout=output, stderr=output, timeout=SECONDS)
    if done.returncode:
        told = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        errors = [line for line in told if "Error" in line] or told or ["nothing was said"]
        raise Failed(f"{' '.join(words[3:9])}… ended with {done.returncode}: {errors[0][:300]}")
    found = json.loads((folder / "together" / "result.json").read_text(encoding="utf-8"))
    if (found["processes"], found["shards"]) != (processes, processes if kind == "FSDP" else 1):
        raise Failed(f"{found['processes']} processes, the weights split among {found['shards']}")
    together = TrainResult(**{**found["result"], "adapter": folder / "together" / "adapter"})
    return replace(same(setup, PLAN, together, alone), words=f"{processes} processes")


def main(asked: str, folder: str) -> None:
    """One of the processes."""
    from accelerate import PartialState

    from lora_trainer.engine.sharding import shards

    rank = int(os.environ["RANK"])
    own = Path(folder) if rank == 0 else Path(f"{folder}-{rank}")
    result = run(Setup(**{**json.loads(asked), "folder": own.parent.parent}), PLAN, own)
    if rank == 0:
        told = {name: value for name, value in asdict(result).items() if name != "adapter"}
        found = {"result": told, "processes": PartialState().num_processes, "shards": shards()}
        (own / "result.json").write_text(json.dumps(found), encoding="utf-8")
    # torch aborts a process that ends while it is still connected
    PartialState().destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
