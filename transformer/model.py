"""The KServe SDK's own application, for what is asked about the server and the model."""

from __future__ import annotations

import logging
from typing import Any

from kserve import Model, ModelRepository
from kserve.context import set_predictor_config
from kserve.model_server import app
from kserve.predictor_config import PredictorConfig
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer

from transformer.settings import Settings


def sdk_application(settings: Settings) -> Any:
    """
    ASGI: health, readiness, metadata, /metrics. Once per process: the SDK has one application, made at its import.
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
    model = Model(settings.model_name)
    model.ready = True
    repository = ModelRepository()
    repository.update(model)
    extension = ModelRepositoryExtension(model_registry=repository)
    RESTServer("kserve.model_server:app", DataPlane(repository), extension, settings.http_port).create_application()
    return app
