"""Section 8 of docs/protocol.md: why a connection ends, and whether the device comes back."""

from __future__ import annotations

import pytest

from protocol.closing import CLOSINGS, Comeback, comeback

TABLE = [
    (1001, "shutting_down", Comeback.SOON),
    (1012, "shutting_down", Comeback.SOON),
    (1009, None, Comeback.WITHOUT_THE_PUSH),
    (1013, "server_busy", Comeback.LATER),
    (4400, "bad_message", Comeback.WITHOUT_THE_PUSH),
    (4401, "unauthorized", Comeback.WITH_TOKEN),
    (4403, "forbidden", Comeback.NEVER),
    (4408, "timeout", Comeback.SOON),
    (4409, "replaced", Comeback.NEVER),
    (4429, "too_many_requests", Comeback.LATER),
]


def test_the_codes_are_those_of_the_table() -> None:
    assert sorted(CLOSINGS.values()) == sorted(TABLE)
    assert all(code == closing.code for code, closing in CLOSINGS.items())


@pytest.mark.parametrize(("code", "error", "then"), TABLE)
def test_a_device_decides_from_the_code_whether_it_comes_back(
    code: int, error: str | None, then: Comeback
) -> None:
    assert CLOSINGS[code].error == error
    assert comeback(code) is then


@pytest.mark.parametrize("code", [None, 1000, 1005, 1006, 1011, 3000, 4000, 4999])
def test_after_any_other_end_a_device_comes_back_later_and_later(code: int | None) -> None:
    assert comeback(code) is Comeback.LATER
