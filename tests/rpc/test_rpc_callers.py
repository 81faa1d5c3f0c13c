"""The identity of callers."""

from collections.abc import Callable
from uuid import UUID, uuid4

import httpx
from support import tokens
from support.gateways import Gateway
from support.rpc import assert_refused
from support.servers import Database


def test_the_tenant_is_a_parameter_and_a_setting(rpc: httpx.Client, tenant_id: UUID) -> None:
    for response in (rpc.get("my_tenant"), rpc.post("my_tenant"), rpc.get("my_tenant_given")):
        assert (response.status_code, response.json()) == (200, str(tenant_id))
    assert rpc.get("my_tenants?n=2").json() == [str(tenant_id)] * 2


def test_a_function_that_knows_nothing_of_tenants_sees_one(rpc: httpx.Client, rpc_gateway: Gateway) -> None:
    for number in range(3):
        rpc.post("create_card", json={"card_type": "voice", "content": {"n": number}}).raise_for_status()
    assert rpc.get("my_card_count").json() == 3
    with rpc_gateway.client(uuid4()) as other:
        assert other.get("/rpc/my_card_count").json() == 0
    assert rpc.post("my_card_count").json() == 3


def test_the_user_comes_from_the_token(rpc_gateway: Gateway, tenant_id: UUID) -> None:
    user_id = uuid4()
    with rpc_gateway.client() as client:
        client.headers["Authorization"] = f"Bearer {tokens.token(tenant_id, sub=str(user_id))}"
        for function in ("my_user", "maybe_my_user"):
            assert client.get(f"/rpc/{function}").json() == str(user_id)
            assert client.post(f"/rpc/{function}").json() == str(user_id)


def test_a_function_for_users_refuses_other_callers(rpc: httpx.Client) -> None:
    message = "This function is for users: a bearer token with sub is needed."
    response = rpc.get("my_user")
    assert_refused(response, 401, "PGRST302", message, None, None)
    assert response.headers["www-authenticate"] == "Bearer"
    assert rpc.get("maybe_my_user").text == "null"


def test_callers_without_a_valid_identity(rpc_gateway: Gateway) -> None:
    with rpc_gateway.client() as client:
        response = client.get("/rpc/add?a=1")
        details = "X-Tenant-ID: This header is required."
        assert_refused(response, 422, "VALIDATION_ERROR", "The request is not valid.", details, None)
        expired = client.get("/rpc/add?a=1", headers={"Authorization": f"Bearer {tokens.token(seconds=-100)}"})
        assert_refused(expired, 401, "PGRST303", "The token has expired.", None, None)
        assert expired.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
        forged = client.get("/rpc/add?a=1", headers={"Authorization": f"Bearer {tokens.token(key='x' * 40)}"})
        assert_refused(forged, 401, "PGRST301", "The token is not valid.", None, None)
        both = {"Authorization": f"Bearer {tokens.token()}", "X-Tenant-ID": str(uuid4())}
        assert client.get("/rpc/add?a=1", headers=both).json()["code"] == "TENANT_MISMATCH"


def test_too_many_requests_are_refused_in_the_same_format(
    make_gateway: Callable[..., Gateway], rpc_database: Database, tenant_id: UUID
) -> None:
    gateway = make_gateway(rpc_database, RATE_LIMIT_PER_MINUTE="1")
    with gateway.client(tenant_id) as client:
        assert client.get("/rpc/add?a=1").status_code == 200
        response = client.get("/rpc/add?a=1")
    assert (response.status_code, response.json()["code"]) == (429, "RATE_LIMITED")
    assert list(response.json()) == ["code", "message", "details", "hint", "request_id"]
