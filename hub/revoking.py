"""Who is turned away though the token is good: users, devices of users, and tokens by their ids.

What is revoked lies in the store, and in memory, where each `hello`, `auth`, poll and push is held
to it. To revoke is: store it, durably; from then on refuse; end the connections; and drop what they
had waiting. So when it is done, nothing more of theirs is stored, and nothing goes out to them.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from hub.errors import HubError, Unauthorized
from hub.names import MAX_TOKEN_ID, MAX_USER, name_of
from protocol import closing
from protocol.diffs import MAX_DEVICE

if TYPE_CHECKING:
    from hub.auth import Grant

Kind: TypeAlias = Literal["user", "device", "token"]
Subject: TypeAlias = tuple[Kind, str, str, str]
"""A kind, a user, a device and a token, as far as the kind is named by them."""
LEEWAY_MS: Final = 3_600_000
"""The longest leeway that a hub may be given: so much longer than it says a token may count."""


class Revoked(HubError):
    """The operator turned this user, device or token away. `closing` says how it is told."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(f"the {kind} is revoked")
        self.closing = closing.UNAUTHORIZED if kind == "token" else closing.FORBIDDEN


class BeingMoved(HubError):
    """The operator has the user deleted, or replaced, just now: whoever comes is to come later."""

    def __init__(self) -> None:
        super().__init__("this user is being moved; come back soon")
        self.closing = closing.SERVER_BUSY


TurnedAway: TypeAlias = Revoked | BeingMoved


class Revocation(msgspec.Struct, frozen=True):
    """What is turned away: a user, a `device` of a user, or the token with this id.

    `at` says since when. A token that has run out at `until` needs no revoking, and an hour later
    it is forgotten. Both in ms; None is for ever.
    """

    kind: Kind
    user: Annotated[str, Meta(max_length=MAX_USER)] = ""
    device: Annotated[str, Meta(max_length=MAX_DEVICE)] = ""
    token: Annotated[str, Meta(max_length=MAX_TOKEN_ID)] = ""
    at: int = 0
    until: int | None = None

    def __post_init__(self) -> None:
        wanted = {"user": ("user",), "device": ("user", "device"), "token": ("token",)}[self.kind]
        given = tuple(name for name in ("user", "device", "token") if getattr(self, name))
        if given != wanted:
            raise ValueError(f"a revoked {self.kind} is named by {' and '.join(wanted)}")

    @property
    def subject(self) -> Subject:
        """Whom it is about."""
        return self.kind, self.user, self.device, self.token

    @property
    def refusal(self) -> Revoked:
        """What those are told whom it is about."""
        return Revoked(self.kind)

    def covers(self, grant: "Grant", device: str) -> bool:
        """Whether it is about who shows such a token."""
        if self.kind == "token":
            return grant.token_id == self.token
        return grant.user == self.user and self.device in ("", device)

    def kept_until(self, grants: "Iterable[Grant | None]") -> "Revocation":
        """For a token that nobody said the end of, as long as those who are here by it show."""
        ends = [grant.expires for grant in grants if grant is not None]
        if self.kind != "token" or self.until is not None or not ends or None in ends:
            return self
        until = max(end for end in ends if end is not None)
        return msgspec.structs.replace(self, until=until)

    @property
    def words(self) -> str:
        """Whom it is about, for a person."""
        if self.kind == "device":
            return f"device {self.device} of {self.user}"
        return f"{self.kind} {self.user or self.token}"


def of_subject(user: str, device: str, token: str, until: int | None = None) -> Revocation:
    """What revokes the token, or the user's device, or else the user; ValueError: nobody's."""
    kind: Kind = "token" if token else "device" if device else "user"
    try:
        for name in filter(None, (user, device, token)):
            name_of(name, "the name", MAX_TOKEN_ID)
    except Unauthorized as error:
        raise ValueError(str(error)) from None
    fields = {"kind": kind, "user": user, "device": device, "token": token, "until": until}
    return msgspec.convert(fields, Revocation)


class Revocations:
    """All that is revoked now."""

    def __init__(self, known: Iterable[Revocation] = ()) -> None:
        self._known = {each.subject: each for each in known}
        self._moving: set[str] = set()

    def add(self, revocation: Revocation) -> None:
        """Turn somebody away from now on."""
        self._known[revocation.subject] = revocation

    def remove(self, revocation: Revocation) -> None:
        """Let somebody in again."""
        self._known.pop(revocation.subject, None)

    @contextmanager
    def moving(self, user: str) -> Iterator[None]:
        """Turn a user away for as long as this lasts.

        Raises:
            BeingMoved: somebody else does so already.

        """
        if user in self._moving:
            raise BeingMoved
        self._moving.add(user)
        try:
            yield
        finally:
            self._moving.discard(user)

    def check_still(self, user: str) -> None:
        """Let pass what is done to a user.

        Raises:
            BeingMoved: somebody moves the user just now.

        """
        if user in self._moving:
            raise BeingMoved

    def check(self, grant: "Grant", device: str) -> None:
        """Let a token of a device pass.

        Raises:
            Revoked, BeingMoved: it is turned away.

        """
        self.check_still(grant.user)
        if self._known:
            for subject in _subjects(grant, device):
                if subject in self._known:
                    raise self._known[subject].refusal


def _subjects(grant: "Grant", device: str) -> Iterator[Subject]:
    """All by which such a token could be revoked."""
    yield "user", grant.user, "", ""
    yield "device", grant.user, device, ""
    if grant.token_id is not None:
        yield "token", "", "", grant.token_id
