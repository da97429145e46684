"""Classifies the errors of the PostgreSQL driver, and turns them into ``SchedulerError``.

A server that does not answer is ``SERVICE_UNAVAILABLE``: the API answers 503, and each loop of the engine tries again.
"""

from __future__ import annotations

import asyncpg

from scheduler.config.checks import shown_url
from scheduler.domain.errors import SchedulerError

DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""Everything that a statement or a connection can raise."""
CONNECTION_LOST = (
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InternalClientError,
    ConnectionError,
)
"""The server has ended a connection, and probably all others as well."""
RETRYABLE = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError)
"""The transaction may succeed when it is run again."""
_PASSING = {"08", "25", "40", "53", "55", "57", "58"}
"""Classes of SQLSTATE (PostgreSQL manual, appendix A) of errors that pass and that the statement has not caused."""


def problem_with_server(dsn: str, error: BaseException) -> str:
    """Why the server cannot be used, in one sentence that says what to do."""
    name = shown_url(dsn)
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"the database {name} does not exist on its server: create it, an empty one will do"
    if isinstance(error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError):
        return f"the server of {name} does not let this user in ({error}): correct user and password"
    if isinstance(error, ValueError | asyncpg.ClientConfigurationError):
        return f"{name} is no address of a database: {error}"
    reason = str(error) or "it does not answer"
    return f"the server of {name} cannot be reached ({reason}): start it, or correct the address"


def scheduler_error(error: BaseException) -> SchedulerError:
    """The error for the caller of a store."""
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return SchedulerError("CONFLICT", "what this belongs to has just been deleted")
    if isinstance(error, asyncpg.CharacterNotInRepertoireError):
        return SchedulerError("VALIDATION_ERROR", "a text contains a character that cannot be stored")
    if isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "")[:2] not in _PASSING:
        return SchedulerError("DATABASE_ERROR", f"the database refused the statement: {error}")
    reason = str(error) or "it does not answer"
    return SchedulerError("SERVICE_UNAVAILABLE", f"the database cannot be used right now: {reason}")
