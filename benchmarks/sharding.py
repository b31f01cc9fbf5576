# SPDX-License-Identifier: Apache-2.0
"""Measures what sharding costs: prints one JSON line a mesh.

python benchmarks/sharding.py --threads 2 --rounds 5

Training steps of `train_speed.py` on meshes of CPU devices, in turn, round after round, each in a
process of its own, all on as many threads: the same arithmetic by the same cores, so that what a
mesh lacks of another's speed is what its communication and its smaller products cost.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

MESHES = ((1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2), (4, 1, 1), (2, 2, 1), (1, 2, 2), (2, 2, 2))
"""Devices along data, fsdp and width; the second is what the others are compared with."""


def main() -> None:
    """Times every mesh and prints its speed over that of two devices that share the batch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of all devices")
    parser.add_argument("--rounds", type=int, default=5)
    options, more = parser.parse_known_args()
    speeds: dict[tuple[int, int, int], list[float]] = {mesh: [] for mesh in MESHES}
    for _ in range(options.rounds):
        for mesh, found in speeds.items():
            script = Path(__file__).with_name("train_speed.py")
            words = ["--threads", options.threads, "--mesh", *mesh, *more]
            said = subprocess.run(
                [sys.executable, script, *map(str, words)], check=True, stdout=subprocess.PIPE
            ).stdout
            found.append(json.loads(said)["tokens_per_s"])
    for mesh, found in speeds.items():
        ratios = [own / other for own, other in zip(found, speeds[MESHES[1]], strict=True)]
        print(
            json.dumps(
                {
                    "mesh": dict(zip(("data", "fsdp", "width"), mesh, strict=True)),
                    "tokens_per_s": statistics.median(found),
                    "of_data_2": statistics.median(ratios),
                    "range": [min(ratios), max(ratios)],
                }
            )
        )


if __name__ == "__main__":
    main()
