"""The product of the layers' spectral norms, a constant of the network everywhere if the norms are not too small."""

import torch
from torch import nn

from .network import Network
from .papers import norm_of, overlap


@torch.no_grad()
def bound(network: Network, steps: int | None) -> float:
    """`steps` of power iteration for each norm, or None for exact norms."""
    x, total = network.input, 1.0
    for layer in network.layers:
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            total *= norm_of(layer, x, 1.0, 1.0, steps)
        elif isinstance(layer, nn.MaxPool2d):
            total *= overlap(layer, x)
        x = layer(x)
    return total / network.deviation
