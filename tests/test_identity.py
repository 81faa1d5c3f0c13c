"""Identification of callers: what is trusted, what is refused, and with which message."""

import json
import logging
import time
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.gateways import run_cardbase, wait_until
from support.tokens import OTHER_SECRET, SECRET, key_pair, token, unsigned

from gateway.errors import ApiError
from gateway.identity import (
    MAXIMUM_CACHED_TOKENS,
    Identifier,
    Identity,
    Unauthenticated,
    check_identity,
    issue_token,
)
from gateway.settings import SettingsError, load_settings

TENANT: Final = UUID("018f2f6e-7c1a-7000-8000-000000000001")
USER: Final = UUID("018f2f6e-7c1a-7000-8000-0000000000aa")
OTHER: Final = UUID("018f2f6e-7c1a-7000-8000-000000000002")


def identifier(**variables: str) -> Identifier:
    return Identifier(load_settings({"JWT_SECRET_KEY": SECRET} | variables))


def headers_of(authorization: str | None = None, tenant: object = None) -> dict[bytes, bytes]:
    headers = {}
    if authorization is not None:
        headers[b"authorization"] = authorization.encode()
    if tenant is not None:
        headers[b"x-tenant-id"] = str(tenant).encode()
    return headers


def refused(refuser: Identifier, headers: dict[bytes, bytes]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        refuser.identify(headers)
    return caught.value


# --- valid tokens ---------------------------------------------------------------------------------------


def test_token_names_tenant_and_user() -> None:
    sent = headers_of(f"Bearer {token(TENANT, sub=str(USER))}")
    assert identifier().identify(sent) == Identity(TENANT, USER)


def test_token_of_a_service_names_no_user() -> None:
    assert identifier().identify(headers_of(f"Bearer {token(TENANT)}")) == Identity(TENANT, None)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_scheme_is_read_in_any_case(scheme: str) -> None:
    assert identifier().identify(headers_of(f"{scheme} {token(TENANT)}")).tenant_id == TENANT


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("form", ["PEM", "PEM on one line", "PEM file", "JWKS", "JWKS file"])
def test_public_key_verifies_in_each_form(algorithm: str, form: str, tmp_path: Path) -> None:
    pair, other = key_pair(algorithm), key_pair(algorithm, 1)
    key_set = json.dumps({"keys": [other.jwk(algorithm, kid="old"), pair.jwk(algorithm, kid="new", use="sig")]})
    text = key_set if form.startswith("JWKS") else pair.public
    if form.endswith("file"):
        (tmp_path / "key").write_text(text)
        text = str(tmp_path / "key")
    elif form.endswith("line"):
        text = text.replace("\n", "\\n")
    refuser = identifier(JWT_SECRET_KEY="", JWT_ALGORITHM=algorithm, JWT_PUBLIC_KEY=text)

    good = token(TENANT, key=pair.private, algorithm=algorithm, headers={"kid": "new"})
    assert refuser.identify(headers_of(f"Bearer {good}")).tenant_id == TENANT
    other_key = key_pair(algorithm, 2)
    for bad in (
        token(TENANT, key=other_key.private, algorithm=algorithm, headers={"kid": "new"}),
        token(TENANT, key=pair.private, algorithm=algorithm, headers={"kid": "old"}) if "JWKS" in form else "x",
        token(TENANT, key=pair.private, algorithm=algorithm, headers={"kid": "none"}) if "JWKS" in form else "x",
        token(TENANT, key=pair.private, algorithm=algorithm) if "JWKS" in form else "x",
    ):
        api_error = refused(refuser, headers_of(f"Bearer {bad}"))
        assert isinstance(api_error, Unauthenticated)
        assert api_error.reason == "invalid"


def test_set_of_one_key_needs_no_kid() -> None:
    pair = key_pair("ES256")
    key_set = json.dumps({"keys": [pair.jwk("ES256", kid="only")]})
    refuser = identifier(JWT_ALGORITHM="ES256", JWT_PUBLIC_KEY=key_set)
    good = token(TENANT, key=pair.private, algorithm="ES256")
    assert refuser.identify(headers_of(f"Bearer {good}")).tenant_id == TENANT


def test_keys_for_another_use_or_algorithm_are_ignored() -> None:
    usable, encrypting, other = (key_pair("RS256", number) for number in range(3))
    keys = [
        encrypting.jwk("RS256", kid="encrypting", use="enc"),
        other.jwk("RS256", kid="other", alg="RS512"),
        key_pair("ES256").jwk("ES256", kid="curve"),
        usable.jwk("RS256", kid="usable", alg="RS256"),
    ]
    refuser = identifier(JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=json.dumps({"keys": keys}))
    good = token(TENANT, key=usable.private, algorithm="RS256")
    assert refuser.identify(headers_of(f"Bearer {good}")).tenant_id == TENANT
    for pair, kid in ((encrypting, "encrypting"), (other, "other")):
        bad = token(TENANT, key=pair.private, algorithm="RS256", headers={"kid": kid})
        assert refused(refuser, headers_of(f"Bearer {bad}")).status == 401


@pytest.mark.parametrize("audience", ["cardbase", ["somebody", "cardbase"]])
def test_required_audience_and_issuer_are_accepted(audience: object) -> None:
    refuser = identifier(JWT_AUDIENCE="cardbase", JWT_ISSUER="https://login.example")
    good = token(TENANT, aud=audience, iss="https://login.example")
    assert refuser.identify(headers_of(f"Bearer {good}")).tenant_id == TENANT


def test_audience_and_issuer_are_ignored_unless_required() -> None:
    good = token(TENANT, aud="anybody", iss="anybody")
    assert identifier().identify(headers_of(f"Bearer {good}")).tenant_id == TENANT


@pytest.mark.parametrize("claims", [{"seconds": -25}, {"nbf": int(time.time()) + 25}])
def test_clocks_may_be_half_a_minute_apart(claims: dict[str, Any]) -> None:
    assert identifier().identify(headers_of(f"Bearer {token(TENANT, **claims)}")).tenant_id == TENANT


# --- invalid tokens ----------------------------------------------------------------------------------------

CLAIMS: Final = {"tenant_id": str(TENANT), "exp": 4_102_444_800}
LATER: Final = int(time.time()) + 86_400
NOT_VALID: Final = "The token is not valid."
BAD: Final[dict[str, tuple[str, str, str]]] = {
    "nothing": ("", "invalid", NOT_VALID),
    "no token": ("abc", "invalid", NOT_VALID),
    "two dots": ("..", "invalid", NOT_VALID),
    "not base64": ("!!!.!!!.!!!", "invalid", NOT_VALID),
    "five parts": ("a.b.c.d.e", "invalid", NOT_VALID),
    "a null byte": ("a\0b.c.d", "invalid", NOT_VALID),
    "a header that is a list": (unsigned([], CLAIMS), "invalid", NOT_VALID),  # type: ignore[arg-type]
    "a header nested deep": (
        jwt.utils.base64url_encode(b'{"alg":' + b"[" * 2500).decode() + ".e30.",
        "invalid",
        NOT_VALID,
    ),
    "too long": ("a" * 4097, "invalid", "The token has more than 4096 bytes."),
    "two tokens": (f"{token(TENANT)}, Bearer {token(OTHER)}", "invalid", NOT_VALID),
    "signed by another key": (token(TENANT, key=OTHER_SECRET), "invalid", NOT_VALID),
    "signed by no key": (token(TENANT).rpartition(".")[0] + ".", "invalid", NOT_VALID),
    "algorithm none": (unsigned({"alg": "none"}, CLAIMS), "invalid", NOT_VALID),
    "algorithm None": (unsigned({"alg": "None"}, CLAIMS), "invalid", NOT_VALID),
    "no algorithm": (unsigned({"typ": "JWT"}, CLAIMS), "invalid", NOT_VALID),
    "an algorithm that is a list": (unsigned({"alg": ["HS256"]}, CLAIMS), "invalid", NOT_VALID),
    "a stronger algorithm": (token(TENANT, algorithm="HS512"), "invalid", NOT_VALID),
    "a kid that is a list": (unsigned({"alg": "HS256", "kid": ["k"]}, CLAIMS, b"x"), "invalid", NOT_VALID),
    "a critical extension": (token(TENANT, headers={"crit": ["exp"]}), "invalid", NOT_VALID),
    "claims that are a list": (jwt.api_jws.encode(b"[]", SECRET, "HS256"), "invalid", NOT_VALID),
    "claims that are no JSON": (jwt.api_jws.encode(b"{", SECRET, "HS256"), "invalid", NOT_VALID),
    "claims changed": (
        ".".join([*token(OTHER).split(".")[:1], *unsigned({}, CLAIMS).split(".")[1:2], *token(OTHER).split(".")[2:]]),
        "invalid",
        NOT_VALID,
    ),
    "an expiry without end": (jwt.api_jws.encode(b'{"exp":1e999}', SECRET, "HS256"), "invalid", NOT_VALID),
    "an expiry that is a word": (token(TENANT, exp="never"), "invalid", NOT_VALID),
    "expired": (token(TENANT, seconds=-31), "expired", "The token has expired."),
    "no expiry": (token(TENANT, exp=None), "claims", "The token lacks a claim."),
    "not valid yet": (token(TENANT, nbf=LATER), "claims", "The token is not valid yet."),
    "issued in the future": (token(TENANT, iat=LATER), "claims", "The token is not valid yet."),
    "no tenant": (token(None), "claims", "The token has no tenant_id."),
    "an empty tenant": (token(""), "claims", "The token's tenant_id is not a UUID."),
    "a tenant that is no UUID": (token("acme"), "claims", "The token's tenant_id is not a UUID."),
    "a tenant in braces": (token(f"{{{TENANT}}}"), "claims", "The token's tenant_id is not a UUID."),
    "a tenant that is a number": (token(7), "claims", "The token's tenant_id is not a UUID."),
    "a tenant that is a list": (
        token([str(TENANT)]),
        "claims",
        "The token's tenant_id is not a UUID.",
    ),
    "a user that is no UUID": (token(TENANT, sub="alice"), "claims", "The token's sub is not a UUID."),
    "a user that is a number": (token(TENANT, sub=7), "claims", "The token's sub is not a UUID."),
}


@pytest.mark.parametrize(("text", "reason", "message"), BAD.values(), ids=BAD)
def test_bad_token_is_refused(text: str, reason: str, message: str) -> None:
    api_error = refused(identifier(), headers_of(f"Bearer {text}"))
    assert isinstance(api_error, Unauthenticated)
    assert (api_error.status, api_error.code, api_error.reason) == (401, "UNAUTHENTICATED", reason)
    assert api_error.message == message
    assert api_error.headers == {
        "WWW-Authenticate": f'Bearer error="invalid_token", error_description="{message.rstrip(".")}"'
    }


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_token_is_refused_where_the_header_is_trusted_too(name: str) -> None:
    refuser = identifier(TRUST_TENANT_HEADER="true")
    assert refused(refuser, headers_of(f"Bearer {BAD[name][0]}", TENANT)).status == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another", "iss": "https://login.example"},
        {"aud": ["another"], "iss": "https://login.example"},
        {"aud": 7, "iss": "https://login.example"},
        {"iss": "https://login.example"},
        {"aud": "cardbase", "iss": "https://evil.example"},
        {"aud": "cardbase"},
    ],
)
def test_another_audience_or_issuer_is_refused(claims: dict[str, Any]) -> None:
    refuser = identifier(JWT_AUDIENCE="cardbase", JWT_ISSUER="https://login.example")
    api_error = refused(refuser, headers_of(f"Bearer {token(TENANT, **claims)}"))
    assert isinstance(api_error, Unauthenticated)
    assert api_error.reason == "claims"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_public_key_is_no_secret_to_sign_with(algorithm: str) -> None:
    """Algorithm confusion: HS256 with a public key, which everybody has."""
    pair = key_pair(algorithm)
    refuser = identifier(JWT_ALGORITHM=algorithm, JWT_PUBLIC_KEY=pair.public)
    for key in (pair.public, pair.public.strip(), json.dumps(pair.jwk(algorithm))):
        signed, _, _ = unsigned({"alg": "HS256", "typ": "JWT"}, CLAIMS).rpartition(".")
        raw = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        signature = jwt.utils.base64url_encode(raw.sign(signed.encode(), key.encode())).decode()
        assert refused(refuser, headers_of(f"Bearer {signed}.{signature}")).status == 401
    # Nor is a secret that happens to be set accepted where tokens are signed with a key pair.
    assert refused(refuser, headers_of(f"Bearer {token(TENANT)}")).status == 401


