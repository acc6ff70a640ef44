"""ECLipsE and ECLipsE-Gen-Local, from the package eclipse-nn of their authors."""

import contextlib
import sys

from eclipse_nn import LipConstEstimator

from .network import Network


def estimator(network: Network) -> LipConstEstimator:
    return LipConstEstimator(model=network.layers)


def everywhere(network: Network, variant: str) -> float:
    """`variant` is `ECLipsE` or `ECLipsE_Fast`."""
    with contextlib.redirect_stdout(sys.stderr):
        return float(estimator(network).estimate(variant)) / network.deviation


def local(network: Network, epsilon: float, variant: str) -> float:
    """`variant` is `Acc`, `Fast` or `CF`."""
    with contextlib.redirect_stdout(sys.stderr):
        centre = network.input.flatten()
        value, _, status = estimator(network).estimate_gen_local(
            center=centre, epsilon=epsilon / network.deviation, actv="relu", algo=variant
        )
    if status != 0:
        raise RuntimeError(f"ECLipsE-Gen-Local-{variant} ended with status {status}")
    return value / network.deviation
