"""How far outputs move, by the linear relaxations of auto_LiRPA.

The version that registries have bounds outputs over a ball in the Euclidean norm, and has no bounds of Jacobians. From
the intervals of the outputs follows how far they move together, which divided by epsilon is at most the centred
constant, but may be less: the constant is also one of smaller steps.
"""

import warnings

import torch
from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

from .network import Network

# With parameters stored sparsely, which is the default, version 0.3 stops at an assertion where many units are stable. Where
# there are max pools, α-CROWN stops at another one, whatever the options.
OPTIONS = {"sparse_features_alpha": False, "sparse_spec_alpha": False}


class Movement:
    """A network that is traced once, for any number of radii."""

    def __init__(self, network: Network, variant: str) -> None:
        warnings.filterwarnings("ignore", category=FutureWarning)
        self.network, self.variant = network, variant
        self.model = BoundedModule(network.layers, torch.empty_like(network.input), bound_opts=OPTIONS)

    def __call__(self, epsilon: float) -> float:
        epsilon = epsilon / self.network.deviation
        x = BoundedTensor(self.network.input, PerturbationLpNorm(norm=2, eps=epsilon))
        with torch.set_grad_enabled(self.variant == "CROWN-Optimized"):
            low, high = self.model.compute_bounds(x=(x,), method=self.variant)
        with torch.no_grad():
            nominal = self.network.layers(self.network.input)
            furthest = torch.maximum(high - nominal, nominal - low).norm()
        return float(furthest) / epsilon / self.network.deviation
