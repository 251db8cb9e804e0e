"""
A real KServe predictor: a scikit-learn classifier of the Shuttle data behind kserve's ModelServer, v1 and v2.

Trained at start, which takes a second, so there is no pickle to trust. `python -m localsystem.predictor --model_name
shuttle --http_port N`, with all other arguments of KServe's own parser.
"""

from __future__ import annotations

import logging
import sys
import uuid
from typing import Any

import numpy as np
import orjson
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput
from kserve.model_server import args
from sklearn.tree import DecisionTreeClassifier

from localsystem.dataset import LABEL, SPLIT_SEED, load_shuttle, split
from tidegauge.features import Matrix

VERSION = "1"


class ShuttleModel(Model):  # type: ignore[misc]
    """v1: rows of 9 numbers -> 0 or 1 per row. v2: one tensor (n, 9) -> INT64 tensor (n,), and the model's version."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._classifier: Any = None

    def load(self) -> bool:
        data, _ = split(load_shuttle())
        self._classifier = DecisionTreeClassifier(max_depth=12, random_state=SPLIT_SEED).fit(data.rows, data.anomaly)
        self.ready = True
        return True

    async def predict(
        self,
        payload: dict[str, Any] | bytes | InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | InferResponse:
        if isinstance(payload, InferRequest):
            return self._tensor_answer(payload)
        return {"predictions": self._classes(_instances(payload))}

    def _tensor_answer(self, request: InferRequest) -> InferResponse:
        classes = self._classes(request.inputs[0].as_numpy())
        output = InferOutput(LABEL, shape=[len(classes)], datatype="INT64", data=classes)
        return InferResponse(request.id or str(uuid.uuid4()), self.name, [output], model_version=VERSION)

    def _classes(self, rows: object) -> list[int]:
        try:
            matrix: Matrix = np.asarray(rows, dtype=np.float64)
            classes: list[int] = self._classifier.predict(matrix).astype(int).tolist()
        except (ValueError, TypeError) as error:
            raise InvalidInput(f"expected rows of 9 numbers: {error}") from error
        return classes


def _instances(payload: object) -> object:
    """Raises InvalidInput."""
    if isinstance(payload, bytes):  # KServe hands these over where the content type is not JSON, as with a bare curl -d
        try:
            payload = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"the body is not JSON: {error}") from error
    if not isinstance(payload, dict) or "instances" not in payload:
        raise InvalidInput('expected a JSON object {"instances": rows}')
    return payload["instances"]


def main() -> None:
    model = ShuttleModel(args.model_name)
    model.load()
    # gRPC wants a second port, so only when one is given; a log line per request would cost more than the prediction.
    grpc = any(argument.split("=")[0] == "--grpc_port" for argument in sys.argv)
    server = ModelServer(
        http_port=args.http_port, enable_grpc=grpc, grpc_port=args.grpc_port, enable_latency_logging=False
    )
    for name in ("uvicorn.access", "kserve", "kserve.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
    server.start([model])


if __name__ == "__main__":
    main()
