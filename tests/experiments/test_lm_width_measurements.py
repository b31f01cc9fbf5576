# SPDX-License-Identifier: Apache-2.0
"""What is gathered of the width experiment: its tables, their columns and types."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from infwidth.config.errors import UserError
from infwidth.config.settings import Settings
from infwidth.experiments.lm_width.collect import collect
from infwidth.training.records import SETTINGS

KINDS = {
    "key": "O",
    "role": "O",
    "variant": "O",
    "width": "i",
    "learning_rate": "f",
    "kappa": "f",
    "trunk_learning_rate": "f",
    "seed": "i",
    "status": "O",
    "steps": "i",
    "train_loss": "f",
    "validation_loss": "f",
    "test_loss": "f",
    "tokens": "i",
    "parameters_trunk": "i",
    "parameters_features": "i",
    "parameters_readout": "i",
    "parameters_trained": "i",
    "optimizer_state_bytes": "i",
    "flops": "f",
    "device_seconds": "f",
    "device": "O",
    "sgd_unit": "f",
}
RESULT = {
    **{"status": "done", "steps": 2, "validation_loss": 2.0, "test_loss": 2.5, "tokens": 8},
    **{"flops": 5, "rate_unit": 0.5, "device_seconds": 0.1, "device": "cpu"},
    "parameters": {"trunk": 30, "features": 20, "readout": 10},
    **{"parameters_trained": 40, "optimizer_bytes": 80},
    "test_documents": {"document": [0], "loss_sum": [20.0], "tokens": [8]},
}
DATASET = SimpleNamespace(
    manifest={"corpus": {"statement": {"text": "some corpus"}}},
    split=lambda name: SimpleNamespace(document_names=lambda: ["a document"]),
)


def _entry(key, role, width):
    entry = {"key": key, "role": role, "variant": "ntk", "width": width, "seed": 10}
    return entry | {"learning_rate": 3.0, "kappa": None, "trunk_learning_rate": 0.01}


@pytest.fixture
def gathered(tmp_path):
    """Gathers a tuning run and a reported one: the folder of the measurements."""
    runs = tmp_path / "runs"
    entries = [_entry("a", "tuning", 16), _entry("b", "report", 64)]
    for entry in entries:
        (runs / entry["key"]).mkdir(parents=True)
        (runs / entry["key"] / "result.json").write_text(json.dumps(RESULT))
        record = {"code": "c", "software": {}, "platform": "cpu"}
        (runs / entry["key"] / SETTINGS).write_text(json.dumps(record))
    tuning, trained = tmp_path / "ntk.json", tmp_path / "ntk-64.json"
    tuning.write_text(json.dumps({"selection": {}, "entries": entries[:1]}))
    trained.write_text(json.dumps({"entries": entries[1:]}))

    def gather():
        collect(Settings(), DATASET, runs, [tuning], [trained], tmp_path / "out")
        return tmp_path / "out"

    return gather


def test_the_table_of_runs_has_its_columns_in_order_and_whole_widths(gathered):
    runs = pd.read_parquet(gathered() / "runs.parquet")
    kinds = {
        name: "O" if pd.api.types.is_string_dtype(column) else column.dtype.kind
        for name, column in runs.items()
    }
    assert list(kinds.items()) == list(KINDS.items())
    assert runs["width"].tolist() == [16, 64]
    last = runs.iloc[-1]
    named = ["parameters_trunk", "parameters_trained", "optimizer_state_bytes", "sgd_unit"]
    assert last[named].tolist() == [30, 40, 80, 0.5]


def test_a_run_whose_result_is_gone_is_named_with_the_rules_that_train_it(gathered, tmp_path):
    (tmp_path / "runs" / "b" / "result.json").unlink()
    with pytest.raises(
        UserError, match=r"b: this run's result is gone.*-R tune train_widths`, with the --c"
    ):
        gathered()
