# SPDX-License-Identifier: Apache-2.0
"""The page and the table of claims: whole, readable, and without anything that GitHub drops."""

import math
import re

import pytest
from markdown_it import MarkdownIt

from infwidth.claims.claims import Place
from infwidth.claims.page import Links, anchor, escaped, heading, page
from infwidth.claims.schema import read_claims
from infwidth.claims.table5_claims import build
from infwidth.claims.words import decimals_of, ends, with_interval
from infwidth.drawing.table import latex, markdown, p_value
from infwidth.stats.effects import RatioEffect
from tests.claims.claims_tables import EFFECTS, judged, row

LINKS = Links("../figures", "tables", {"lm_width": "lm_width/measurements"}, "../config/c.yaml")
COUNTED = {"interval": None, "unit": "", "scope": "some_place", "check": "Run `this_one`."}


@pytest.fixture(scope="module")
def everything():
    rows = [row(f"c{k}", effect) for k, effect in enumerate(EFFECTS)]
    rows.append(row("asked", "worse", number=2, source="open", scope="last_place"))
    rows.append(row("counts", "counted", number=3, source="ours", **COUNTED))
    rows.append(row("absent", "worse", number=4, experiment="memory"))
    return judged(*rows, text="\n  - id: c1")


@pytest.fixture(scope="module")
def text(everything):
    return page(everything, LINKS)


def parts(text):
    """The page by claim, in order."""
    return re.split(r"(?m)^### ", text.partition("## Claim by claim")[2])[1:]


def test_it_renders_as_tables_and_without_raw_html(everything, text):
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    kinds = [token.type for token in tokens]
    kinds += [child.type for token in tokens for child in token.children or []]
    assert not {"html_block", "html_inline"} & set(kinds)
    with_places = sum(bool(each.places) for each in everything.claims)
    assert kinds.count("table_open") == 1 + with_places
    # Every line that begins as a row is one.
    assert sum(line.startswith("|") for line in text.splitlines()) == (
        kinds.count("tr_open") + kinds.count("table_open")
    )
    # In the text itself no sign of emphasis is left over.
    shown = [child.content for t in tokens for child in t.children or [] if child.type == "text"]
    assert not any(re.search(r"\*\*|\*[a-z]", content) for content in shown)


def test_nothing_that_is_no_number_is_shown(text):
    assert not re.search(r"\b(nan|None|inf|null)\b", text)


def test_the_overview_leads_to_every_claim(everything, text):
    overview = text.partition("## Claim by claim")[0]
    for each in everything.claims:
        line = next(li for li in overview.splitlines() if li.startswith(f"| [{each.label}]"))
        assert f"(#{anchor(heading(each))})" in line
        assert str(each.verdict).replace(" ", "\u00a0") in line
    headings = [part.splitlines()[0].replace("\\", "") for part in parts(text)]
    assert headings == [heading(each) for each in everything.claims]


def test_anchors_are_githubs_and_text_is_escaped_but_not_code():
    assert escaped("ADAM* of a_b | <i> `c_d*`") == r"ADAM\* of a\_b \| \<i\> `c_d*`"
    assert anchor("5c. As H^(−1/2), under SGD, and ADAM*") == "5c-as-h12-under-sgd-and-adam"
    assert anchor("2. A mean-field model's b_1 in Größe") == "2-a-mean-field-models-b_1-in-größe"


def test_each_claim_links_figure_table_measurements_and_rule(text):
    first, second = parts(text)[:2]
    assert "[fig\u00a01](../figures/fig1_loss_vs_width.png)" in first
    assert "[table\u00a02](tables/table2_gap_closed.md)" in first
    assert "[measurements](lm_width/measurements) of `lm_width` at `aaaaaaaaaa`" in first
    assert "[rule](../config/c.yaml#L2) `c1`" in second


def test_what_was_not_measured_links_nothing_that_is_not_there(text):
    (absent,) = [part for part in parts(text) if part.startswith("4. ")]
    assert "> The experiment `memory` was not measured here." in absent
    assert "measurements](" not in absent
    assert ".png" not in absent


def test_a_claim_that_was_not_decided_says_what_would(everything, text):
    for each, part in zip(everything.claims, parts(text), strict=True):
        assert ("What would decide it" in part) is each.undecided
        assert f"The reason of {each.claim.id}." in part
        assert each.undecided is (each.verdict in ("inconclusive", "not measured"))


def test_the_rule_is_said_with_its_words_and_level(text):
    by_start = {part.split(".")[0]: part for part in parts(text)}
    assert (
        "*reproduced* if it is greater than 0 at every place; *contradicted* if it is less at one "
        "of them. Level 0.05 over the 14 rows of the family." in by_start["1a"]
    )
    assert (
        "*yes* if it is greater than 0 at the last place, H = 16; *no* if it is less there."
        in (by_start["2"])
    )
    counted = by_start["3"]
    assert "at one place at least; *no* if it is less at every place. Nothing is uncertain." in (
        counted
    )
    assert "**Check it yourself.** Run `this_one`." in counted
    assert "| place | counted |" in counted


def test_a_margin_that_is_a_setting_is_named():
    rule = {"kind": "equivalent", "to": -0.5, "within": "convergence.slope_margin"}
    said = page(judged(row("a", "same", rule=rule)), LINKS)
    assert "if it is within ±0.03 of −0.5 (`convergence.slope_margin`) at every place" in said


