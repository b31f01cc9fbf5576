# SPDX-License-Identifier: Apache-2.0
"""Runs at infinite width: cached, keyed by their code, resumed to the bit while buffers grow."""

from dataclasses import replace
from functools import cache

import pytest

from infwidth.infinite import room
from infwidth.training import runs
from infwidth.training.records import read_rows
from infwidth.training.spec import run_code_digest
from tests.training.conftest import PLACE
from tests.training.test_runs import here_variant, numbers

_program = cache(runs._compile)
"""Shared by all tests here: programs have no state, and most of the time is compilation."""


@pytest.fixture
def bench(bench, monkeypatch):
    """Makes a bench whose runs start with room for 10 of their 20 steps of 32 tokens."""
    monkeypatch.setattr(room, "FIRST_INPUTS", 320)

    def make(**options):
        made = bench(**options)
        made.runs._program = _program
        return made

    return make


def _spec(bench):
    return replace(bench.spec(PLACE), width=None)


def _folder(bench):
    return bench.runs._folder / _spec(bench).key


def test_a_run_that_is_interrupted_while_buffers_grow_ends_with_the_same_bits(bench):
    whole = bench(folder="whole")
    result = whole.runs.result(_spec(whole))
    assert result["status"] == "done"
    assert result["test_loss"] < 5.4

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


def test_a_run_is_trained_once_and_says_what_a_reader_of_the_journal_needs(bench):
    here = bench()
    result = here.runs.result(_spec(here))
    rows = read_rows(_folder(here))
    assert {"step", "loss", "learning_rate/trunk", "gradient_rms/readout", "blocks/0/mlp"} <= set(
        rows[-1]
    )
    seen = []
    again = bench(report=lambda _, row: seen.append(row))
    assert again.runs.result(_spec(again)) == result
    assert seen == []


def test_infinite_and_finite_runs_differ_in_key_and_only_the_infinite_one_hangs_on_its_code(bench):
    here = bench()
    assert _spec(here).key != here.spec(PLACE).key
    variant = here_variant()
    assert _spec(here).record()["code"] == run_code_digest(variant, infinite=True)
    assert here.spec(PLACE).record()["code"] == run_code_digest(variant)
    assert run_code_digest(variant) != run_code_digest(variant, infinite=True)
