"""Who may come in, asked alike for a connected device and for a polling client.

A token has to be good, the device's own if it is for one device, and not revoked.
"""

from hub.auth import Authority, Grant, KeyNotKnown, KeysNotHad, admit
from hub.counts import Counts
from hub.errors import Doubt, Unauthorized
from hub.refusal import Refusal
from hub.revoking import BeingMoved, Revocations, Revoked
from protocol import closing
from protocol.closing import Closing


class Door:
    """Lets in by a token, and counts whom it does not let in."""

    def __init__(self, authority: Authority, revocations: Revocations, counts: Counts) -> None:
        self._authority = authority
        self._revocations = revocations
        self._counts = counts

    async def admit(self, token: object, device: str) -> Grant:
        """What a token gives to a device; its issuer may have to be asked for a new key.

        Raises:
            Refusal: nothing.
            KeysNotHad: nobody can say now.

        """
        grant = await self._looked_at(token)
        self.check_bearer(grant, device)
        return grant

    def renew(self, token: object, user: str, device: str) -> Grant:
        """What a fresh token gives to a device that is in, without asking anybody.

        Raises:
            Refusal: nothing.
            KeyNotKnown: nothing as yet; `renew_later` finds out.

        """
        try:
            grant = self._authority.check(token)
        except KeyNotKnown:
            raise
        except Unauthorized as error:
            raise self._refusal(closing.UNAUTHORIZED, str(error), error.doubt) from None
        return self._checked(grant, user, device)

    async def renew_later(self, token: object, user: str, device: str) -> Grant:
        """What a fresh token gives to a device that is in, once its issuer has been asked.

        Raises:
            Refusal: nothing.
            KeysNotHad: nobody can say now.

        """
        return self._checked(await self._looked_at(token), user, device)

    async def _looked_at(self, token: object) -> Grant:
        try:
            return await admit(self._authority, token)
        except KeysNotHad:
            self._counts.unauthorized["issuer_away"] += 1
            raise
        except Unauthorized as error:
            raise self._refusal(closing.UNAUTHORIZED, str(error), error.doubt) from None

    def _checked(self, grant: Grant, user: str, device: str) -> Grant:
        self.check_bearer(grant, device)
        if grant.user != user:
            message = "the token is another user's"
            raise self._refusal(closing.FORBIDDEN, message, "other_user")
        return grant

    def check_bearer(self, grant: Grant, device: str) -> None:
        """Make sure that this device may use a token that is good.

        Raises:
            Refusal: it may not.

        """
        if grant.device not in (None, device):
            message = "the token is another device's"
            raise self._refusal(closing.FORBIDDEN, message, "other_device")
        try:
            self._revocations.check(grant, device)
        except Revoked as revoked:
            raise self._refusal(revoked.closing, str(revoked), "revoked") from None
        except BeingMoved as moved:
            raise Refusal(moved.closing, str(moved)) from None

    def _refusal(self, reason: Closing, message: str, doubt: Doubt) -> Refusal:
        self._counts.unauthorized[doubt] += 1
        return Refusal(reason, message)
