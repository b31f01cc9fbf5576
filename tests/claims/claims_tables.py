# SPDX-License-Identifier: Apache-2.0
"""Rules and effects of which the verdicts are known, for the tests of judging and of the page."""

import math

from infwidth.claims.judge import Found, judge
from infwidth.claims.schema import Claims
from infwidth.config.load import validate
from infwidth.stats.effects import Effect
from infwidth.stats.statistics import Interval

RECORD = {
    "commit": "a" * 40,
    "configuration": "synthetic",
    "inputs": {"runs.parquet": "0" * 64},
    "corpus": "a synthetic corpus, which is one domain",
}
WORSE = [0.11, 0.12, 0.10, 0.13, 0.09]
BETTER = [-value for value in WORSE]
SAME = [0.001, -0.002, 0.0, 0.002, -0.001]
VAGUE = [0.1, -0.1, 0.05, -0.04, 0.0]


def places(*values, lost=0):
    return [
        Effect.of_repeats(f"H = {4 ** (k + 1)}", each, lost, Interval(sum(each), 0.0, 0.2))
        for k, each in enumerate(values)
    ]


EFFECTS = {
    "worse": places(WORSE, WORSE),
    "better": places(WORSE, BETTER),
    "same": places(SAME, SAME),
    "vague": places(WORSE, VAGUE),
    "one_seed": places([0.1]),
    "diverged": places(WORSE, lost=2),
    "no_runs": [Effect.of_repeats("H = 4", [], 5)],
    "no_spread": places([0.5, 0.5, 0.5]),
    "unknown_error": [Effect("H = 4", 0.3, math.nan, math.inf, 5)],
    "counted": [Effect.exact("t = 1", 1.5), Effect.exact("t = 2", 2.5)],
    "nowhere": [],
}


def row(name, effect, **changes):
    """One claim: `greater than 0 at every place`, unless changed."""
    return {
        "id": name,
        "number": 1,
        "source": "paper",
        "statement": f"The claim {name} holds_for | ADAM* <always>.",
        "experiment": "lm_width",
        "effect": effect,
        "quantity": "A number",
        "unit": "nats per token",
        "interval": "Student's t over seeds",
        "rule": {"kind": "greater", "than": 0.0},
        "scope": "every_place",
        "family": "one",
        "fixed": "before",
        "figure": "fig1_loss_vs_width",
        "table": "table2_gap_closed",
        "reason": f"The reason of {name}.",
        "would_decide": f"What would decide {name}.",
    } | changes


SEEN = [10, 11]
"""Seeds on which something had been seen."""


def claims(*rows, **families):
    level = {"level": "1 - statistics.confidence", "about": "all of them"}
    return Claims.model_validate(
        {
            "families": {"one": level} | families,
            "fresh_seeds": {"lm_width": {"lm_width.seeds": SEEN}},
            "claims": list(rows),
        }
    )


def judged(*rows, effects=None, settings=None, text="", seeds=(12, 13), **families):
    """These rows, judged by the effects above, of runs on some seeds."""
    measured = {"lm_width": {"seeds": list(seeds)}}
    found = {"lm_width": Found(EFFECTS if effects is None else effects, RECORD, measured)}
    return judge(claims(*rows, **families), found, validate(settings or {}), text)
