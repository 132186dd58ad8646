"""How a process of ours ended, where it was not to."""

from __future__ import annotations

import signal


def was_killed(code: int) -> bool:
    """By a signal that no program sends itself: most often the system's, when memory runs out."""
    return hasattr(signal, "SIGKILL") and code == -signal.SIGKILL


def how_ended(code: int) -> str:
    """`SIGILL`, `exit code 3`, and the large codes of Windows as it writes them: `exit code 0xC0000005`."""
    if code < 0:
        return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"exit code {code if code < 256 else f'0x{code:X}'}"
