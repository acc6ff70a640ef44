#!/usr/bin/env python3
"""Choose the ten digits, evaluate the shipped models and write digits/ and expected.json.

    python make_expected.py --data DIR

The forward pass here shares no code with train_lenet.py: it reads the architecture JSON and the
safetensors file, and computes in float64.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

HERE = Path(__file__).parent
MODELS = ["lenet", "lenet-regularised"]


def load_part(folder, part):
    images = np.fromfile(Path(folder) / f"{part}-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 1, 28, 28)
    return images, np.fromfile(Path(folder) / f"{part}-labels-idx1-ubyte", np.uint8)[8:]


def windows(x, height, width, stride=1):
    """[N, C, H, W] -> [N, C, h, w, height, width]."""
    view = np.lib.stride_tricks.sliding_window_view(x, (height, width), axis=(2, 3))
    return view[:, :, ::stride, ::stride]


def linear_part(layer, tensors, x):
    """The affine layer applied to a batch, without its bias."""
    weight = tensors[layer["weight"]]
    if layer["type"] == "linear":
        return x @ weight.T
    p = layer.get("padding", 0)
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    return np.einsum("nchwij,ocij->nohw", windows(x, *weight.shape[2:]), weight, optimize=True)


def layer_forward(layer, tensors, x):
    per_channel = (-1, 1, 1)
    match layer["type"]:
        case "normalize":
            return (x - np.reshape(layer["mean"], per_channel)) / np.reshape(layer["std"], per_channel)
        case "conv2d":
            return linear_part(layer, tensors, x) + tensors[layer["bias"]].reshape(per_channel)
        case "linear":
            return linear_part(layer, tensors, x) + tensors[layer["bias"]]
        case "relu":
            return np.maximum(x, 0)
        case "max_pool2d":
            return windows(x, layer["kernel"], layer["kernel"], layer["kernel"]).max((4, 5))
        case "flatten":
            return x.reshape(len(x), -1)
        case other:
            raise SystemExit(f"{other}: not a layer of these models")


def evaluate(model, x):
    """Logits, in batches that fit in memory."""
    layers, tensors = model
    out = []
    for start in range(0, len(x), 250):
        y = x[start : start + 250].astype(np.float64)
        for layer in layers:
            y = layer_forward(layer, tensors, y)
        out.append(y)
    return np.concatenate(out)


def spectral_norms(model):
    """The spectral norm of each affine layer as an operator on its input, from its dense matrix."""
    layers, tensors = model
    x, norms = np.zeros((1, 1, 28, 28)), {}
    for layer in layers:
        if "weight" in layer:
            basis = np.eye(x.size).reshape(-1, *x.shape[1:])
            rows = linear_part(layer, tensors, basis).reshape(x.size, -1)
            norms[layer["name"]] = float(np.linalg.norm(rows, 2))
        x = layer_forward(layer, tensors, x)
    return norms


def load(name):
    architecture = json.loads((HERE / f"{name}.json").read_text())
    tensors = load_file(HERE / architecture["weights"])
    assert all(t.dtype == np.float32 for t in tensors.values())
    return architecture["layers"], {key: t.astype(np.float64) for key, t in tensors.items()}


def main():
    parser = argparse.ArgumentParser(description="Write digits/ and expected.json.")
    parser.add_argument("--data", required=True, help="folder with the four uncompressed IDX files of MNIST")
    options = parser.parse_args()
    images, labels = load_part(options.data, "t10k")
    pixels = images.astype(np.float32) / np.float32(255)

    models = {name: load(name) for name in MODELS}
    logits = {name: evaluate(model, pixels) for name, model in models.items()}
    right = {name: logits[name].argmax(1) == labels for name in MODELS}

    # The first test image of each class that every model has right.
    chosen = [int(np.flatnonzero((labels == digit) & np.all(list(right.values()), axis=0))[0]) for digit in range(10)]
    (HERE / "digits").mkdir(exist_ok=True)
    for digit, index in enumerate(chosen):
        np.save(HERE / "digits" / f"{digit}.npy", pixels[index])
        Image.fromarray(images[index, 0]).save(HERE / "digits" / f"{digit}.png")

    expected = {
        "digits": [{"digit": digit, "testIndex": index} for digit, index in enumerate(chosen)],
        "models": {
            name: {
                "parameters": sum(t.size for t in models[name][1].values()),
                "tested": len(labels),
                "correct": int(right[name].sum()),
                "accuracy": float(right[name].mean()),
                "spectralNorms": spectral_norms(models[name]),
                "logits": {str(digit): logits[name][index].tolist() for digit, index in enumerate(chosen)},
            }
            for name in MODELS
        },
    }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")
    for name in MODELS:
        entry = expected["models"][name]
        norms = "  ".join(f"{layer} {norm:.4f}" for layer, norm in entry["spectralNorms"].items())
        print(f"{name}: {entry['correct']} of {entry['tested']} right; spectral norms {norms}")


if __name__ == "__main__":
    main()
