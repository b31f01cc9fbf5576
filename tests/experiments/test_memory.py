# SPDX-License-Identifier: Apache-2.0
"""Bytes against counts by hand. D = E inputs and outputs, d = D + 1, H width, L layers."""

import numpy as np
import pytest

from infwidth.config.settings import ModelSettings, Settings
from infwidth.experiments.memory import measure as memory
from infwidth.experiments.memory.measure import (
    Bench,
    Cell,
    can_measure,
    growth,
    state_bytes,
    step_bytes,
)
from infwidth.infinite.support import FIRST_INPUTS

D, L, FLOAT = 8, 1, 4
MODEL = {"d_model": D, "layers": L, "heads": 2, "context": 16}
BENCH = Bench(ModelSettings.model_validate(MODEL), 64)
TOKENS = 1024
ROOM = FIRST_INPUTS // TOKENS
"""Steps for which there is room at the start."""


@pytest.mark.parametrize(("form", "moments"), [("adam_star", 1), ("adam", 2)])
def test_the_dense_form_keeps_features_readout_and_moments(form, moments):
    H = 32
    row = state_bytes(BENCH, Cell(form, H))
    assert row["features"] == FLOAT * L * H * (D + 1)
    assert row["readout"] == FLOAT * L * H * D
    # ADAM*'s v is one number an output and its count one; optax's Adam counts, too.
    v = L * D if form == "adam_star" else 0
    assert row["optimizer"] == FLOAT * (moments * L * H * D + v + 1)


@pytest.mark.parametrize(("steps", "room"), [(1, ROOM), (ROOM, ROOM), (ROOM + 1, 2 * ROOM)])
def test_the_kernel_form_keeps_inputs_and_coefficients_in_buffers_that_double(steps, room):
    row = state_bytes(BENCH, Cell("kernel", steps))
    assert row["inputs"] == room * TOKENS
    # One integer counts the steps; a step has one vector q, and an MLP one v.
    assert row["features"] == FLOAT * L * (room * TOKENS * (D + 1) + 1)
    assert row["readout"] == FLOAT * L * (room * TOKENS * D + room * D)
    assert row["optimizer"] == FLOAT * L * D


def test_a_step_is_given_its_state_and_gives_it_back_in_place():
    H = 4096
    cell = Cell("adam_star", H)
    state = state_bytes(BENCH, cell)
    step = step_bytes(BENCH, cell)
    kept = sum(state[part] for part in ("features", "readout", "optimizer"))
    assert kept < step["arguments"] < 1.2 * kept  # with the trunk and one batch
    assert step["outputs"] < 10_000
    # The activations of one microbatch of 512 tokens alone, for the backward pass.
    assert step["temporary"] > FLOAT * 512 * H


needs_proc = pytest.mark.skipif(not can_measure(), reason="needs Linux's /proc")


@needs_proc
def test_growth_is_what_an_array_takes():
    # Large against what other threads take and give back meanwhile, some MB.
    size = 2**30
    grown = growth(lambda: np.ones(size // 8), lambda array: array.sum())
    assert grown == pytest.approx(size, rel=0.02)
    # What is in use only while something is prepared does not count.
    assert growth(lambda: np.ones(size // 8).sum(), lambda _: None) < 0.02 * size


@needs_proc
def test_a_process_grows_by_about_what_is_counted():
    found = memory.resident_bytes(BENCH, Cell("kernel", 4 * ROOM))
    # What a process's first step takes besides, buffers of JAX's own, are some MB.
    assert 0.9 * found["counted"] < found["resident"] < found["counted"] + 16 * 2**20


def test_all_forms_at_all_sizes_are_in_the_tables(monkeypatch):
    for name in ("state_bytes", "step_bytes", "resident_bytes"):
        monkeypatch.setattr(memory, name, lambda _, cell: cell._asdict())
    own = {"widths": [8, 4], "steps_seen": [9, 1], "resident_width": 8, "resident_steps": None}
    tables = memory.tables(Settings.model_validate({"memory": own}), None)
    sizes = {form: rows["size"].tolist() for form, rows in tables["state"].groupby("form")}
    assert sizes == {"adam_star": [4, 8], "adam": [4, 8], "kernel": [1, 9]}
    assert tables["step"].groupby("form").size().to_dict() == {"adam_star": 2, "kernel": 2}
    assert tables["resident"]["form"].tolist() == (["adam_star"] if can_measure() else [])
