# SPDX-License-Identifier: Apache-2.0
"""`infwidth pages`."""

from pathlib import Path

import pytest

from infwidth.catalogue import TABLES, covered
from infwidth.cli.main import main
from infwidth.config.settings import Settings
from infwidth.provenance import SHA256, sha256
from infwidth.stored import write_json


@pytest.fixture
def made(tmp_path):
    (tmp_path / "claims.md").write_text("# What the runs say\n")
    for name in TABLES:
        (tmp_path / f"{name}.md").write_text(f"{name}\n")
    for path in list(tmp_path.iterdir()):
        write_json(path.with_suffix(".json"), {SHA256: {path.name: sha256(path)}})
    return tmp_path


def run(folder: Path) -> int:
    words = ["pages", "--claims", f"{folder}/claims.md", "--tables", str(folder)]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--out", str(folder / "pages")])
    return ended.value.code or 0


def test_claims_tables_and_circumstances_become_pages(made):
    assert run(made) == 0
    pages = {path.stem: path.read_text() for path in (made / "pages").iterdir()}
    assert set(pages) == {"claims", *covered(TABLES, Settings().experiments), "circumstances"}
    assert "What the runs say</h1>" in pages["claims"]
    for said in ("reference_width", "confirmation_seeds", "jaxlib", "Commit"):
        assert said in pages["circumstances"]


def test_a_damaged_page_is_set_aside_and_nothing_is_written(made, capsys):
    (made / "claims.md").write_text("# What the runs sax\n")
    assert run(made) == 2
    assert "claims.md is damaged (it is not what claims.json tells of)" in capsys.readouterr().err
    assert not (made / "claims.md").exists()
    assert not (made / "pages").exists()


def test_what_is_not_there_is_named_and_nothing_is_written(made, capsys):
    (made / "table3_hyperparameters.md").unlink()
    assert run(made) == 2
    assert "table3_hyperparameters.md: not there" in capsys.readouterr().err
    assert not (made / "pages").exists()
