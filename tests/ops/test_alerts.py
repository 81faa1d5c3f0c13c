"""Alert rules: valid, complete, each tested firing and quiet, and about metrics that exist."""

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from support import REPOSITORY, monitoring
from support.monitoring import OPS

GROUPS: Final = ("critical", "warning", "info", "slo")
RULES: Final = sorted((OPS / "prometheus" / "rules").glob("*.yml"))
CASES: Final = sorted((OPS / "prometheus" / "tests").glob("*.yml"))


def alerts() -> list[tuple[str, dict[str, Any]]]:
    """Each alert with the name of its group."""
    groups = monitoring.rule_groups()
    return [(group["name"], rule) for group in groups for rule in group["rules"] if "alert" in rule]


def promtool(*arguments: str | Path) -> str:
    command: list[str | Path] = [monitoring.tool("promtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=OPS / "prometheus")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return output


def test_prometheus_accepts_the_configuration() -> None:
    assert "SUCCESS" in promtool("check", "config", OPS / "prometheus" / "prometheus.yml")


def test_prometheus_accepts_the_rules_without_warnings() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_rules_fire_and_stay_quiet_as_their_cases_say(file: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", file)


def test_alerts_stand_in_four_groups() -> None:
    assert [group["name"] for group in monitoring.rule_groups() if any("alert" in rule for rule in group["rules"])] == [
        *("critical", "info", "slo", "warning")
    ]
    assert [file.stem for file in RULES] == [file.stem for file in CASES] == sorted(GROUPS)
    assert len(alerts()) >= 20
    names = [rule["alert"] for _, rule in alerts()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("group", "rule"), alerts(), ids=[rule["alert"] for _, rule in alerts()])
def test_an_alert_says_what_it_is_and_what_to_do(group: str, rule: dict[str, Any]) -> None:
    expected = {"critical", "warning"} if group == "slo" else {group}
    assert rule["labels"]["severity"] in expected
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert "{{" not in rule["annotations"]["summary"], "the summary is the same for all of its kind"
    file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^##+ (.+)$", (REPOSITORY / file).read_text(), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [rule["alert"] for _, rule in alerts()])
def test_an_alert_is_tested_firing_and_quiet(name: str) -> None:
    outcomes = {
        bool(case["exp_alerts"])
        for file in CASES
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == name
    }
    assert outcomes == {True, False}, "one case in which it fires, one in which it stays quiet"


def alert_rows() -> list[str]:
    """The runbook's table has a row for each alert: where it is explained, its severity, and the case that fires it."""
    fired: dict[str, str] = {}
    for file in CASES:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for case in test["alert_rule_test"]:
                if case["exp_alerts"]:
                    fired.setdefault(case["alertname"], f"`{file.name}`: {test['name']}")
    rows = []
    for _, rule in sorted(alerts(), key=lambda each: GROUPS.index(each[0])):
        name, said = rule["alert"], rule["annotations"]
        link, since = f"[{name}](#{said['runbook_url'].partition('#')[2]})", rule.get("for", "at once")
        rows.append(f"| {link} | {rule['labels']['severity']} | {since} | {said['summary']} | {fired[name]} |")
    return rows


def test_the_runbook_lists_all_alerts_with_the_case_that_fires_each() -> None:
    table = re.findall(r"^\| \[Cardbase.*$", (REPOSITORY / "docs" / "runbook.md").read_text(), re.MULTILINE)

    assert table == alert_rows()
