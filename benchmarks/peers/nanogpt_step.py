# SPDX-License-Identifier: Apache-2.0
"""One JSON line: nanoGPT's training step on a CPU. Run by against_peers.py, in nanoGPT's Python."""

import json
import statistics
import sys
import time

import torch

checkout, threads, shape = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
sys.path.insert(0, checkout)
from model import GPT, GPTConfig  # noqa: E402  (nanoGPT's own module, in its checkout)

torch.set_num_threads(threads)
torch.manual_seed(0)
model = GPT(
    GPTConfig(
        block_size=shape["context"],
        vocab_size=shape["vocab"],
        n_layer=shape["layers"],
        n_head=shape["heads"],
        n_embd=shape["d_model"],
        dropout=0.0,
        bias=False,
    )
)
optimizer = model.configure_optimizers(
    weight_decay=0.0, learning_rate=1e-3, betas=(0.9, 0.98), device_type="cpu"
)
inputs, targets = torch.randint(shape["vocab"], (2, shape["batch"], shape["context"]))


def step() -> float:
    """Takes a training step; returns its seconds."""
    start = time.perf_counter()
    _, loss = model(inputs, targets)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    loss.item()
    return time.perf_counter() - start


for _ in range(10):
    step()
median = statistics.median(step() for _ in range(shape["steps"]))
print(json.dumps({"tokens_per_s": shape["batch"] * shape["context"] / median}))
