"""Chance that comes the same way every time; TEST_SEED=N tries another one."""

from __future__ import annotations

import os
import random


def chance() -> random.Random:
    """Its seed is printed, which pytest shows where the test fails."""
    seed = int(os.environ.get("TEST_SEED", "42"))
    print(f"TEST_SEED={seed}")  # noqa: T201
    return random.Random(seed)
