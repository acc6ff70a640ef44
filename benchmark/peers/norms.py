"""Power iteration (PyTorch, f32) and svds (SciPy, f64) for the norm of a convolution: seconds of one step pair.

Reads one JSON object a line: {"name", "weight": [o, c, k, k], "stride", "padding", "input": [c, h, w]}; answers one line
each with what is installed. Weights are drawn here: only times are compared.
"""
import json
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(2)
except ImportError:
    torch = None
try:
    import numpy as np
    from scipy.sparse.linalg import LinearOperator, svds
except ImportError:
    svds = None


def pair_seconds(weight, stride, padding, shape, repeats=7):
    """Median seconds of conv2d followed by conv_transpose2d, as power iteration runs them."""
    w = torch.randn(weight)
    x = torch.randn(1, *shape)
    times = []
    with torch.no_grad():
        for _ in range(repeats + 2):
            begin = time.perf_counter()
            y = F.conv2d(x, w, stride=stride, padding=padding)
            back = F.conv_transpose2d(y, w, stride=stride, padding=padding)
            x = F.pad(back, (0, shape[2] - back.shape[3], 0, shape[1] - back.shape[2]))
            x = x / x.norm()
            times.append(time.perf_counter() - begin)
    return sorted(times[2:])[repeats // 2]


def svds_seconds(weight, stride, padding, shape):
    """Seconds of svds (one singular value) on the same operator, with PyTorch's f64 products."""
    w = torch.randn(weight, dtype=torch.float64)
    out = F.conv2d(torch.zeros(1, *shape, dtype=torch.float64), w, stride=stride, padding=padding).shape[1:]
    def forward(v):
        return F.conv2d(torch.from_numpy(np.ascontiguousarray(v)).reshape(1, *shape), w, stride=stride, padding=padding).flatten().numpy()
    def adjoint(v):
        back = F.conv_transpose2d(torch.from_numpy(np.ascontiguousarray(v)).reshape(1, *out), w, stride=stride, padding=padding)
        return F.pad(back, (0, shape[2] - back.shape[3], 0, shape[1] - back.shape[2])).flatten().numpy()
    n, m = int(np.prod(shape)), int(np.prod(out))
    operator = LinearOperator((m, n), matvec=forward, rmatvec=adjoint, dtype=np.float64)
    begin = time.perf_counter()
    svds(operator, k=1, return_singular_vectors=False)
    return time.perf_counter() - begin


for line in sys.stdin:
    case = json.loads(line)
    answer = {"name": case["name"]}
    arguments = (case["weight"], case["stride"], case["padding"], case["input"])
    if torch is not None:
        answer["torch"] = torch.__version__
        answer["pair"] = pair_seconds(*arguments)
        if svds is not None and case.get("svds"):
            answer["svds"] = svds_seconds(*arguments)
    print(json.dumps(answer), flush=True)
