"""
Tidegauge: watches a served model. The kernel: every statistic, score and test is defined here, once.

For notebooks the names below are all that is needed; they are imported when asked for, so that one module of the kernel
does not load the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tidegauge.baseline import BaselineProfile
    from tidegauge.concerns import concerns
    from tidegauge.notebook import Policy, judge
    from tidegauge.scoring.scorer import Scorer

__all__ = ["BaselineProfile", "Policy", "Scorer", "concerns", "judge"]

_HOMES: Final = {
    "BaselineProfile": "tidegauge.baseline",
    "Policy": "tidegauge.notebook",
    "Scorer": "tidegauge.scoring.scorer",
    "concerns": "tidegauge.concerns",
    "judge": "tidegauge.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tidegauge' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