def test_key_in_the_token_itself_counts_for_nothing() -> None:
    pair, other = key_pair("RS256"), key_pair("RS256", 1)
    refuser = identifier(JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=pair.public)
    for more in ({"jwk": other.jwk("RS256")}, {"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/"}):
        bad = token(TENANT, key=other.private, algorithm="RS256", headers=more)
        assert refused(refuser, headers_of(f"Bearer {bad}")).status == 401


# --- the tenant header ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [str(TENANT), str(TENANT).upper(), f" {TENANT} "])
def test_header_next_to_a_token_may_name_its_tenant(name: str) -> None:
    assert identifier().identify(headers_of(f"Bearer {token(TENANT)}", name)).tenant_id == TENANT


@pytest.mark.parametrize("name", [OTHER, "", "acme", f"{TENANT}, {OTHER}", TENANT.hex, f"{{{TENANT}}}"])
@pytest.mark.parametrize("trust", ["true", "false"])
def test_header_that_contradicts_the_token_is_refused(name: object, trust: str) -> None:
    refuser = identifier(TRUST_TENANT_HEADER=trust)
    sent = headers_of(f"Bearer {token(TENANT)}", name)
    for _ in range(2):  # the second time the token is cached
        api_error = refused(refuser, sent)
        assert (api_error.status, api_error.code) == (403, "TENANT_MISMATCH")


