"""What of the pages isn't executed as it stands there, and why. A test sees that each of these is still needed."""

from __future__ import annotations

OTHER_SYSTEMS = {
    "bat": "commands of Windows",
    "powershell": "commands of Windows",
}
"""Languages of blocks."""

OTHER_PROGRAMS = {
    "accelerate": "starts several processes or machines; tests/support/launcher.py starts such trainings",
    "git": "brings the checkout to a machine that is rented",
    "scp": "copies to and from a machine that is rented",
    "ssh": "goes to a machine that is rented",
}
"""First words of commands."""

NOT_RUN = {
    "./quick_start.sh demo": "trains a model of 135M parameters; tests/wizard/test_demo.py runs it on a tiny one",
    "./quick_start.sh setup": "downloads; tests/test_quick_start.py runs it by a real pip",
    "./quick_start.sh test": "it is what runs this",
    "python -m pip": "downloads packages",
    "python train_to_ollama.py --ollama_name linzhi --base_model qwen.gguf": "trains a model of 0.5B for an hour",
    "python train_to_ollama.py --ollama_name linzhi --compare_only --run": "asks the three rungs of that training",
}
"""Beginnings of commands, without the variables before them: nothing of these is started."""

ONLY_ASKED = {
    "bench.corrections": "trains three times",
    "bench.export": "measures for minutes",
    "bench.file_types": "measures for minutes",
    "bench.gpu": "measures for minutes",
    "tests.pictures": "draws every screen",
}
"""Modules whose command line is only read, by `--help` behind it; `./quick_start.sh test` with words only collects."""
