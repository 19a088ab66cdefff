"""What can go wrong with the hub's file, and what its operator does then."""

from hub.errors import HubError


class StoreError(HubError):
    """The store could not do what it was asked."""


class FileInUse(StoreError):
    """Another hub serves this file. Stop that one first, or serve another file."""


class FileTooNew(StoreError):
    """A newer version of the hub wrote this file. Serve it with that version."""


class NotAHubFile(StoreError):
    """The file is something else. Name another one; this one was left as it is."""


class TargetExists(StoreError):
    """There is a file of that name already, which was left as it is."""


class NotACopy(StoreError):
    """What should be a copy of a hub's file is none, or not a sound one. Take another one."""


class NoSuchUser(StoreError):
    """Whoever asks has named a user that this file does not have. Look at `mobync-hub users`."""

    def __init__(self, user: str) -> None:
        super().__init__(f"there is no user {user!r} in this file; mobync-hub users lists all")


class NoSuchObject(StoreError):
    """Whoever asks has named an object of which the file knows nothing. Look at the user's."""

    def __init__(self, user: str, key: tuple[str, str], first_clock: int) -> None:
        super().__init__(
            f"{user!r} has no object {key[1]!r} of the model {key[0]!r}, and the log, which goes "
            f"back to clock {first_clock}, tells of none; mobync-hub objects lists what there is"
        )


class UserExists(StoreError):
    """There is a user of that name already, who was left as they were."""

    def __init__(self, user: str) -> None:
        super().__init__(f"there is a user {user!r} already; give --replace to put this one there")


class NotKnown(StoreError):
    """The file does not tell any more what was asked, or not yet. Ask for what is later."""


class StoreFailed(StoreError):
    """The disk is full or failing: nothing of this call was stored, and devices try again."""


class SyncFailed(StoreFailed):
    """The disk failed to sync. The process ends; its next start makes sure of what was written."""

    def __init__(self) -> None:
        super().__init__(
            "the disk failed to sync, and what it holds of the last writes is unknown. All that "
            "was acknowledged is stored. See to the disk, and start the hub again: it checks the "
            "file and goes on"
        )
