"""
Drives the transformer's v1 endpoint, for example the demo's:

    tidegauge demo --transformer-port 8080
    locust -f loadtest/locustfile.py --headless --users 8 --run-time 30s --host http://127.0.0.1:8080
"""

from __future__ import annotations

from argparse import ArgumentParser
from uuid import uuid4

import numpy as np
from locust import FastHttpUser, events, task
from locust.env import Environment

from loadtest.traffic import request_bodies, request_ids, shuttle_rows, synthetic_rows


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--model-name", default="shuttle", help="The model asked for a prediction.")
    parser.add_argument("--traffic-seed", type=int, default=7, help="Order of the rows.")
    parser.add_argument("--rows-per-request", type=int, default=1)


class PredictionClient(FastHttpUser):  # type: ignore[misc]
    """Asks for one prediction after the other; each request has an id of its own."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        options = environment.parsed_options
        shuttle = shuttle_rows()
        rows = synthetic_rows(np.random.default_rng(options.traffic_seed), count=10_000) if shuttle is None else shuttle
        self._path = f"/v1/models/{options.model_name}:predict"
        self._bodies = request_bodies(rows, seed=options.traffic_seed, rows_per_request=options.rows_per_request)
        self._ids = request_ids(uuid4())

    @task  # type: ignore[untyped-decorator]
    def predict(self) -> None:
        self.client.post(
            self._path,
            data=next(self._bodies),
            headers={"content-type": "application/json", "x-request-id": next(self._ids)},
        )
