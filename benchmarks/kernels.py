# SPDX-License-Identifier: Apache-2.0
"""Measures the ReLU kernel against a plain product and the naive expression: prints one JSON line.

python benchmarks/kernels.py --rows 4000 --dimension 65 --rounds 30 --threads 1
"""

import argparse
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ANGLES = (0.0, 1e-6, 1e-4, 1e-2, 0.5)
"""Angles between x and ±y at which accuracy is judged, in radians."""


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4000, help="inputs of both sides")
    parser.add_argument("--dimension", type=int, default=65, help="d")
    parser.add_argument("--rounds", type=int, default=30, help="each times all three in turn")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    return parser.parse_args()


def times_in_turn(
    functions: Mapping[str, Callable[..., Any]], operands: tuple, rounds: int
) -> dict[str, list[float]]:
    """Seconds of each function, round after round, so that the machine's moods meet all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function(*operands).block_until_ready()
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function(*operands).block_until_ready()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def pairs(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors x and y at ANGLES from each other and from each other's negative, float32."""
    rng = np.random.default_rng(0)
    tilt_P = np.repeat(np.array(ANGLES), 64)
    sign_P = np.tile([1.0, -1.0], len(tilt_P) // 2)
    x_Pxd, w_Pxd = rng.normal(size=(2, len(tilt_P), d))
    u_Pxd = x_Pxd / np.linalg.norm(x_Pxd, axis=1, keepdims=True)
    w_Pxd -= np.sum(u_Pxd * w_Pxd, axis=1, keepdims=True) * u_Pxd
    w_Pxd /= np.linalg.norm(w_Pxd, axis=1, keepdims=True)
    turned_Pxd = np.cos(tilt_P)[:, None] * u_Pxd + np.sin(tilt_P)[:, None] * w_Pxd
    length_P = np.where(tilt_P == 0, np.linalg.norm(x_Pxd, axis=1), rng.uniform(1, 9, len(tilt_P)))
    y_Pxd = (sign_P * length_P)[:, None] * turned_Pxd
    y_Pxd = np.where((tilt_P == 0)[:, None], sign_P[:, None] * x_Pxd, y_Pxd)
    return x_Pxd.astype(np.float32), y_Pxd.astype(np.float32)


def exact(x_Pxd: np.ndarray, y_Pxd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equations (5) and (6) of docs/theory.md in float64, by angles that keep all their digits."""
    x_Pxd, y_Pxd = x_Pxd.astype(np.float64), y_Pxd.astype(np.float64)
    x_Px1, y_Px1 = (np.linalg.norm(z, axis=1, keepdims=True) for z in (x_Pxd, y_Pxd))
    difference = np.linalg.norm(x_Pxd * y_Px1 - y_Pxd * x_Px1, axis=1, keepdims=True)
    total = np.linalg.norm(x_Pxd * y_Px1 + y_Pxd * x_Px1, axis=1, keepdims=True)
    theta_Px1, rest_Px1 = 2 * np.arctan2(difference, total), 2 * np.arctan2(total, difference)
    sine_Px1 = np.sin(np.minimum(theta_Px1, rest_Px1))
    scale = 2 * math.pi * x_Pxd.shape[1]
    value = x_Px1 * y_Px1 * (sine_Px1 + rest_Px1 * np.cos(theta_Px1)) / scale
    gradient = (y_Px1 * sine_Px1 * x_Pxd / x_Px1 + rest_Px1 * y_Pxd) / scale
    return value[:, 0], gradient


def main() -> None:
    """Times the three, judges their accuracy near x = ±y, and prints it."""
    options = arguments()
    os.environ["NPROC"] = str(options.threads)

    import jax
    import jax.numpy as jnp

    from infwidth.kernels import relu_kernel

    d = options.dimension

    def product(x_NxD: jax.Array, y_MxD: jax.Array) -> jax.Array:
        return jnp.matmul(x_NxD, y_MxD.T, precision=jax.lax.Precision.HIGHEST)

    def naive(x_NxD: jax.Array, y_MxD: jax.Array) -> jax.Array:
        size_NxM = jnp.outer(jnp.linalg.norm(x_NxD, axis=1), jnp.linalg.norm(y_MxD, axis=1))
        cosine_NxM = jnp.clip(product(x_NxD, y_MxD) / size_NxM, -1, 1)
        theta_NxM = jnp.arccos(cosine_NxM)
        value_NxM = jnp.sin(theta_NxM) + (math.pi - theta_NxM) * cosine_NxM
        return size_NxM * value_NxM / (2 * math.pi * d)

    def errors(kernel: Callable[..., jax.Array]) -> dict[str, float]:
        x_Pxd, y_Pxd = pairs(d)
        value_P, gradient_Pxd = exact(x_Pxd, y_Pxd)
        x_P, y_P = np.linalg.norm(x_Pxd, axis=1), np.linalg.norm(y_Pxd, axis=1)
        trace = jax.jit(jax.value_and_grad(lambda x, y: jnp.trace(kernel(x, y))))
        found_P = np.diagonal(np.asarray(jax.jit(kernel)(x_Pxd, y_Pxd)))
        found_Pxd = np.asarray(trace(x_Pxd, y_Pxd)[1])
        finite_P = np.isfinite(found_Pxd).all(axis=1)
        gradient_error_P = np.linalg.norm(found_Pxd - gradient_Pxd, axis=1) / (y_P / (2 * d))
        return {
            "value_error": float(np.max(np.abs(found_P - value_P) / (x_P * y_P / (2 * d)))),
            "gradient_error": float(np.max(gradient_error_P[finite_P])),
            "gradients_not_finite": int((~finite_P).sum()),
        }

    rng = np.random.default_rng(1)
    shape = (options.rows, d)
    operands = tuple(jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(2))
    functions: dict[str, Callable[..., Any]] = {
        "product": jax.jit(product),
        "relu_kernel": relu_kernel,
        "naive": jax.jit(naive),
    }
    seconds = times_in_turn(functions, operands, options.rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {
        name: statistics.median(
            a / b for a, b in zip(seconds[name], seconds["product"], strict=True)
        )
        for name in ("relu_kernel", "naive")
    }
    print(
        json.dumps(
            {
                "ms": {name: 1e3 * value for name, value in medians.items()},
                "ms_fastest": {name: 1e3 * min(values) for name, values in seconds.items()},
                "over_product": ratios,
                "gflops_product": 2 * options.rows**2 * d / medians["product"] / 1e9,
                "accuracy": {"relu_kernel": errors(relu_kernel), "naive": errors(naive)},
                "rows": options.rows,
                "dimension": d,
                "threads": options.threads,
                "device": jax.devices()[0].device_kind,
            }
        )
    )


if __name__ == "__main__":
    main()
