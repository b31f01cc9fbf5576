# SPDX-License-Identifier: Apache-2.0
"""What Snakemake plans, wherever it lies; a mistake stops it before any work, with one line."""

import json
import shlex

import pytest

from infwidth import workflow
from infwidth.config.errors import UserError
from tests.data.c4 import c4_texts, write_json_shards
from tests.data.texts import write_texts
from tests.workflow.conftest import copy_project, jobs_of

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


def test_a_dry_run_ends_with_its_jobs_by_stage_on_one_screen(fresh):
    output = fresh.snakemake("-n")
    planned = jobs_of(output)
    first, *rows = output.rpartition("\n\n")[2].splitlines()
    counts = {stage: int(count) for count, stage in map(str.split, rows)}
    assert first == f"{sum(planned.values())} jobs to run, by file of workflow/rules/:"
    assert sum(counts.values()) == sum(planned.values())
    assert counts["figures"] == sum(name.startswith("fig") for name in planned)
    assert len(rows) < 23


TOKENS = "results/smoke/data/tokens/manifest.json"
C4 = "data={corpus: c4, path: c4/en, c4: {train_shards: 2}}"


def test_shards_are_jobs_and_without_the_data_there_are_none(fresh):
    output = fresh.snakemake("-n", TOKENS, "--config", C4, status=2)
    assert "no C4 in" in output
    assert "download from allenai/c4" in output
    assert "Traceback" not in output

    write_json_shards(fresh.folder / "c4/en", c4_texts(train=3, validation=2))
    planned = fresh.planned(TOKENS, "--config", C4)
    assert planned == {"corpus": 1, "vocabulary": 1, "shard": 4, "tokenize": 1}


STRANGE = "run{1} br{x}ace ' \" $(touch pwned) %s [a] ü {"


@pytest.fixture
def strange(tmp_path):
    return copy_project(tmp_path / STRANGE)


def test_braces_in_a_folder_a_file_or_a_key_are_no_wildcards(strange):
    texts = [{"{key}": path.read_text()} for path in write_texts(strange.folder / "t").iterdir()]
    (strange.folder / "te{x}ts").mkdir()
    file = strange.folder / "te{x}ts" / "a{1}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in texts))
    corpus = "results/smoke/data/corpus/manifest.json"
    data = ("--config", 'data={corpus: text, path: "te{x}ts", text_key: "{key}"}')
    strange.snakemake(corpus, *data)
    made = json.loads((strange.folder / corpus).read_text())
    assert sum(map(len, made["documents"].values())) == len(texts)
    assert strange.planned(corpus, *data) == {}
    file.write_text(file.read_text() + json.dumps({"{key}": "one more"}) + "\n")
    assert strange.planned(corpus, *data) == {"corpus": 1}
    assert not (strange.folder / "pwned").exists()


def test_from_another_folder_the_rules_of_the_claims_are_found(strange, tmp_path):
    elsewhere = tmp_path / "else{w}here"
    elsewhere.mkdir()
    printed = strange.snakemake("-n", "-p", "--directory", str(elsewhere))
    rules = strange.folder / "config/claims.yaml"
    assert f"--rules {shlex.quote(str(rules))} --measured" in printed
