"""Request bodies under a bound on memory, read as an ASGI server hands them over."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.bodies import FREE_BYTES, Bodies, Unread
from transformer.room import NoRoom, Room

KIB = 1 << 10


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


class Client:
    """Sends pieces of a body; counts those that were read. A piece None: nothing more comes."""

    def __init__(self, *pieces: bytes | None, leaves: bool = False) -> None:
        self.left, self.leaves = list(pieces), leaves
        self.read = 0

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        if not self.left and self.leaves:
            return {"type": "http.disconnect"}
        piece = self.left.pop(0)
        if piece is None:
            await asyncio.Event().wait()
        assert piece is not None
        self.read += len(piece)
        return {"type": "http.request", "body": piece, "more_body": bool(self.left) or self.leaves}


def announced(length: int) -> dict[bytes, bytes]:
    return {b"content-length": str(length).encode()}


def bodies(room: Room, **limits: Any) -> Bodies:
    return Bodies(room, **{"max_body_bytes": 10 << 20, "stall_s": 5.0} | limits)


def test_short_bodies_need_no_room() -> None:
    async def check() -> None:
        room = Room(1, wait_s=5)
        await room.take(1)
        for pieces in ((b"abc",), (b"",), (b"a", b"", b"b" * (FREE_BYTES - 1))):
            whole = b"".join(pieces)
            assert await bodies(room).read({}, Client(*pieces).receive) == (whole, 0)
            assert await bodies(room).read(announced(len(whole)), Client(*pieces).receive) == (whole, 0)

    run(check())


def test_a_long_body_is_not_read_before_there_is_room() -> None:
    async def check() -> None:
        room, size = Room(1000 * KIB, wait_s=5), 600 * KIB
        clients = [Client(b"x" * size) for _ in range(3)]
        tasks = [asyncio.ensure_future(bodies(room).read(announced(size), client.receive)) for client in clients]
        for number, task in enumerate(tasks):
            body, held = await task
            assert (len(body), held, room.held) == (size, size, size)
            for _ in range(5):
                await asyncio.sleep(0)
            assert [client.read for client in clients[number + 1 :]] == [0] * (2 - number), "in their order"
            room.give_back(held)
        assert (room.held, room.peak) == (0, size)

    run(check())


def test_a_body_longer_than_all_room_gets_in_alone() -> None:
    async def check() -> None:
        room = Room(100 * KIB, wait_s=5)
        body, held = await bodies(room).read(announced(300 * KIB), Client(b"x" * 300 * KIB).receive)
        assert held == len(body) == 300 * KIB
        room.give_back(held)

    run(check())


def test_bodies_of_unknown_length_never_hold_more_than_the_room_and_some_get_through() -> None:
    async def check() -> None:
        room = Room(1 << 20, wait_s=5)

        async def one() -> int:
            body, held = await bodies(room, max_body_bytes=400 * KIB).read({}, Client(*[b"x" * KIB] * 300).receive)
            assert len(body) == 300 * KIB <= held
            await asyncio.sleep(0)
            room.give_back(held)
            return 200

        ends = await asyncio.gather(*(one() for _ in range(30)), return_exceptions=True)
        refused = [end for end in ends if isinstance(end, Unread)]
        assert {(unread.status, str(unread)) for unread in refused} <= {(503, "too many long requests at once")}
        assert ends.count(200) + len(refused) == 30 and ends.count(200) >= 2
        assert (room.held, room.peak <= 1 << 20) == (0, True)
        assert await room.take(1 << 20) is None, "all of it is free again"

    run(check())


def test_who_waits_too_long_for_room_is_refused() -> None:
    async def check() -> None:
        room = Room(100, wait_s=0.02)
        await room.take(100)
        client = Client(b"x" * 100 * KIB)
        with pytest.raises(Unread, match="too many long requests") as error:
            await bodies(room).read(announced(100 * KIB), client.receive)
        assert (error.value.status, client.read) == (503, 0)

    run(check())


@pytest.mark.parametrize("noted", [announced(200 * KIB), {}], ids=["announced", "in pieces"])
def test_bodies_that_are_broken_off_or_too_long_leave_no_bytes_behind(noted: dict[bytes, bytes]) -> None:
    chunk = b"x" * 80 * KIB

    async def check() -> None:
        room = Room(1 << 20, wait_s=5)
        for client, status in (
            (Client(chunk, leaves=True), 499),
            (Client(leaves=True), 499),
            (Client(chunk, None), 408),
        ):
            with pytest.raises(Unread) as error:
                await bodies(room, stall_s=0.02).read(noted, client.receive)
            assert (error.value.status, room.held) == (status, 0)
        with pytest.raises(Unread) as error:
            await bodies(room, max_body_bytes=90 * KIB).read(noted, Client(chunk, chunk).receive)
        assert (error.value.status, room.held) == (413, 0)

    run(check())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_comes_in_whatever_order_the_bound_holds_and_nothing_waits_for_ever(data: Any) -> None:
    """Holders take, grow, are cancelled and give back at turns that hypothesis chooses."""
    lives = data.draw(
        st.lists(
            st.tuples(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.integers(0, 3), st.integers(0, 6)),
            min_size=1,
            max_size=8,
        )
    )

    async def live(room: Room, sizes: list[int], turns: int) -> None:
        held = 0
        try:
            for size in sizes:
                await (room.grow if held else room.take)(size)
                held += size
                assert room.held <= max(100, held)
                for _ in range(turns):
                    await asyncio.sleep(0)
        except NoRoom:
            pass
        finally:
            if held:
                room.give_back(held)

    async def check() -> None:
        room = Room(100, wait_s=60)
        tasks = [asyncio.ensure_future(live(room, sizes, turns)) for sizes, turns, _ in lives]
        for turn in range(7):
            for task, (_, _, cancelled) in zip(tasks, lives, strict=True):
                if cancelled == turn + 1:
                    task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert room.held == 0 and room.try_take(100)

    run(check())
