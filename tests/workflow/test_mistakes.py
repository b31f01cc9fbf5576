# SPDX-License-Identifier: Apache-2.0
"""A mistake in the configuration stops Snakemake before any work, with one line."""

import pytest

pytestmark = pytest.mark.slow


def lines(output):
    """What Snakemake printed of its own accord is left out."""
    ours = ("Using workflow specific profile", "Config file ", "No validator found")
    return [line for line in output.splitlines() if line and not line.startswith(ours)]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("lm_widht={}", "unknown key 'lm_widht'; did you mean 'lm_width'?"),
        ("lm_width={widths: [0]}", "lm_width.widths.0"),
        ("lm_width={widths: [8, 8]}", "8 is given twice"),
        ("lm_width={seeds: []}", "lm_width.seeds"),
    ],
)
def test_a_mistake_is_one_line(fresh, override, words):
    output = fresh.snakemake("-n", "--config", override, status=2)
    assert len(lines(output)) == 1
    assert words in output
    assert not (fresh.folder / "results").exists()


def test_a_missing_configuration_file_is_one_line(fresh):
    output = fresh.run("infwidth", "reproduce", "--configfile", "config/qiuck.yaml", status=2)
    assert lines(output) == [
        "infwidth: config/qiuck.yaml: no such configuration file (known: config/config.yaml, "
        "config/paper.yaml, config/quick.yaml, config/smoke.yaml)"
    ]
