"""Webhooks: the requests that runs of a job send, without the parts that differ from attempt to attempt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from scheduler.domain.characters import has_surrogate
from scheduler.domain.clock import Instant
from scheduler.domain.errors import invalid
from scheduler.domain.jobs.disabled_by import DisabledBy
from scheduler.domain.webhooks.contexts import Context
from scheduler.domain.webhooks.success import Success
from scheduler.domain.webhooks.template import check_template, escaped

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
MASK = "***"
"""Shown instead of a secret; when it is written back, the stored value stays."""

MOST_HEADERS = 50
HEADERS_LIMIT = 16_384
"""The size of all names and values together, in bytes."""
MOST_FORMER_SECRETS = 8
"""Each adds a signature to every request; more rotations within their grace time drop the oldest."""
MOST_QUERY_PARAMS = 100
QUERY_PARAMS_LIMIT = 8192
"""The size of all names and values together, in characters."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_NOT_A_VALUE = re.compile(r"[^\t\x20-\x7e\xa0-\xff]")
_CREDENTIAL = re.compile(r"authorization|cookie|key|token|secret|password|credential", re.IGNORECASE)
_SET_BY_SENDER = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "connection",
        "upgrade",
        "keep-alive",
        "expect",
        "accept-encoding",
        "traceparent",
    }
)
_METADATA_HEADERS = frozenset({"metadata", "metadata-flavor", "x-metadata-flavor", "x-google-metadata-request"})
_RESERVED_PREFIXES = ("proxy-", "webhook-", "x-scheduler-", "x-aws-ec2-metadata-")


@dataclass(frozen=True, kw_only=True, slots=True)
class FormerSecret:
    """A signing secret that was replaced and goes on signing, beside its successors, until ``until_at``."""

    secret: str = field(repr=False)
    until_at: Instant
    """Excluded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsOptions:
    """Settings of TLS for one webhook's connections. Texts are PEM."""

    ca: str | None = None
    """The authorities that are trusted, in place of the system's."""
    certificate: str | None = None
    """The client's certificate, and perhaps those of its issuers."""
    key: str | None = field(default=None, repr=False)
    """The private key of the first certificate."""
    verify: bool = True
    """Is the certificate of the receiver verified?"""

    def without_certificate(self) -> TlsOptions:
        return replace(self, certificate=None, key=None)

    def masked(self) -> TlsOptions:
        return replace(self, key=self.key and MASK)

    def unmasked(self, old: TlsOptions | None) -> TlsOptions:
        """With the key of ``old`` where this one is masked. Raises the ``VALIDATION_ERROR`` of ``tls`` without one."""
        if self.key != MASK:
            return self
        if old is None or old.key is None:
            raise invalid("tls", f"no key is stored that {MASK} could keep; write the key itself")
        return replace(self, key=old.key)

    def to_mapping(self) -> dict[str, str | bool | None]:
        return {"ca": self.ca, "certificate": self.certificate, "key": self.key, "verify": self.verify}


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """One receiver of a job's runs. ``timeout_s`` is the total time for one attempt, in seconds."""

    id: str
    job_id: str
    url: str
    method: str = "POST"
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    query_params: Mapping[str, str] | None = None
    body_template: str | None = None
    content_type: str = "application/json"
    timeout_s: float = 30
    signing_secret: str | None = field(default=None, repr=False)
    former_secrets: tuple[FormerSecret, ...] = ()
    """Newest first; empty without a ``signing_secret``."""
    success: Success | None = None
    """Which answers are a success; ``None``: any status from 200 to 299."""
    follow_redirects: int = 0
    """How many redirects one after the other are followed, 0 to 5."""
    tls: TlsOptions | None = field(default=None, repr=False)
    enabled: bool = True
    disabled_by: DisabledBy | None = None
    disabled_reason: str | None = None
    """The reason as a sentence; ``None`` when a person has paused it."""
    replaces_names: bool = True
    """Are names replaced in ``url``, ``query_params`` and header values? 1.0.0 stored these to be sent as they are."""
    created_at: Instant
    updated_at: Instant

    def live_secrets(self, now: Instant) -> tuple[str, ...]:
        """The secrets that sign a request at ``now``, newest first."""
        if self.signing_secret is None:
            return ()
        return (self.signing_secret, *(former.secret for former in self.former_secrets if now < former.until_at))

    @property
    def sent_type(self) -> str:
        """The ``Content-Type`` of a body, which ``headers`` may have."""
        headers = self.headers or {}
        return next((value for name, value in headers.items() if name.lower() == "content-type"), self.content_type)

    def with_names(self) -> Webhook:
        """A webhook that sends the same requests with ``replaces_names``: its texts are escaped."""
        if self.replaces_names:
            return self
        return replace(
            self,
            replaces_names=True,
            url=escaped(self.url),
            query_params=self.query_params and {escaped(name): escaped(v) for name, v in self.query_params.items()},
            headers=self.headers and {name: escaped(value) for name, value in self.headers.items()},
        )

    def with_secret(self, secret: str | None) -> Webhook:
        """The webhook signed with ``secret`` only, from now on."""
        return replace(self, signing_secret=secret, former_secrets=())

    def rotated(self, secret: str, now: Instant, *, until_at: Instant) -> Webhook:
        """The webhook signed with ``secret``, and until ``until_at`` with the present secret as well.

        Secrets of earlier rotations sign until then at most, and only the newest ``MOST_FORMER_SECRETS`` are kept.
        """
        if self.signing_secret is None:
            return replace(self.with_secret(secret), updated_at=now)
        formers = [
            FormerSecret(secret=self.signing_secret, until_at=until_at),
            *(replace(one, until_at=min(one.until_at, until_at)) for one in self.former_secrets),
        ]
        live = tuple(one for one in formers if now < one.until_at)
        return replace(self, signing_secret=secret, former_secrets=live[:MOST_FORMER_SECRETS], updated_at=now)


