# SPDX-License-Identifier: Apache-2.0
"""Whether two tables of measurements agree: to the bit, to rounding, or as two samples would.

Training amplifies rounding, so that on another machine a run ends elsewhere than the same run did:
then only arms can be compared, by their means over repeats. A moderated t test compares them, as if
the repeats were independent; they share seeds, which makes it the more cautious. Holm's correction
holds the chance of a false alarm over the whole comparison to `LEVEL`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from infwidth.config.errors import UserError
from infwidth.experiments.schema import RATES, Table
from infwidth.stats.statistics import holm, moderated_t

LEVEL = 0.05
"""Chance that anything at all is called other where nothing is; tables share it evenly."""

RELATIVE, OF_RMS = 1e-5, 1e-7
"""Equal to rounding: within a share of the number, or of the column's rms (float32: 1.2e-7)."""

TRIALS = ("tuning", "trunk", "check")
"""Roles of runs that lead to a choice, or show how it was made; arms are those of all others."""

# Columns that merging adds, with a space in them, which no column of a table has.
_KEY, _HERE, _SIDE = "key of ", " here", "which side"


class Agreement(StrEnum):
    """How two tables compare, the closest first."""

    IDENTICAL = "identical"
    ROUNDING = "equal to rounding"
    AGREES = "agrees"
    NOT_JUDGED = "not judged"
    DISAGREES = "disagrees"


@dataclass(frozen=True)
class Shift:
    """An arm's outcome, published and here: means over repeats, and how far apart they are."""

    cell: str  # the arm, in words
    outcome: str  # the column
    published: float
    here: float
    error: float  # standard error of their difference
    freedom: float  # its degrees of freedom
    p_value: float  # two-sided, after Holm within the table
    sd: float  # standard deviation over repeats that the error rests on


@dataclass(frozen=True)
class TableAgreement:
    """How one table compares.

    Attributes:
        rows: published; `identical`: of these, rows that are the same to the bit.
        largest: largest difference of an outcome, in units of its rms over the table.
        missing: published rows of arms that are not here, in words.
        extra: rows that are only here.
        trials: published rows of tuning that are not here, since tuning went another way.
        tested: arms' outcomes that were tested.
        resolution: median over these of the shift that would be called other, in standard
            deviations over repeats; NaN without tests.
        shifts: those that disagree.
        counted: what should be the same everywhere and is not, or a run that just one side lost.
    """

    experiment: str
    table: str
    word: Agreement
    rows: int
    identical: int
    largest: float
    missing: list[str] = field(default_factory=list)
    extra: int = 0
    trials: int = 0
    tested: int = 0
    resolution: float = math.nan
    shifts: list[Shift] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)


