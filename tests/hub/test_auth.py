import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from hub.auth import (
    MAX_TOKEN,
    Authority,
    DevAuthority,
    Grant,
    JwtAuthority,
    Secret,
    SigningKey,
    authority_from,
    make_token,
    read_private_key,
    read_public_key,
    read_secret,
)
from hub.errors import SettingsError, Unauthorized
from hub.settings import Settings

NOW = 1_790_000_000_000
SECRET = Secret("HS256", b"a secret that is long enough to be one")
OTHER = Secret("HS256", b"a secret that is long enough, but another")
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
HUB = JwtAuthority(SECRET, lambda: NOW)


def signed(claims: dict[str, Any] | bytes, key: Secret = SECRET) -> str:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jwt.PyJWS().encode(payload, key.material, key.algorithm)


def refusal(token: object, authority: Authority = HUB) -> str:
    with pytest.raises(Unauthorized) as caught:
        authority.check(token)
    return str(caught.value)


def grant(hub: JwtAuthority = HUB, **claims: object) -> Grant:
    return hub.check(signed({"sub": "alice", **claims}))


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def in_file(folder: Path, content: bytes) -> Path:
    path = folder / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def refused(action: Callable[[], object]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        action()
    return caught.value


# Under --dev


def test_under_dev_the_token_is_the_users_name() -> None:
    assert DevAuthority().check("alice") == Grant("alice")
    assert DevAuthority().check("Ælfgifu 🦆") == Grant("Ælfgifu 🦆")


@pytest.mark.parametrize("token", ["", "a" * 129, "a\0", "a\n", "\ud800", None, 5, True, ["a"], {}])
def test_under_dev_a_token_that_is_no_name_is_refused(token: object) -> None:
    assert "the user's name under --dev" in refusal(token, DevAuthority())


# Claims


def test_a_token_names_the_user_and_no_more_than_it_says() -> None:
    assert grant() == Grant("alice", device=None, expires=None, read_only=False)
    assert grant(device="phone", iss="app", name="Alice", iat=NOW) == Grant("alice", "phone")


@pytest.mark.parametrize(
    ("exp", "expires"),
    [
        (NOW // 1000 + 60, NOW + 60_000),
        (NOW / 1000 + 0.125, NOW + 125),
        (2**53, 2**53 - 1),
        (10**300, 2**53 - 1),
        (1e308, 2**53 - 1),
    ],
)
def test_a_token_tells_in_milliseconds_until_when_it_counts(exp: float, expires: int) -> None:
    found = grant(exp=exp).expires
    assert found is not None
    assert abs(found - expires) < 1_000 if expires == 2**53 - 1 else found == expires
    assert found < 2**53


@pytest.mark.parametrize("exp", [NOW // 1000, NOW // 1000 - 1, 0, -1, -1e308])
def test_a_token_that_has_run_out_is_refused(exp: float) -> None:
    assert refusal(signed({"sub": "alice", "exp": exp})) == "the token has run out"


def test_a_token_counts_from_its_beginning_on() -> None:
    assert grant(nbf=NOW // 1000).user == "alice"
    early = signed({"sub": "alice", "nbf": NOW // 1000 + 1})
    assert refusal(early) == "the token does not count yet"


def test_the_leeway_lengthens_a_token_at_both_ends() -> None:
    hub = JwtAuthority(SECRET, lambda: NOW, leeway_seconds=2.5)
    assert grant(hub, exp=NOW // 1000 - 2).expires == NOW + 500
    assert grant(hub, nbf=NOW // 1000 + 2).user == "alice"
    assert refusal(signed({"sub": "alice", "exp": NOW // 1000 - 3}), hub)
    assert refusal(signed({"sub": "alice", "nbf": NOW // 1000 + 3}), hub)


def test_a_token_runs_out_when_the_hubs_clock_says_so() -> None:
    clock = [NOW]
    hub = JwtAuthority(SECRET, lambda: clock[0])
    token = signed({"sub": "alice", "exp": NOW // 1000 + 1})
    assert hub.check(token).expires == NOW + 1_000
    clock[0] += 1_000
    assert refusal(token, hub) == "the token has run out"


@pytest.mark.parametrize(
    ("scope", "read_only"),
    [
        ("read", True),
        ("profile  read", True),
        ("read write", False),
        ("write", False),
        ("openid profile", False),
        ("reader", False),
        ("", False),
    ],
)
def test_the_scope_read_without_write_makes_a_token_read_only(scope: str, read_only: bool) -> None:
    assert grant(scope=scope).read_only is read_only


def test_a_token_is_for_the_hubs_audience() -> None:
    hub = JwtAuthority(SECRET, lambda: NOW, audience="hub")
    assert grant(hub, aud="hub").user == "alice"
    assert grant(hub, aud=["app", "hub"]).user == "alice"
    assert refusal(signed({"sub": "a"}), hub) == "the token is for another audience"
    for aud in ("app", "hubs", [], ["hubs"]):
        other = signed({"sub": "a", "aud": aud})
        assert refusal(other, hub) == "the token is for another audience"


def test_a_hub_without_an_audience_takes_no_token_that_has_one() -> None:
    assert refusal(signed({"sub": "alice", "aud": "other"})) == "the token is for another audience"
    assert refusal(signed({"sub": "alice", "aud": []})) == "the token is for another audience"


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sub": None},
        {"sub": 5},
        {"sub": ""},
        {"sub": "a" * 129},
        {"sub": "\ud800"},
        {"sub": "a\0b"},
        {"sub": "a", "device": ""},
        {"sub": "a", "device": "d" * 65},
        {"sub": "a", "device": "\ud800"},
        {"sub": "a", "device": None},
        {"sub": "a", "device": 1},
        {"sub": "a", "exp": None},
        {"sub": "a", "exp": "1900000000"},
        {"sub": "a", "exp": True},
        {"sub": "a", "exp": float("nan")},
        {"sub": "a", "nbf": "now"},
        {"sub": "a", "scope": ["read"]},
        {"sub": "a", "scope": None},
        {"sub": "a", "aud": 5},
        b"[]",
        b"null",
        b"no json",
        b"",
        b'{"sub": "\xff"}',
        b'{"sub": "a", "exp": 1e999}',
        b'{"sub": "a", "exp": ' + b"9" * 5_000 + b"}",
        b'{"sub": "a", "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)
def test_claims_that_are_not_what_they_should_be_are_refused(
    claims: dict[str, Any] | bytes,
) -> None:
    assert refusal(signed(claims))


# Signatures


@pytest.mark.parametrize(("private", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")])
def test_the_public_key_fixes_the_algorithm(tmp_path: Path, private: Any, algorithm: str) -> None:
    key = read_public_key(in_file(tmp_path, public_pem(private)))
    assert key.algorithm == algorithm
    token = jwt.encode({"sub": "alice"}, private, algorithm=algorithm)
    assert JwtAuthority(key, lambda: NOW).check(token) == Grant("alice")


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(tmp_path: Path) -> None:
    """The oldest trick (RFC 8725, section 2.1): the public key is known to everybody."""
    pem = public_pem(RSA)
    hub = JwtAuthority(read_public_key(in_file(tmp_path, pem)), lambda: NOW)
    assert refusal(by_hand({"alg": "HS256", "typ": "JWT"}, pem), hub)


def by_hand(header: dict[str, Any], secret: bytes | None) -> str:
    """A token as an attacker makes it, who asks no library for leave."""
    parts = (json.dumps(part).encode() for part in (header, {"sub": "alice"}))
    body = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signer = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = b"" if secret is None else signer.sign(body, secret)
    return (body + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_a_token_made_by_hand_counts_only_with_the_right_secret_and_algorithm() -> None:
    assert HUB.check(by_hand({"alg": "HS256"}, SECRET.material)) == Grant("alice")
    assert refusal(by_hand({"alg": "HS256"}, OTHER.material))


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"alg": "none"},
        {"alg": "None"},
        {"alg": None},
        {"alg": ["HS256"]},
        {"alg": {}},
        {"alg": "HS512"},
        {"alg": "RS256"},
        {"alg": "HS256", "kid": 5},
        {"alg": "HS256", "crit": ["x"], "x": 1},
        {"alg": "HS256", "crit": 5},
        {"alg": "HS256", "b64": False},
    ],
)
def test_a_token_does_not_choose_how_it_is_proved(header: dict[str, Any]) -> None:
    assert refusal(by_hand(header, SECRET.material))
    assert refusal(by_hand(header, None))


@pytest.mark.parametrize(
    "token",
    [
        None,
        5,
        True,
        b"bytes",
        [],
        {},
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "\ud800.\ud800.\ud800",
        "é.é.é",
        "\0",
        "A" * (MAX_TOKEN + 1),
        "." * MAX_TOKEN,
        base64.urlsafe_b64encode(b"[" * 9_000).decode() + ".e30.",
        base64.urlsafe_b64encode(b'{"alg":' + b"9" * 5_000 + b"}").decode() + ".e30.",
        base64.urlsafe_b64encode(b"\xff\xfe").decode() + ".e30.",
    ],
)
def test_a_token_that_is_none_is_refused(token: object) -> None:
    assert refusal(token)


def test_a_token_that_is_too_long_is_refused_though_it_is_signed() -> None:
    assert refusal(signed({"sub": "alice", "more": "x" * MAX_TOKEN})) == "the token is not a JWT"


TOKEN = signed({"sub": "alice", "exp": NOW // 1000 + 60})


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_a_token_with_one_character_changed_is_refused(index: int, character: str) -> None:
    changed = TOKEN[:index] + character + TOKEN[index + 1 :]
    if changed != TOKEN:
        assert refusal(changed)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=3,
)


@given(JUNK | st.binary() | st.text("abcXYZ019-_.=", max_size=60))
def test_garbage_is_refused_and_never_repeated(token: object) -> None:
    message = refusal(token)
    assert not isinstance(token, str) or len(token) < 20 or token not in message


@given(
    st.dictionaries(
        st.sampled_from(["sub", "device", "exp", "nbf", "aud", "iss", "jti", "scope", "iat", "x"]),
        JUNK,
    )
)
def test_whatever_claims_are_signed_a_grant_is_sound_or_refused(claims: dict[str, Any]) -> None:
    try:
        found = HUB.check(signed(claims))
    except Unauthorized:
        return
    assert found.user == claims["sub"]
    assert found.user.encode()
    assert 1 <= len(found.user) <= 128
    assert found.expires is None or NOW < found.expires < 2**53


@given(
    st.text(min_size=1, max_size=128),
    st.none() | st.text(min_size=1, max_size=64),
    st.none() | st.integers(NOW + 1, NOW * 2),
    st.booleans(),
)
def test_a_token_made_for_a_grant_gives_that_grant(
    user: str, device: str | None, expires: int | None, read_only: bool
) -> None:
    wanted = Grant(user, device, expires, read_only)
    try:
        token = make_token(SECRET, wanted)
    except Unauthorized:
        assert any(ord(char) < 0xA0 for char in user + (device or ""))
        return
    assert HUB.check(token) == wanted


def test_a_hub_with_an_issuer_takes_the_tokens_of_no_other() -> None:
    hub = JwtAuthority(SECRET, lambda: NOW, issuer="https://id.example")
    assert grant(hub, iss="https://id.example") == Grant("alice")
    for claims in ({}, {"iss": "https://id.example/"}, {"iss": ""}, {"iss": "x"}):
        told = refusal(signed({"sub": "alice", **claims}), hub)
        assert told == "the token is of another issuer"
    for wrong in (None, 5, ["https://id.example"]):
        assert "claims are not" in refusal(signed({"sub": "alice", "iss": wrong}), hub)


def test_a_token_may_have_an_id_of_its_own() -> None:
    assert grant(jti="6f1c").token_id == "6f1c"
    assert grant(jti="x" * 256).token_id == "x" * 256
    for wrong in ("", "x" * 257, "a\0", 5, None):
        assert refusal(signed({"sub": "alice", "jti": wrong}))


def test_a_token_made_with_a_private_key_and_audience_counts(tmp_path: Path) -> None:
    signing = read_private_key(in_file(tmp_path, private_pem(EC)))
    proving = read_public_key(in_file(tmp_path, public_pem(EC)))
    hub = JwtAuthority(proving, lambda: NOW, audience="hub")
    assert isinstance(signing, SigningKey)
    assert hub.check(make_token(signing, Grant("alice"), "hub")) == Grant("alice")


# Files


def test_the_settings_say_whose_tokens_count(tmp_path: Path) -> None:
    secret = in_file(tmp_path, SECRET.material)
    assert isinstance(authority_from(Settings(dev=True), lambda: NOW), DevAuthority)
    hub = authority_from(
        Settings(token_secret_file=secret, token_audience="hub", token_leeway_seconds=5.0),
        lambda: NOW,
    )
    token = signed({"sub": "alice", "aud": "hub", "exp": NOW // 1000 - 1})
    assert hub.check(token) == Grant("alice", expires=NOW + 4_000)
    public = in_file(tmp_path, public_pem(ED))
    hub = authority_from(Settings(token_key_file=public), lambda: NOW)
    assert hub.check(jwt.encode({"sub": "bob"}, ED, algorithm="EdDSA")) == Grant("bob")


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_line_break_at_the_end_is_no_part_of_the_secret(tmp_path: Path, ending: bytes) -> None:
    assert read_secret(in_file(tmp_path, SECRET.material + ending)) == SECRET


def test_a_secret_that_could_be_guessed_is_refused(tmp_path: Path) -> None:
    error = refused(lambda: read_secret(in_file(tmp_path, b"x" * 31 + b"\n")))
    assert error.settings == ("token_secret_file",)
    assert "has 31 bytes" in error.problem
    assert "openssl rand" in error.remedy
    assert "xxx" not in str(error)


@pytest.mark.parametrize(
    "content", [public_pem(RSA), private_pem(EC), b"ssh-ed25519 " + b"A" * 68 + b" a@b"]
)
def test_a_key_of_another_kind_is_no_secret(tmp_path: Path, content: bytes) -> None:
    error = refused(lambda: read_secret(in_file(tmp_path, content)))
    assert "PEM or SSH key" in error.problem
    assert "token_key_file" in error.remedy


def test_a_secret_that_others_may_read_is_taken_with_a_warning(tmp_path: Path) -> None:
    path = in_file(tmp_path, SECRET.material)
    with capture_logs() as quiet:
        read_secret(path)
    path.chmod(0o644)
    with capture_logs() as logs:
        assert read_secret(path) == SECRET
    assert quiet == []
    (line,) = logs
    assert line["log_level"] == "warning"
    assert line["remedy"] == f"chmod o-r {path}"
    assert SECRET.material.decode() not in str(line)


def test_the_hub_wants_no_private_key(tmp_path: Path) -> None:
    error = refused(lambda: read_public_key(in_file(tmp_path, private_pem(RSA))))
    assert "private key, which the hub must not have" in error.problem
    assert "openssl pkey" in error.remedy


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no key",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        public_pem(ec.generate_private_key(ec.SECP384R1())),
        public_pem(ed448.Ed448PrivateKey.generate()),
        public_pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - refused
    ],
)
def test_a_key_that_is_not_good_enough_is_refused(tmp_path: Path, content: bytes) -> None:
    error = refused(lambda: read_public_key(in_file(tmp_path, content)))
    assert error.settings == ("token_key_file",)
    assert "RSA of 2048 bits up, EC P-256 or Ed25519" in error.remedy


def test_a_private_key_with_a_password_makes_no_tokens(tmp_path: Path) -> None:
    locked = EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass"))
    assert (
        "without a password" in refused(lambda: read_private_key(in_file(tmp_path, locked))).remedy
    )


@pytest.mark.parametrize("read", [read_secret, read_public_key, read_private_key])
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    error = refused(lambda: read(tmp_path / "nothing"))
    assert error.problem == f"{tmp_path / 'nothing'} cannot be read: No such file or directory"
