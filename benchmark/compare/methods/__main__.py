"""Runs one method: a task as JSON in the first argument, a line of JSON for each answer.

A task for networks has `method`, `model`, `input`, `epsilons` (null stands for the whole space) and `repeats`; one for a
convolution `method`, `weight`, `stride`, `padding`, `input` and `repeats`.
"""

import json
import sys
from collections.abc import Callable
from importlib import metadata

import numpy as np

from .measure import emit, measure, peak

Question = Callable[[float | None], float | dict]


def versions(_: dict) -> None:
    names = ["torch", "numpy", "scipy", "cvxpy", "clarabel", "scs", "eclipse-nn", "auto-LiRPA"]
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    emit({"versions": {"Python": sys.version.split()[0], **found}})


def question(task: dict) -> Question:
    """What is asked for each epsilon, with everything loaded."""
    import torch

    from . import network

    torch.set_num_threads(2)
    family, _, variant = task["method"].partition(":")
    single = variant == "power" or family == "lirpa"
    loaded = network.load(task["model"], task["input"], torch.float32 if single else torch.float64)
    steps = 100 if variant == "power" else None
    if family == "papers":
        from . import papers

        return lambda epsilon: papers.bound(loaded, epsilon, steps)
    if family == "product":
        from . import product

        return lambda _: product.bound(loaded, steps)
    if family == "attack":
        from . import attack

        return lambda epsilon: attack.attained(loaded, epsilon)
    if family == "lirpa":
        from .lirpa import Movement

        return Movement(loaded, variant)
    if not loaded.dense:
        raise ValueError("reads no convolutions and no max pools")
    if family == "eclipse":
        from . import eclipse

        if variant.startswith("ECLipsE"):
            return lambda _: eclipse.everywhere(loaded, variant)
        return lambda epsilon: eclipse.local(loaded, epsilon, variant)
    if family == "lipsdp":
        from . import lipsdp

        weights = [layer.weight.double().numpy() for layer in loaded.layers if isinstance(layer, torch.nn.Linear)]
        if variant == "global":
            return lambda _: lipsdp.bound(weights, lipsdp.global_slopes(weights)) / loaded.deviation
        with open(task["slopes"]) as file:
            slopes = {entry["epsilon"]: entry["slopes"] for entry in json.load(file)}

        def local(epsilon: float | None) -> float:
            known = [(np.array(low), np.array(high)) for low, high in slopes[epsilon]]
            return lipsdp.bound(weights, known) / loaded.deviation

        return local
    raise ValueError(f"there is no method {task['method']}")


def of_convolution(task: dict) -> Callable[[], float]:
    import torch

    from . import convolution, operators

    torch.set_num_threads(2)
    single = task["method"] == "power"
    weight = torch.from_numpy(np.load(task["weight"])).to(torch.float32 if single else torch.float64)
    stride, padding, shape = task["stride"], task["padding"], task["input"]
    height, width = shape[1:]
    grid = height + 2 * padding, width + 2 * padding
    whole = convolution.padded(weight, stride, padding, shape)
    return {
        "power": lambda: operators.power_iteration(whole),
        "svds": lambda: operators.by_svds(whole),
        "dense": lambda: operators.by_gram_matrix(whole),
        "fourier": lambda: convolution.by_fourier(weight, height, width),
        "gram": lambda: convolution.by_gram(weight, height, width),
        "fourier-padded": lambda: convolution.by_fourier(weight, *grid),
        "gram-padded": lambda: convolution.by_gram(weight, *grid),
    }[task["method"]]


def main() -> None:
    task = json.loads(sys.argv[1])
    if task["method"].endswith("versions"):
        versions(task)
        return
    if "weight" in task:
        work = of_convolution(task)
        begin = peak()
        emit({"start": begin, **measure(work, task["repeats"])})
        return
    ask = question(task)
    begin = peak()
    for epsilon in task["epsilons"]:
        try:
            emit({"epsilon": epsilon, "start": begin, **measure(lambda at=epsilon: ask(at), task["repeats"])})
        except Exception as error:  # The other radii are asked all the same; the row says what happened.
            emit({"epsilon": epsilon, "error": f"{type(error).__name__}: {error}".split("\n")[0].removesuffix(": ")})


main()
