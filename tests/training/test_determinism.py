# SPDX-License-Identifier: Apache-2.0
"""Cores, threads, order of runs, compiled programs and hash seed change no bit of a run."""

import json
import os
import subprocess
import sys

import pytest

# The two processes differ in everything at once, so that equal bits say that none of it matters.
_TRAIN = """
import json, os, sys
from pathlib import Path
tokens, folder, cache, order, cores = sys.argv[1:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores) or None])
from infwidth.training.devices import set_up
set_up(Path(cache))
from infwidth.stats.selection import Cell
from infwidth.training.records import read_result, read_rows
from tests.training.conftest import MODEL, PLACE, TRAINING, make_bench
# Products that are large enough to be shared between threads, where there are any.
model = MODEL.model_copy(update={"d_model": 32, "context": 32})
training = TRAINING.model_copy(update={"batch_size": 16})
bench = make_bench(Path(tokens), Path(folder), model, training)
places = [PLACE._replace(variant=name, width=256) for name in ("adam_star", "unfrozen")]
places[1] = places[1]._replace(cell=Cell(0.5, 1.0))
for place in places if order == "forwards" else reversed(places):
    bench.run(place)
found = {}
for place in places:
    path = bench.folder_of(place)
    rows = [[row["step"], row["loss"].hex()] for row in read_rows(path)]
    result = read_result(path)
    found[place.variant] = [rows, result["test_loss"].hex(), result["test_documents"]["loss_sum"]]
print(json.dumps(found))
"""


def train(tokens, tmp_path, order, cores, **environment):
    folders = [str(tmp_path / order), str(tmp_path / "compiled")]
    # Other tests of this process may have named a cache for good.
    inherited = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN, str(tokens), *folders, order, str(cores)],
        env={**inherited, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this platform")
def test_cores_threads_order_cache_and_hash_seed_change_no_bit(tokens, tmp_path):
    alone = train(tokens, tmp_path, "forwards", 1, NPROC="1", PYTHONHASHSEED="1")
    assert any((tmp_path / "compiled").iterdir())
    threads = {
        **{"NPROC": "2", "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "2"},
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=true",
    }
    assert train(tokens, tmp_path, "backwards", 0, **threads) == alone
    losses = [float.fromhex(loss) for rows, *_ in alone.values() for _, loss in rows]
    assert len(set(losses)) == len(losses) == 8
