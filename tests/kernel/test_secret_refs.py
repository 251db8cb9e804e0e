"""Where secrets are."""

from __future__ import annotations

import pytest

from tidegauge.errors import InvalidMonitor
from tidegauge.secret_refs import MissingSecret, SecretRef, parse_secret_ref


def nowhere(_path: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory")


def test_a_secret_is_read_from_its_variable_or_its_file_without_the_line_end() -> None:
    assert SecretRef(env="KEY").read({"KEY": "s3cret"}, nowhere) == b"s3cret"
    assert SecretRef(file="/run/key").read({}, lambda path: path.encode() + b"\n") == b"/run/key"


@pytest.mark.parametrize("environment", [{}, {"KEY": ""}, {"KEY": " \n"}])
def test_an_empty_one_is_missing(environment: dict[str, str]) -> None:
    with pytest.raises(MissingSecret, match="variable KEY is empty"):
        SecretRef(env="KEY").read(environment, nowhere)


def test_a_text_is_utf_8() -> None:
    assert SecretRef(file="/k").read_text({}, lambda _: "pässword".encode()) == "pässword"
    with pytest.raises(MissingSecret, match="/k is not UTF-8 text"):
        SecretRef(file="/k").read_text({}, lambda _: b"\xff\xfe")


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(MissingSecret, match=r"/run/key: No such file or directory: mount the secret there"):
        SecretRef(file="/run/key").read({}, nowhere)


@pytest.mark.parametrize("value", [None, 1, "two words", {"file": "relative"}, {"file": 1}, {"path": "/x"}, ["KEY"]])
def test_what_is_no_reference_is_refused_without_being_repeated(value: object) -> None:
    with pytest.raises(InvalidMonitor) as refused:
        parse_secret_ref("spec.x", value)
    assert "spec.x" in str(refused.value)
    assert "two words" not in str(refused.value)
