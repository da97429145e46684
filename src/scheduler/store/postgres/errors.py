"""What the Postgres driver raises, and what that means: trouble that passes, a wrong statement, no server at all."""

from __future__ import annotations

import asyncpg

from scheduler.config.checks import shown_url
from scheduler.domain.errors import SchedulerError

TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What a server that is away, slow, full or unwilling turns into."""
LOST = (
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InternalClientError,
    ConnectionError,
)
"""What says that the server has ended a connection, and probably all others with it."""
AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError)
"""What may well succeed when the transaction is run again."""
_PASSING = {"08", "25", "40", "53", "55", "57", "58"}
"""Classes of SQLSTATE (PostgreSQL manual, appendix A) that are about the moment and not about the statement."""


def unreachable(dsn: str, error: BaseException) -> str:
    name = shown_url(dsn)
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"the database {name} does not exist on its server: create it, an empty one will do"
    if isinstance(error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError):
        return f"the server of {name} does not let this user in ({error}): correct user and password"
    if isinstance(error, ValueError | asyncpg.ClientConfigurationError):
        return f"{name} is no address of a database: {error}"
    reason = str(error) or "it does not answer"
    return f"the server of {name} cannot be reached ({reason}): start it, or correct the address"


def refusal_of(error: BaseException) -> SchedulerError:
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return SchedulerError("CONFLICT", "what this belongs to has just been deleted")
    if isinstance(error, asyncpg.CharacterNotInRepertoireError):
        return SchedulerError("VALIDATION_ERROR", "a text contains a character that cannot be stored")
    if isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "")[:2] not in _PASSING:
        return SchedulerError("DATABASE_ERROR", f"the database refused the statement: {error}")
    reason = str(error) or "it does not answer"
    return SchedulerError("SERVICE_UNAVAILABLE", f"the database cannot be used right now: {reason}")
