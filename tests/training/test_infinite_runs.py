# SPDX-License-Identifier: Apache-2.0
"""Runs at infinite width: cached, keyed by their code, resumed to the bit while buffers grow."""

from dataclasses import replace
from functools import cache

import pytest

from infwidth.config.variants import ALL_VARIANTS
from infwidth.infinite import room
from infwidth.training import infinite_step
from infwidth.training.records import read_rows
from infwidth.training.spec import run_code_digest
from tests.training.conftest import PLACE, numbers

_compiled = cache(infinite_step.InfiniteProgram)


@pytest.fixture
def bench(bench, monkeypatch):
    """Makes a bench whose runs start with room for 10 of their 20 steps of 32 tokens."""
    monkeypatch.setattr(room, "FIRST_INPUTS", 320)
    # Programs have no state, and most of the time is compilation.
    monkeypatch.setattr(infinite_step, "InfiniteProgram", _compiled)
    return bench


def _spec(bench):
    return replace(bench.spec(PLACE), width=None)


def _folder(bench):
    return bench.folder / _spec(bench).key


def test_a_run_is_trained_once_and_one_that_is_interrupted_ends_with_the_same_bits(bench):
    """Interrupted while its buffers grow."""
    whole = bench(folder="whole")
    result = whole.runs.result(_spec(whole))
    assert result["status"] == "done"
    assert result["test_loss"] < 5.4
    assert read_rows(_folder(whole))[-1].keys() >= {
        *("step", "loss", "learning_rate/trunk", "gradient_rms/readout", "blocks/0/mlp")
    }
    seen = []
    again = bench(report=lambda _, row: seen.append(row), folder="whole")
    assert again.runs.result(_spec(again)) == result
    assert seen == []

    class Stop(Exception):
        pass

    def stop(_, row):
        if row["step"] == 15:
            raise Stop

    stopped, resumed = bench(report=stop, folder="stopped"), bench(folder="stopped")
    with pytest.raises(Stop):
        stopped.runs.result(_spec(stopped))
    resumed.runs.result(_spec(resumed))
    assert numbers(_folder(resumed)) == numbers(_folder(whole))


def test_infinite_and_finite_runs_differ_in_key_and_only_the_infinite_one_hangs_on_its_code(bench):
    here = bench()
    assert _spec(here).key != here.spec(PLACE).key
    variant = ALL_VARIANTS[PLACE.variant]
    assert _spec(here).record()["code"] == run_code_digest(variant, infinite=True)
    assert here.spec(PLACE).record()["code"] == run_code_digest(variant)
    assert run_code_digest(variant) != run_code_digest(variant, infinite=True)