def test_header_alone_is_not_trusted_once_there_is_a_key() -> None:
    api_error = refused(identifier(), headers_of(tenant=TENANT))
    assert isinstance(api_error, Unauthenticated)
    assert (api_error.reason, api_error.headers) == ("missing", {"WWW-Authenticate": "Bearer"})


def test_header_alone_is_trusted_while_there_is_no_key() -> None:
    assert identifier(JWT_SECRET_KEY="").identify(headers_of(tenant=TENANT)) == Identity(TENANT)


def test_header_alone_is_trusted_next_to_a_key_if_the_settings_say_so() -> None:
    believer = identifier(TRUST_TENANT_HEADER="true")
    assert believer.identify(headers_of(tenant=TENANT)) == Identity(TENANT)
    assert believer.identify(headers_of(f"Bearer {token(OTHER)}")) == Identity(OTHER)


def test_header_is_not_trusted_if_the_settings_say_so() -> None:
    api_error = refused(identifier(JWT_SECRET_KEY="", TRUST_TENANT_HEADER="false"), headers_of(tenant=TENANT))
    assert api_error.status == 401


@pytest.mark.parametrize("name", [None, "", "acme", TENANT.hex, f"{{{TENANT}}}", f"{TENANT}, {OTHER}", "é" * 18])
def test_missing_or_bad_header_is_422(name: object) -> None:
    api_error = refused(identifier(JWT_SECRET_KEY=""), headers_of(tenant=name))
    assert (api_error.status, api_error.code, api_error.details[0].field) == (422, "VALIDATION_ERROR", "X-Tenant-ID")


