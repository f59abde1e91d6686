"""Every error that Tana raises on purpose.

    TanaError                     has a message, a remedy and a stable code
    ├── InvalidInput        400   a field of a request, frame or file is wrong; names the field
    │   └── TooLarge        413   a body or frame over its bound
    ├── Unauthorized        401   a signature, token or challenge does not verify
    ├── Forbidden           403   the signer is known and may not do this
    ├── NotFound            404   the thing named does not exist
    ├── Conflict            409   the thing named is taken, or already decided otherwise
    ├── RateLimited         429   come again later
    ├── Unavailable         503   a service that is needed does not answer
    ├── SettingsError             a flag, a setting, a key file or a folder is unusable
    └── StorageError              what is on disk is damaged, missing, or of another chain

Bugs are assertions, never one of these.
"""

from __future__ import annotations


class TanaError(Exception):
    """An error with words for a person.

    `message` says what is wrong and names the field or file, `remedy` says what to do next,
    `code` is a stable identifier for scripts, `field` the field of the request where there is one.
    """

    http_status = 500
    default_code = "error"

    def __init__(self, message: str, *, remedy: str = "", code: str = "", field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code or self.default_code
        self.field = field

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message

    def to_json(self) -> dict[str, str]:
        """The body of an error answer: `{error, code, field?, remedy?}`."""
        body = {"error": self.message, "code": self.code}
        if self.field:
            body["field"] = self.field
        if self.remedy:
            body["remedy"] = self.remedy
        return body


class InvalidInput(TanaError):
    """A field of a request, frame or file is missing, malformed, or out of range."""

    http_status = 400
    default_code = "invalid_input"


class TooLarge(InvalidInput):
    """A body, frame or file is over its bound."""

    http_status = 413
    default_code = "too_large"


class Unauthorized(TanaError):
    """A signature, a token or a challenge does not verify."""

    http_status = 401
    default_code = "unauthorized"


class Forbidden(TanaError):
    """The caller is who it claims to be and may not do this."""

    http_status = 403
    default_code = "forbidden"


class NotFound(TanaError):
    """What was asked for does not exist."""

    http_status = 404
    default_code = "not_found"


class Conflict(TanaError):
    """A name, key or decision is already taken."""

    http_status = 409
    default_code = "conflict"


class RateLimited(TanaError):
    """A bound on requests or buffers is reached."""

    http_status = 429
    default_code = "rate_limited"


class Unavailable(TanaError):
    """A service that is needed does not answer."""

    http_status = 503
    default_code = "unavailable"


class SettingsError(TanaError):
    """A flag, an environment variable, a key file, a port or a folder is unusable."""

    default_code = "settings"


class StorageError(TanaError):
    """What is on disk is damaged, missing, or belongs to another chain."""

    default_code = "storage"
