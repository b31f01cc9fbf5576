# SPDX-License-Identifier: Apache-2.0
"""Compares the library with others, one call of each in turn, in CPU time of one thread.

python benchmarks/against_libraries.py --tangents-python PYTHON --torch-python PYTHON

Each library runs in a process of its own, which has compiled and warmed up before the first round.
Printed are ratios, theirs over ours, and how far the results are apart.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[[], object]
OURS = "infwidth"
LIBRARIES = ("jax", "neural_tangents", "torch", "pykeops", "gpytorch", "sklearn")
"""Whose versions are printed, of those that a contender imports."""


def main() -> None:
    """Compares every task, or, as a worker, makes the calls of one contender."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tangents-python", help="a Python that has neural-tangents")
    parser.add_argument("--torch-python", help="a Python that has pykeops and gpytorch")
    parser.add_argument("--tasks", nargs="+", choices=CALLS, default=list(CALLS))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--count", type=int, default=2000, help="inputs of the NTK and of ridge")
    parser.add_argument("--product-count", type=int, default=4000, help="inputs of the product")
    parser.add_argument("--dimension", type=int, default=16)
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work)
        return
    pythons = dict.fromkeys((OURS, "kernel_sum", "sklearn"), sys.executable)
    pythons |= {"neural_tangents": options.tangents_python}
    pythons |= dict.fromkeys(("pykeops", "gpytorch"), options.torch_python)
    for task in options.tasks:
        count = options.product_count if task == "product" else options.count
        names = [name for name in CALLS[task] if pythons[name]]
        report = compare(task, {name: pythons[name] for name in names}, count, options)
        print(json.dumps({"task": task, "inputs": count, "dimension": options.dimension, **report}))


