# SPDX-License-Identifier: Apache-2.0
"""Makes neural_tangents.json: kernels by neural-tangents, which needs an older JAX than ours.

    python tests/oracles/neural_tangents_values.py

builds an environment of its own in a temporary folder (about 2 GB, some minutes, from PyPI),
computes there in float64 on the CPU, and writes the file beside this script, which is all that the
tests read.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path

PINS = ("jax==0.5.3", "jaxlib==0.5.3", "neural-tangents==0.6.5", "numpy==2.4.6", "scipy==1.17.1")
VALUES = Path(__file__).with_name("neural_tangents.json")
BIASES = (0.0, 0.75)
NETWORKS = (
    {"hidden_layers": 1, "weight_variance": 2.0, "bias_variance": 0.0},
    {"hidden_layers": 3, "weight_variance": 2.0, "bias_variance": 0.0},
    {"hidden_layers": 1, "weight_variance": 1.5, "bias_variance": 0.25},
    {"hidden_layers": 4, "weight_variance": 1.5, "bias_variance": 0.25},
)


def build_and_run() -> None:
    """Builds the environment and runs `write_values` in it."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin", "python"))
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PINS], check=True)
        settings = {"JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [python, str(Path(__file__).resolve()), "write"]
        subprocess.run(command, check=True, env=os.environ | settings)


def write_values() -> None:
    """Computes all kernels and writes them, 17 digits each."""
    import numpy as np
    from neural_tangents import stax

    rng = np.random.default_rng(20240618)
    x = rng.normal(size=(7, 4)) * rng.uniform(0.3, 3.0, size=(7, 1))
    # In y: unrelated inputs, then a copy, an opposite, a multiple, an orthogonal one, a neighbour.
    orthogonal = np.array([-x[3, 1], x[3, 0], -x[3, 3], x[3, 2]])
    near = x[4] + 0.01 * rng.normal(size=4)
    y = np.vstack([rng.normal(size=(3, 4)), x[0], -x[1], 2.5 * x[2], orthogonal, near])

    activations = {"relu": stax.Relu(), "erf": stax.Erf(), "gelu": stax.Gelu(approximate=False)}
    cases = []
    for bias in BIASES:
        extended = [np.hstack([z, np.full((len(z), 1), bias)]) if bias else z for z in (x, y)]
        for name, activation in activations.items():
            _, _, kernel = stax.serial(stax.Dense(1), activation)
            values = np.asarray(kernel(*extended, "nngp")).tolist()
            cases.append({"kernel": name, "settings": {"bias": bias}, "values": values})
        for network in NETWORKS:
            dense = stax.Dense(
                1, W_std=network["weight_variance"] ** 0.5, b_std=network["bias_variance"] ** 0.5
            )
            hidden = [dense, stax.Relu()] * network["hidden_layers"]
            _, _, kernel = stax.serial(*hidden, dense)
            for name in ("nngp", "ntk"):
                values = np.asarray(kernel(*extended, name)).tolist()
                settings = network | {"bias": bias}
                cases.append({"kernel": name, "settings": settings, "values": values})

    packages = [pin.split("==")[0] for pin in PINS]
    provenance = {
        "made_by": "python tests/oracles/neural_tangents_values.py",
        "precision": "float64",
        "device": "cpu",
        "machine": platform.machine(),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
    }
    document = {"provenance": provenance, "x": x.tolist(), "y": y.tolist(), "cases": cases}
    VALUES.write_text(_as_lines(document), encoding="utf-8")


def _as_lines(document: dict) -> str:
    """JSON with one case a line, so that a changed value shows as one changed line."""
    cases = ",\n".join(json.dumps(case) for case in document.pop("cases"))
    head = json.dumps(document, indent=1).rstrip("\n}")
    return f'{head},\n "cases": [\n{cases}\n]\n}}\n'


if __name__ == "__main__":
    write_values() if sys.argv[1:] == ["write"] else build_and_run()
