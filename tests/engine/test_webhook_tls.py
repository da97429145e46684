"""TLS of one webhook: its own authority, its own certificate, and no verification where that is permitted."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from scheduler.domain.errors import SchedulerError
from scheduler.domain.webhooks.webhook import TlsOptions
from scheduler.engine.http.tls import LONGEST_PEM, TlsContexts
from tests.conftest import SetClock
from tests.engine.receivers import Authority, RawReceiver, keeping, make_sender, receiving, to


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"))


def https(receiver: RawReceiver) -> str:
    return f"https://127.0.0.1:{receiver.port}/"


async def test_a_webhook_trusts_its_own_authority_and_no_other(
    authority: Authority, other: Authority, clock: SetClock
) -> None:
    own = TlsOptions(ca=authority.path.read_text())
    async with (
        receiving(keeping(), tls=authority.serving("127.0.0.1")) as receiver,
        receiving(keeping(), tls=other.serving("127.0.0.1")) as foreign,
        make_sender(clock, tls=other.trusting()) as sender,
    ):
        for _ in range(2):
            assert (await sender.send(to(https(receiver), tls=own))).error is None
        assert receiver.connections == 1, "connections with the same options are used again"
        assert (await sender.send(to(https(receiver)))).error_code == "tls_failed", "the others do not trust it"
        assert (await sender.send(to(https(foreign), tls=own))).error_code == "tls_failed"
        assert (await sender.send(to(https(foreign)))).error is None


async def test_a_webhook_shows_its_certificate_and_to_its_origin_only(authority: Authority, clock: SetClock) -> None:
    certificate, key = authority.identity("client")
    own = TlsOptions(ca=authority.path.read_text(), certificate=certificate, key=key)
    demanding = authority.demanding("127.0.0.1")
    async with (
        receiving(keeping(), tls=demanding) as receiver,
        receiving(keeping(), tls=demanding) as elsewhere,
        make_sender(clock) as sender,
    ):
        assert (await sender.send(to(https(receiver), tls=own))).error is None
        without = await sender.send(to(https(receiver), tls=own.without_certificate()))
        assert (without.response_code, len(receiver.requests)) == (None, 1)
        location = f"HTTP/1.1 307 Elsewhere\r\nLocation: {https(elsewhere)}\r\nContent-Length: 0\r\n\r\n"
        receiver.script = keeping(location.encode())
        async with make_sender(clock) as other_sender:
            outcome = await other_sender.send(to(https(receiver), tls=own, follow_redirects=1))
        assert (outcome.response_code, elsewhere.requests) == (None, [])


async def test_nothing_is_verified_where_both_the_webhook_and_the_setting_say_so(
    authority: Authority, clock: SetClock
) -> None:
    insecure = TlsOptions(verify=False)
    async with receiving(keeping(), tls=authority.serving("other.test", self_signed=True)) as receiver:
        async with make_sender(clock, tls=TlsContexts(allow_insecure=True)) as sender:
            assert (await sender.send(to(https(receiver), tls=insecure))).error is None
            assert (await sender.send(to(https(receiver)))).error_code == "tls_failed"
        async with make_sender(clock) as sender:
            outcome = await sender.send(to(https(receiver), tls=insecure))
            assert outcome.error_code == "tls_failed"
            assert "egress.allow_insecure_tls" in (outcome.error or "")
        assert len(receiver.requests) == 1


async def test_options_mean_nothing_to_http(authority: Authority, clock: SetClock) -> None:
    async with receiving(keeping()) as receiver, make_sender(clock) as sender:
        assert (await sender.send(to(receiver, tls=TlsOptions(ca=authority.path.read_text())))).error is None


async def test_what_was_stored_by_other_rules_ends_the_attempt(clock: SetClock, authority: Authority) -> None:
    async with (
        receiving(keeping(), tls=authority.serving("127.0.0.1")) as receiver,
        make_sender(clock) as sender,
    ):
        for options in (TlsOptions(ca="nothing"), TlsOptions(certificate="x", key="y")):
            assert (await sender.send(to(https(receiver), tls=options))).error_code == "tls_failed"


def encrypted(key: str) -> str:
    private = serialization.load_pem_private_key(key.encode(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"phrase"),
    ).decode()


def test_what_cannot_be_used_is_refused_in_words(authority: Authority) -> None:
    ca = authority.path.read_text()
    certificate, key = authority.identity("one")
    _, other_key = authority.identity("two")
    broken = certificate.replace(certificate[100:140], "A" * 40)
    for options, words in (
        (TlsOptions(ca="x"), "ca must have certificates in PEM"),
        (TlsOptions(ca=key), "ca must have certificates in PEM"),
        (TlsOptions(ca=""), "ca must have certificates in PEM"),
        (TlsOptions(ca="ü" * 10), "ca must have certificates in PEM"),
        (TlsOptions(ca="x" * (LONGEST_PEM + 1)), "at most 65536"),
        (TlsOptions(certificate=certificate), "together"),
        (TlsOptions(key=key), "together"),
        (TlsOptions(certificate=broken, key=key), "certificate"),
        (TlsOptions(certificate=certificate, key=other_key), "the key is not that of the first certificate"),
        (TlsOptions(certificate=certificate, key=certificate), "no private key in PEM"),
        (TlsOptions(certificate=certificate, key=encrypted(key)), "passphrase"),
        (TlsOptions(verify=False), "egress.allow_insecure_tls"),
    ):
        with pytest.raises(SchedulerError, match=words) as refused:
            TlsContexts().check(options)
        assert list(refused.value.errors or {}) == ["tls"]
    for options in (
        TlsOptions(),
        TlsOptions(ca=ca),
        TlsOptions(ca=ca + ca, certificate=certificate + ca, key=key),
    ):
        TlsContexts().check(options)


def certificate_with(bits: int) -> str:
    """A certificate for an RSA key of this size; nobody has the key."""
    key = rsa.RSAPublicNumbers(65537, (1 << bits) - 1).public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "large")])
    now = datetime.now(UTC)
    unsigned = x509.CertificateBuilder(name, name, key, 1, now, now + timedelta(days=1))
    signed = unsigned.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def test_a_key_that_takes_long_to_sign_with_is_refused(authority: Authority) -> None:
    _, key = authority.identity("one")
    for bits, words in ((16_384, "has 16384 bits: at most 4096"), (4096, "certificate and key cannot be used")):
        with pytest.raises(SchedulerError, match=words):
            TlsContexts().check(TlsOptions(certificate=certificate_with(bits), key=key))


def test_no_key_is_left_on_the_disk(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    certificate, key = authority.identity("one")
    TlsContexts().check(TlsOptions(certificate=certificate, key=key))
    assert list(tmp_path.iterdir()) == []
    assert "PRIVATE" not in repr(TlsOptions(certificate=certificate, key=key))


def test_an_authority_of_the_configuration_is_trusted_beside_those_of_the_system(authority: Authority) -> None:
    context = TlsContexts(ca_file=authority.path).default()
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == len(ssl.create_default_context().get_ca_certs()) + 1
