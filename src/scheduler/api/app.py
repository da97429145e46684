"""Builds the HTTP application: its middlewares and its routes.

A request passes ``framing`` (request id, headers, the shape of errors, metrics), ``authentication``, the rate limit if
there is one, ``writers_only``, and the validation of aiohttp-apispec (body and query), then one handler.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler
from aiohttp_apispec import validation_middleware

from scheduler.api import job_creation
from scheduler.api.accounts import accounts, invitations, keys, members
from scheduler.api.audit import handlers as audit
from scheduler.api.auth.access import writers_only
from scheduler.api.auth.authenticator import Authenticator, authentication
from scheduler.api.auth.jwks import KeySet
from scheduler.api.auth.key_cache import ApiKeyCache
from scheduler.api.executions import dead_letters, runs
from scheduler.api.executions import handlers as executions
from scheduler.api.health import handlers as health
from scheduler.api.http import docs
from scheduler.api.http.middleware import accept_any_expectation, framing, hide_server_version
from scheduler.api.http.openapi import document
from scheduler.api.http.operation import needs_token
from scheduler.api.http.parser import use_parser
from scheduler.api.jobs import handlers as jobs
from scheduler.api.limits.offload import COMPUTING, turns_at_computing
from scheduler.api.limits.rate_limit import rate_limit
from scheduler.api.schedules import handlers as schedules
from scheduler.api.services import SERVICES, Services
from scheduler.api.webhooks import handlers as webhooks

log = logging.getLogger(__name__)

_PROTOCOL: dict[str, Any] = {
    # seconds for which more of a body that was not read is received and dropped
    "lingering_time": 2,
    # bodies with a Content-Encoding are refused, so none is decompressed
    "auto_decompress": False,
}
"""Options of aiohttp's HTTP protocol."""


def build_api(services: Services) -> web.Application:
    """The application over ``services``. Raises ``ValueError`` when the configured verification key is too weak."""

    def requires_token(request: web.Request) -> bool:
        if request.match_info.handler is health.metrics and health.is_for_operator(request):
            return False
        return needs_token(request.match_info)

    authenticator = Authenticator(services.config.auth, services.clock)
    api_key_cache = ApiKeyCache(services.keys, services.clock, services.events)
    per_minute = services.config.limits.api_requests_per_minute
    app = web.Application(
        handler_args={**_PROTOCOL, "keepalive_timeout": services.config.server.keepalive_s},
        client_max_size=services.config.limits.request_body_bytes,
        middlewares=[
            framing(services.events),
            authentication(authenticator, api_key_cache, requires_token),
            *([rate_limit(per_minute, services.clock)] if per_minute else ()),
            writers_only,
            validation_middleware,
        ],
    )
    app[SERVICES], app[COMPUTING] = services, turns_at_computing()
    if isinstance(authenticator.verification_keys, KeySet):
        app.cleanup_ctx.append(authenticator.verification_keys.open)
    logging.getLogger("aiohttp.server").addFilter(_log_briefly)
    use_parser(app)
    hide_server_version()
    _add_routes(app)
    return app


@cache
def openapi_document() -> dict[str, Any]:
    """The document at ``/openapi.json``, made without a running service."""
    app = web.Application()
    _add_routes(app)
    return document(app)


