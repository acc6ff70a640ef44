"""Networks in the architecture format as PyTorch modules."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn


@dataclass
class Network:
    """A network with its input normalised beforehand.

    Dividing every input by one number is a similarity: a ball of radius epsilon becomes one of radius
    epsilon / deviation, and a constant is to be divided by the deviation too.
    """

    layers: nn.Sequential
    input: Tensor
    deviation: float

    @property
    def dense(self) -> bool:
        return all(isinstance(layer, (nn.Linear, nn.ReLU)) for layer in self.layers)


def affine(layer: dict, tensors: dict[str, Tensor], dtype: torch.dtype) -> nn.Module:
    weight = tensors[layer["weight"]].to(dtype)
    bias = tensors[layer["bias"]].to(dtype) if "bias" in layer else torch.zeros(len(weight), dtype=dtype)
    if layer["type"] == "linear":
        module: nn.Module = nn.Linear(weight.shape[1], weight.shape[0], dtype=dtype)
    else:
        module = nn.Conv2d(
            weight.shape[1],
            weight.shape[0],
            (weight.shape[2], weight.shape[3]),
            stride=layer.get("stride", 1),
            padding=layer.get("padding", 0),
            dtype=dtype,
        )
    module.weight, module.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    return module


def load(model: str, input: str, dtype: torch.dtype = torch.float64) -> Network:
    """Reads a model and its input; what is not known here is an error."""
    document = json.loads(Path(model).read_text())
    tensors = load_file(Path(model).parent / document["weights"])
    x = torch.from_numpy(np.load(input)).to(dtype).reshape(1, *document["input"])
    deviation, modules = 1.0, []
    for place, layer in enumerate(document["layers"]):
        kind = layer["type"]
        if kind == "normalize" and place == 0 and len(set(layer["std"])) == len(set(layer["mean"])) == 1:
            deviation = layer["std"][0]
            x = (x - layer["mean"][0]) / deviation
        elif kind in ("conv2d", "linear"):
            modules.append(affine(layer, tensors, dtype))
        elif kind == "relu":
            modules.append(nn.ReLU())
        elif kind == "max_pool2d":
            modules.append(nn.MaxPool2d(layer["kernel"], layer.get("stride", layer["kernel"])))
        elif kind == "flatten":
            modules.append(nn.Flatten())
        else:
            raise ValueError(f"layer {place} is of type {kind}, which the comparison does not read")
    return Network(nn.Sequential(*modules).eval(), x, deviation)
