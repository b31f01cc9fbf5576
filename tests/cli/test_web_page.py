# SPDX-License-Identifier: Apache-2.0
"""Markdown as HTML, read back by a parser of HTML."""

from html.parser import HTMLParser

from infwidth.cli.pages import web_page

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


def test_links_lead_somewhere_or_are_none():
    read = Read(web_page(TEXT, "t"))
    links = [attributes["href"] for attributes in read.all("a")]
    assert links == ["#1-adam-here", "https://arxiv.org/abs/2406.18800"]
    assert "a file" in read.text
    assert [h["id"] for h in read.all("h2")] == ["1-adam-here"]


def test_a_table_scrolls_by_itself_and_keeps_its_text():
    read = Read(web_page(TEXT, "t"))
    tags = [tag for tag, _ in read.tags]
    assert tags[tags.index("table") - 1] == "div"
    assert len(read.all("td")) == 2
    assert "ADAM*" in read.text
    assert "< 1" in read.text


def test_a_page_needs_no_other_file_and_obeys_no_html_of_the_text():
    page = web_page(TEXT, "<t>")
    read = Read(page)
    assert not read.all("script")
    assert not read.all("link")
    assert not read.all("img")
    assert "&lt;t&gt;" in page
