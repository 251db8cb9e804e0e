"""gRPC through the proxy against the same call to the predictor; with everything real but Kafka."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from grpc import aio

from tidegauge.baseline import BaselineProfile
from tidegauge.capture_spec import Capture
from tidegauge.records import Heartbeat, InferenceRecord, decode
from tidegauge.scoring.scorer import Scorer
from transformer.capture import EventClock, Ledger
from transformer.captured import rules
from transformer.enrich import Identity
from transformer.grpc_proxy import MODEL_INFER, GrpcServer, serve_grpc
from transformer.metrics import Metrics
from transformer.monitoring import Monitoring
from transformer.recorder import Recorder
from transformer.room import Room
from transformer.scoring import BatchScorer

IDENTITY = Identity(
    monitor="sums", model="sums", version="7", namespace="tests", replica="pod", incarnation="i1", baseline="b" * 64
)
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
READY = "/inference.GRPCInferenceService/ModelReady"

Behaviour = Callable[[bytes, Any], Awaitable[bytes]]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


@dataclass
class Kept:
    """Takes messages as Kafka would."""

    records: list[InferenceRecord] = field(default_factory=list)

    def publish(self, key: str, record: bytes) -> None:
        decoded = decode(record)
        assert isinstance(decoded, InferenceRecord) and decoded.id == key
        self.records.append(decoded)

    def publish_outlier(self, key: str, record: bytes) -> None:
        pass

    def publish_heartbeat(self, key: str, heartbeat: bytes) -> None:
        assert isinstance(decode(heartbeat), Heartbeat)

    def poll(self) -> None:
        pass

    async def flush(self, timeout_s: float) -> int:
        return 0

    async def give_up(self) -> None:
        pass

    async def close(self) -> None:
        pass


@dataclass
class Predictor(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Does what the test says; keeps what it was asked. Streams are sent back as they came."""

    behaviour: Behaviour
    asked: list[tuple[bytes, tuple[tuple[str, str | bytes], ...], float | None]] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def service(self, details: Any) -> Any:
        if details.method in (MODEL_INFER, READY):
            return grpc.unary_unary_rpc_method_handler(self._unary)
        if details.method == STREAM:
            return grpc.stream_stream_rpc_method_handler(self._stream)
        return None

    async def _unary(self, body: bytes, context: Any) -> bytes:
        metadata = tuple((key, value) for key, value in context.invocation_metadata() if key != "user-agent")
        self.asked.append((body, metadata, context.time_remaining()))
        try:
            return await self.behaviour(body, context)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def _stream(self, messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await context.send_initial_metadata((("started", "1"),))
        async for message in messages:
            if message == b"fail":
                await context.abort(grpc.StatusCode.DATA_LOSS, "lost", (("where", "here"),))
            yield message


@dataclass
class System:
    direct: aio.Channel
    through: aio.Channel
    predictor: Predictor
    kept: Kept
    ledger: Ledger
    proxy: GrpcServer
    port: int


@asynccontextmanager
async def system(
    profile: BaselineProfile, behaviour: Behaviour, free_port: Callable[[], int], **options: Any
) -> AsyncIterator[System]:
    predictor = Predictor(behaviour)
    server = aio.server()
    server.add_generic_rpc_handlers((predictor,))
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    monitoring, kept, ledger = monitored(profile, options.pop("policy", "annotate"))
    port = free_port()
    limits: dict[str, Any] = {
        "timeout_s": 20.0,
        "max_request_bytes": 1 << 20,
        "max_answer_bytes": 1 << 20,
        "max_calls": 100,
    }
    limits["room"] = Room(options.pop("room_bytes", 1 << 20), wait_s=5)
    proxy = await serve_grpc(
        port=port, predictor=options.pop("predictor", target), model="sums", monitoring=monitoring, **limits | options
    )
    async with aio.insecure_channel(target) as direct, aio.insecure_channel(f"127.0.0.1:{port}") as through:
        yield System(direct, through, predictor, kept, ledger, proxy, port)
    await proxy.close(5)
    await monitoring.recorder.close(1)
    await server.stop(0)


def monitored(profile: BaselineProfile, policy: str) -> tuple[Monitoring, Kept, Ledger]:
    kept, ledger = Kept(), Ledger(EventClock().now_ms())
    metrics = Metrics(ledger.account, lambda: 0)
    recorder = Recorder(
        identity=IDENTITY,
        captured=rules(Capture(), profile),
        clock=EventClock(),
        ledger=ledger,
        destination=kept,
        metrics=metrics,
    )
    scorer = BatchScorer(Scorer(profile), profile.schema, asyncio.get_running_loop().call_soon, budget_s=60.0)
    return Monitoring(recorder, scorer, metrics, b"b" * 12, policy), kept, ledger


@dataclass
class Answer:
    code: grpc.StatusCode
    details: str
    initial: tuple[tuple[str, str | bytes], ...]
    trailing: tuple[tuple[str, str | bytes], ...]
    body: bytes

    @property
    def ours(self) -> dict[str, str | bytes]:
        return {key: value for key, value in self.trailing if key.startswith("x-outlier") or key == "x-request-id"}

    @property
    def theirs(self) -> Answer:
        kept = tuple((key, value) for key, value in self.trailing if key not in self.ours)
        return Answer(self.code, self.details, self.initial, kept, self.body)


async def ask(channel: aio.Channel, body: bytes, *metadata: tuple[str, Any], method: str = MODEL_INFER) -> Answer:
    call = channel.unary_unary(method)(body, metadata=metadata, timeout=20)
    code = await call.code()
    return Answer(
        code,
        await call.details(),
        tuple(await call.initial_metadata()),
        tuple(await call.trailing_metadata()),
        await call if code is grpc.StatusCode.OK else b"",
    )


def request(pb: Any, *values: float, model: str = "sums", raw: bool = True) -> bytes:
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[len(values) // 3, 3])
    if not raw:
        tensor.contents.fp32_contents.extend(values)
    data = [struct.pack(f"<{len(values)}f", *values)] if raw else []
    message = pb.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=data)
    return bytes(message.SerializeToString())


def answering(pb: Any) -> Behaviour:
    output = pb.ModelInferResponse.InferOutputTensor(name="y", datatype="INT64", shape=[2])
    output.contents.int64_contents.extend((4, 5))
    said = pb.ModelInferResponse(model_name="sums", model_version="9", outputs=[output]).SerializeToString()

    async def behaviour(_body: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("served-by", "p"), ("blob-bin", b"\x00\xff")))
        context.set_trailing_metadata((("cost", "3"), ("more-bin", b"\x01")))
        return bytes(said)

    return behaviour


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "contents"])
def test_bytes_metadata_and_status_are_the_predictors_own_and_rows_are_scored(
    pb: Any, profile: BaselineProfile, free_port: Callable[[], int], raw: bool
) -> None:
    body = request(pb, 0.1, 0.2, 0.3, 9.0, -9.0, 9.0, raw=raw)
    sent = (("x-request-id", "r1"), ("traceparent", "00-a"), ("authorization", "Bearer x"), ("k-bin", b"\xff"))

    async def check() -> None:
        async with system(profile, answering(pb), free_port) as s:
            direct, through = await ask(s.direct, body, *sent), await ask(s.through, body, *sent)
            assert through.theirs == direct
            assert s.predictor.asked[1][:2] == s.predictor.asked[0][:2]
            assert (through.ours["x-outlier"], through.ours["x-request-id"]) == ("0,1", "r1")
            assert set(through.ours) >= {"x-outlier-p-value", "x-outlier-top", "x-outlier-score-combined"}
            await recorded(s, 1)
            record = s.kept.records[0]
            assert (record.id, record.protocol, record.status, record.version) == ("r1", "grpc", 200, "9")
            assert (record.rows, record.predictions, record.outlier) == (2, [4, 5], [False, True])
            assert record.traceparent == "00-a" and not record.issues
            assert record.latency_ms >= record.upstream_ms > 0

    run(check())


