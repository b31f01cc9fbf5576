# SPDX-License-Identifier: Apache-2.0
"""The loop: where a run is found to diverge depends on its losses alone."""

from types import SimpleNamespace

import numpy as np
import pytest

from infwidth.training.loop import train

CHUNK, STEPS, BLOWN_UP_AT = 10, 120, 15


class Program:
    """Losses of 1 a step, and of 100 from one step on."""

    def train(self, state, hyperparameters, tokens):
        losses = np.where(np.arange(state.step, state.step + CHUNK) < BLOWN_UP_AT, 1.0, 100.0)
        return SimpleNamespace(step=state.step + CHUNK), {"loss": losses}

    def probe(self, state, tokens):
        return {}


class Journal:
    """Keeps rows and the steps of its states."""

    def __init__(self):
        self.kept, self.saved = [], []

    def rows(self):
        return self.kept

    def append(self, row):
        self.kept.append(row)

    def save(self, step, state):
        self.saved.append(step)


@pytest.mark.parametrize("checkpoint_every", [10, 20, 30, 40, 120])
def test_divergence_is_found_at_one_step_however_often_a_state_is_kept(checkpoint_every):
    training = SimpleNamespace(
        steps=STEPS, log_every=CHUNK, checkpoint_every=checkpoint_every, divergence_factor=2.0
    )
    batches = SimpleNamespace(chunk=lambda first, count: np.zeros((count, 1, 3), np.int32))
    journal = Journal()
    start = SimpleNamespace(step=0)
    outcome = train(Program(), training, None, batches, start, journal, lambda row: None)
    assert (outcome.status, outcome.step) == ("diverged", 20)
    assert [row["step"] for row in journal.kept] == [10, 20]
    assert all(step < BLOWN_UP_AT for step in journal.saved)
