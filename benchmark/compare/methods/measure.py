"""Seconds, memory, and lines of JSON."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

# Runs that take longer than this are not repeated.
LONG = 2.0


def peak() -> int:
    """Bytes that the process has had resident at most; what getrusage says begins with those of the parent."""
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise OSError("/proc/self/status has no line VmHWM")
    return int(found[1]) * 1024


def measure(work: Callable[[], float | dict], repeats: int) -> dict:
    """Value and seconds of some runs; the first is a warm-up, unless it takes long."""
    begin = time.perf_counter()
    value = work()
    seconds = [time.perf_counter() - begin]
    if repeats > 0 and seconds[0] <= LONG:
        seconds = []
        for _ in range(repeats):
            begin = time.perf_counter()
            value = work()
            seconds.append(time.perf_counter() - begin)
    return {"value": value, "seconds": seconds}


def emit(line: dict) -> None:
    print(json.dumps({**line, "peak": peak()}), flush=True)