def compare_tables(
    experiment: str,
    table: str,
    schema: Table,
    published: pd.DataFrame,
    here: pd.DataFrame,
    level: float = LEVEL,
) -> TableAgreement:
    """Compares a table with the published one, cell by cell.

    Where `schema.by_run`, both are joined with their runs (`name_runs`). The level is that of this
    table's tests together.

    Raises:
        UserError: two rows of a table are the same cell.
    """
    place = f"{experiment}/{table}.parquet"
    common = [column for column in published if column in here]
    names = [name for name in (*schema.arm, *schema.repeat, *schema.within) if name in common]
    first, second = (_keyed(frame[common], schema, names, place) for frame in (published, here))
    keys = [column for column in first if column.startswith(_KEY)]
    merged = first.merge(second, on=keys, how="outer", suffixes=("", _HERE), indicator=_SIDE)
    both, judged = merged[_SIDE] == "both", merged[_KEY + "trial"] == 0
    gone = merged[(merged[_SIDE] == "left_only") & judged]
    matched, reported = merged[both], merged[both & judged]
    outcomes = [name for name in schema.outcomes if name in common]
    counts = [name for name in schema.counted if name in common]
    values = [name for name in common if name not in (*names, *schema.loose)]
    same = np.ones(len(matched), dtype=bool)
    for name in values:
        same &= _equal(matched[name], matched[name + _HERE])
    counted: list[str] = []
    for name in counts:
        off = ~_equal(matched[name], matched[name + _HERE])
        counted += _differences(matched[off], name, names)
    for name in outcomes:
        # A run that ended well on one side and diverged on the other.
        lost = reported[name].isna() != reported[name + _HERE].isna()
        counted += _differences(reported[lost], name, names)
    result: dict[str, Any] = {
        "rows": len(published),
        "identical": int(same.sum()),
        "largest": _largest(matched, outcomes),
        "missing": [_words(row, names) for row in gone[names].to_dict("records")],
        "extra": int((merged[_SIDE] == "right_only").sum()),
        "trials": int(((merged[_SIDE] == "left_only") & ~judged).sum()),
        "counted": counted,
    }

    def done(word: Agreement, **more: Any) -> TableAgreement:
        return TableAgreement(experiment, table, word, **result | more)

    if result["missing"] or counted:
        return done(Agreement.DISAGREES)
    if same.all() and not result["trials"]:
        return done(Agreement.IDENTICAL)
    if not result["trials"] and all(
        _equal_to_rounding(matched[name], matched[name + _HERE]) for name in values
    ):
        return done(Agreement.ROUNDING)
    if not outcomes:
        return done(Agreement.NOT_JUDGED)
    if not schema.repeat:
        assert schema.close is not None, place
        near = result["largest"] <= schema.close
        return done(Agreement.AGREES if near else Agreement.DISAGREES)
    arm = [name for name in schema.arm if name in common]
    word, more = _verdict(_tests(reported, arm, schema, outcomes), level)
    return done(word, **more)