async def recorded(s: System, number: int) -> None:
    while len(s.kept.records) < number:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 400),
        (grpc.StatusCode.NOT_FOUND, 404),
        (grpc.StatusCode.UNAVAILABLE, 503),
        (grpc.StatusCode.DATA_LOSS, 500),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
    ],
)
def test_errors_keep_code_details_and_metadata(
    pb: Any, profile: BaselineProfile, free_port: Callable[[], int], code: grpc.StatusCode, status: int
) -> None:
    async def behaviour(_body: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("i", "1"),))
        await context.abort(code, "käse: no", (("t", "2"), ("grpc-status-details-bin", b"\x08\x05")))
        return b""

    async def check() -> None:
        async with system(profile, behaviour, free_port) as s:
            body = request(pb, 0.1, 0.2, 0.3)
            direct, through = await ask(s.direct, body), await ask(s.through, body)
            assert through.theirs == direct
            assert direct.code is code and through.ours["x-outlier"] == "0"
            await recorded(s, 1)
            assert (s.kept.records[0].status, s.kept.records[0].predictions) == (status, None)

    run(check())


def test_what_is_no_request_of_the_model_is_forwarded_and_not_recorded(
    pb: Any, profile: BaselineProfile, free_port: Callable[[], int]
) -> None:
    async def echo(body: bytes, _context: Any) -> bytes:
        return body

    async def check() -> None:
        async with system(profile, echo, free_port) as s:
            for body in (request(pb, 1, 2, 3, model="other"), b"\xff\xff\xff", b"", b"\x0a\x05su"):
                assert await ask(s.through, body) == await ask(s.direct, body)
            assert await ask(s.through, b"\xff", method=READY) == await ask(s.direct, b"\xff", method=READY)
            nowhere = "/inference.GRPCInferenceService/Nope"
            assert await ask(s.through, b"", method=nowhere) == await ask(s.direct, b"", method=nowhere)
            assert s.ledger.seq == 0

    run(check())


