"""
Sections of a monitor document: typed reading that names the field's path in every rejection. A null is an absent field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from tidegauge.errors import InvalidMonitor
from tidegauge.extensions import is_extension

T = TypeVar("T")

_MILLISECONDS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration_ms(text: str) -> int:
    """Milliseconds of "15s", "10m", "1.5h"; raises ValueError, TypeError or OverflowError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", text)
    if not match:
        raise ValueError(text)
    return round(float(match[1]) * _MILLISECONDS[match[2]])


_REQUIRED: Final = object()


class Section:
    """One mapping of the document and the path that leads to it."""

    def __init__(self, path: str, value: object) -> None:
        if not isinstance(value, Mapping):
            raise InvalidMonitor(path or "document", "a mapping", value)
        self.path = path or "document"
        self._prefix = f"{path}." if path else ""
        self._value: Mapping[Any, Any] = value

    def at(self, key: str) -> str:
        return self._prefix + key

    def has(self, key: str) -> bool:
        return self._value.get(key) is not None

    def get(self, key: str, default: Any = None) -> Any:
        return default if (value := self._value.get(key)) is None else value

    def only(self, *keys: str) -> None:
        for key in self._value:
            if key not in keys:
                raise InvalidMonitor(
                    self.at(str(key)), f"no such field here; known: {', '.join(keys)}", self._value[key]
                )

    def equals(self, key: str, expected: str) -> None:
        if self.get(key) != expected:
            raise InvalidMonitor(self.at(key), expected, self.get(key))

    def section(self, key: str, default: object = None) -> Section:
        return Section(self.at(key), self.get(key, default))

    def sections(self, key: str) -> list[Section]:
        """Of a list of mappings; empty where there is none."""
        value = self.get(key, [])
        if not isinstance(value, list):
            raise InvalidMonitor(self.at(key), "a list", value)
        return [Section(f"{self.at(key)}[{position}]", item) for position, item in enumerate(value)]

    def mapping(self, key: str) -> Mapping[Any, Any]:
        """Of names that are the user's own, to any values; empty where there is none."""
        return self.section(key, {})._value

    def text(self, key: str, default: object = _REQUIRED) -> str:
        return self.matching(key, re.compile(r".+"), "text", default)

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self.has(key) else None

    def matching(self, key: str, pattern: re.Pattern[str], expected: str, default: object = _REQUIRED) -> str:
        value = self.get(key, default)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise InvalidMonitor(self.at(key), expected, None if value is _REQUIRED else value)
        return value

    def boolean(self, key: str, default: bool) -> bool:
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise InvalidMonitor(self.at(key), "true or false", value)
        return value

    def integer(self, key: str, default: int, *, low: int) -> int:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise InvalidMonitor(self.at(key), f"a whole number, at least {low}", value)
        return value

    def number(self, key: str, default: float, *, above: float, below: float) -> float:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not above < value < below:
            raise InvalidMonitor(self.at(key), f"a number between {max(above, 0):g} and {below:g}", value)
        return float(value)

    def choice(self, key: str, options: tuple[str, ...]) -> str:
        """The first of the options by default."""
        value = self.get(key, options[0])
        if value not in options:
            raise InvalidMonitor(self.at(key), f"one of {', '.join(options)}", value)
        return str(value)

    def names(
        self, key: str, default: tuple[str, ...], known: tuple[str, ...], is_other: Callable[[str], bool], form: str
    ) -> tuple[str, ...]:
        """Different ones, each a known one or of another form, which messages tell as `form`."""
        value = self.get(key, list(default))
        if (
            not isinstance(value, list)
            or not value
            or not all(isinstance(name, str) and (name in known or is_other(name)) for name in value)
            or len(set(value)) < len(value)
        ):
            raise InvalidMonitor(self.at(key), f"a list of {', '.join(known)}, {form}", value)
        return tuple(value)

    def extensions(self, key: str, form: str) -> tuple[str, ...]:
        """Names of what is a user's own, none of them twice; by default there are none."""
        value = self.get(key, [])
        fitting = isinstance(value, list) and all(isinstance(name, str) and is_extension(name) for name in value)
        if not fitting or len(set(value)) < len(value):
            raise InvalidMonitor(self.at(key), f"a list of {form}, each once", value)
        return tuple(value)

    def duration_ms(self, key: str, default_ms: int) -> int:
        return self.converted(key, duration_ms, 'a duration such as "15s" or "10m"', f"{default_ms}ms")

    def converted(self, key: str, convert: Callable[[str], T], expected: str, default: str) -> T:
        value = self.get(key, default)
        try:
            return convert(value)
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise InvalidMonitor(self.at(key), expected, value) from error