def test_token_that_cannot_be_verified_is_refused_not_ignored() -> None:
    api_error = refused(identifier(JWT_SECRET_KEY=""), headers_of(f"Bearer {token(TENANT)}", TENANT))
    assert isinstance(api_error, Unauthenticated)
    assert api_error.reason == "no_key"


def test_credentials_of_another_scheme_are_ignored() -> None:
    basic = "Basic YWxpY2U6c2VjcmV0"
    assert identifier(JWT_SECRET_KEY="").identify(headers_of(basic, TENANT)) == Identity(TENANT)
    api_error = refused(identifier(), headers_of(basic, TENANT))
    assert isinstance(api_error, Unauthenticated)
    assert api_error.reason == "missing"


# --- the cache of tokens -----------------------------------------------------------------------------------------


def test_cached_token_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    knower = identifier()
    sent = headers_of(f"Bearer {token(TENANT)}")
    first = knower.identify(sent)
    monkeypatch.setattr(jwt, "decode", lambda *_, **__: pytest.fail("verified again"))
    assert knower.identify(sent) is first


def test_cached_token_is_refused_once_it_has_expired() -> None:
    knower = identifier()
    sent = headers_of(f"Bearer {token(TENANT, seconds=-28)}")  # valid for two more seconds, as clocks may differ
    assert knower.identify(sent).tenant_id == TENANT

    def is_refused() -> bool:
        try:
            knower.identify(sent)
        except Unauthenticated as api_error:
            return api_error.reason == "expired"
        return False

    wait_until(is_refused)


