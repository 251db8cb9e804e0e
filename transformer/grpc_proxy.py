"""
gRPC calls forwarded to the predictor as bytes; those of ModelInfer scored meanwhile and recorded afterwards.

No message is decoded on its way. Status codes, their details, initial and trailing metadata, deadlines and cancellation
pass both ways; the headers that wire.py describes are added to the trailing metadata, which errors have too.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable
from functools import partial
from pathlib import Path
from typing import Final

import grpc
from grpc import aio

from transformer.answering import is_rejected, own_headers
from transformer.bodies import FREE_BYTES
from transformer.monitoring import Monitoring
from transformer.open_inference import model_name
from transformer.parse import ANSWER_BYTES
from transformer.room import NoRoom, Room
from transformer.served import ServedRequest
from transformer.wire import Headers, rejection

MODEL_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"

METADATA_BYTES: Final = 64 << 10
"""gRPC's own default refuses some calls above 8 KiB; what predictor and client agree upon is not ours to judge."""

_STREAMS: Final = re.compile("Stream|Watch|ReflectionInfo")
"""
In names of methods: ModelStreamInfer, Health/Watch, ServerReflectionInfo. A single message could be forwarded as a
stream too, but the library may lose the status of a stream that ends before it was read.
"""

_NOTED: Final = frozenset((b"ce-id", b"traceparent", b"x-request-id"))

_HTTP_STATUS: Final = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}
"""For records, as google/rpc/code.proto maps them; all others are 500."""

_OURS: Final = {
    grpc.StatusCode.UNAVAILABLE: "the predictor cannot be reached",
    grpc.StatusCode.DEADLINE_EXCEEDED: "the predictor did not answer in time",
}
_NAMES_ADDRESS: Final = re.compile(r"ipv[46]:|DNS resolution failed|failed to connect to all addresses")

Metadata = tuple[tuple[str, str | bytes], ...]


class GrpcProxy(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """
    model: the name in the messages that are monitored. timeout_s: of calls, where a client's own deadline is not
    earlier. monitoring: None when the monitor is suspended. room: shared with the bodies of REST requests.
    """

    def __init__(
        self, channel: aio.Channel, *, model: str, monitoring: Monitoring | None, room: Room, timeout_s: float
    ) -> None:
        self._channel, self._model, self._monitoring, self._timeout_s = channel, model, monitoring, timeout_s
        self._room = room
        self._infer_at_predictor = channel.unary_unary(MODEL_INFER)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = handler_call_details.method
        if method == MODEL_INFER:
            return grpc.unary_unary_rpc_method_handler(self._infer)
        if _STREAMS.search(method):
            return grpc.stream_stream_rpc_method_handler(partial(self._stream, method))
        return grpc.unary_unary_rpc_method_handler(partial(self._single, method))

    async def _infer(self, body: bytes, context: aio.ServicerContext) -> bytes:
        if len(body) <= FREE_BYTES:
            return await self._admitted(body, context)
        if not self._room.try_take(len(body)):  # it is here already: to let it wait would free nothing
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(NoRoom()))
        try:
            return await self._admitted(body, context)
        finally:
            self._room.give_back(len(body))

    async def _admitted(self, body: bytes, context: aio.ServicerContext) -> bytes:
        metadata = _passed_on(context)
        monitoring = self._monitoring
        if monitoring is None or model_name(body) != self._model:
            call = self._infer_at_predictor(body, timeout=self._timeout(context), metadata=metadata)
            return await _give(context, *await _outcome(call))
        request = monitoring.recorder.arrived("grpc", body, _noted(metadata, monitoring.recorder.captured.noted))
        try:
            call = self._infer_at_predictor(body, timeout=self._timeout(context), metadata=metadata)
            monitoring.scorer.submit(request)
            outcome = await _judged(request, monitoring, call)
        except asyncio.CancelledError:
            monitoring.recorder.abandoned(request, "cancelled")
            raise
        except Exception:
            monitoring.recorder.abandoned(request, "internal_error")
            raise
        # Once this returns the answer is written; what is left of scoring and the record come after it.
        asyncio.get_running_loop().call_soon(monitoring.scorer.finish, request, monitoring.recorder.answered)
        return await _give(context, *outcome)

    async def _single(self, method: str, body: bytes, context: aio.ServicerContext) -> bytes:
        call = self._channel.unary_unary(method)(body, timeout=self._timeout(context), metadata=_passed_on(context))
        return await _give(context, *await _outcome(call))

    async def _stream(self, method: str, messages: AsyncIterator[bytes], context: aio.ServicerContext) -> None:
        call = self._channel.stream_stream(method)(
            messages, timeout=self._timeout(context), metadata=_passed_on(context)
        )
        try:
            if initial := await call.initial_metadata():
                await context.send_initial_metadata(tuple(initial))
            async for message in call:
                await context.write(message)
        except aio.AioRpcError:
            pass  # the call's status says the same, and is passed on
        finally:
            call.cancel()
        await _give_status(context, await call.code(), await _details(call), tuple(await call.trailing_metadata()))

    def _timeout(self, context: aio.ServicerContext) -> float:
        left: float | None = context.time_remaining()
        return self._timeout_s if left is None else min(left, self._timeout_s)


