"""
A user's own transformer that does what the request's header x-do says; run as a program, KServe's SDK serves it, as
without Tidegauge.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from typing import Any

from fastapi import HTTPException
from kserve import InferInput, InferRequest, Model, ModelServer, model_server
from kserve.errors import InvalidInput


class Obedient(Model):  # type: ignore[misc]
    """Doubles what goes to the predictor."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = True

    async def preprocess(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        self._obey((headers or {}).get("x-do"))
        if isinstance(payload, InferRequest):
            tensor = payload.inputs[0]
            doubled = (tensor.as_numpy() * 2).tolist()
            return InferRequest(self.name, [InferInput(tensor.name, tensor.shape, "FP64", doubled)], payload.id)
        return {"instances": [[2 * value for value in row] for row in payload["instances"]]}

    def _obey(self, order: str | None) -> None:
        match order:
            case "refuse":
                raise InvalidInput("not with me")
            case "teapot":
                raise HTTPException(418, "short and stout")
            case "fail":
                raise KeyError("mine")

    async def predict(self, payload: Any, headers: dict[str, str] | None = None, _: Any = None) -> Any:
        order = (headers or {}).get("x-do")
        if order == "answer by yourself":
            return {"predictions": [-1]}
        if order == "stream":
            return pieces()
        result = await super().predict(payload, headers)
        if order == "ask twice":
            result = await super().predict(payload, headers)
        return result

    def postprocess(self, result: Any, headers: dict[str, str] | None = None, _: Any = None) -> Any:
        if isinstance(result, dict):
            return {"labels": [f"class {value}" for value in result["predictions"]]}
        return result


async def pieces() -> AsyncIterator[bytes]:
    """6 MB, more than may wait for a client."""
    for number in range(10):
        yield bytes([48 + number]) * 600_000


class Nameless(Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__("x")


class Renamed(Model):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        super().__init__(name + "-2")


class NeverReady(Model):  # type: ignore[misc]
    def load(self) -> bool:
        return False


class NoModel:
    pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    args, _ = parser.parse_known_args()
    ModelServer(enable_grpc=False).start([Obedient(args.model_name)])
