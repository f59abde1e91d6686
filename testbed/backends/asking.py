"""Asking nodes that have real listeners: HTTP requests, side by side, over kept connections."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from testbed.backends.base import Answer, Request

REQUEST_TIMEOUT_S = 5
MAX_PARALLEL = 8


class Asker:
    """Sends requests to where `get_url` says that their listener is; empty where there is none."""

    def __init__(self, get_url: Callable[[Request], str]) -> None:
        self._get_url = get_url
        self._pool = ThreadPoolExecutor(MAX_PARALLEL, thread_name_prefix="ask")
        limits = httpx.Limits(max_connections=4 * MAX_PARALLEL, max_keepalive_connections=4 * MAX_PARALLEL)
        # Everything is on loopback: a proxy of the environment is never on the way.
        self._http = httpx.Client(timeout=REQUEST_TIMEOUT_S, limits=limits, trust_env=False)

    def ask_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers in the order of the requests."""
        if len(requests) == 1:
            return [self._ask(requests[0])]
        return list(self._pool.map(self._ask, requests))

    def close(self) -> None:
        self._http.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, request: Request) -> Answer:
        url = self._get_url(request)
        if not url:
            return Answer(0, f"the {request.port} port of {request.target} is not open to the testbed")
        content = None if request.body is None else json.dumps(request.body, separators=(",", ":")).encode("utf-8")
        headers = {"content-type": "application/json"} if content is not None else {}
        try:
            response = self._http.request(request.method, f"{url}{request.path}", content=content, headers=headers)
        except httpx.TimeoutException:
            return Answer(0, f"no answer within {REQUEST_TIMEOUT_S} s")
        except httpx.HTTPError as error:
            return Answer(0, str(error) or type(error).__name__)
        try:
            return Answer(response.status_code, response.json())
        except ValueError:
            return Answer(response.status_code, response.text[:500])