def check_headers(headers: Mapping[str, str] | None) -> None:
    """Check headers that a person sets. Raises the ``VALIDATION_ERROR`` of ``headers``.

    Names are tokens of RFC 9110, each at most once in any case, and none that the sender sets itself or that gives
    access to a metadata service. Values are printable ISO 8859-1 and tabs. At most 50, and 16 KiB together.
    """
    if not headers:
        return
    _check_size("headers", headers, most=MOST_HEADERS, limit=HEADERS_LIMIT, unit="bytes")
    seen: set[str] = set()
    for name, value in headers.items():
        reason = _problem_with_name(name) or _problem_with_value(name, value)
        if reason is None and name.lower() in seen:
            reason = f"{name} is given twice; names are the same in any case"
        if reason is not None:
            raise invalid("headers", reason)
        seen.add(name.lower())
        if "{{" in value:
            check_template(value, "headers", context=Context.HEADER)


def _problem_with_name(name: str) -> str | None:
    shown = ascii(name[:60])
    if not _TOKEN.fullmatch(name):
        return f"{shown} is no header name: letters, digits and !#$%&'*+-.^_`|~"
    lower = name.lower()
    if lower in _SET_BY_SENDER or lower.startswith(_RESERVED_PREFIXES):
        return f"{shown} is written by the scheduler itself and cannot be set"
    if lower in _METADATA_HEADERS:
        return f"{shown} opens metadata services of clouds and cannot be set"
    return None


def _problem_with_value(name: str, value: str) -> str | None:
    found = _NOT_A_VALUE.search(value)
    if found is None:
        return None
    return f"the value of {name} has the character {found[0]!a}; printable ASCII and ISO 8859-1 can be sent"


def check_query_params(params: Mapping[str, str] | None) -> None:
    """Check parameters that a person sets: at most 100, 8 KiB together, no lone surrogates.

    Raises the ``VALIDATION_ERROR`` of ``query_params``.
    """
    if not params:
        return
    _check_size("query_params", params, most=MOST_QUERY_PARAMS, limit=QUERY_PARAMS_LIMIT, unit="characters")
    if any(has_surrogate(name) or has_surrogate(value) for name, value in params.items()):
        raise invalid("query_params", "half a surrogate pair (U+D800 to U+DFFF) is no character and cannot be sent")
    for text in (*params, *params.values()):
        if "{{" in text:
            check_template(text, "query_params", context=Context.PARAMETER)


def _check_size(field: str, texts: Mapping[str, str], *, most: int, limit: int, unit: str) -> None:
    if len(texts) > most:
        raise invalid(field, f"at most {most}, not {len(texts)}")
    size = sum(len(name) + len(value) for name, value in texts.items())
    if size > limit:
        raise invalid(field, f"at most {limit} {unit} together, not {size}")


def mask_headers(headers: Mapping[str, str] | None) -> dict[str, str] | None:
    """The headers as the API shows them, with ``***`` for the values of credentials."""
    if headers is None:
        return None
    return {name: MASK if is_credential(name) else value for name, value in headers.items()}


def is_credential(name: str) -> bool:
    """Is the value of a header with this name a credential?"""
    return _CREDENTIAL.search(name) is not None


def unmask_headers(new: Mapping[str, str], old: Mapping[str, str] | None) -> dict[str, str]:
    """``new`` with each masked value replaced by the one that ``old`` has for this name in any case.

    Raises the ``VALIDATION_ERROR`` of ``headers`` for a mask where nothing is stored.
    """
    stored = {name.lower(): value for name, value in (old or {}).items()}
    headers = dict(new)
    for name, value in new.items():
        if value != MASK or not is_credential(name):
            continue
        if name.lower() not in stored:
            raise invalid(
                "headers", f"{name[:60]!a} has no stored value that {MASK} could keep; write the value itself"
            )
        headers[name] = stored[name.lower()]
    return headers
