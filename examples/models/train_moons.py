"""Trains the small network of docs/tutorial.md on two half-circles and writes moons.onnx and moons.npy, a point between them.

Made with Python 3.11.7, torch 2.15.0, onnx 1.23.2, onnxscript 0.7.2 and NumPy 2.4.6:

    python3 -m venv .venv && .venv/bin/pip install torch onnx onnxscript numpy && .venv/bin/python train_moons.py
"""

import pathlib

import numpy
import onnx
import torch

torch.manual_seed(0)
label = torch.arange(2000) % 2
angle = torch.pi * torch.rand(2000)
side = 1 - 2 * label
points = torch.stack([side * torch.cos(angle) + label, side * torch.sin(angle) + label / 2], dim=1)
points += 0.1 * torch.randn(2000, 2)

model = torch.nn.Sequential(
    torch.nn.Linear(2, 16), torch.nn.ReLU(),
    torch.nn.Linear(16, 16), torch.nn.ReLU(),
    torch.nn.Linear(16, 2),
)
optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
for _ in range(500):
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(model(points), label).backward()
    optimiser.step()
model.eval()
print("right:", (model(points).argmax(dim=1) == label).sum().item(), "of 2000")

here = pathlib.Path(__file__).parent
x = torch.tensor([[0.0, 1.0]])
torch.onnx.export(model, (x,), here / "moons.onnx", external_data=False)
numpy.save(here / "moons.npy", x.numpy())
print("outputs at", x.tolist(), "are", model(x).tolist())

# The exporter notes in the file where on the disk it ran; that is of no use to anybody else.
written = onnx.load(here / "moons.onnx")
for node in written.graph.node:
    del node.metadata_props[:]
del written.graph.metadata_props[:]
for value in (*written.graph.input, *written.graph.output, *written.graph.value_info):
    del value.metadata_props[:]
onnx.save(written, here / "moons.onnx")