class GrpcServer:
    """A proxy that serves on a port of its own."""

    def __init__(self, server: aio.Server, channel: aio.Channel) -> None:
        self._server, self._channel = server, channel
        self._draining: asyncio.Task[None] | None = None

    def drain(self, grace_s: float) -> None:
        """Takes no new calls from now on; those under way have grace_s to end."""
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._server.stop(grace_s))

    async def close(self, grace_s: float) -> None:
        self.drain(grace_s)
        assert self._draining is not None
        await self._draining
        await self._channel.close()


async def serve_grpc(
    *,
    port: int,
    predictor: str,
    model: str,
    monitoring: Monitoring | None,
    room: Room,
    timeout_s: float,
    max_request_bytes: int,
    max_answer_bytes: int,
    max_calls: int,
    predictor_tls: bool = False,
    certificate: tuple[str, str] | None = None,
) -> GrpcServer:
    """
    In the running event loop. predictor: HOST:PORT. max_request_bytes, max_answer_bytes: of one message. max_calls: at
    one time; more are answered RESOURCE_EXHAUSTED. certificate: files of a certificate and its key, to serve with TLS.
    """
    limits = [
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", 2 * METADATA_BYTES),
    ]
    to_predictor = [
        *limits,
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", max_answer_bytes),
        ("grpc.lb_policy_name", "round_robin"),  # a headless service has an address a pod
    ]
    credentials = grpc.ssl_channel_credentials() if predictor_tls else None
    channel = (
        aio.secure_channel(predictor, credentials, options=to_predictor)
        if credentials is not None
        else aio.insecure_channel(predictor, options=to_predictor)
    )
    from_clients = [
        *limits,
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", max_request_bytes),
        ("grpc.so_reuseport", 1),
    ]
    server = aio.server(options=from_clients, maximum_concurrent_rpcs=max_calls)
    proxy = GrpcProxy(channel, model=model, monitoring=monitoring, room=room, timeout_s=timeout_s)
    server.add_generic_rpc_handlers((proxy,))
    address = f"0.0.0.0:{port}"
    if certificate is None:
        server.add_insecure_port(address)
    else:
        chain, key = (Path(file).read_bytes() for file in certificate)
        server.add_secure_port(address, grpc.ssl_server_credentials([(key, chain)]))
    await server.start()
    return GrpcServer(server, channel)


Outcome = tuple[grpc.StatusCode, str, Metadata, Metadata, bytes]
"""Status code, details, initial metadata, trailing metadata, message."""


async def _outcome(call: aio.UnaryUnaryCall) -> Outcome:
    try:
        code = await call.code()
    finally:
        call.cancel()  # where the client is gone; a call that has ended does not mind
    body = await call if code is grpc.StatusCode.OK else b""
    initial, trailing = await call.initial_metadata(), await call.trailing_metadata()
    return code, await _details(call), tuple(initial or ()), tuple(trailing or ()), body


async def _judged(request: ServedRequest, monitoring: Monitoring, call: aio.UnaryUnaryCall) -> Outcome:
    """What the client gets, with what was found of its request; notes the same for the record."""
    sent = time.perf_counter()
    code, details, initial, trailing, body = await _outcome(call)
    request.upstream_s = time.perf_counter() - sent
    request.answer = body if len(body) <= ANSWER_BYTES else None
    request.status = _HTTP_STATUS.get(code, 500)
    if is_rejected(request, monitoring):
        request.status, request.rejected = 422, True
        code, details, initial, trailing, body = grpc.StatusCode.INVALID_ARGUMENT, rejection(request), (), (), b""
    own = own_headers(request, monitoring, named=any(name == "x-request-id" for name, _ in initial + trailing))
    request.latency_s = time.perf_counter() - request.started
    return code, details, initial, trailing + _as_metadata(own), body


async def _give(
    context: aio.ServicerContext,
    code: grpc.StatusCode,
    details: str,
    initial: Metadata,
    trailing: Metadata,
    body: bytes,
) -> bytes:
    if initial:
        await context.send_initial_metadata(initial)
    await _give_status(context, code, details, trailing)
    return body


async def _give_status(context: aio.ServicerContext, code: grpc.StatusCode, details: str, trailing: Metadata) -> None:
    if code is not grpc.StatusCode.OK:
        await context.abort(code, details, trailing)
    context.set_trailing_metadata(trailing)
    context.set_details(details)


async def _details(call: aio.Call) -> str:
    """Those of the predictor; where there was none to say any, ours, which name no address."""
    details = await call.details() or ""
    code = await call.code()
    if code in _OURS and (details == "Deadline Exceeded" or _NAMES_ADDRESS.search(details)):
        return _OURS[code]
    return details


def _passed_on(context: aio.ServicerContext) -> Metadata:
    # The library names itself, whatever it is told.
    return tuple((key, value) for key, value in context.invocation_metadata() or () if key != "user-agent")


def _noted(metadata: Metadata, asked: frozenset[bytes]) -> dict[bytes, bytes]:
    text = {key.encode(): value.encode() for key, value in metadata if isinstance(value, str)}
    return {name: value for name, value in text.items() if name in _NOTED or name in asked}


def _as_headers(metadata: Metadata) -> Headers:
    return [(key.encode(), b"") for key, _ in metadata]


def _as_metadata(headers: Iterable[tuple[bytes, bytes]]) -> Metadata:
    return tuple((name.decode(), value.decode("latin-1")) for name, value in headers)
