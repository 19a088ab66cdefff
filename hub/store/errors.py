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


class StoreFailed(StoreError):
    """The disk is full or failing: nothing of this call was stored, and devices try again."""
