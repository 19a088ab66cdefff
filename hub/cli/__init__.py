"""The command `mobync-hub`, its verbs by concern; what they do is in modules that they import late.

So the help need not wait for the server.
"""

from typing import Final

from hub.cli import admitting, copying, examining, looking, moving, serving
from hub.cli.group import main

_VERBS: Final = (
    serving.serve,
    serving.settings,
    examining.doctor,
    copying.backup,
    copying.restore,
    copying.refills,
    looking.users,
    looking.devices,
    looking.objects,
    looking.log,
    looking.why,
    moving.export,
    moving.bring,
    moving.delete_user,
    moving.compact,
    moving.bundle,
    admitting.token,
    admitting.revoke,
)

for _verb in _VERBS:
    main.add_command(_verb)

__all__ = ["main"]
