# SPDX-License-Identifier: Apache-2.0
"""Trains on every axis of a mesh of eight CPU devices and prints what came out, as JSON.

Run by `test_sharding.py` in a process of its own, since a process has its devices from its start.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import optax

from infwidth.config.settings import ModelSettings, TrainingSettings
from infwidth.config.variants import ALL_VARIANTS
from infwidth.data.batches import Batches
from infwidth.training.checkpoints import Checkpoints
from infwidth.training.execute import with_measured_scales
from infwidth.training.step import compile_program
from tests.training.conftest import MODEL, forty_steps, random_tokens, rates

V, H, B, S = 16, 8, 8, 3
TOKENS = random_tokens(V, 2, S, B, MODEL.context + 1)
MESHES = (
    {},
    {"data": 2},
    {"fsdp": 2, "width": 2},
    {"data": 2, "fsdp": 2, "width": 2},
    {"fsdp": 2},
    {"width": 2},
)
VARIANTS_TRIED = ("unfrozen", "adam_star", "ntk", "adam_star_normalized")
NUMERICS = {"compute_dtype": "bfloat16", "attention": "xla", "loss_block": 4}
AS_AT_SCALE = {"readout_target": "vocabulary", "numerics": NUMERICS}


def program(variant, mesh, model=MODEL, **more):
    # Clipping takes norms over the width.
    training = forty_steps(**{"batch_size": B, "clip_norm": 0.5, "mesh": mesh, **more})
    return compile_program(model, training, ALL_VARIANTS[variant], H, V)


def at_scale():
    """Losses of Muon on M in the settings of large runs, on one device and on eight."""
    model = ModelSettings.model_validate({**MODEL.model_dump(), **AS_AT_SCALE})
    # JAX's own attention mixes its types.
    with jax.numpy_dtype_promotion("standard"):
        both = [program("muon_star", MESHES[k], model, microbatch_tokens=32) for k in (0, 3)]
        return [train(trained, trained.init(0), 0)[1] for trained in both]


def errors_and_scales(meshes):
    """C's v and R's r on several meshes, in microbatches."""
    cut = {"clip_norm": None, "microbatch_tokens": MODEL.context}
    split = SimpleNamespace(name="train", tokens=TOKENS.reshape(-1))
    report = {"v": [], "r": []}
    for mesh in meshes:
        errors = program("adam_star_error", mesh, **cut)
        state, _ = train(errors, errors.init(0), 0)
        report["v"].append(flat(optax.tree.get(state.optimizer["readout"], "nu")))
        here = program("ntk_measured", mesh, scales={"batches": 2})
        spec = SimpleNamespace(seed=0, training=TrainingSettings(scales={"batches": 2}))
        own = Batches(split, MODEL.context, B, 0)
        state = with_measured_scales(spec, here, here.init(0), own)
        state, losses = train(here, state, 0)
        r = optax.tree.get(state.optimizer["readout"], "mean_square")
        report["r"].append([*flat(r), *losses])
    return report


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).tolist()


def train(trained, state, half):
    state, metrics = trained.train(state, rates(0.01, 0.3, 2.0), TOKENS[half])
    return state, np.asarray(metrics["loss"]).tolist()


def parameters(state):
    return flat((state.trunk, state.features, state.readout))


def everything_else(trained, state):
    """What a program computes besides a step."""
    sizes = trained.probe(state, TOKENS[0, 0])
    gradients = trained.functional_gradients(state, TOKENS[0, 0])
    mask = np.ones((B, MODEL.context), bool)
    return {
        "sums": np.asarray(trained.evaluate(state, TOKENS[0, 0], mask)).tolist(),
        "sizes": {name: float(size) for name, size in sizes.items()},
        "gradients": flat(gradients),
    }


def where(state):
    """Elements of each readout array that the first device holds, of all that there are."""
    leaves = {"M": state.readout, "m": state.optimizer["readout"], "trunk": state.trunk}
    return {
        name: [
            [int(np.prod(leaf.sharding.shard_shape(leaf.shape))), int(leaf.size)]
            for leaf in jax.tree.leaves(tree)
        ]
        for name, tree in leaves.items()
    }


def resumed(folder, programs):
    """Losses of the second half: straight on, and from the checkpoint on 4, 2 and 1 devices."""
    four = programs[2]
    kept = Checkpoints(folder)
    state, _ = train(four, four.init(0), 0)
    kept.save(S, state)
    # The state is given up to the next steps while it is still being written.
    state, straight = train(four, state, 1)
    kept.close()
    report = {"straight": straight, "end": parameters(state)}
    for devices, other in ((4, four), (2, programs[1]), (1, programs[0])):
        kept = Checkpoints(folder)
        step, state = kept.restore(lambda _, other=other: other.init(1), 10**9)
        kept.close()
        state, losses = train(other, state, 1)
        report[str(devices)] = {"step": step, "losses": losses, "end": parameters(state)}
    return report


def main() -> None:
    report = {"losses": {}, "parameters": {}, "at_scale": at_scale()}
    report["errors_and_scales"] = errors_and_scales((MESHES[0], MESHES[1], MESHES[3]))
    for variant in VARIANTS_TRIED:
        # Compiling is what takes the time: two devices are tried with one variant.
        meshes = MESHES if variant == "adam_star" else (MESHES[0], *MESHES[2:4])
        programs = [program(variant, mesh) for mesh in meshes]
        ends = [train(trained, trained.init(0), 0) for trained in programs]
        report["losses"][variant] = [losses for _, losses in ends]
        report["parameters"][variant] = [parameters(state) for state, _ in ends]
        if variant == "adam_star":
            report["else"] = [everything_else(programs[i], ends[i][0]) for i in (0, 3)]
            report["where"] = where(ends[2][0])
            report["resumed"] = resumed(Path(sys.argv[1]), programs)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