def compare(
    task: str, pythons: dict[str, str], count: int, options: argparse.Namespace
) -> dict[str, object]:
    """Ratios of one task, with their quartiles over rounds, and gaps between the results."""
    # One core for all: what one thread does is what is compared, and all meet the same neighbours.
    core = str(max(os.sched_getaffinity(0)))
    one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    environment = {**os.environ, **one, "NPROC": "1", "CUDA_VISIBLE_DEVICES": ""}
    with tempfile.TemporaryDirectory() as folder:
        work_on = [task, str(count), str(options.dimension)]
        workers = {
            name: subprocess.Popen(
                ["taskset", "--cpu-list", core, python, __file__, "--work", name, *work_on],
                env=environment,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name, python in pythons.items()
        }
        versions = {name: ask(worker) for name, worker in workers.items()}
        seconds: dict[str, list[float]] = {name: [] for name in workers}
        for _ in range(options.rounds):
            for name, worker in workers.items():
                seconds[name].append(float(ask(worker)))
        for worker in workers.values():
            worker.communicate()
        gaps = apart({name: Path(folder) / f"{name}.npy" for name in workers})
    ratios = {}
    for name in workers.keys() - {OURS}:
        pairs = zip(seconds[name], seconds[OURS], strict=True)
        low, middle, high = statistics.quantiles((a / b for a, b in pairs), n=4, method="inclusive")
        ratios[name] = {"median": round(middle, 2), "quartiles": [round(low, 2), round(high, 2)]}
    return {"versions": versions, "theirs_over_ours": ratios, "apart": gaps}


def ask(worker: subprocess.Popen[str]) -> str:
    """The next line of a worker, which makes a call for each line that it is given."""
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write("\n")
    worker.stdin.flush()
    line = worker.stdout.readline().strip()
    if not line:
        raise RuntimeError("a worker has ended; what it wrote above says why")
    return line


def apart(files: dict[str, Path]) -> dict[str, float]:
    """The largest gap to our result, over its largest number."""
    import numpy as np

    results = {name: np.load(file) for name, file in files.items()}
    ours = results.pop(OURS)
    return {name: float(abs(it - ours).max() / abs(ours).max()) for name, it in results.items()}


def work(name: str, task: str, count: str, dimension: str) -> None:
    """Makes a call for each line that comes, and prints the CPU seconds that it took."""
    import numpy as np

    answers, sys.stdout = sys.stdout, sys.stderr  # KeOps tells what it compiles
    call = CALLS[task][name](*inputs(int(count), int(dimension)))
    np.save(f"{name}.npy", np.asarray(call(), dtype=np.float64))
    versions = [f"{it} {sys.modules[it].__version__}" for it in LIBRARIES if it in sys.modules]
    next(sys.stdin)
    print(", ".join(versions), file=answers, flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        call()
        print(time.process_time() - start, file=answers, flush=True)


def inputs(count: int, dimension: int) -> list[Any]:
    """Two sets of normal inputs, and coefficients or targets in 10 columns, in float32."""
    import numpy as np

    rng = np.random.default_rng(0)
    columns = (dimension, dimension, 10)
    return [rng.standard_normal((count, each)).astype(np.float32) for each in columns]


def ntk_of_infwidth(x, y, _) -> Call:
    """The tangent kernel of three hidden layers."""
    from infwidth.kernels import ntk_kernel

    return lambda: ntk_kernel(x, y, hidden_layers=3).block_until_ready()


def ntk_of_neural_tangents(x, y, _) -> Call:
    """The same network in their words: weights of variance 2, no biases."""
    import jax
    from neural_tangents import stax

    hidden = [layer for _ in range(3) for layer in (stax.Dense(1, 2**0.5), stax.Relu())]
    kernel = jax.jit(stax.serial(*hidden, stax.Dense(1, 2**0.5))[2], static_argnames="get")
    return lambda: kernel(x, y, get="ntk").block_until_ready()


def product_of_infwidth(x, y, c) -> Call:
    """f(y) = Σ_i c_i Θ(y, x_i)."""
    from infwidth import infinite, kernels

    readout = infinite.Readout(kernels.relu_kernel, x, outputs=10, gram_limit=0)
    return lambda: readout(c, y).block_until_ready()


def product_of_kernel_sum(x, y, c) -> Call:
    """The same as the infinitely wide layer computes it."""
    import jax

    from infwidth.infinite.kernel_sum import kernel_sum
    from infwidth.infinite.support import one_step

    program = jax.jit(lambda y, x, c: kernel_sum(y.T, one_step(x.T, -c.T, 0.0), 0.0).T)
    # An appended 0 has widened the inputs by one, over which this kernel is divided.
    c = c * ((x.shape[1] + 1) / x.shape[1])
    return lambda: program(y, x, c).block_until_ready()


def product_of_pykeops(x, y, c) -> Call:
    """The formula, compiled by KeOps."""
    import torch
    from pykeops.torch import LazyTensor

    x, y, c = (torch.from_numpy(each) for each in (x, y, c))

    def call():
        norm_x, norm_y = x.norm(dim=1, keepdim=True), y.norm(dim=1, keepdim=True)
        u = LazyTensor((y / norm_y)[:, None, :])
        v = LazyTensor((x / norm_x)[None, :, :])
        cosine = (u * v).sum(-1).clamp(-1, 1)
        arc = (1 - cosine.square()).sqrt() + (math.pi - cosine.acos()) * cosine
        return (arc @ (norm_x * c)) * norm_y / (2 * math.pi * x.shape[1])

    return call


def product_of_gpytorch(x, y, c) -> Call:
    """The formula as a kernel of GPyTorch, which has none of this name."""
    import gpytorch
    import torch

    class Relu(gpytorch.kernels.Kernel):
        def forward(self, y, x, diag=False, **_):
            norms = y.norm(dim=-1)[:, None] * x.norm(dim=-1)[None, :]
            cosine = ((y @ x.T) / norms).clamp(-1, 1)
            arc = (1 - cosine.square()).sqrt() + (math.pi - cosine.acos()) * cosine
            return norms * arc / (2 * math.pi * x.shape[-1])

    x, y, c = (torch.from_numpy(each) for each in (x, y, c))
    kernel = Relu()

    def call():
        with torch.no_grad():
            return kernel(y, x) @ c

    return call


def ridge_of_infwidth(x, _, target) -> Call:
    """The solution of a ridge of 0.1, from the kernel matrix."""
    from infwidth import infinite, kernels

    readout = infinite.Readout(kernels.relu_kernel, x, outputs=10)
    return lambda: infinite.solve(readout, target, 0.1).coefficients_NxE.block_until_ready()


def ridge_of_sklearn(x, _, target) -> Call:
    """The same from the same matrix."""
    import numpy as np
    from sklearn.kernel_ridge import KernelRidge

    from infwidth.kernels import relu_kernel

    theta = np.asarray(relu_kernel(x, x))
    return lambda: KernelRidge(alpha=0.1, kernel="precomputed").fit(theta, target).dual_coef_


CALLS: dict[str, dict[str, Callable[..., Call]]] = {
    "ntk": {OURS: ntk_of_infwidth, "neural_tangents": ntk_of_neural_tangents},
    "product": {
        OURS: product_of_infwidth,
        "kernel_sum": product_of_kernel_sum,
        "pykeops": product_of_pykeops,
        "gpytorch": product_of_gpytorch,
    },
    "ridge": {OURS: ridge_of_infwidth, "sklearn": ridge_of_sklearn},
}
"""By task, what makes each contender's call; the others are compared with ours."""

if __name__ == "__main__":
    main()
