"""What can go wrong on a device, whose fault it is, and what to do about it.

An edit that is not well formed raises `protocol.errors.InvalidDiff`: the application's fault, and
nothing has changed. All else that a device raises is a `DeviceError`.
"""


class DeviceError(Exception):
    """Any error of a device. Its text says what happened, what it means and what to do."""


class DeviceClosed(DeviceError):
    """The application's fault: a device works only inside its `async with` block."""


class DeviceStopped(DeviceError):
    """The hub turned the device away, and it does not come back by itself.

    Edits are still kept. Give it a token that the hub takes with `Device.refresh`.
    """


class SynchronizeTimeout(DeviceError, TimeoutError):
    """Nobody's fault: the device was not level in time. Nothing is lost; it goes on trying."""


class BatchTooLarge(DeviceError):
    """The application's fault: a batch that does not fit into one push. Nothing has changed."""


class UnknownSetback(DeviceError, LookupError):
    """The application's fault: a setback that is not there, or was taken before."""


class StorageError(DeviceError):
    """The place where a device keeps its data cannot be used."""


class StorageInUse(StorageError):
    """The operator's fault: another process, or another Device, holds the same storage."""


class StorageTooNew(StorageError):
    """The operator's fault: the storage was written by a newer version of this library."""


class StorageForeign(StorageError):
    """The operator's fault: the storage belongs to another device, user or program."""


class StorageFailed(StorageError):
    """The machine's fault: it could not be read or written (disk full, permissions, …).

    What the device holds in memory may differ from what is stored, so it does nothing more: the
    edit that raised this is not kept. Mend the cause and open the device again.
    """


class LinkError(Exception):
    """Between the parts of a device: the way to the hub. A device shows it in its status."""


class LinkFailed(LinkError):
    """No connection could be opened. Tried again."""


class LinkClosed(LinkError):
    """The connection ended. `code` is what the hub closed it with; None: the line broke."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class TokenFailed(Exception):
    """The application's function that gives a token raised, or took too long. Asked again."""
