"""One HTTP exchange with a Tana service: JSON out, JSON in, and errors as the classes of `tana.types.errors`.

Shared by the clients of the mesh and of a validator. No retries here: who calls knows what may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from tana.types import canonical, errors
from tana.types.errors import InvalidInput, TanaError, Unavailable

_BY_STATUS: dict[int, type[TanaError]] = {
    kind.http_status: kind
    for kind in (
        errors.InvalidInput,
        errors.TooLarge,
        errors.Unauthorized,
        errors.Forbidden,
        errors.NotFound,
        errors.Conflict,
        errors.RateLimited,
        errors.Unavailable,
    )
}


class HttpClient:
    """A keep-alive connection to one service. `service` and `remedy` are words for errors when it does not answer."""

    def __init__(self, url: str, *, service: str, remedy: str = "", timeout_ms: int = 10_000) -> None:
        self.url = url.rstrip("/")
        self._service = service
        self._remedy = remedy
        try:
            base_url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise InvalidInput(f"{self.url!r} is no URL: {error}", code="malformed_url", field="url") from None
        if base_url.scheme not in ("http", "https") or not base_url.host:
            raise InvalidInput(
                f"{self.url!r} is no URL of the {service}",
                remedy="give http://HOST:PORT",
                code="malformed_url",
                field="url",
            )
        # Services are neighbours on one host or tailnet: a proxy of the environment is never on the way to them.
        self._http = httpx.Client(base_url=base_url, timeout=timeout_ms / 1000, trust_env=False)

    def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Any:
        return self.request("GET", path, query=query)

    def post(self, path: str, body: Any) -> Any:
        return self.request("POST", path, body=body)

    def put(self, path: str, body: Any) -> Any:
        return self.request("PUT", path, body=body)

    def request(self, method: str, path: str, *, query: Mapping[str, str | int] | None = None, body: Any = None) -> Any:
        """The JSON of a 2xx answer. Raises the `TanaError` of the status, `Unavailable` where nobody answers."""
        content = None if body is None else canonical.dumps(body).encode("utf-8")
        headers = {} if content is None else {"content-type": "application/json"}
        try:
            response = self._http.request(method, path, params=query or None, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise self._unavailable(error) from None
        return self.read(response)

    def read(self, response: httpx.Response) -> Any:
        """The JSON of an answer, or its error raised."""
        try:
            body = canonical.loads(response.content)
        except InvalidInput:
            body = None
        if response.is_success:
            if body is None:
                raise Unavailable(
                    f"{self.url} answers, but not as a Tana {self._service}", remedy="check the URL", code="not_json"
                )
            return body
        raise rebuild_error(response.status_code, body)

    def stream(self, path: str, headers: Mapping[str, str]) -> Any:
        """A context manager that yields the open `httpx.Response` of a GET without a read timeout."""
        timeout = httpx.Timeout(self._http.timeout.connect, read=None)
        return self._http.stream("GET", path, headers=dict(headers), timeout=timeout)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _unavailable(self, error: httpx.HTTPError) -> Unavailable:
        reason = "it did not answer in time" if isinstance(error, httpx.TimeoutException) else str(error)
        return Unavailable(f"the {self._service} at {self.url} does not answer: {reason}", remedy=self._remedy)


def rebuild_error(status: int, body: Any) -> TanaError:
    """The error that an answer with this status and body stands for.

    Reads our own bodies (`{error, code, field?, remedy?}`) and those of other Tana services (`{error}` or `{message}`).
    """
    fields = body if isinstance(body, dict) else {}
    message = fields.get("error") or fields.get("message") or f"the service answered with HTTP status {status}"
    words = {name: str(fields.get(name) or "") for name in ("remedy", "code", "field")}
    kind = _BY_STATUS.get(status)
    if kind is None:
        kind = Unavailable if status >= 500 else InvalidInput
    error = kind(str(message), **words)
    error.http_status = status
    return error
