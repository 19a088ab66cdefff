"""What a hub's file says, asked beside the hub and changed by nobody."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def asked(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as file:
        return file.execute(query).fetchall()
