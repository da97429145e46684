"""Access control: a caller may use the accounts of which they are a member, and what those accounts own.

Anything else is refused: FORBIDDEN when it exists, NOT_FOUND when it does not, and with ``auth.hide_foreign`` NOT_FOUND
in both cases.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from scheduler.api.auth.client_address import actor_of
from scheduler.api.http.fields import canonical_id
from scheduler.api.limits.offload import LARGE_BODY
from scheduler.api.services import KEY, SERVICES, USER, Services
from scheduler.domain.accounts.account import Account, Invitation, Role
from scheduler.domain.accounts.api_key import ApiKey
from scheduler.domain.accounts.audit import Actor
from scheduler.domain.clock import Instant
from scheduler.domain.errors import SchedulerError
from scheduler.domain.jobs.job import Job
from scheduler.domain.runs.execution import Execution
from scheduler.domain.webhooks.webhook import Webhook
from scheduler.store.executions.dead_letters import Selection
from scheduler.store.executions.executions import ExecutionFilter

Owned = TypeVar("Owned", Job, Execution, ApiKey)

_READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
_RANK = {Role.VIEWER: 0, Role.EDITOR: 1, Role.OWNER: 2}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: a user with a valid token, or a machine with an API key.

    Each method returns what the caller may use, or raises ``SchedulerError``. ``need`` is the least role that is
    required. Ids may be any text: one that is no UUID is not found.
    """

    services: Services
    user: str
    actor: Actor
    """The caller as audit entries name them."""
    key: ApiKey | None = None
    """The API key of a machine. It is a member of its account, under the name ``user``, like any user."""

    @classmethod
    def of(cls, request: web.Request) -> Caller:
        return cls(request.app[SERVICES], request[USER], actor_of(request), request.get(KEY))

    def check_is_user(self) -> None:
        """Raise ``FORBIDDEN`` for an API key, which acts in its own account only."""
        if self.key is not None:
            raise SchedulerError("FORBIDDEN", "a key acts in its own account only: this needs the token of a user")

    async def account(self, account_id: str, need: Role) -> Account:
        known = canonical_id(account_id)
        account = await self.services.accounts.get(known, self.user) if known else None
        if account is not None:
            self._check_role(account.role, need)
            return account
        is_foreign = known is not None and await self.services.accounts.exists(known)
        raise self._no_access("ACCOUNT", is_foreign=is_foreign)

    async def check_account(self, account_id: str | None, need: Role) -> None:
        """Raise as ``account`` does, where a request names an account."""
        if account_id is not None:
            await self.account(account_id, need)

    async def check_may_write(self, path: Mapping[str, str], *, look_up: bool) -> None:
        """Raise where it is known before the body is read that the caller may not write what ``path`` names.

        A key that only reads is refused in any case; the role of others is looked up if ``look_up``.
        """
        if self.key is not None:
            self._check_role(self.key.role, Role.EDITOR)
        if not look_up:
            return
        if "account_id" in path:
            await self.account(path["account_id"], Role.EDITOR)
        for name, get in (("job_id", self.job), ("webhook_id", self.webhook), ("execution_id", self.execution)):
            if name in path:
                await get(path[name], Role.EDITOR)

    async def home(self, account_id: str | None, now: Instant, need: Role = Role.EDITOR) -> str:
        """The id of the account that gets something new: the one named, or the oldest that the user made and owns.

        An API key has one account. A user who has made none gets one.
        """
        if account_id is None and self.key is not None:
            account_id = self.key.account_id
        if account_id is None:
            most = self.services.config.limits.accounts_per_user
            return (await self.services.accounts.personal(user=self.user, now=now, by=self.actor, most=most)).id
        return (await self.account(account_id, need)).id

    async def job(self, job_id: str, need: Role) -> Job:
        return await self._owned("JOB", self.services.jobs.get, job_id, need)

    async def webhook(self, webhook_id: str, need: Role) -> Webhook:
        known = canonical_id(webhook_id)
        await self._check_access("WEBHOOK", await self.services.webhooks.account_of(known) if known else None, need)
        webhook = await self.services.webhooks.get(known) if known else None
        if webhook is None:
            raise missing("WEBHOOK")
        return webhook

    async def execution(self, execution_id: str, need: Role) -> Execution:
        return await self._owned("EXECUTION", self.services.executions.get, execution_id, need)

    async def api_key(self, key_id: str, need: Role) -> ApiKey:
        return await self._owned("KEY", self.services.keys.get, key_id, need)

    async def filter(self, chosen: ExecutionFilter, need: Role) -> ExecutionFilter:
        """``chosen``, if the caller may use the account, the job and the run that it names."""
        await self.check_account(chosen.account_id, need)
        if chosen.job_id is not None:
            await self.job(chosen.job_id, need)
        if chosen.webhook_id is not None and (account_id := await self.services.webhooks.account_of(chosen.webhook_id)):
            await self._check_access("WEBHOOK", account_id, need)  # one that was deleted still has its executions
        if chosen.run_id is not None:
            await self._check_access("RUN", await self.services.executions.account_of_run(chosen.run_id), need)
        return chosen

    async def selection(self, ids: tuple[str, ...] | None, chosen: ExecutionFilter | None) -> Selection:
        """Dead letters to change, if the caller may change all that are named.

        A filter that names no account selects from those accounts in which the caller may change something.
        """
        for execution_id in ids or ():
            await self.execution(execution_id, Role.EDITOR)
        if chosen is not None:
            await self.filter(chosen, Role.EDITOR)
            if self.key is not None:
                self._check_role(self.key.role, Role.EDITOR)
        return Selection(ids=ids, filter=chosen)

    async def invitation(self, invitation_id: str) -> Invitation:
        """An invitation to the caller, who must be a user."""
        self.check_is_user()
        known = canonical_id(invitation_id)
        found = await self.services.invitations.get(known) if known else None
        if found is None:
            raise missing("INVITATION")
        if found.user != self.user:
            raise self._no_access("INVITATION", is_foreign=True)
        return found

    async def _owned(
        self, what: str, get: Callable[[str], Awaitable[Owned | None]], given_id: str, need: Role
    ) -> Owned:
        """What ``get`` returns for this id, if the caller may use it."""
        known = canonical_id(given_id)
        found = await get(known) if known else None
        await self._check_access(what, found.account_id if found else None, need)
        assert found is not None  # noqa: S101 - otherwise there is no access
        return found

    async def _check_access(self, what: str, account_id: str | None, need: Role) -> None:
        """Raises unless the caller may use something of this account; ``None``: it does not exist."""
        role = await self.services.accounts.role_of(account_id, self.user) if account_id else None
        if role is None:
            raise self._no_access(what, is_foreign=account_id is not None)
        self._check_role(role, need)

    def _no_access(self, what: str, *, is_foreign: bool) -> SchedulerError:
        if is_foreign and not self.services.config.auth.hide_foreign:
            whose = "you are not a member of this account"
            if what == "INVITATION":
                whose = "this invitation is for another user"
            elif what != "ACCOUNT":
                whose = f"this {what.lower()} belongs to an account that you are not a member of"
            return SchedulerError("FORBIDDEN", whose)
        return missing(what)

    @staticmethod
    def _check_role(role: Role, need: Role) -> None:
        if _RANK[role] < _RANK[need]:
            raise SchedulerError(
                "FORBIDDEN", f"your role in the account, {role.value}, may not do this: it needs {need.value}"
            )


@web.middleware
async def writers_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses who may not write, before the body is read or checked.

    Checking a large body costs more than looking up a role; that of a small one comes with what the handler reads.
    """
    if request.method not in _READING and request.get(USER) is not None:
        is_large = request.body_exists and (request.content_length or request.client_max_size) > LARGE_BODY
        await Caller.of(request).check_may_write(request.match_info, look_up=is_large)
    return await handler(request)


def missing(what: str) -> SchedulerError:
    """There is no such ``JOB``, ``WEBHOOK``, ``EXECUTION``, ``ACCOUNT``, ``RUN``, ``KEY``, and so on."""
    code = "NOT_FOUND" if what in ("RUN", "KEY", "MEMBER", "INVITATION") else f"{what}_NOT_FOUND"
    return SchedulerError(code, f"there is no such {what.lower()}")
