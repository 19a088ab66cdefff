"""Where a peer is, though it comes through proxies, and though it would rather be elsewhere."""

import pytest

from hub.edge import Edge
from hub.errors import SettingsError
from hub.forwarded import proxies_of
from hub.networks import plain_address

PROXY = "127.0.0.1"
TRUSTED = Edge(trusted_proxies=(PROXY, "10.0.0.0/8", "2001:db8:1::/48"))
STANDARD = Edge(trusted_proxies=TRUSTED.trusted_proxies, forwarded_header="forwarded")


@pytest.mark.parametrize(
    ("connected", "said", "peer"),
    [
        (PROXY, ["203.0.113.7"], "203.0.113.7"),
        (PROXY, ["2001:db8::7"], "2001:db8::7"),
        # The peer may write what it likes: it stands to the left of what the proxy has seen.
        (PROXY, ["192.0.2.1, 203.0.113.7"], "203.0.113.7"),
        (PROXY, ["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
        (PROXY, ["192.0.2.1", "203.0.113.7"], "203.0.113.7"),
        (PROXY, ["x" * 9000 + ",203.0.113.7"], "203.0.113.7"),
        # One proxy behind another.
        (PROXY, ["192.0.2.1, 203.0.113.7, 10.1.2.3"], "203.0.113.7"),
        (PROXY, ["203.0.113.7, 2001:db8:1::5, 10.1.2.3"], "203.0.113.7"),
        (PROXY, ["203.0.113.7", "10.1.2.3", "10.1.2.4"], "203.0.113.7"),
        # Nobody but proxies: the farthest of them.
        (PROXY, ["10.1.2.3, 10.9.9.9"], "10.1.2.3"),
        # As some proxies write it.
        (PROXY, ["203.0.113.7:4711"], "203.0.113.7"),
        (PROXY, ["[2001:db8::7]:4711"], "2001:db8::7"),
        (PROXY, ["[2001:db8::7]"], "2001:db8::7"),
        (PROXY, ["2001:0DB8:0:0::7"], "2001:db8::7"),
        (PROXY, ["::ffff:203.0.113.7"], "203.0.113.7"),
        (PROXY, ["  203.0.113.7\t"], "203.0.113.7"),
        # What says nothing counts as nothing.
        (PROXY, [], PROXY),
        (PROXY, [""], PROXY),
        (PROXY, ["unknown"], PROXY),
        (PROXY, ["203.0.113.7, unknown"], PROXY),
        (PROXY, ["203.0.113.7, _hidden, 10.1.2.3"], "10.1.2.3"),
        (PROXY, ["203.0.113.7,"], PROXY),
        (PROXY, ["1.2.3.4.5"], PROXY),
        (PROXY, ["٢٠٣.0.113.7"], PROXY),
        # Whoever is no proxy is not believed.
        ("203.0.113.9", ["192.0.2.1"], "203.0.113.9"),
        ("11.0.0.1", ["192.0.2.1, 10.1.2.3"], "11.0.0.1"),
        ("?", ["192.0.2.1"], "?"),
    ],
)
def test_the_peer_is_the_first_from_the_right_that_is_no_trusted_proxy(
    connected: str, said: list[str], peer: str
) -> None:
    assert proxies_of(TRUSTED).peer(connected, said) == peer


@pytest.mark.parametrize(
    ("said", "peer"),
    [
        (["for=203.0.113.7"], "203.0.113.7"),
        (['For="[2001:db8::7]:4711"'], "2001:db8::7"),
        (["for=192.0.2.1, for=203.0.113.7;proto=https;by=10.1.2.3"], "203.0.113.7"),
        (["proto=https; for=203.0.113.7, for=10.1.2.3"], "203.0.113.7"),
        (["for=192.0.2.1", "for=203.0.113.7"], "203.0.113.7"),
        (["for=unknown"], PROXY),
        (["for=203.0.113.7, proto=https"], PROXY),
        (["203.0.113.7"], PROXY),
        (['for="203.0.113.7'], "203.0.113.7"),
    ],
)
def test_the_standard_header_is_read_alike_if_the_operator_says_so(
    said: list[str], peer: str
) -> None:
    assert proxies_of(STANDARD).peer(PROXY, said) == peer


def test_without_trusted_proxies_nobody_is_believed() -> None:
    proxies = proxies_of(Edge())
    assert proxies.peer(PROXY, ["203.0.113.7"]) == PROXY
    assert not proxies.is_trusted(PROXY)


def test_an_address_has_one_form() -> None:
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("::FFFF:192.0.2.1") == "192.0.2.1"
    assert plain_address("hub.example") is None


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        ("proxy.example", "which is neither address nor network"),
        ("10.0.0.1/8", "which is an address within a network"),
        ("", "which is neither address nor network"),
        ("x" * 5000, "which is neither address nor network"),
    ],
)
def test_a_proxy_that_is_no_address_is_refused(proxy: str, why: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Edge(trusted_proxies=(proxy,))
    assert why in refused.value.problem
    assert len(refused.value.problem) < 200
    assert refused.value.settings == ("trusted_proxies",)
