# SPDX-License-Identifier: Apache-2.0
import pytest

from infwidth.config.errors import UserError
from infwidth.workflow import launcher


def test_a_run_of_one_process_is_started_as_it_is():
    assert launcher(None, {"_cores": 1, "tasks": 2, "gpu": 1}) == ""


@pytest.mark.parametrize(
    ("resources", "command"),
    [
        ({"mpi": "srun", "tasks": 2}, "srun -n 2 --nodes=1 --cpus-per-task=1 "),
        (
            {"mpi": "srun", "tasks": 2, "nodes": 2, "gpu": 8},
            "srun -n 2 --nodes=2 --cpus-per-task=1 --gpus=8 ",
        ),
        ({"mpi": "mpiexec", "tasks": 4, "nodes": 2, "gpu": 4}, "mpiexec -n 4 "),
    ],
)
def test_a_launcher_is_told_the_shape_of_the_job(resources: dict, command: str):
    assert launcher(None, {"_cores": 1, **resources}) == command


def test_a_launcher_without_a_number_of_processes_is_refused():
    with pytest.raises(UserError, match="mpi is set, and tasks is not"):
        launcher(None, {"_cores": 1, "mpi": "srun"})
