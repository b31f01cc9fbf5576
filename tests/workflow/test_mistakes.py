# SPDX-License-Identifier: Apache-2.0
"""A mistake in the configuration stops Snakemake before any work, with one line."""

import pytest

from infwidth import workflow
from infwidth.config.errors import UserError

pytestmark = pytest.mark.slow


def lines(output):
    """What Snakemake printed of its own accord is left out."""
    ours = ("Using workflow specific profile", "Config file ", "No validator found")
    return [line for line in output.splitlines() if line and not line.startswith(ours)]


def test_a_mistake_is_one_line(fresh):
    (output,) = lines(fresh.snakemake("-n", "--config", "lm_widht={}", status=2))
    assert "unknown key 'lm_widht'; did you mean 'lm_width'?" in output
    assert not (fresh.folder / "results").exists()


TWICE = "training: {steps: 100}\ntraining: {batch_size: 4}\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("--config", "training={steps: 100}", "--config", "training={batch_size: 4}"),
            "--config is given 2 times",
        ),
        (("-C", "name=a", "-C", "name=b"), "--config is given 2 times"),
        (
            ("--configfile", "config/smoke.yaml", "--configfile", "config/quick.yaml"),
            "--configfile is given 2 times",
        ),
        (("--configfile", "twice.yaml"), "twice.yaml: 'training' is in line 1 and again in line 2"),
        (("--config", "training={steps: 1,\nsteps: 2}"), "--config training: 'steps' is in line 1"),
    ],
)
def test_what_snakemake_would_drop_is_one_line(fresh, words, line):
    (fresh.folder / "twice.yaml").write_text(TWICE)
    (output,) = lines(fresh.run("snakemake", "-n", *words, status=2))
    assert line in output


def test_a_mistake_in_the_default_file_is_one_line(fresh):
    default = fresh.folder / "config/config.yaml"
    default.write_text(default.read_text() + "training: [\n")
    (output,) = lines(fresh.run("snakemake", "-n", status=2))
    assert output.startswith("infwidth: config/config.yaml: not valid YAML: ")
    default.write_text(TWICE)
    (output,) = lines(fresh.run("snakemake", "-n", status=2))
    assert output.startswith("infwidth: config/config.yaml: 'training' is in line 1 and again")


def test_a_vocabulary_that_the_text_cannot_fill_is_one_line_before_any_job(fresh):
    (fresh.folder / "texts").mkdir()
    for number in range(3):
        (fresh.folder / f"texts/{number}.txt").write_text("to be or not to be\n" * 50)
    (fresh.folder / "mine.yaml").write_text("name: mine\ndata: {corpus: text, path: texts}\n")
    both = ("--configfile", "config/smoke.yaml mine.yaml", "--cores", "1")
    larger = ("--config", "data={vocabulary: sentencepiece, vocabulary_size: 5000}")
    output = fresh.run("infwidth", "reproduce", "paper", *both, *larger, status=2)
    assert "infwidth: data.vocabulary_size is 5000, but the text in texts has at most" in output
    assert "rule " not in output


def test_a_missing_configuration_file_is_one_line(fresh):
    output = fresh.run("infwidth", "reproduce", "--configfile", "config/qiuck.yaml", status=2)
    assert lines(output) == [
        "infwidth: config/qiuck.yaml: no such configuration file (known: config/config.yaml, "
        "config/long.yaml, config/paper.yaml, config/quick.yaml, config/smoke.yaml)"
    ]


def test_a_folder_that_may_not_be_written_to_is_one_line(monkeypatch):
    monkeypatch.setattr(workflow.os, "access", lambda *_: False)
    with pytest.raises(UserError, match=r"/\.snakemake cannot be written to, .* --directory$"):
        workflow.check_configuration(None)
