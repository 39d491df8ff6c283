"""What every write of content shares: the project's quota, and those who take part in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from seawall.infra.db import Database
from seawall.kernel.context import SYSTEM, actor
from seawall.registry import accounting
from seawall.registry.elsewhere import Elsewhere, Nowhere
from seawall.registry.hooks import Hooks, QuotaNotice
from seawall.registry.ledger import Limited
from seawall.registry.receipts import Recorder

T = TypeVar("T")


class ContentWrites:
    """Transactions that change content, and the hooks that take part in them.

    `elsewhere`: where every change first looks for what other instances took before it; nowhere, until peers
    join.
    """

    def __init__(self, db: Database, hooks: Hooks, receipts: Recorder) -> None:
        self._db = db
        self.hooks = hooks
        self.receipts = receipts
        self.elsewhere: Elsewhere = Nowhere()
        self._limited = Limited()

    def join(self, elsewhere: Elsewhere) -> None:
        """Look there from now on. Peers join when they are opened, as hooks do: they need the content."""
        self.elsewhere = elsewhere

    def account(self, project_id: int, *, free: bool, exact: bool) -> accounting.Account:
        """What a transaction changes of a project's sum; see Account."""
        return accounting.Account(project_id, free=free, exact=exact, limited=self._limited)

    async def charged(self, write: Callable[[Connection, bool], T]) -> T:
        """Do a write that a quota may refuse; the hooks learn of a refusal in a transaction of its own.

        `write` gets whether the account must be exact. Raises QuotaExceededError.
        """
        try:
            try:
                return await self._db.write(lambda c: write(c, False))
            except accounting.NearLimitError:
                return await self._db.write(lambda c: write(c, True))
        except accounting.QuotaExceededError as error:
            notice = QuotaNotice(error.project_id, error.used, error.hard, True, actor.get(), str(error))
            hooks = self.hooks.of("quota")
            if hooks:

                def report_refusal(connection: Connection) -> None:
                    for hook in hooks:
                        hook(connection, notice)

                await self._db.write(report_refusal)
                self.committed()
            raise

    def warn(self, connection: Connection, account: accounting.Account) -> None:
        """Let the hooks know, in the transaction, when it takes the usage past 85 % of the quota."""
        if not account.warned:
            return
        message = (
            f"quota usage reached 85%: {accounting.human(account.used)} of {accounting.human(account.hard)}"
        )
        notice = QuotaNotice(account.project_id, account.used, account.hard, False, SYSTEM, message)
        for hook in self.hooks.of("quota"):
            hook(connection, notice)

    def committed(self) -> None:
        """Let the hooks know that a change has been committed."""
        for hook in self.hooks.of("committed"):
            hook()
