"""The norm of a convolution in PyTorch (power iteration, f32) and SciPy (svds, f64).

Reads one JSON object a line: {"name", "shape": [o, c, k, k], "weight", "stride", "padding", "input": [c, h, w]}. Answers
with the median seconds of a step, and, where the weights are given, with the time and the value of the whole norm.
"""
import json
import sys
import time

import torch
import torch.nn.functional as F

try:
    import numpy as np
    from scipy.sparse.linalg import LinearOperator, svds
except ImportError:
    svds = None

torch.set_num_threads(2)


class Convolution:
    def __init__(self, weight, stride, padding, shape):
        self.weight, self.stride, self.padding, self.shape = weight, stride, padding, shape

    def forward(self, x):
        return F.conv2d(x, self.weight, stride=self.stride, padding=self.padding)

    def adjoint(self, y):
        # What the stride leaves over at the far side is not read, and has no gradient.
        back = F.conv_transpose2d(y, self.weight, stride=self.stride, padding=self.padding)
        return F.pad(back, (0, self.shape[2] - back.shape[3], 0, self.shape[1] - back.shape[2]))


def step_seconds(shape, stride, padding, size, repeats=9):
    conv = Convolution(torch.randn(shape) / (shape[1] * shape[2] * shape[3]) ** 0.5, stride, padding, size)
    x = torch.randn(1, *size)
    times = []
    for _ in range(repeats + 2):
        begin = time.perf_counter()
        y = conv.forward(x)
        x = conv.adjoint(y / y.norm())
        x = x / x.norm()
        times.append(time.perf_counter() - begin)
    return sorted(times[2:])[repeats // 2]


def power_iteration(conv, tolerance=1e-4, most=1000):
    torch.manual_seed(0)
    x = torch.randn(1, *conv.shape)
    x = x / x.norm()
    begin, value = time.perf_counter(), 0.0
    for _ in range(most):
        y = conv.forward(x)
        x = conv.adjoint(y)
        norm = float(x.norm()) ** 0.5
        x = x / x.norm()
        if abs(norm - value) <= tolerance * norm:
            break
        value = norm
    return {"seconds": time.perf_counter() - begin, "norm": norm}


def by_svds(conv):
    out = conv.forward(torch.zeros(1, *conv.shape, dtype=torch.float64)).shape[1:]

    def of(vector, shape):
        return torch.from_numpy(np.ascontiguousarray(vector)).reshape(1, *shape)

    n, m = int(np.prod(conv.shape)), int(np.prod(out))
    operator = LinearOperator(
        (m, n),
        matvec=lambda v: conv.forward(of(v, conv.shape)).flatten().numpy(),
        rmatvec=lambda v: conv.adjoint(of(v, out)).flatten().numpy(),
        dtype=np.float64,
    )
    begin = time.perf_counter()
    (norm,) = svds(operator, k=1, return_singular_vectors=False)
    return {"seconds": time.perf_counter() - begin, "norm": float(norm)}


with torch.no_grad():
    for line in sys.stdin:
        case = json.loads(line)
        stride, padding, size = case["stride"], case["padding"], case["input"]
        answer = {"name": case["name"], "pair": step_seconds(case["shape"], stride, padding, size)}
        if "weight" in case:
            weight = torch.tensor(case["weight"], dtype=torch.float64).reshape(case["shape"])
            answer["power"] = power_iteration(Convolution(weight.float(), stride, padding, size))
            if svds is not None:
                answer["svds"] = by_svds(Convolution(weight, stride, padding, size))
        print(json.dumps(answer), flush=True)
