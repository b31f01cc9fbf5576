"""Settings of the statistics: intervals, power, equivalence and verdicts."""

from infwidth.config.section import Section


class StatisticsSettings(Section):
    """How measurements become intervals and verdicts; fixed before the runs."""