def test_a_message_of_the_model_that_cannot_be_read_is_forwarded_and_recorded(
    pb: Any, profile: BaselineProfile, free_port: Callable[[], int]
) -> None:
    async def echo(body: bytes, _context: Any) -> bytes:
        return body

    short = request(pb, 1, 2, 3)[:-1]
    wrong = pb.ModelInferRequest.FromString(request(pb, 1, 2, 3))
    wrong.raw_input_contents[0] = b"1234567"

    async def check() -> None:
        async with system(profile, echo, free_port) as s:
            for number, body in enumerate((short, wrong.SerializeToString()), 1):
                answer = await ask(s.through, body)
                assert (answer.code, answer.body) == (grpc.StatusCode.OK, body)
                assert answer.ours["x-outlier"] == "unknown"
                await recorded(s, number)
            first, second = s.kept.records
            assert first.issues == {"not_protobuf": 1, "answer_not_protobuf": 1}
            assert second.issues["binary_tensor"] == 1

    run(check())


def test_streams_pass_message_by_message_with_metadata_and_status(
    profile: BaselineProfile, free_port: Callable[[], int]
) -> None:
    async def converse(channel: aio.Channel, *messages: bytes) -> Any:
        call = channel.stream_stream(STREAM)(timeout=20)
        answers = []
        for message in messages:
            await call.write(message)
            answers.append(await call.read() if message != b"fail" else None)
        await call.done_writing()
        code = await call.code()
        return answers, await call.initial_metadata(), code, await call.details(), await call.trailing_metadata()

    async def check() -> None:
        async with system(profile, never, free_port) as s:
            for messages in ((b"a", b"", b"c" * 100_000), (b"a", b"fail"), ()):
                assert await converse(s.through, *messages) == await converse(s.direct, *messages)

    run(check())


async def never(_body: bytes, _context: Any) -> bytes:
    await asyncio.Event().wait()
    return b""


def test_a_cancelled_call_is_cancelled_at_the_predictor_and_accounted_for(
    pb: Any, profile: BaselineProfile, free_port: Callable[[], int]
) -> None:
    async def check() -> None:
        async with system(profile, never, free_port, timeout_s=100.0) as s:
            call = s.through.unary_unary(MODEL_INFER)(request(pb, 1, 2, 3))
            while not s.predictor.asked:
                await asyncio.sleep(0.005)
            call.cancel()
            await s.predictor.cancelled.wait()
            while s.ledger.account().in_flight:
                await asyncio.sleep(0.005)
            assert s.ledger.account().dropped == {"cancelled": 1}

    run(check())


def test_the_clients_deadline_is_the_predictors(
    pb: Any, profile: BaselineProfile, free_port: Callable[[], int]
) -> None:
    async def check() -> None:
        async with system(profile, answering(pb), free_port) as s:
            await s.through.unary_unary(MODEL_INFER)(request(pb, 1, 2, 3), timeout=7)
            await s.through.unary_unary(MODEL_INFER)(request(pb, 1, 2, 3), timeout=70)
            await s.through.unary_unary(MODEL_INFER)(request(pb, 1, 2, 3))
            first, second, third = (asked[2] for asked in s.predictor.asked)
            assert first is not None and 0 < first <= 7.5
            assert second is not None and 7.5 < second <= 21
            assert third is not None and 7.5 < third <= 21  # as gRPC rounds it

    run(check())


