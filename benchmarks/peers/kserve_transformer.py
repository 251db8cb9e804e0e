"""
KServe's stock transformer: a Model without code of its own, which sends requests on to a predictor.

`python -m benchmarks.peers.kserve_transformer --model_name NAME --predictor_host HOST:PORT --http_port N`
"""

from __future__ import annotations

import argparse
import logging

from kserve import Model, ModelServer, PredictorConfig, model_server


def main() -> None:
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    arguments, _ = parser.parse_known_args()
    model = Model(arguments.model_name, PredictorConfig(arguments.predictor_host, predictor_protocol="v1"))
    model.ready = True
    server = ModelServer(http_port=arguments.http_port, enable_grpc=False, enable_latency_logging=False)
    for name in ("uvicorn.access", "kserve.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
    server.start([model])


if __name__ == "__main__":
    main()
