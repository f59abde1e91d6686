"""What it means when a Tailscale daemon cannot run or log in, from its own words or those of its control server.

The words are those of tailscale 1.102 and headscale 0.29, and of Tailscale's own control server where they differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class LoginError:
    """A known reason, what it means, and what to do."""

    code: str
    meaning: str
    remedy: str


_NEW_KEY = "give the sidecars a valid auth key: start the one-shot auth-key again, or set TS_AUTHKEY to a new one"
_KNOWN = (
    (
        r"tstun\.New|CreateTUN|/dev/net/tun",
        LoginError(
            "no_tunnel",
            "the sidecar cannot make its tunnel",
            "give it the device /dev/net/tun and the capability NET_ADMIN, or use NETWORK=bridge",
        ),
    ),
    (
        r"x509|certificate (signed|is|has)|tls: ",
        LoginError(
            "wrong_ca",
            "the certificate of the control server is not trusted",
            "give the sidecar the authority's certificate (SSL_CERT_FILE), and start control-certificate again",
        ),
    ),
    (
        r"key\b.*expired|expired.*key",
        LoginError("auth_key_expired", "the auth key has expired", _NEW_KEY),
    ),
    (
        r"auth[- ]?key|invalid key|API key|preauth",
        LoginError("auth_key_wrong", "the control server does not know the auth key", _NEW_KEY),
    ),
    (
        r"fetch control key|connection refused|no such host|no route to host|timeout|deadline exceeded|unreachable|EOF"
        r"|lookup ",
        LoginError(
            "no_control_server",
            "the control server cannot be reached",
            "see that headscale runs and that --login-server (TS_EXTRA_ARGS) names it",
        ),
    ),
)


def explain_login_error(words: str) -> LoginError | None:
    """The known reason that a complaint of the daemon is about, None for one that is not known."""
    return next((known for pattern, known in _KNOWN if re.search(pattern, words, re.I)), None)