def test_the_table_of_places_has_both_intervals_and_the_evidence(text):
    (first,) = [part for part in parts(text) if part.startswith("1b. ")]
    assert "| place | effect, nats per token | 95% interval | over test documents | repeats |" in (
        first
    )
    # Contradicted at H = 16, which is in bold.
    assert "| **H = 16** | −0.110 | −0.130 to −0.090 | 0.000 to 0.200 | 5 | 1 | < 0.0001 |" in first
    assert "| *together* |" in first


def test_it_opens_with_what_was_found(text):
    opening = text.partition("\n| no. |")[0]
    assert "experiment: **2 reproduced**, **1 contradicted**, **7 inconclusive**" in opening
    assert "adds: **2 yes**." in opening
    assert "14 of the 14 rules stood before" in opening
    assert "**our reconstruction** (B)" in opening
    assert "Corpus: a synthetic corpus, which is one domain.\nConfiguration: `default`." in opening


@pytest.mark.parametrize(
    ("fixed", "seeds", "count", "words"),
    [
        ("after", [12, 13], 0, "after a first complete run had been seen."),
        # Fresh are seeds on which nothing had been seen.
        (
            "fresh_seeds",
            [12, 13],
            1,
            "after runs on other seeds had been seen, and stood before these.",
        ),
        ("fresh_seeds", [11, 12], 0, "after a first complete run had been seen."),
    ],
)
def test_a_rule_that_came_later_than_some_runs_says_so(fixed, seeds, count, words):
    rows = row("a", "worse"), row("b", "worse", fixed=fixed)
    said = page(judged(*rows, seeds=seeds), LINKS)
    stood = f"{1 + count} of the 2 rules stood before the runs that they judge\n({count} of them"
    assert stood in said
    assert said.count(f"It was written down {words}") == 1


def test_numbers_show_two_digits_of_what_is_not_known():
    def place(estimate, half, upper=None):
        end = estimate + half if upper is None else upper
        return Place("", estimate, estimate - half, end, 0, 0, 5, 4, 0, half == 0, 1, 1)

    assert with_interval(place(0.05938, 0.0179), sign=True) == "+0.059 ± 0.018"
    assert with_interval(place(-0.00003, 0.00565)) == "0.0000 ± 0.0056"
    assert with_interval(place(0.2263, 0.1824, 0.3695)) == "0.23 (0.04 to 0.37)"
    assert with_interval(place(13.7743, 0.0)) == "13.77"
    assert with_interval(place(0.189101, math.nan)) == "0.19"
    assert with_interval(place(0.0, 0.0)) == "0"
    assert with_interval(place(float("nan"), float("nan"))) == "–"
    assert decimals_of([place(0.1, 0.02), place(0.1, 0.003)]) == 4
    assert decimals_of([place(0.189101, math.nan), place(1.37077, math.nan)]) == 2
    assert decimals_of([place(0.1, 0.02), place(-3e-8, 4e-10)]) == 6
    assert ends(float("nan"), float("nan"), 2) == "–"
    assert [p_value(p) for p in (0.0, 3e-7, 0.00026, 0.049, 1.0, float("nan"))] == [
        *("0", "< 0.0001", "0.00026", "0.049", "1", "–")
    ]


def test_an_interval_without_ends_is_called_so():
    ratio = RatioEffect.of_pairs("H = 4", [0.1, 0.2, 0.15], [0.3, -0.2, 0.11], 0)
    said = page(judged(row("a", "ratio"), effects={"ratio": [ratio]}), LINKS)
    # Exact numbers would have four digits.
    assert re.search(r"\| \*\*H = 4\*\* \| \+2\.1 \| unbounded \| 3 \|", said)
    assert "> H = 4: the interval is unbounded." in said


def test_the_table_has_a_row_a_claim_in_every_form_and_the_csv_one_a_place(everything):
    table = build(everything)
    assert len(table.shown) == len(everything.claims)
    assert len(table.raw) == sum(len(each.places) or 1 for each in everything.claims)
    cells = table.shown.to_numpy().ravel().tolist()
    assert all(isinstance(cell, str) for cell in cells)
    assert not any(re.search(r"\bnan\b|\bNone\b|\binf\b", cell) for cell in cells)
    first = table.shown.iloc[1]
    assert first["effect (at)"] == "−0.110 ± 0.020 nats per token, H = 16"
    assert (first["rule"], first["verdict"]) == ("greater than 0, at every place", "contradicted")
    last = table.raw.iloc[-1]
    assert (last["id"], last["verdict"], last["note"]) == (
        *("absent", "not measured", "The experiment `memory` was not measured here."),
    )
    assert "one domain" in table.caption
    assert "reconstruction" in table.caption
    assert markdown(table).count("\n") == len(everything.claims) + 4
    tex = latex(table)
    assert tex.count("{") - tex.count(r"\{") == tex.count("}") - tex.count(r"\}")
    assert tex.isascii()


def test_every_sign_of_the_shipped_rules_can_be_set_in_latex():
    rows = [claim.model_dump() | {"family": "one"} for claim in read_claims().claims]
    names = {claim["effect"] for claim in rows}
    effects = dict.fromkeys(names, EFFECTS["worse"])
    found = judged(
        *(claim | {"experiment": "lm_width", "seen": {}} for claim in rows), effects=effects
    )
    assert latex(build(found)).isascii()
