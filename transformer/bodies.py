"""Bodies of requests, read as a whole: bounded one by one and all together, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from transformer.answering import Message, Receive
from transformer.room import NoRoom, Room

FREE_BYTES: Final = 64 << 10
"""Bodies up to this length need no room: what connections buffer in any case."""


class Unread(Exception):
    """status, text: the answer. The client may be sending still, so its connection cannot be used again."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Bodies:
    """max_body_bytes: of one. stall_s: how long a client may send nothing of a body that is long or comes in pieces."""

    def __init__(self, room: Room, *, max_body_bytes: int, stall_s: float) -> None:
        self._room, self._max_body_bytes, self._stall_s = room, max_body_bytes, stall_s

    async def read(self, noted: Mapping[bytes, bytes], receive: Receive) -> tuple[bytes, int]:
        """
        The body, and how much room it takes, to be given back when the body is needed no more. Raises Unread. noted:
        the request's headers, with content-length.
        """
        announced = noted.get(b"content-length", b"0")
        length = int(announced) if len(announced) <= 18 else self._max_body_bytes + 1
        if length > FREE_BYTES:
            return await self._long(length, receive)
        message = await receive()
        if message["type"] == "http.request" and not message["more_body"]:
            chunk: bytes = message["body"]
            if len(chunk) <= FREE_BYTES:
                return chunk, 0
        return await self._pieces(message, receive)

    async def _long(self, length: int, receive: Receive) -> tuple[bytes, int]:
        if length > self._max_body_bytes:
            raise self._too_long()
        try:
            await self._room.take(length)
        except NoRoom as error:
            raise Unread(503, str(error)) from None
        try:
            chunks = []
            more = True
            while more:
                message = await self._next(receive)
                chunks.append(message["body"])
                more = message["more_body"]
            return b"".join(chunks), length
        except BaseException:
            self._room.give_back(length)
            raise

    async def _pieces(self, message: Message, receive: Receive) -> tuple[bytes, int]:
        """Of unknown length: room is asked for as it grows, twice as much each time."""
        chunks: list[bytes] = []
        size = held = 0
        try:
            while True:
                if message["type"] != "http.request":
                    raise Unread(499, "the client closed the connection")
                chunks.append(message["body"])
                size += len(chunks[-1])
                if size > self._max_body_bytes:
                    raise self._too_long()
                if size > max(FREE_BYTES, held):
                    wanted = min(2 * size, self._max_body_bytes)
                    await (self._room.grow if held else self._room.take)(wanted - held)
                    held = wanted
                if not message["more_body"]:
                    return b"".join(chunks), held
                message = await self._next(receive)
        except BaseException as error:
            if held:
                self._room.give_back(held)
            if isinstance(error, NoRoom):
                raise Unread(503, str(error)) from None
            raise

    def give_back(self, room: int) -> None:
        self._room.give_back(room)

    async def _next(self, receive: Receive) -> Message:
        try:
            async with asyncio.timeout(self._stall_s):
                message = await receive()
        except TimeoutError:
            raise Unread(408, "the rest of the request body did not come in time") from None
        if message["type"] != "http.request":
            raise Unread(499, "the client closed the connection")
        return message

    def _too_long(self) -> Unread:
        return Unread(413, f"the request body is longer than {self._max_body_bytes} bytes")
