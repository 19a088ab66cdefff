"""How small everything is made, so that half-ways and fallings behind happen at all."""

from typing import NamedTuple

from hub.retention import Retention


class Sizes(NamedTuple):
    """Bounds of the hub, and what its retention keeps."""

    log_pushes: int = 4
    send_buffer: int = 500
    page_bytes: int = 60
    last_step: int = 2
    fold_rows: int = 2
    under_way: int = 2
    keeps: Retention = Retention()


NORMAL = Sizes()
MAX_OBJECT_BYTES = 400
