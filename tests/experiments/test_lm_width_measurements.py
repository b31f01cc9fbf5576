# SPDX-License-Identifier: Apache-2.0
"""What is gathered of the width experiment: its tables, their columns and types."""

import re
from types import SimpleNamespace

import pandas as pd
import pytest

from infwidth.cli.main import main
from infwidth.data.tokens import TokenDataset
from infwidth.stored import write_json
from infwidth.training.records import Record, write_record
from infwidth.training.spec import key_of

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
def gathered(tmp_path, monkeypatch):
    """Gathers a tuning run and a reported one: the status of the command."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").touch()
    runs = tmp_path / "runs"
    entries = []
    for role, width in (("tuning", 16), ("report", 64)):
        settings = {"code": "c", "software": {}, "platform": "cpu", "width": width}
        entries.append(_entry(key_of(settings), role, width))
        rows = [{"step": n, "loss": 3.0 / n, "learning_rate/trunk": 0.01} for n in (1, 2)]
        record = Record(settings, RESULT | {"key": key_of(settings)}, rows)
        write_record(runs / key_of(settings), record)
    part = {"condition": "lm_width", "variant": "ntk", "selection": {}}
    for width, some in ((16, entries[:1]), (64, entries[1:])):
        made = {"parts": [part | {"width": width, "entries": some}]}
        write_json(tmp_path / f"ntk-{width}.json", made)

    monkeypatch.setattr(TokenDataset, "open", lambda path: DATASET)
    words = ["--runs", str(runs), "--out", str(tmp_path / "out")]
    words += ["--parts", *(str(tmp_path / f"ntk-{width}.json") for width in (16, 64))]
    own = "lm_width={variants: [ntk], widths: [16, 64], reference_width: 16}"

    def gather():
        with pytest.raises(SystemExit) as ended:
            main(["gather", "lm_width", *words, "--config", own])
        return ended.value.code

    return gather


def test_the_table_of_runs_has_its_columns_and_whole_widths(gathered, tmp_path):
    assert not gathered()
    runs = pd.read_parquet(tmp_path / "out/runs.parquet")
    kinds = {
        name: "O" if pd.api.types.is_string_dtype(column) else column.dtype.kind
        for name, column in runs.items()
    }
    assert kinds == KINDS
    assert runs["width"].tolist() == [16, 64]
    last = runs.iloc[-1]
    named = ["parameters_trunk", "parameters_trained", "optimizer_state_bytes", "sgd_unit"]
    assert last[named].tolist() == [30, 40, 80, 0.5]
    documents = pd.read_parquet(tmp_path / "out/documents.parquet")
    assert documents[["key", "name", "loss_sum"]].to_numpy().tolist() == [
        [last["key"], "a document", 20.0]
    ]


@pytest.mark.parametrize("name", ["result.json", "metrics.jsonl", "settings.json"])
@pytest.mark.parametrize("damage", [lambda content: content[:-20], lambda _: None])
def test_what_vouches_for_a_lost_run_is_set_aside(gathered, tmp_path, capsys, name, damage):
    [settings] = [
        path for path in tmp_path.glob("runs/*/settings.json") if '"width": 64' in path.read_text()
    ]
    reported = settings.parent
    before = (reported / name).read_bytes()
    (reported / name).unlink()
    if (left := damage(before)) is not None:
        (reported / name).write_bytes(left)
    line = rf"{name} is damaged or gone; .*/ntk-64.json is set aside as ntk-64.json.damaged: run "
    assert gathered() == 2
    assert re.search(line, capsys.readouterr().err)
    assert not (tmp_path / "ntk-64.json").exists()
    assert (tmp_path / "ntk-16.json").exists()