def test_bad_token_is_never_cached() -> None:
    knower = identifier()
    for text, _, _ in BAD.values():
        refused(knower, headers_of(f"Bearer {text}"))
    assert knower._verified == {}


def test_no_more_tokens_are_cached_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.identity.MAXIMUM_CACHED_TOKENS", 3)
    assert MAXIMUM_CACHED_TOKENS == 4096
    knower = identifier()
    sent = [headers_of(f"Bearer {token(TENANT, jti=str(number))}") for number in range(5)]
    for headers in sent:
        knower.identify(headers)
    assert list(knower._verified) == [headers[b"authorization"] for headers in sent[2:]]


# --- what is refused at startup -----------------------------------------------------------------------------------

PUBLIC: Final = key_pair("RS256").public
PRIVATE: Final = key_pair("RS256").private
PRIVATE_SET: Final = json.dumps({"keys": [key_pair("RS256").jwk("RS256") | {"d": "AA"}]})
SECRET_SET: Final = json.dumps({"keys": [{"kty": "oct", "k": "AAAA"}]})
SMALL: Final = key_pair("RS256", bits=1024).public
OTHER_CURVE: Final = ec.generate_private_key(ec.SECP384R1()).public_key()
OTHER_CURVE_PEM: Final = OTHER_CURVE.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
OTHER_CURVE_SET: Final = json.dumps({"keys": [jwt.algorithms.ECAlgorithm.to_jwk(OTHER_CURVE, as_dict=True)]})
TWINS: Final = json.dumps({"keys": [key_pair("RS256", number).jwk("RS256", kid="k") for number in range(2)]})
WRONG_SETTINGS: Final[dict[str, tuple[dict[str, str], str]]] = {
    "no file": ({"JWT_PUBLIC_KEY": "/nowhere/key.pem"}, "No such file or directory"),
    "a folder": ({"JWT_PUBLIC_KEY": "/"}, "Is a directory"),
    "broken PEM": (
        {"JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"},
        "not a public key",
    ),
    "a private key": ({"JWT_PUBLIC_KEY": PRIVATE}, "this is a private key"),
    "a set with a private key": ({"JWT_PUBLIC_KEY": PRIVATE_SET}, "holds a private key"),
    "a set with a secret": ({"JWT_PUBLIC_KEY": SECRET_SET}, "holds a private key"),
    "a set that is none": ({"JWT_PUBLIC_KEY": '{"keys": 7}'}, "not a JSON Web Key Set"),
    "an empty set": ({"JWT_PUBLIC_KEY": '{"keys": []}'}, "no key for RS256"),
    "two keys of one kid": ({"JWT_PUBLIC_KEY": TWINS}, "two keys of the set have the kid 'k'"),
    "a key of another algorithm": ({"JWT_PUBLIC_KEY": key_pair("ES256").public}, "no key for RS256"),
    "a key of another curve": ({"JWT_ALGORITHM": "ES256", "JWT_PUBLIC_KEY": OTHER_CURVE_PEM}, "no key for ES256"),
    "a set of another curve": ({"JWT_ALGORITHM": "ES256", "JWT_PUBLIC_KEY": OTHER_CURVE_SET}, "no key for ES256"),
    "a key that is too small": (
        {"JWT_PUBLIC_KEY": SMALL},
        "1024 bits long, which is below the minimum recommended size of 2048 bits",
    ),
    "a public key as secret": ({"JWT_ALGORITHM": "HS256", "JWT_SECRET_KEY": PUBLIC}, "this is a public key"),
}


