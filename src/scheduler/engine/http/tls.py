"""TLS contexts for webhooks that have authorities or certificates of their own."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler.domain.errors import invalid
from scheduler.domain.webhooks.webhook import TlsOptions

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

LONGEST_PEM = 65_536
"""Characters of each text."""
MOST_KEY_BITS = 4096
"""Signing a handshake with such a key of RSA takes 3 ms; the time grows with the third power of the bits."""

_MOST_CONTEXTS = 256
_INSECURE = "verify: false needs the setting egress.allow_insecure_tls"


class TlsContexts:
    """The contexts of ``TlsOptions``, each made once.

    ``ca_file`` has authorities that are trusted beside the system's. Contexts that do not verify the receiver are made
    only with ``allow_insecure``.
    """

    def __init__(self, *, ca_file: Path | None = None, allow_insecure: bool = False) -> None:
        self._ca_file = ca_file
        self._allow_insecure = allow_insecure
        self._contexts: dict[TlsOptions, ssl.SSLContext] = {}

    def check(self, options: TlsOptions) -> None:
        """Check options that a person sets. Raises the ``VALIDATION_ERROR`` of ``tls``."""
        for name, text in (("ca", options.ca), ("certificate", options.certificate), ("key", options.key)):
            if text is not None and len(text) > LONGEST_PEM:
                raise invalid("tls", f"{name} must have at most {LONGEST_PEM} characters, not {len(text)}")
        if (options.certificate is None) != (options.key is None):
            raise invalid("tls", "certificate and key are given together or not at all")
        for name, text in (("ca", options.ca), ("certificate", options.certificate)):
            _check_certificates(name, text)
        if options.key is not None and "ENCRYPTED" in options.key:
            raise invalid("tls", "the key is protected by a passphrase; give it without")
        if not options.verify and not self._allow_insecure:
            raise invalid("tls", _INSECURE)
        try:
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), options)
        except (ssl.SSLError, ValueError) as error:
            raise invalid("tls", _problem(error)) from None

    def default(self) -> ssl.SSLContext | None:
        """The context of webhooks without options; ``None`` when only the system's authorities are trusted."""
        return self._make(TlsOptions()) if self._ca_file is not None else None

    async def context(self, options: TlsOptions) -> ssl.SSLContext:
        """The context of options that are stored. Made in a thread, since reading authorities takes long.

        Raises ``ssl.SSLError`` for what was stored by other rules.
        """
        context = self._contexts.get(options)
        if context is None:
            context = self._contexts[options] = await asyncio.to_thread(self._make, options)
            if len(self._contexts) > _MOST_CONTEXTS:
                del self._contexts[next(iter(self._contexts))]
        return context

    def _make(self, options: TlsOptions) -> ssl.SSLContext:
        if not options.verify and not self._allow_insecure:
            raise ssl.SSLError(0, _INSECURE)
        if options.ca is None:
            context = ssl.create_default_context()
            if self._ca_file is not None:
                context.load_verify_locations(cafile=self._ca_file)
        else:
            context = ssl.create_default_context(cadata=options.ca)
        context.set_alpn_protocols(["http/1.1"])
        try:
            _load(context, options)
        except ValueError as error:
            raise ssl.SSLError(0, str(error)) from None
        if not options.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _check_certificates(name: str, text: str | None) -> None:
    if text is None:
        return
    from cryptography import x509  # noqa: PLC0415 - slow to import, and few webhooks need it

    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        found = []
    if not found:
        raise invalid("tls", f"{name} must have certificates in PEM: -----BEGIN CERTIFICATE----- and so on")
    if name == "certificate" and (bits := _bits_of_key(found[0])) > MOST_KEY_BITS:
        raise invalid("tls", f"the key of the certificate has {bits} bits: at most {MOST_KEY_BITS}, or use one of EC")


def _bits_of_key(certificate: Certificate) -> int:
    try:
        return int(getattr(certificate.public_key(), "key_size", 0))
    except ValueError:
        return 0  # of another kind: OpenSSL refuses it, or knows it


def _load(context: ssl.SSLContext, options: TlsOptions) -> None:
    """Load the certificates into ``context``. Raises ``ssl.SSLError`` or ``ValueError`` for what OpenSSL refuses."""
    if options.ca is not None:
        context.load_verify_locations(cadata=options.ca)
    if options.certificate is None or options.key is None:
        return
    pem = f"{options.certificate}\n{options.key}\n".encode()
    if hasattr(os, "memfd_create"):  # OpenSSL reads files only, and the key is not written to a disk
        with os.fdopen(os.memfd_create("tls"), "wb") as file:
            file.write(pem)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password=_no_passphrase)
        return
    from tempfile import NamedTemporaryFile  # noqa: PLC0415 - only where there are no files in memory

    with NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name, password=_no_passphrase)


def _no_passphrase() -> str:
    """Called for the passphrase of a key: without it OpenSSL would ask for one on the terminal."""
    raise ValueError("the key is protected by a passphrase; give it without")


def _problem(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the first certificate"
    if isinstance(error, ssl.SSLError):
        return f"certificate and key cannot be used: {reason or 'no private key in PEM'}"
    return str(error)
