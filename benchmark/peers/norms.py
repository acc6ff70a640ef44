"""The norm of a convolution in PyTorch (power iteration, f32) and SciPy (svds, f64).

Reads one JSON object a line: {"name", "shape": [o, c, k, k], "weight", "stride", "padding", "input": [c, h, w]}. Answers
with the median seconds of a step, and, where the weights are given, with the time and the value of the whole norm.
"""

import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "compare"))

from methods.convolution import padded  # noqa: E402
from methods.operators import Operator, by_svds, power_iteration  # noqa: E402

try:
    import scipy
except ImportError:
    scipy = None

torch.set_num_threads(2)


def step_seconds(conv: Operator, repeats: int = 9) -> float:
    x = torch.randn(conv.shape)
    times = []
    for _ in range(repeats + 2):
        begin = time.perf_counter()
        y = conv.forward(x)
        x = conv.adjoint(y / y.norm())
        x = x / x.norm()
        times.append(time.perf_counter() - begin)
    return sorted(times[2:])[repeats // 2]


def timed(norm, conv: Operator, **options) -> dict:
    begin = time.perf_counter()
    value = norm(conv, **options)
    return {"seconds": time.perf_counter() - begin, "norm": value}


with torch.no_grad():
    for line in sys.stdin:
        case = json.loads(line)
        shape, geometry = case["shape"], (case["stride"], case["padding"], case["input"])
        weight = torch.randn(shape) / (shape[1] * shape[2] * shape[3]) ** 0.5
        answer = {"name": case["name"], "pair": step_seconds(padded(weight, *geometry))}
        if "weight" in case:
            weight = torch.tensor(case["weight"], dtype=torch.float64).reshape(shape)
            answer["power"] = timed(power_iteration, padded(weight.float(), *geometry), steps=1000, tolerance=1e-4)
            if scipy is not None:
                answer["svds"] = timed(by_svds, padded(weight, *geometry))
        print(json.dumps(answer), flush=True)
