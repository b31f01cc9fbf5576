# SPDX-License-Identifier: Apache-2.0
"""Measures a step of the infinite-width MLP beside plain matrix products: prints one JSON line.

Useful work is two products of the forward and three of the backward, of a batch with all inputs
seen. The products that it is compared with have the same shapes, and nothing else to do: they are
taken block by block, as the layer takes them, and as whole matrices (for as many inputs as
--whole-inputs says, since those take memory).

python benchmarks/infinite_mlp.py --d-model 64 --tokens 256 --inputs 51200
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--d-model", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=256, help="N, inputs of a batch")
    parser.add_argument("--inputs", type=int, default=51_200, help="t, inputs seen")
    parser.add_argument("--whole-inputs", type=int, default=16_384)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    return parser.parse_args()


def seconds(run: Callable[[], Any], times: int) -> float:
    """The median time of a call, the first one left out."""
    durations = []
    run()
    for _ in range(times):
        start = time.perf_counter()
        run()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def main() -> None:
    """Times the layer and the products in turn, so that both meet the machine in one state."""
    options = arguments()
    os.environ["NPROC"] = str(options.threads)
    if options.threads == 1:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()

    import jax
    import jax.numpy as jnp
    import numpy as np

    from infwidth.infinite.kernel_sum import kernel_sum
    from infwidth.infinite.support import Support, block_shape, one_step

    D, N = options.d_model, options.tokens
    d, bias = D + 1, D**0.5 / 2
    steps = options.inputs // N
    random = np.random.default_rng(0)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(random.normal(size=shape), jnp.float32)

    blocks = [one_step(normal(D, N), normal(D, N), bias) for _ in range(steps)]
    support = Support(
        jnp.concatenate([block.direction_BxKxd for block in blocks]),
        jnp.concatenate([block.error_BxExK for block in blocks]),
        normal(steps, D),
        jnp.asarray(steps, jnp.int32),
    )
    x_DxN, u_dxN, g_ExN = normal(D, N), normal(d, N), normal(D, N)
    product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

    @jax.jit
    def layer(x_DxN: jax.Array, support: Support, g_ExN: jax.Array) -> Any:
        f_ExN, pull = jax.vjp(lambda x: kernel_sum(x, support, bias), x_DxN)
        return f_ExN, pull(g_ExN)

    @jax.jit
    def in_blocks(support: Support, u_dxN: jax.Array, g_ExN: jax.Array) -> Any:
        def forward(b: jax.Array, h_ExN: jax.Array) -> jax.Array:
            return h_ExN + product(support.error_BxExK[b], product(support.direction_BxKxd[b], u))

        def backward(b: jax.Array, w_dxN: jax.Array) -> jax.Array:
            seen_Kxd = support.direction_BxKxd[b]
            both_KxN = product(seen_Kxd, u) + product(support.error_BxExK[b].T, g_ExN)
            return w_dxN + product(seen_Kxd.T, both_KxN)

        u = u_dxN
        loop = partial(jax.lax.fori_loop, 0, support.error_BxExK.shape[0])
        return loop(forward, jnp.zeros_like(g_ExN)), loop(backward, jnp.zeros_like(u_dxN))

    whole = options.whole_inputs
    seen_Txd, c_ExT, any_TxN = normal(whole, d), normal(D, whole), normal(whole, N)
    pairs = (
        (seen_Txd, u_dxN, 2),
        (c_ExT, any_TxN, 1),
        (jnp.asarray(c_ExT.T), g_ExN, 1),
        (jnp.asarray(seen_Txd.T), any_TxN, 1),
    )
    dot = jax.jit(product)

    def whole_products() -> None:
        for a, b, count in pairs:
            for _ in range(count):
                dot(a, b).block_until_ready()

    ready = jax.block_until_ready
    times: dict[str, list[float]] = {"layer": [], "blocks": [], "whole": []}
    for _ in range(3):
        times["layer"].append(seconds(lambda: ready(layer(x_DxN, support, g_ExN)), options.repeats))
        times["blocks"].append(
            seconds(lambda: ready(in_blocks(support, u_dxN, g_ExN)), options.repeats)
        )
        times["whole"].append(seconds(whole_products, options.repeats))
    best = {name: min(each) for name, each in times.items()}
    slots = steps * int(np.prod(block_shape(N)))
    flops = 2 * N * slots * (5 * D + 3)
    rate = {
        "layer": flops / best["layer"],
        "blocks": flops / best["blocks"],
        "whole": flops * whole / slots / best["whole"],
    }
    print(
        json.dumps(
            {
                "tokens": N,
                "inputs_seen": steps * N,
                "ms_per_step": 1e3 * best["layer"],
                "useful_gflops": rate["layer"] / 1e9,
                "products_in_blocks_gflops": rate["blocks"] / 1e9,
                "whole_products_gflops": rate["whole"] / 1e9,
                "fraction_of_products_in_blocks": rate["layer"] / rate["blocks"],
                "fraction_of_whole_products": rate["layer"] / rate["whole"],
                "threads": options.threads,
                "device": jax.devices()[0].device_kind,
            }
        )
    )


if __name__ == "__main__":
    main()
