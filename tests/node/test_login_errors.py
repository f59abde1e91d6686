"""Login errors, in the words of a real daemon and headscale."""

from __future__ import annotations

import pytest

from tana.node.login_errors import explain_login_error


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ('createEngine: tstun.New("tailscale0"): operation not permitted', "no_tunnel"),
        ('tstun.New("tailscale0"): CreateTUN("tailscale0") failed; /dev/net/tun does not exist', "no_tunnel"),
        ("authkey expired", "auth_key_expired"),
        (
            "handling register with auth key: failed to parse auth-key: hash length mismatch, expected 64 chars, "
            "got 68",
            "auth_key_wrong",
        ),
        (
            "handling register with auth key: invalid auth key: crypto/bcrypt: hashedPassword is not the hash of the "
            "given password",
            "auth_key_wrong",
        ),
        ("invalid key: API key kABC does not exist", "auth_key_wrong"),
        (
            'fetch control key: Get "https://headscale:8443/key?v=142": x509: certificate signed by unknown authority',
            "wrong_ca",
        ),
        (
            'fetch control key: Get "https://headscale:9443/key?v=142": dial tcp 192.168.240.4:9443: connect: '
            "connection refused",
            "no_control_server",
        ),
    ],
)
def test_known_words(words: str, code: str) -> None:
    known = explain_login_error(words)
    assert known is not None
    assert known.code == code
    assert known.remedy


def test_unknown_words_are_left_as_they_are() -> None:
    assert explain_login_error("this machine is asleep") is None
