"""The schemas of webhooks: bodies, query parameters and answers."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, post_load

from scheduler.api.http.answers import (
    Answer,
    PageAnswer,
    flag,
    instant,
    list_of,
    number,
    part,
    text,
    texts,
    uuid_text,
    whole,
)
from scheduler.api.http.fields import (
    Body,
    Choice,
    DomainText,
    Flag,
    Id,
    Items,
    Number,
    Part,
    StatusOrWord,
    Text,
    TextMap,
    Whole,
)
from scheduler.api.http.queries import Paging
from scheduler.domain.statuses import MOST_STATUSES
from scheduler.domain.webhooks.redirect import MOST_REDIRECTS
from scheduler.domain.webhooks.success import LONGEST_TEXT, SUCCESS_CLASSES, JsonValue, Success
from scheduler.domain.webhooks.url import LONGEST_URL
from scheduler.domain.webhooks.webhook import METHODS, MOST_HEADERS, MOST_QUERY_PARAMS, TlsOptions


class WebhookList(Paging):
    job_id = Id()


_MEDIA_TYPE = r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?: ?; ?[A-Za-z0-9!#$&^_.+-]+=[A-Za-z0-9!#$&^_.+\"-]+)*"
_URL = {
    "format": "http-url",
    "maxLength": LONGEST_URL,
    "description": "Names such as `{{ job.id }}` are replaced in path and query, not in host and port.",
    "example": "https://example.com/hook",
}


class AnyValue(fields.Raw):
    """Any JSON."""


class SuccessValue(Body):
    """A value that the body must have, as JSON."""

    pointer = Text(
        longest=LONGEST_TEXT,
        lines=True,
        required=True,
        metadata={"pattern": "^(?:/(?:[^~/]|~[01])*)*$", "description": "Where it is: an RFC 6901 pointer."},
    )
    equals = AnyValue(required=True, allow_none=True)

    @post_load
    def _value(self, values: dict[str, Any], **_: Any) -> JsonValue:
        return JsonValue(**values)


class SuccessForm(Body):
    """Which answers are a success: all that is given must hold. It looks at what is stored of an answer."""

    statuses = Items(
        StatusOrWord(200, SUCCESS_CLASSES),
        fewest=1,
        most=MOST_STATUSES,
        metadata={"description": "200 to 299 when not given.", "example": [200, "3xx"]},
    )
    body_contains = Text(shortest=1, longest=LONGEST_TEXT, lines=True, metadata={"pattern": "^[^\\x00]*$"})
    json = Part(SuccessValue, metadata={"example": {"pointer": "/ok", "equals": True}})

    @post_load
    def _success(self, values: dict[str, Any], **_: Any) -> Success:
        return Success(**values)


class TlsForm(Body):
    """Settings of TLS. Given as a whole; texts are PEM."""

    ca = DomainText(allow_none=True, metadata={"description": "The authorities that are trusted, and no others."})
    certificate = DomainText(
        allow_none=True, metadata={"description": "The client's certificate, with those of its issuers if need be."}
    )
    key = DomainText(
        allow_none=True,
        metadata={
            "description": "Its private key, without a passphrase. Shown as `***`; writing that keeps it, unless `url` "
            "gets another scheme, host or port."
        },
    )
    verify = Flag(
        metadata={"description": "false, with the setting `egress.allow_insecure_tls` only: trust any certificate."}
    )

    @post_load
    def _options(self, values: dict[str, Any], **_: Any) -> TlsOptions:
        return TlsOptions(**values)


class WebhookFields(Body):
    """The fields of a webhook that may be set at any time."""

    url = DomainText(metadata=_URL)
    method = Choice(METHODS, metadata={"description": "POST when it is not given."})
    headers = TextMap(
        most=MOST_HEADERS,
        names=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
        texts=r"^[\t\x20-\x7e\xa0-\xff]*$",
        allow_none=True,
        metadata={
            "description": "At most 50. Values that look like credentials are shown as `***`; writing that keeps them. "
            "Names are replaced in values, see `body_template`.",
            "example": {"X-Team": "accounting"},
        },
    )
    query_params = TextMap(
        most=MOST_QUERY_PARAMS,
        names=r"^[^\x00]*$",
        texts=r"^[^\x00]*$",
        allow_none=True,
        metadata={"description": "Merged into the query of `url`. Names are replaced in both, see `body_template`."},
    )
    body_template = DomainText(
        allow_none=True,
        metadata={
            "format": "body-template",
            "description": "The body that is sent, with `{{ name }}` replaced. Names: job.id job.name account.id "
            "webhook.id execution.id run.id attempt scheduled_at fired_at trigger. The same names are replaced in "
            "path and query of `url`, in `query_params` and in header values. A value is encoded for where it stands: "
            "as JSON in a JSON body, twice inside JSON in a string of it; percent-encoded in forms and URLs; as "
            "entities in XML and HTML. `{{{{` is a literal `{{`; both together 1,000 times at most.",
            "example": '{"job": "{{ job.name }}", "at": "{{ scheduled_at }}"}',
        },
    )
    content_type = Text(
        longest=255,
        pattern=_MEDIA_TYPE,
        wanted="a media type such as application/json",
        metadata={"description": "`application/json` when it is not given."},
    )
    timeout_s = Number(0.1, 300, metadata={"description": "Total seconds for one attempt; 30 when it is not given."})
    signing_secret = DomainText(
        allow_none=True,
        metadata={
            "format": "signing-secret",
            "description": "`whsec_` and 24 to 64 bytes in base64, or `generate` to have one made. The answer shows "
            "it once, later ones `***`; writing that keeps it. What is written replaces the old secret at once; "
            "`rotate-secret` lets both be valid for a while.",
        },
    )
    success = Part(
        SuccessForm,
        allow_none=True,
        metadata={"description": "Which answers are a success; null, and when it is not given: 200 to 299."},
    )
    follow_redirects = Whole(
        0,
        MOST_REDIRECTS,
        metadata={
            "description": "How many redirects one after the other are followed; 0 when it is not given. Header values "
            "that are shown as `***`, and the signature, go to the origin of `url` only."
        },
    )
    tls = Part(TlsForm, allow_none=True)
    enabled = Flag(metadata={"description": "true when it is not given."})


class NestedWebhook(WebhookFields):
    """A webhook that is created together with its job."""

    url = DomainText(required=True, metadata=_URL)


class WebhookCreate(NestedWebhook):
    job_id = Id(required=True)


class WebhookChange(WebhookFields):
    job_id = Id(metadata={"description": "May be given, but not changed."})


class SecretRotation(Body):
    """How long the signing secret stays valid that is rotated away."""

    body_optional = True
    overlap_s = Number(
        0,
        7 * 86_400,
        load_default=86_400,
        metadata={"description": "Seconds during which requests carry a signature by the old secret, too."},
    )


class SuccessValueDocument(Answer):
    pointer = text()
    equals = fields.Raw(required=True, allow_none=True)


class SuccessDocument(Answer):
    """What was given of the rule."""

    statuses = fields.List(fields.Raw())
    body_contains = fields.String()
    json = fields.Nested(SuccessValueDocument)


class TlsDocument(Answer):
    ca = text(null=True)
    certificate = text(null=True)
    key = text(null=True, what="`***` when there is one.")
    verify = flag()


class WebhookDocument(Answer):
    id = uuid_text()
    job_id = uuid_text()
    url = text()
    method = text(what="One of those of a request, or what an older version accepted.")
    headers = texts(null=True)
    query_params = texts(null=True)
    body_template = text(null=True)
    content_type = text()
    timeout_s = number()
    signing_secret = text(null=True, what="`***` when there is one; itself only in the answer that set it.")
    former_secrets_until = instant(
        null=True, what="When the secrets before the last rotation sign no more; null when there are none."
    )
    success = part(SuccessDocument, null=True)
    follow_redirects = whole()
    tls = part(TlsDocument, null=True)
    enabled = flag()
    disabled_reason = text(null=True, what="Why the service itself disabled it.")
    created_at = instant()
    updated_at = instant()


class WebhookPage(PageAnswer):
    items = list_of(WebhookDocument)
