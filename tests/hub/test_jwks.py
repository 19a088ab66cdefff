"""An issuer's set of keys (JWKS): each key fixes its own algorithm, and the token only names it."""

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.utils import base64url_encode

from hub.auth import Grant, JwtAuthority, Keyring
from hub.auth.grants import KeyNotKnown
from hub.auth.jwks import NoKeySet, read_key_set
from hub.errors import Unauthorized
from tests.hub.issuer import ListedSource

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SHORT_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
EC = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
ED448 = ed448.Ed448PrivateKey.generate()
NOW = 1_790_000_000_000


def jwk(key: Any, **more: object) -> dict[str, object]:
    """The public half of a key, as its issuer publishes it."""
    kinds: dict[Any, Any] = {
        rsa.RSAPrivateKey: RSAAlgorithm,
        ec.EllipticCurvePrivateKey: ECAlgorithm,
        object: OKPAlgorithm,
    }
    writer = next(writer for kind, writer in kinds.items() if isinstance(key, kind))
    return {**writer.to_jwk(key.public_key(), as_dict=True), **more}


def key_set(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


def hub_with(*keys: object) -> JwtAuthority:
    keyring = Keyring(ListedSource())
    keyring.take(key_set(*keys))
    return JwtAuthority(keyring, lambda: NOW)


def token(key: Any, algorithm: str, kid: str | None = None, **claims: object) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode({"sub": "alice", **claims}, key, algorithm, headers)


THREE = (jwk(RSA, kid="r", use="sig"), jwk(EC, kid="e", alg="ES256"), jwk(ED, kid="d"))


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(RSA, "RS256", "r"), (EC, "ES256", "e"), (ED, "EdDSA", "d")]
)
def test_the_key_that_the_token_names_proves_it(key: Any, algorithm: str, kid: str) -> None:
    assert hub_with(*THREE).check(token(key, algorithm, kid)) == Grant("alice")


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [
        (EC, "ES256", "r"),  # another key of the set than it names
        (RSA, "RS512", "r"),  # another algorithm of the same kind
        (RSA, "PS256", "r"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA", "d"),
    ],
)
def test_a_token_that_the_key_it_names_does_not_prove_is_refused(
    key: Any, algorithm: str, kid: str
) -> None:
    with pytest.raises(Unauthorized, match="not a JWT that the hub's key proves"):
        hub_with(*THREE).check(token(key, algorithm, kid))


def test_a_public_key_is_nobodys_secret() -> None:
    """The old trick: HS256 with the public key, which everybody knows, as the secret."""
    secret = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    head = b'{"alg":"HS256","kid":"r"}'
    said = b".".join(map(base64url_encode, (head, b'{"sub":"alice"}')))
    forged = b".".join((said, base64url_encode(hmac.digest(secret, said, "sha256")))).decode()
    unsigned = jwt.PyJWS().encode(b'{"sub":"alice"}', "", "none", {"kid": "r"})
    for each in (forged, unsigned):
        with pytest.raises(Unauthorized):
            hub_with(*THREE).check(each)


def test_a_token_without_a_kid_can_only_mean_the_one_key_there_is() -> None:
    assert hub_with(jwk(RSA)).check(token(RSA, "RS256")) == Grant("alice")
    assert hub_with(jwk(RSA, kid="r")).check(token(RSA, "RS256")) == Grant("alice")
    with pytest.raises(Unauthorized, match="does not say which key"):
        hub_with(*THREE).check(token(RSA, "RS256"))
    with pytest.raises(KeyNotKnown):
        hub_with(*THREE).check(token(RSA, "RS256", "another"))


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (jwk(RSA, use="enc"), "it is not for signatures"),
        (jwk(RSA, key_ops=["encrypt"]), "it is not for signatures"),
        (jwk(RSA, alg="RS512"), "it is for RS512, and the hub takes RS256 of its kind"),
        (jwk(RSA, alg="HS256"), "it is for HS256, and the hub takes RS256 of its kind"),
        (jwk(RSA, alg=None), "it is for None, and the hub takes RS256 of its kind"),
        (jwk(SHORT_RSA), "it is not whole, or too short"),
        (jwk(P384), "its kind is EC P-384"),
        (jwk(ED448), "its kind is OKP Ed448"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "its kind is oct"),
        ({**jwk(EC), "d": "AAAA"}, "it is a private key"),
        ({**jwk(EC), "x": "AAAA"}, "it is not whole, or too short"),
        ({"kty": "RSA"}, "it is not whole, or too short"),
        (jwk(EC, kid=5), "its kid is no text"),
        ("key", "it is no key"),
        (None, "it is no key"),
    ],
)
def test_a_key_of_no_use_is_passed_over_and_the_others_count(key: object, why: str) -> None:
    found = read_key_set(key_set(key, jwk(ED, kid="good")))
    assert list(found.keys) == ["good"]
    assert [told.startswith(f"key 0: {why}") for told in found.passed_over] == [True]


def test_of_two_keys_of_one_name_the_first_counts() -> None:
    found = read_key_set(key_set(jwk(RSA, kid="a"), jwk(EC, kid="a")))
    assert found.keys["a"].algorithm == "RS256"
    assert found.passed_over == ["key 1: another one before it has the same kid"]


def test_no_more_than_a_hundred_keys_are_looked_at() -> None:
    many = [jwk(EC, kid=str(number)) for number in range(120)]
    assert len(read_key_set(key_set(*many)).keys) == 100


@pytest.mark.parametrize(
    "text", [b"", b"no JSON", b"[]", b"{}", b'{"keys": 5}', b"\xff", b"[" * 9999]
)
def test_what_is_no_set_of_keys_is_said_to_be_none(text: bytes) -> None:
    with pytest.raises(NoKeySet):
        read_key_set(text)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([*jwk(RSA), *jwk(EC), "kid", "use", "alg", "key_ops", "d"]),
            JUNK | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519"]),
            max_size=6,
        ),
        max_size=4,
    )
)
def test_whatever_an_issuer_publishes_the_hub_takes_it_or_passes_it_over(keys: list[Any]) -> None:
    found = read_key_set(key_set(*keys))
    assert len(found.keys) + len(found.passed_over) == len(keys)


@pytest.mark.parametrize("kid", [5, None, ["r"], "x" * 10_000])
def test_a_kid_of_any_kind_is_dealt_with(kid: object) -> None:
    head = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": kid}).encode()).rstrip(b"=")
    body = token(RSA, "RS256").split(".", 1)[1]
    with pytest.raises(Unauthorized):
        hub_with(*THREE).check(f"{head.decode()}.{body}")
