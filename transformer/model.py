"""The KServe SDK's own application: what is asked about server and model, and what runs a wrapped transformer."""

from __future__ import annotations

import logging
import os
from contextvars import Context, copy_context
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import httpx
from kserve import Model, ModelRepository
from kserve.context import set_predictor_config
from kserve.errors import generic_exception_handler
from kserve.inference_client import InferenceRESTClient, RESTConfig
from kserve.model_server import app
from kserve.predictor_config import PredictorConfig
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from kserve.utils.inference_client_factory import InferenceClientFactory
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from transformer.arguments import InvalidSettings
from transformer.predictor_calls import PREDICTOR, PredictorTransport
from transformer.settings import Settings
from transformer.wire import answer_head
from transformer.wrapping import load_class, one_line

_OF_THE_BODY: Final = (b"content-length", b"content-encoding")  # httpx unpacks what it reads


@cache
def wrapped_model(name: str, model_name: str) -> Any:
    """
    The user's transformer, --wrap, made and ready. Once per process, since loading may take long. Raises
    InvalidSettings.
    """
    user_class = load_class(name)
    if not issubclass(user_class, Model):
        raise InvalidSettings(f"--wrap {name}: {user_class.__name__} is no subclass of kserve.Model")
    try:
        model = user_class(model_name)
        if not model.ready:
            model.load()
    except (Exception, SystemExit) as error:
        raise InvalidSettings(
            f"--wrap {name}: {user_class.__name__}({model_name!r}) failed, which is how it is made, with the model's "
            f"name alone: {one_line(error)}"
        ) from error
    if not model.ready:
        raise InvalidSettings(f"--wrap {name}: it is not ready after load(): set self.ready = True there")
    if model.name != model_name:
        raise InvalidSettings(f"--wrap {name}: it calls itself {model.name!r}: hand the name it is given to super()")
    model.start()
    return model


def sdk_application(settings: Settings) -> tuple[Any, Context]:
    """
    ASGI: health, readiness, metadata, /metrics, and with --wrap predict and infer. Once per process: the SDK has one
    application, made at its import. With it the context in which it knows its predictor.
    """
    # Set here and not left to kserve.ModelServer, which sets it in the parent process only.
    set_predictor_config(
        PredictorConfig(
            predictor_host=settings.predictor_authority,
            predictor_protocol=settings.predictor_protocol,
            predictor_use_ssl=settings.predictor_tls,
            predictor_request_timeout_seconds=round(settings.predictor_timeout_s),
            predictor_health_check=settings.predictor_health_check,
        )
    )
    # The SDK logs a line for each request it answers: probes come every few seconds.
    logging.getLogger("kserve").setLevel(logging.WARNING)
    logging.getLogger("kserve.trace").setLevel(logging.WARNING)
    repository = ModelRepository()
    repository.update(_model(settings))
    extension = ModelRepositoryExtension(model_registry=repository)
    RESTServer("kserve.model_server:app", DataPlane(repository), extension, settings.http_port).create_application()
    return app, copy_context()


def _model(settings: Settings) -> Any:
    if settings.wrap is None:
        model = Model(settings.model_name)
        model.ready = True
        return model
    _reach_predictor_through_us(settings)
    app.add_exception_handler(httpx.HTTPError, _predictor_failed)
    return wrapped_model(settings.wrap, settings.model_name)


def _reach_predictor_through_us(settings: Settings) -> None:
    """The SDK's client, on our transport; it asks the factory for one, which keeps the first it made."""
    verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    config = RESTConfig(
        transport=PredictorTransport(verify),
        protocol=settings.predictor_protocol,
        timeout=settings.predictor_timeout_s,
        retries=0,
    )
    factory = InferenceClientFactory()
    factory._rest_v1_client = factory._rest_v2_client = InferenceRESTClient(config)


async def _predictor_failed(request: Request, error: Exception) -> Response:
    """The SDK would make a 500 of each, and name the predictor's address in it. error: httpx.HTTPError."""
    assert isinstance(error, httpx.HTTPError)
    try:
        from_predictor = PREDICTOR in error.request.extensions
    except RuntimeError:  # an error without a request
        from_predictor = False
    if not from_predictor:
        answer: Response = await generic_exception_handler(request, error)
        return answer
    if isinstance(error, httpx.HTTPStatusError):
        answer = Response(error.response.content, error.response.status_code)
        head = answer_head(error.response.headers.raw, status=error.response.status_code)
        own = [(name, value) for name, value in head.headers if name not in _OF_THE_BODY]
        answer.raw_headers = [*own, (b"content-length", str(len(error.response.content)).encode())]
        return answer
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        status, text = HTTPStatus.SERVICE_UNAVAILABLE, "the predictor cannot be reached"
    elif isinstance(error, httpx.TimeoutException):
        status, text = HTTPStatus.GATEWAY_TIMEOUT, "the predictor did not answer in time"
    else:
        status, text = HTTPStatus.BAD_GATEWAY, "the predictor's answer ended before it was whole"
    return JSONResponse({"error": text}, status)
