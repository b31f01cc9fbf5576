# SPDX-License-Identifier: Apache-2.0
"""`infwidth pages`, and the HTML that it makes of Markdown, read back by a parser of HTML."""

from html.parser import HTMLParser

import pytest

from infwidth.catalogue import TABLES, covered
from infwidth.cli.pages import web_page
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


@pytest.fixture
def words(made):
    return ["pages", *f"--claims {made}/claims.md --tables {made} --out {made}/pages".split()]


def test_claims_tables_and_circumstances_become_pages(made, words, infwidth):
    assert infwidth.run(*words)[0] == 0
    pages = {path.stem: path.read_text() for path in (made / "pages").iterdir()}
    asked = covered(TABLES, Settings().experiments)
    assert set(pages) == {"claims", *asked, "circumstances"}
    assert "What the runs say</h1>" in pages["claims"]
    for said in ("reference_width", "confirmation_seeds", "jaxlib", "Commit"):
        assert said in pages["circumstances"]


def test_a_damaged_page_is_set_aside_and_nothing_is_written(made, words, infwidth):
    (made / "claims.md").write_text("# What the runs sax\n")
    said = "claims.md is damaged (it is not what claims.json tells of)"
    assert said in infwidth.mistake(*words)
    assert not (made / "claims.md").exists()
    assert not (made / "pages").exists()


def test_what_is_not_there_is_named_and_nothing_is_written(made, words, infwidth):
    (made / "table3_hyperparameters.md").unlink()
    assert "table3_hyperparameters.md: not there" in infwidth.mistake(*words)
    assert not (made / "pages").exists()


TEXT = """# What is said

See [below](#1-adam-here), [the paper](https://arxiv.org/abs/2406.18800) and [a file](tables/t.md).

| rule | loss |
|:-----|-----:|
| ADAM\\* | < 1 |

## 1. ADAM\\*, here

`a_b` <script>alert(1)</script>
"""


class Read(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def test_a_page_has_its_links_and_tables_needs_no_other_file_and_obeys_no_html():
    page = web_page(TEXT, "<t>")
    read = Read(page)
    # Links lead somewhere, or are none.
    links = [attributes["href"] for attributes in read.all("a")]
    assert links == ["#1-adam-here", "https://arxiv.org/abs/2406.18800"]
    assert "a file" in read.text
    assert [h["id"] for h in read.all("h2")] == ["1-adam-here"]
    # A table scrolls by itself, and keeps its text.
    tags = [tag for tag, _ in read.tags]
    assert tags[tags.index("table") - 1] == "div"
    assert len(read.all("td")) == 2
    assert "ADAM*" in read.text
    assert "< 1" in read.text
    assert not {"script", "link", "img"} & set(tags)
    assert "&lt;t&gt;" in page