def test_a_predictor_that_is_slow_or_down_is_said_so_without_its_address(
    pb: Any, profile: BaselineProfile, free_port: Callable[[], int]
) -> None:
    body = request(pb, 0.1, 0.2, 0.3)

    async def check() -> None:
        async with system(profile, never, free_port, timeout_s=0.2) as s:
            slow = await ask(s.through, body)
            assert (slow.code, slow.details) == (
                grpc.StatusCode.DEADLINE_EXCEEDED,
                "the predictor did not answer in time",
            )
            assert slow.ours["x-outlier"] == "0", "scored all the same"
            assert (await ask(s.through, body, method=READY)).details == slow.details
            await recorded(s, 1)
            assert s.kept.records[0].status == 504
        async with system(profile, never, free_port, predictor=f"127.0.0.1:{free_port()}") as s:
            down = await ask(s.through, body)
            assert (down.code, down.details) == (grpc.StatusCode.UNAVAILABLE, "the predictor cannot be reached")
            assert down.ours["x-outlier"] == "0"
            assert (await ask(s.through, body, method=READY)).details == down.details
            await recorded(s, 1)
            assert s.kept.records[0].status == 503

    run(check())


def test_too_long_messages_and_too_many_calls_are_refused(
    pb: Any, profile: BaselineProfile, free_port: Callable[[], int]
) -> None:
    async def check() -> None:
        async with system(profile, never, free_port, max_request_bytes=1000, max_calls=2) as s:
            too_long = await ask(s.through, request(pb, *([1.0] * 300)))
            assert too_long.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            calls = [s.through.unary_unary(MODEL_INFER)(request(pb, 1, 2, 3)) for _ in range(2)]
            while len(s.predictor.asked) < 2:
                await asyncio.sleep(0.005)
            assert (await ask(s.through, request(pb, 1, 2, 3))).code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert len(s.predictor.asked) == 2
            for call in calls:
                call.cancel()
        async with system(profile, never, free_port, room_bytes=200_000) as s:
            long = request(pb, *([1.0] * 30_000))
            under_way = s.through.unary_unary(MODEL_INFER)(long)
            while not s.predictor.asked:
                await asyncio.sleep(0.005)
            refused = await ask(s.through, long)
            assert (refused.code, refused.details) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "too many long requests at once",
            )
            under_way.cancel()
        async with system(profile, answering(pb), free_port, max_answer_bytes=10) as s:
            assert (await ask(s.through, request(pb, 1, 2, 3))).code is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(check())


def test_policies_hold_for_grpc_too(pb: Any, profile: BaselineProfile, free_port: Callable[[], int]) -> None:
    usual, odd = request(pb, 0.1, 0.2, 0.3), request(pb, 9, -9, 9)

    async def check() -> None:
        async with system(profile, answering(pb), free_port, policy="reject") as s:
            assert (await ask(s.through, usual)).code is grpc.StatusCode.OK
            rejected = await ask(s.through, odd)
            assert rejected.code is grpc.StatusCode.INVALID_ARGUMENT
            assert rejected.details.startswith("rejected: 1 of 1 rows") and rejected.ours["x-outlier"] == "1"
            await recorded(s, 2)
            record = s.kept.records[1]
            assert (record.status, record.rejected, record.predictions, record.version) == (422, True, None, "9")
        async with system(profile, answering(pb), free_port, policy="shadow") as s:
            assert set((await ask(s.through, odd)).ours) == {"x-request-id"}

    run(check())


def test_calls_under_way_are_answered_when_it_is_asked_to_stop(
    pb: Any, profile: BaselineProfile, free_port: Callable[[], int]
) -> None:
    go_on = asyncio.Event()
    answer = answering(pb)

    async def behaviour(body: bytes, context: Any) -> bytes:
        await go_on.wait()
        return await answer(body, context)

    async def check() -> None:
        async with system(profile, behaviour, free_port) as s:
            under_way = asyncio.ensure_future(ask(s.through, request(pb, 1, 2, 3)))
            while not s.predictor.asked:
                await asyncio.sleep(0.005)
            s.proxy.drain(20)
            while await accepts(s.port):
                await asyncio.sleep(0.005)
            go_on.set()
            assert (await under_way).code is grpc.StatusCode.OK

    run(check())


async def accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def test_fields_are_numbered_as_in_kserves_own_messages(pb: Any) -> None:
    from transformer.open_inference import _FIELDS

    theirs = {
        "Contents": pb.InferTensorContents,
        "Tensor": pb.ModelInferRequest.InferInputTensor,
        "Request": pb.ModelInferRequest,
        "Response": pb.ModelInferResponse,
    }
    for message, fields in _FIELDS.items():
        numbers = {name: descriptor.number for name, descriptor in theirs[message].DESCRIPTOR.fields_by_name.items()}
        assert {name: numbers[name] for name in fields} == {name: number for name, (number, _) in fields.items()}
