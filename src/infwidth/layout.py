# SPDX-License-Identifier: Apache-2.0
"""Where everything lies: one place for the workflow, the commands and a hand."""

from pathlib import Path

# No rule declares these: what is committed there would look to Snakemake as if it were done.
PUBLISHED = Path("results/published")
LONG = "long"
"""The configuration whose studies are published besides the default's, in a folder of this name."""
REDRAWN = Path("results/redrawn")
RUNS = "runs.tar.xz"
"""Among what is published: the records of the runs (`infwidth.training.archive`)."""


class Layout:
    """The paths of one configuration, by its name.

    "default" lies directly under `results/` and `paper_figures/`, others in folders of their own.
    """

    def __init__(self, name: str):
        own = "" if name == "default" else name
        self.results = Path("results") / own
        self.figures = Path("paper_figures") / own
        self.data = self.results / "data"
        self.corpus = self.data / "corpus"
        self.vocabulary = self.data / "vocabulary"
        self.tokens = self.data / "tokens"
        self.shards = self.data / "shards"
        self.other_shards = self.data / "other_shards"
        self.other_vocabulary = self.data / "other_vocabulary"
        self.other_tokens = self.data / "other_tokens"
        self.runs = self.results / "runs"
        self.lm_width = self.results / "lm_width"
        self.tables = self.results / "tables"
        self.pages = self.results / "pages"
        self.report = self.results / "report.html"
        self.logs = self.results / "logs"

    def tuning(self, job: str) -> Path:
        """What tuning chose in a job of the paper's experiment, and the trials that led to it."""
        return self.lm_width / "tuning" / f"{job}.json"

    def part(self, experiment: str, name: str) -> Path:
        """What was measured of a part, or of a job of several."""
        return self.results / experiment / "parts" / f"{name}.json"

    def measurements(self, experiment: str) -> Path:
        """What its figures and tables are made from; of the claims, the folder of their page."""
        if experiment == "claims":
            return self.results
        return self.results / experiment / "measurements"