def _log_briefly(record: logging.LogRecord) -> bool:
    """Log malformed requests as one line of level DEBUG: any client can send them, and a trace tells nothing."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
        return True
    # the message of the error quotes the request, which may have a token
    log.debug("a malformed request was refused: %s", type(error).__name__)
    return False


def _add_routes(app: web.Application) -> None:
    for path, handlers in _ROUTES.items():
        resource = app.router.add_resource(path)
        for method, handler in handlers.items():
            resource.add_route(method, handler, expect_handler=accept_any_expectation)
            if method == hdrs.METH_GET:
                resource.add_route(hdrs.METH_HEAD, handler, expect_handler=accept_any_expectation)


_WEBHOOKS: dict[str, Handler] = {"GET": webhooks.list_webhooks, "POST": webhooks.create_webhook}
_WEBHOOK: dict[str, Handler] = {
    "GET": webhooks.read_webhook,
    "PUT": webhooks.update_webhook,
    "DELETE": webhooks.delete_webhook,
}
_ROUTES: dict[str, dict[str, Handler]] = {
    "/api/accounts": {"GET": accounts.list_accounts, "POST": accounts.create_account},
    "/api/accounts/{account_id}": {
        "GET": accounts.read_account,
        "PUT": accounts.update_account,
        "DELETE": accounts.delete_account,
    },
    "/api/accounts/{account_id}/members": {"GET": members.list_members, "POST": members.add_member},
    "/api/accounts/{account_id}/members/{user}": {"PUT": members.change_member, "DELETE": members.remove_member},
    "/api/invitations": {"GET": invitations.list_invitations},
    "/api/invitations/{invitation_id}/accept": {"POST": invitations.accept_invitation},
    "/api/invitations/{invitation_id}/decline": {"POST": invitations.decline_invitation},
    "/api/keys": {"GET": keys.list_keys, "POST": keys.create_key},
    "/api/keys/{key_id}": {"DELETE": keys.revoke_key},
    "/api/jobs": {"GET": jobs.list_jobs, "POST": job_creation.create_job},
    "/api/jobs/bulk": {"POST": job_creation.create_jobs},
    # without this, /api/jobs/bulk with another method than POST would be a request for the job "bulk"; so it is 405
    "/api/jobs/{job_id:(?!bulk$)[^/]+}": {"GET": jobs.read_job, "PUT": jobs.update_job, "DELETE": jobs.delete_job},
    "/api/jobs/{job_id}/enable": {"PATCH": jobs.enable_job},
    "/api/jobs/{job_id}/disable": {"PATCH": jobs.disable_job},
    "/api/jobs/{job_id}/trigger": {"POST": runs.trigger_job},
    "/api/jobs/{job_id}/executions": {"GET": runs.list_job_executions},
    "/api/jobs/{job_id}/explain": {"GET": runs.explain_time},
    "/api/jobs/{job_id}/backfill": {"POST": runs.backfill_job},
    "/api/schedules/preview": {"GET": schedules.preview_schedule},
    "/api/upcoming": {"GET": schedules.list_upcoming},
    "/webhooks": _WEBHOOKS,
    "/webhooks/{webhook_id}": _WEBHOOK,
    "/webhooks/{webhook_id}/rotate-secret": {"POST": webhooks.rotate_webhook_secret},
    "/api/webhooks": _WEBHOOKS,
    "/api/webhooks/{webhook_id}": _WEBHOOK,
    "/api/webhooks/{webhook_id}/rotate-secret": {"POST": webhooks.rotate_webhook_secret},
    "/api/executions": {"GET": executions.list_executions},
    "/api/executions/{execution_id}": {"GET": executions.read_execution},
    "/api/executions/{execution_id}/retry": {"POST": executions.retry_execution},
    "/api/executions/{execution_id}/cancel": {"POST": executions.cancel_execution},
    "/api/dead-letter": {"GET": dead_letters.list_dead_letter},
    "/api/dead-letter/redrive": {"POST": dead_letters.redrive_dead_letter},
    "/api/dead-letter/purge": {"POST": dead_letters.purge_dead_letter},
    "/api/audit": {"GET": audit.list_audit},
    "/health": {"GET": health.health},
    "/health/detailed": {"GET": health.health_detailed},
    "/health/live": {"GET": health.live},
    "/health/ready": {"GET": health.ready},
    "/metrics": {"GET": health.metrics},
    "/openapi.json": {"GET": docs.openapi},
    "/docs": {"GET": docs.swagger_page},
    "/redoc": {"GET": docs.redoc_page},
    "/static/{name:.+}": {"GET": docs.static_file},
}
