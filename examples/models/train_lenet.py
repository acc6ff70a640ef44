#!/usr/bin/env python3
"""Train the MNIST LeNet of this folder: NAME.safetensors (weights) and NAME.json (architecture).

    python train_lenet.py --data DIR --name lenet
    python train_lenet.py --data DIR --name lenet-regularised --regulariser spectral

DIR holds the four IDX files of MNIST, uncompressed; README.md says where to get them.

The network is the classic LeNet-5 with ReLU and max-pools, 61,706 parameters, on raw pixels in [0, 1]:

    normalize (x - 0.1307) / 0.3081
    conv1  6 @ 5x5, padding 2 - relu - max-pool 2      28x28 -> 14x14
    conv2 16 @ 5x5            - relu - max-pool 2      14x14 ->  5x5
    fc1 400 -> 120 - relu - fc2 120 -> 84 - relu - fc3 84 -> 10

Everything is plain NumPy in float32, back-propagation included, so that the only thing to install is
NumPy itself. Images travel as arrays of shape [channels, batch, height, width]: with the channels
outermost a convolution is one matrix product of the kernel with the patches, without a transposition.
"""

import argparse
import hashlib
import json
import os
import time
from pathlib import Path

# One thread makes a run repeatable: the order of the sums in a matrix product depends on the thread count.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from safetensors.numpy import save_file

MEAN, STD = 0.1307, 0.3081

DATA_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


# --- data -------------------------------------------------------------------------------------------