@pytest.mark.parametrize(("variables", "complaint"), WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_key_that_cannot_be_used_stops_the_start(variables: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        check_identity(load_settings({"JWT_ALGORITHM": "RS256"} | variables))
    line = str(caught.value)
    assert line.startswith("JWT_SECRET_KEY: " if "JWT_SECRET_KEY" in variables else "JWT_PUBLIC_KEY: ")
    assert "\n" not in line
    assert "BEGIN" not in line


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "cardbase.example"])
@pytest.mark.parametrize("variables", [{}, {"JWT_SECRET_KEY": SECRET, "TRUST_TENANT_HEADER": "true"}])
def test_production_does_not_trust_the_header_from_anywhere(host: str, variables: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^TRUST_TENANT_HEADER: on .* anybody who reaches the gateway"):
        check_identity(load_settings({"ENVIRONMENT": "production", "HOST": host} | variables))


@pytest.mark.parametrize(
    "variables",
    [
        {"ENVIRONMENT": "production"},
        {"ENVIRONMENT": "production", "HOST": "localhost"},
        {"ENVIRONMENT": "production", "HOST": "::1"},
        {"ENVIRONMENT": "production", "HOST": "0.0.0.0", "JWT_SECRET_KEY": SECRET},
        {"ENVIRONMENT": "production", "HOST": "0.0.0.0", "TRUST_TENANT_HEADER": "false"},
    ],
)
def test_production_starts_where_callers_are_authenticated(
    variables: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    check_identity(load_settings(variables))
    assert caplog.records == []


def test_development_is_warned_of_what_production_refuses(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_identity(load_settings({"HOST": "0.0.0.0"}))
        check_identity(load_settings({"JWT_SECRET_KEY": "short"}))
    assert [record.message.partition(":")[0] for record in caplog.records] == ["TRUST_TENANT_HEADER", "JWT_SECRET_KEY"]
    with pytest.raises(SettingsError, match=r"^JWT_SECRET_KEY: shorter than 32 bytes"):
        check_identity(load_settings({"ENVIRONMENT": "production", "JWT_SECRET_KEY": "short"}))


def test_unsafe_start_is_one_line_and_starts_no_database(tmp_path: Path) -> None:
    done = run_cardbase("serve", folder=tmp_path, ENVIRONMENT="production", HOST="0.0.0.0", PORT="0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cardbase: TRUST_TENANT_HEADER: on 0.0.0.0 anybody")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# --- making tokens --------------------------------------------------------------------------------------------------


def test_token_command_makes_a_token_that_is_accepted(tmp_path: Path) -> None:
    variables = {"JWT_SECRET_KEY": SECRET, "JWT_AUDIENCE": "cardbase", "JWT_ISSUER": "https://login.example"}
    made = run_cardbase("token", "--tenant", str(TENANT), "--user", str(USER), folder=tmp_path, **variables)
    assert (made.returncode, made.stderr) == (0, "")
    assert identifier(**variables).identify(headers_of(f"Bearer {made.stdout.strip()}")) == Identity(TENANT, USER)
    claims = jwt.decode(made.stdout.strip(), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 3600


def test_token_command_takes_an_expiry_in_minutes_and_a_private_key(tmp_path: Path) -> None:
    pair = key_pair("EdDSA")
    (tmp_path / "key.pem").write_text(pair.private)
    variables = {"JWT_ALGORITHM": "EdDSA", "JWT_PUBLIC_KEY": pair.public}
    arguments = ("--tenant", str(TENANT), "--expires", "5", "--key", "key.pem")
    made = run_cardbase("token", *arguments, folder=tmp_path, **variables)
    assert (made.returncode, made.stderr) == (0, "")
    assert identifier(**variables).identify(headers_of(f"Bearer {made.stdout.strip()}")) == Identity(TENANT)
    claims = jwt.decode(made.stdout.strip(), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 300


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({}, "a token is signed with JWT_SECRET_KEY, which is missing"),
        ({"JWT_ALGORITHM": "RS256", "JWT_PUBLIC_KEY": PUBLIC}, "a token is signed with --key, the private key, which"),
    ],
)
def test_token_command_says_what_it_needs(variables: dict[str, str], complaint: str, tmp_path: Path) -> None:
    made = run_cardbase("token", "--tenant", str(TENANT), folder=tmp_path, **variables)
    assert made.returncode == 2
    assert made.stdout == ""
    assert made.stderr.startswith(f"cardbase: {complaint}")


def test_wrong_private_key_is_refused() -> None:
    settings = load_settings({"JWT_ALGORITHM": "RS256", "JWT_PUBLIC_KEY": PUBLIC})
    with pytest.raises(SettingsError, match=r"^this key can't sign with RS256$"):
        issue_token(settings, Identity(uuid4()), private_key=key_pair("ES256").private)
