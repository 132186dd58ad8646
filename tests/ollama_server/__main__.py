"""python -m tests.ollama_server --port N --models DIR"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path

from .faults import KINDS
from .releases import OLDEST, RELEASES
from .server import OllamaServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.ollama_server", description="A stand-in for Ollama.")
    parser.add_argument("--port", type=int, default=11434, help="0 takes a free one; the address is printed")
    parser.add_argument("--models", type=Path, required=True, help="folder of blobs and manifests, made if absent")
    parser.add_argument("--old", action="store_true", help="doesn't know _debug_render_only and generates instead")
    parser.add_argument("--version", default="0.0.0", help="what /api/version says")
    parser.add_argument("--generation", choices=RELEASES, default=OLDEST.name, help="whose rules it keeps")
    parser.add_argument(
        "--fault",
        default=os.environ.get("OLLAMA_SERVER_FAULT", ""),
        metavar="KIND:PATH[:N[:SECONDS]]",
        help=f"one of {', '.join(KINDS)} at the N-th request of a path; several with commas",
    )
    arguments = parser.parse_args()
    server = OllamaServer(
        arguments.models,
        port=arguments.port,
        old=arguments.old,
        version=arguments.version,
        release=arguments.generation,
    )
    server.dies_with_process = True
    server.faults.parse(arguments.fault)
    with server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
