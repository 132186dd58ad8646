"""`accelerate launch` on this machine's CPU, which stands in for several GPUs or machines."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress

import psutil

from tests.support.project import ROOT

# Without GPUs too, this is how accelerate is asked for several processes.
DDP = ["--multi_gpu"]
FSDP = ["--use_fsdp", "--fsdp_version", "2"]


def launcher(*flags: str, processes: int = 2, machines: int = 1, machine: int = 0, port: int = 0) -> list[str]:
    """The words before a script or `-m MODULE`. Port 0 is a free one, for processes of one machine."""
    count = ["--num_processes", str(processes), "--num_machines", str(machines), "--machine_rank", str(machine)]
    where = ["--main_process_ip", "127.0.0.1", "--main_process_port", str(port)]
    quiet = ["--mixed_precision", "no", "--dynamo_backend", "no"]
    return [sys.executable, "-m", "accelerate.commands.launch", *flags, *count, *where, *quiet]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def start(*command: str) -> subprocess.Popen[str]:
    """Begin a launch with one thread a process."""
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a launcher and what it started, as a power cut would."""
    parent = psutil.Process(process.pid)
    every = [parent, *parent.children(recursive=True)]
    for one in every:
        with suppress(psutil.NoSuchProcess):  # a child may end as soon as its parent has
            one.kill()
    process.wait()
    psutil.wait_procs(every[1:])
