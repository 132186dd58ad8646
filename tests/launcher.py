"""`accelerate launch` on this machine's CPU, which stands in for several GPUs or machines."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
# Without GPUs too, this is how accelerate is asked for several processes.
DDP = ["--multi_gpu"]
FSDP = ["--use_fsdp", "--fsdp_version", "2"]


def launcher(*flags: str, processes: int = 2, machines: int = 1, machine: int = 0, port: int = 0) -> list[str]:
    """The words before a script or `-m MODULE`."""
    count = ["--num_processes", str(processes), "--num_machines", str(machines), "--machine_rank", str(machine)]
    where = ["--main_process_ip", "127.0.0.1", "--main_process_port", str(port or free_port())]
    quiet = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    return [sys.executable, "-m", "accelerate.commands.launch", *flags, *count, *where, *quiet]


def free_port() -> int:
    """A port that nobody is likely to listen on."""
    return random.randint(20000, 60000)


def start(*command: str) -> subprocess.Popen[str]:
    """Begin a launch with one thread a process."""
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a launcher and what it started, as a power cut would."""
    parent = psutil.Process(process.pid)
    for one in (parent, *parent.children(recursive=True)):
        one.kill()
    process.wait()