def name_runs(frame: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Rows that name their run by its key, with what the table of runs says on it."""
    names = ("key", "condition", "role", "variant", "width", "seed", *RATES)
    columns = [name for name in names if name in runs]
    return frame.merge(runs[columns], on="key", suffixes=("_of_step", ""))


def _keyed(frame: pd.DataFrame, schema: Table, names: list[str], place: str) -> pd.DataFrame:
    """The table with columns that name its rows; rates name a trial, but no reported run."""
    if "role" in frame:
        trial = frame["role"].isin(TRIALS)
    else:
        trial = pd.Series(bool(schema.choice), index=frame.index)
    keys = {_KEY + name: frame[name] for name in names}
    keys |= {_KEY + name: frame[name].where(trial) for name in schema.choice if name in frame}
    keys[_KEY + "trial"] = trial.astype(int)
    keyed = frame.assign(**keys)
    twice = keyed[keyed.duplicated(list(keys))]
    if len(twice):
        raise UserError(f"{place}: two rows for {_words(twice.iloc[0].to_dict(), names)}")
    return keyed


def _equal(first: pd.Series, second: pd.Series) -> NDArray[np.bool_]:
    return ((first == second) | (first.isna() & second.isna())).to_numpy(dtype=bool)


def _equal_to_rounding(first: pd.Series, second: pd.Series) -> bool:
    if not pd.api.types.is_float_dtype(first):
        return bool(_equal(first, second).all())
    one, other = (column.to_numpy(np.float64) for column in (first, second))
    rms = float(np.sqrt(np.nanmean(one**2))) if np.isfinite(one).any() else 0.0
    return bool(np.allclose(other, one, rtol=RELATIVE, atol=OF_RMS * rms, equal_nan=True))


def _largest(matched: pd.DataFrame, outcomes: list[str]) -> float:
    """The largest difference, in units of the column's rms; infinite where just one is a number."""
    largest = 0.0
    for name in outcomes:
        one, other = (matched[each].to_numpy(np.float64) for each in (name, name + _HERE))
        if (np.isnan(one) != np.isnan(other)).any():
            return math.inf
        gaps, scale = np.abs(other - one), float(np.sqrt(np.nanmean(one**2))) if len(one) else 0.0
        widest = float(np.nanmax(gaps)) if np.isfinite(gaps).any() else 0.0
        largest = max(largest, widest / scale if scale else (math.inf if widest else 0.0))
    return largest


def _differences(rows: pd.DataFrame, column: str, names: list[str]) -> list[str]:
    """What each side has in a column, in words, a line a row."""
    return [
        f"{column} at {_words(row, names)}: {_value(row[column])} published, "
        f"{_value(row[column + _HERE])} here"
        for row in rows.to_dict("records")
    ]


def _tests(
    matched: pd.DataFrame, arm: list[str], schema: Table, outcomes: list[str]
) -> list[Shift]:
    """Every arm's outcomes, before any correction."""
    averaged = [*outcomes, *(name + _HERE for name in outcomes)]
    rows = matched[[*arm, *schema.repeat, *averaged]].astype(dict.fromkeys(averaged, np.float64))
    if schema.within:
        rows = rows.groupby([*arm, *schema.repeat], dropna=False, as_index=False)[averaged].mean()
    groups = rows.groupby(arm, dropna=False)[averaged]
    mean, variance, count = groups.mean(), groups.var(), groups.count()
    places = [_words(row, arm) for row in mean.reset_index()[arm].to_dict("records")]
    shifts = []
    for name in outcomes:
        pair = [name, name + _HERE]
        mean_Ax2, count_Ax2 = mean[pair].to_numpy(), count[pair].to_numpy(np.float64)
        able_A = (count_Ax2 >= 2).all(axis=1)
        # Equal in distribution is what is tested, so both sides have one variance.
        freedom_A = (count_Ax2 - 1)[able_A].sum(axis=1)
        weighted = variance[pair].to_numpy()[able_A] * (count_Ax2 - 1)[able_A]
        gap_A = (mean_Ax2[:, 1] - mean_Ax2[:, 0])[able_A]
        # Means that are equal to rounding are equal, however small their variance.
        gap_A[np.abs(gap_A) <= RELATIVE * np.abs(mean_Ax2[able_A]).max(axis=1)] = 0.0
        size_A = (1 / count_Ax2[able_A]).sum(axis=1)
        error_A, total_A, p_A = moderated_t(
            gap_A, weighted.sum(axis=1) / freedom_A, freedom_A, size_A
        )
        numbers = zip(mean_Ax2[able_A].tolist(), error_A, total_A, p_A, size_A, strict=True)
        tested = [place for place, able in zip(places, able_A, strict=True) if able]
        shifts += [
            Shift(place, name, before, after, float(e), float(f), float(p), float(e / s**0.5))
            for place, ((before, after), e, f, p, s) in zip(tested, numbers, strict=True)
        ]
    return shifts


def _verdict(tests: list[Shift], level: float) -> tuple[Agreement, dict[str, Any]]:
    if not tests:
        return Agreement.NOT_JUDGED, {}
    corrected = holm([test.p_value for test in tests])
    off = [
        replace(test, p_value=p_value)
        for test, p_value in zip(tests, corrected, strict=True)
        if p_value < level
    ]
    # Holm's first step is Bonferroni's: what a single shift would have to be.
    found = [
        -float(special.stdtrit(test.freedom, level / len(tests) / 2)) * test.error / test.sd
        for test in tests
        if test.sd
    ]
    resolution = float(np.median(found)) if found else math.nan
    word = Agreement.DISAGREES if off else Agreement.AGREES
    return word, {"tested": len(tests), "shifts": off, "resolution": resolution}


def _words(row: Mapping[Any, Any], names: Iterable[str]) -> str:
    """A cell in words, such as "variant ntk, width 256, seed 10"."""
    return ", ".join(f"{name} {_value(row[name])}" for name in names)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return "none" if math.isnan(value) else f"{value:.12g}"
    return str(value)
