"""
Heads of answers that were parsed before. A predictor's answers of one second mostly have the same head to the byte:
they are told by it, and neither parsed nor put together again.
"""

from __future__ import annotations

from typing import Final

from transformer.wire import AnswerHead, Headers, answer_head, header_lines

MOST_HEADS: Final = 64
"""Dates change every second: more are of the past."""
LARGEST_BODY: Final = 1 << 16
LOOKS: Final = 1_000
"""After so many it is seen whether looking is worth its time; if not, so many times as long nothing is looked up."""
REST: Final = 50

_END: Final = b"\r\n\r\n"


class KnownHead:
    """length: of the body. headers: as the predictor sent them. lines: the end-to-end ones, as they go to a client."""

    __slots__ = ("answer", "headers", "length", "lines", "status")

    def __init__(self, status: int, headers: Headers, length: int) -> None:
        self.status, self.headers, self.length = status, headers, length
        self.answer: AnswerHead = answer_head(headers, status=status)
        self.lines = header_lines(self.answer.headers)


class KnownHeads:
    """Of one predictor."""

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}
        self._looks = self._found = self._rest = 0

    def find(self, data: bytes) -> tuple[KnownHead, bytes] | None:
        """data: what came of an answer. Its head and its body, where the one is known and the other whole."""
        if self._rest:
            self._rest -= 1
            return None
        self._looks += 1
        if self._looks == LOOKS:
            self._rest = 0 if self._found > LOOKS // 2 else LOOKS * REST
            self._looks = self._found = 0
        end = data.find(_END)
        known = self._heads.get(data[:end])
        if known is None or len(data) - end - len(_END) != known.length:
            return None
        self._found += 1
        return known, data[end + len(_END) :]

    def learn(self, data: bytes, status: int, headers: Headers) -> None:
        """data: a whole answer that has been parsed and leaves its connection open, and nothing else."""
        if self._rest:
            return
        end = data.find(_END)
        length = len(data) - end - len(_END)
        if length > LARGEST_BODY or [value for name, value in headers if name.lower() == b"content-length"] != [
            b"%d" % length
        ]:
            return  # it has another length, or says it in another way
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        self._heads[data[:end]] = KnownHead(status, headers, length)