def read_idx(path):
    """One uncompressed IDX file of unsigned bytes: magic 00 00 08 rank, the sizes, the bytes."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != DATA_SHA256[path.name]:
        raise SystemExit(f"{path} is not the MNIST file of that name (SHA-256 differs)")
    rank = content[3]
    shape = np.frombuffer(content, ">u4", rank, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def load_mnist(folder, part):
    """Images (uint8 [count, 28, 28]) and labels (uint8 [count]) of part "train" or "t10k"."""
    folder = Path(folder)
    return read_idx(folder / f"{part}-images-idx3-ubyte"), read_idx(folder / f"{part}-labels-idx1-ubyte")


def as_input(images):
    """uint8 [count, 28, 28] -> normalised float32 [1, count, 28, 28]."""
    return ((images.astype(np.float32) / 255 - MEAN) / STD)[None]


def shifted(images, limit, rng):
    """Each image moved by up to `limit` pixels in both directions; what enters is black."""
    if limit == 0:
        return images
    count, height, width = images.shape
    padded = np.pad(images, ((0, 0), (limit, limit), (limit, limit)))
    rows = rng.integers(0, 2 * limit + 1, (count, 1)) + np.arange(height)
    columns = rng.integers(0, 2 * limit + 1, (count, 1)) + np.arange(width)
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


# --- layers -----------------------------------------------------------------------------------------
# forward(x) remembers what backward(g) needs; backward leaves the gradients of the parameters in
# self.gradients and returns the gradient of the input. The affine layers also show their linear part A:
# apply(x) = A x, adjoint(g) = A^T g, and weight_gradient(x, g) = gradient of <g, A x> in the weights.


class Conv2d:
    def __init__(self, inputs, outputs, kernel, padding, rng):
        scale = np.sqrt(2 / (inputs * kernel * kernel))
        weight = rng.normal(0, scale, (outputs, inputs, kernel, kernel)).astype(np.float32)
        self.parameters = {"weight": weight, "bias": np.zeros(outputs, np.float32)}
        self.padding = padding

    def patches(self, x):
        """[C, N, H, W] -> [C*k*k, N*h*w], every column the patch under one output pixel."""
        k, p = self.parameters["weight"].shape[2], self.padding
        x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        channels, count, height, width = x.shape
        h, w = height - k + 1, width - k + 1
        out = np.empty((channels, k, k, count, h, w), x.dtype)
        for i in range(k):
            for j in range(k):
                out[:, i, j] = x[:, :, i : i + h, j : j + w]
        return out.reshape(channels * k * k, -1), (count, h, w)

    def kernel_matrix(self):
        weight = self.parameters["weight"]
        return weight.reshape(len(weight), -1)

    def apply(self, x):
        patches, size = self.patches(x)
        return (self.kernel_matrix() @ patches).reshape(-1, *size)

    def adjoint(self, g):
        _, channels, k, _ = self.parameters["weight"].shape
        p = self.padding
        outputs, count, h, w = g.shape
        patches = (self.kernel_matrix().T @ g.reshape(outputs, -1)).reshape(channels, k, k, count, h, w)
        x = np.zeros((channels, count, h + k - 1, w + k - 1), g.dtype)
        for i in range(k):
            for j in range(k):
                x[:, :, i : i + h, j : j + w] += patches[:, i, j]
        return x[:, :, p : x.shape[2] - p, p : x.shape[3] - p]

    def weight_gradient(self, x, g, patches=None):
        patches = self.patches(x)[0] if patches is None else patches
        return (g.reshape(len(g), -1) @ patches.T).reshape(self.parameters["weight"].shape)

    def forward(self, x):
        self.seen, size = self.patches(x)
        y = (self.kernel_matrix() @ self.seen).reshape(-1, *size)
        return y + self.parameters["bias"][:, None, None, None]

    def backward(self, g, need_input=True):
        self.gradients = {"weight": self.weight_gradient(None, g, self.seen), "bias": g.sum((1, 2, 3))}
        return self.adjoint(g) if need_input else None


class Linear:
    def __init__(self, inputs, outputs, rng):
        weight = rng.normal(0, np.sqrt(2 / inputs), (outputs, inputs)).astype(np.float32)
        self.parameters = {"weight": weight, "bias": np.zeros(outputs, np.float32)}

    def apply(self, x):
        return x @ self.parameters["weight"].T

    def adjoint(self, g):
        return g @ self.parameters["weight"]

    def weight_gradient(self, x, g):
        return g.T @ x

    def forward(self, x):
        self.seen = x
        return self.apply(x) + self.parameters["bias"]

    def backward(self, g, need_input=True):
        self.gradients = {"weight": self.weight_gradient(self.seen, g), "bias": g.sum(0)}
        return self.adjoint(g) if need_input else None


class Relu:
    def forward(self, x):
        self.active = x > 0
        return x * self.active

    def backward(self, g):
        return g * self.active


class MaxPool2:
    """Largest of each 2x2 window (a last odd row or column would be dropped; this net has none)."""

    def forward(self, x):
        channels, count, height, width = x.shape
        windows = x.reshape(channels, count, height // 2, 2, width // 2, 2)
        windows = windows.transpose(0, 1, 2, 4, 3, 5).reshape(channels, count, height // 2, width // 2, 4)
        self.winner = windows.argmax(-1)[..., None]
        return np.take_along_axis(windows, self.winner, -1)[..., 0]

    def backward(self, g):
        channels, count, h, w = g.shape
        windows = np.zeros((channels, count, h, w, 4), g.dtype)
        np.put_along_axis(windows, self.winner, g[..., None], -1)
        windows = windows.reshape(channels, count, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5)
        return windows.reshape(channels, count, 2 * h, 2 * w)


class Flatten:
    """[C, N, H, W] -> [N, C*H*W], channels slowest, as everywhere."""

    def forward(self, x):
        self.shape = x.shape
        return x.transpose(1, 0, 2, 3).reshape(x.shape[1], -1)

    def backward(self, g):
        channels, count, height, width = self.shape
        return g.reshape(count, channels, height, width).transpose(1, 0, 2, 3)


def lenet(rng):
    """The layers by name; the affine ones carry the names that their tensors get."""
    return {
        "conv1": Conv2d(1, 6, 5, 2, rng),
        "relu1": Relu(),
        "pool1": MaxPool2(),
        "conv2": Conv2d(6, 16, 5, 0, rng),
        "relu2": Relu(),
        "pool2": MaxPool2(),
        "flatten": Flatten(),
        "fc1": Linear(400, 120, rng),
        "relu3": Relu(),
        "fc2": Linear(120, 84, rng),
        "relu4": Relu(),
        "fc3": Linear(84, 10, rng),
    }


def forward(layers, x):
    for layer in layers.values():
        x = layer.forward(x)
    return x


def affine(layers):
    return {name: layer for name, layer in layers.items() if hasattr(layer, "parameters")}


def accuracy(layers, images, labels):
    right = 0
    for start in range(0, len(images), 1000):
        part = slice(start, start + 1000)
        right += np.sum(forward(layers, as_input(images[part])).argmax(1) == labels[part])
    return right / len(images)


# --- training ---------------------------------------------------------------------------------------


def cross_entropy(logits, labels):
    """Mean loss over the batch, and its gradient in the logits."""
    shifted_logits = logits - logits.max(1, keepdims=True)
    log_p = shifted_logits - np.log(np.exp(shifted_logits).sum(1, keepdims=True))
    rows = np.arange(len(labels))
    gradient = np.exp(log_p)
    gradient[rows, labels] -= 1
    return -log_p[rows, labels].mean(), gradient / len(labels)


class SpectralPenalty:
    """strength * (sum over the affine layers of sigma^2), sigma = the layer's spectral norm.

    For a convolution that is the norm of the operator on the images it really sees, padding included, not
    the norm of the reshaped kernel. sigma and its singular vectors come from a power iteration that takes
    one step per batch and is kept warm, since the weights move little in between. With sigma = <u, A v> the
    gradient of sigma^2 in the weights is 2 sigma times the weight gradient at input v and output u.
    """

    INPUTS = {"conv1": (1, 1, 28, 28), "conv2": (6, 1, 14, 14), "fc1": (1, 400), "fc2": (1, 120), "fc3": (1, 84)}

    def __init__(self, layers, strength, rng):
        self.layers, self.strength = layers, strength
        self.v = {name: rng.normal(size=self.INPUTS[name]).astype(np.float32) for name in layers}
        self.norms = {}
        for _ in range(20):
            self.step(0)

    def step(self, strength):
        for name, layer in self.layers.items():
            u = layer.apply(self.v[name])
            u /= np.linalg.norm(u)
            v = layer.adjoint(u)
            sigma = np.linalg.norm(v)
            v /= sigma
            self.v[name], self.norms[name] = v, float(sigma)
            if strength:
                layer.gradients["weight"] += 2 * strength * sigma * layer.weight_gradient(v, u)

    def add_gradients(self):
        self.step(self.strength)


class Adam:
    def __init__(self, layers, beta1=0.9, beta2=0.999, eps=1e-8):
        self.layers, self.beta1, self.beta2, self.eps, self.count = layers, beta1, beta2, eps, 0
        zeros = lambda: {n: {k: np.zeros_like(p) for k, p in l.parameters.items()} for n, l in layers.items()}
        self.first, self.second = zeros(), zeros()

    def step(self, rate):
        self.count += 1
        rate *= np.sqrt(1 - self.beta2**self.count) / (1 - self.beta1**self.count)
        for name, layer in self.layers.items():
            for key, gradient in layer.gradients.items():
                m, s = self.first[name][key], self.second[name][key]
                m += (1 - self.beta1) * (gradient - m)
                s += (1 - self.beta2) * (gradient * gradient - s)
                layer.parameters[key] -= (rate * m / (np.sqrt(s) + self.eps)).astype(np.float32)


def train(options):
    rng = np.random.default_rng(options.seed)
    layers = lenet(rng)
    trained = affine(layers)
    images, labels = load_mnist(options.data, "train")
    test = load_mnist(options.data, "t10k")
    optimiser = Adam(trained)
    penalty = SpectralPenalty(trained, options.strength, rng) if options.regulariser == "spectral" else None
    batches = len(images) // options.batch
    started = time.monotonic()
    for epoch in range(options.epochs):
        order, total = rng.permutation(len(images)), 0.0
        for batch in range(batches):
            chosen = order[batch * options.batch : (batch + 1) * options.batch]
            x = as_input(shifted(images[chosen], options.shift, rng))
            loss, g = cross_entropy(forward(layers, x), labels[chosen])
            total += loss
            for name, layer in reversed(layers.items()):
                g = layer.backward(g, need_input=False) if name == "conv1" else layer.backward(g)
            if penalty:
                penalty.add_gradients()
            # The rate falls to zero along half a cosine, so that the last weights are the ones to keep.
            progress = (epoch + batch / batches) / options.epochs
            optimiser.step(options.rate * 0.5 * (1 + np.cos(np.pi * progress)))
        norms = "  norms " + " ".join(f"{n} {s:.3f}" for n, s in penalty.norms.items()) if penalty else ""
        print(f"epoch {epoch + 1}/{options.epochs}  loss {total / batches:.4f}"
              f"  {time.monotonic() - started:.0f} s{norms}", flush=True)
    print(f"test accuracy {accuracy(layers, *test):.2%}")
    return trained


# --- files ------------------------------------------------------------------------------------------


def architecture(name):
    affine_layer = lambda kind, layer, **more: {
        "type": kind, "name": layer, "weight": f"{layer}.weight", "bias": f"{layer}.bias", **more}
    layers = [
        {"type": "normalize", "name": "normalize", "mean": [MEAN], "std": [STD]},
        affine_layer("conv2d", "conv1", padding=2),
        {"type": "relu", "name": "relu1"},
        {"type": "max_pool2d", "name": "pool1", "kernel": 2},
        affine_layer("conv2d", "conv2"),
        {"type": "relu", "name": "relu2"},
        {"type": "max_pool2d", "name": "pool2", "kernel": 2},
        {"type": "flatten", "name": "flatten"},
        affine_layer("linear", "fc1"),
        {"type": "relu", "name": "relu3"},
        affine_layer("linear", "fc2"),
        {"type": "relu", "name": "relu4"},
        affine_layer("linear", "fc3"),
    ]
    head = {
        "format": "lipbound-architecture",
        "version": 1,
        "name": name,
        "input": [1, 28, 28],
        "weights": f"{name}.safetensors",
        "classes": [str(digit) for digit in range(10)],
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    rows = ",\n".join("    " + json.dumps(layer) for layer in layers)
    return "\n".join(["{", *lines, '  "layers": [', rows, "  ]", "}"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description="Train the MNIST LeNet; write NAME.safetensors and NAME.json.")
    parser.add_argument("--data", required=True, help="folder with the four uncompressed IDX files of MNIST")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to (this one)")
    parser.add_argument("--name", default="lenet", help="stem of the two files (%(default)s)")
    parser.add_argument("--regulariser", choices=["none", "spectral"], default="none", help="(%(default)s)")
    parser.add_argument("--strength", type=float, default=0.03, help="of the regulariser (%(default)s)")
    parser.add_argument("--epochs", type=int, default=15, help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="images per step (%(default)s)")
    parser.add_argument("--rate", type=float, default=0.002, help="Adam's first learning rate (%(default)s)")
    parser.add_argument("--shift", type=int, default=2, help="random shift in pixels (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    options = parser.parse_args()
    trained = train(options)
    tensors = {f"{n}.{key}": np.ascontiguousarray(p, "<f4") for n, l in trained.items() for key, p in l.parameters.items()}
    print(f"{sum(t.size for t in tensors.values())} parameters")
    weights = options.out / f"{options.name}.safetensors"
    save_file(tensors, weights)
    weights.chmod(0o644)
    (options.out / f"{options.name}.json").write_text(architecture(options.name))


if __name__ == "__main__":
    main()
