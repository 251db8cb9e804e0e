"""The SQL store's tables."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

METADATA: Final = sa.MetaData()


def key_columns() -> list[sa.Column[Any]]:
    """The report's key: two reports with the same are the same."""
    return [
        sa.Column("monitor", sa.String(253), primary_key=True),
        sa.Column("version", sa.String(200), primary_key=True),
        sa.Column("baseline", sa.String(64), primary_key=True),
        sa.Column("window_start_ms", sa.BigInteger, primary_key=True),
        sa.Column("window_duration_ms", sa.BigInteger, primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True),
    ]


REPORTS: Final = sa.Table(
    "reports",
    METADATA,
    *key_columns(),
    sa.Column("window_end_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("drifted", sa.Boolean, nullable=False),
    sa.Column("worst_feature", sa.Text),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("flagged", sa.BigInteger, nullable=False),
    sa.Column("seen", sa.BigInteger, nullable=False),
    sa.Column("served", sa.BigInteger),
    sa.Column("share", sa.Float),
    sa.Column("document", sa.Text, nullable=False),
)

FEATURES: Final = sa.Table(
    "report_features",
    METADATA,
    *key_columns(),
    sa.Column("feature", sa.Text, primary_key=True),
    sa.Column("drifted", sa.Boolean, nullable=False),
    sa.Column("statistics", sa.Text, nullable=False),
    sa.Column("tests", sa.Text, nullable=False),
)

ALERTS: Final = sa.Table(
    "alerts",
    METADATA,
    sa.Column("id", sa.String(600), primary_key=True),
    sa.Column("monitor", sa.String(253), nullable=False, index=True),
    sa.Column("version", sa.String(200), nullable=False),
    sa.Column("baseline", sa.String(64), nullable=False),
    sa.Column("about", sa.String(16), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("start_ms", sa.BigInteger, nullable=False),
    sa.Column("last_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("document", sa.Text, nullable=False),
)

PROVISIONAL: Final = sa.Table(
    "provisional",
    METADATA,
    sa.Column("monitor", sa.String(253), primary_key=True),
    sa.Column("version", sa.String(200), primary_key=True),
    sa.Column("window_start_ms", sa.BigInteger, nullable=False),
    sa.Column("window_end_ms", sa.BigInteger, nullable=False),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("drifted", sa.Boolean, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)
"""What is known of the window under way, the latest only: for live views."""
