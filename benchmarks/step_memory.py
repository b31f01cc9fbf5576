# SPDX-License-Identifier: Apache-2.0
"""Prints the memory of a training step, as XLA plans it, with the loss whole and in blocks.

python benchmarks/step_memory.py --batch 8 --blocks 4096 1024 512 256
"""

import argparse
import json

import jax
import jax.numpy as jnp

from infwidth.config.section import NumericsSettings
from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import VARIANTS
from infwidth.training.rules import Hyperparameters
from infwidth.training.step import compile_program


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--d-model", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--width", type=int, default=2048, help="H, the width of the MLPs")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--vocab", type=int, default=32_128)
    parser.add_argument("--batch", type=int, default=8, help="sequences a step, in one microbatch")
    parser.add_argument("--variant", default="adam_star")
    parser.add_argument("--blocks", type=int, nargs="+", default=[4096, 1024, 512, 256])
    return parser.parse_args()


def main() -> None:
    """Compiles one step for each size of block, trains nothing, and prints a JSON line each."""
    options = arguments()
    shape = {name: getattr(options, name) for name in ("d_model", "layers", "heads", "context")}
    training = TrainingSettings(
        batch_size=options.batch, microbatch_tokens=options.batch * options.context
    )
    rates = Hyperparameters(*(jnp.asarray(x, jnp.float32) for x in (1e-3, 0.1, 1.0)))
    tokens = jax.ShapeDtypeStruct((1, options.batch, options.context + 1), jnp.int32)
    for block in options.blocks:
        numerics = NumericsSettings(loss_block=block)
        model = ModelSettings.model_validate({**shape, "numerics": numerics})
        variant = VARIANTS[options.variant]
        program = compile_program(model, training, variant, options.width, options.vocab)
        state = jax.eval_shape(lambda program=program: program.init(0))
        step = jax.jit(program.train, donate_argnums=0)
        memory = step.lower(state, rates, tokens).compile().memory_analysis()
        assert memory is not None
        print(
            json.dumps(
                {
                    "loss_block": block,
                    "temporary_mib": memory.temp_size_in_bytes / 2**20,
                    "state_mib": memory.argument_size_in_bytes / 2**20,
                    "all_logits_mib": 4 * tokens.shape[1] * options.context * options.vocab / 2**20,
                    "device": jax.devices()[0].device_kind,
                }
            ),
            flush=True,
        )


if __name__ == "__main__":
    main()
