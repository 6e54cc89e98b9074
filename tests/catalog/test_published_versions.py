"""A package at other versions: how it is called, what no version is, and which versions a registry says there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_install_cache import wheel

from harness.catalog import ManifestError, NotAvailableError, Package, load_target
from harness.catalog.published import at_version, check_name, named_variant, split_version
from harness.catalog.registry import published_versions
from harness.sandbox.command import CommandResult

PACKAGE = Package(registry="pypi", name="sample-writer", version="1.0")
SCOPED = Package(registry="npm", name="@scope/thing", version="1.0.0")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("strands-agents@1.14.0", ("strands-agents", "1.14.0")),
        ("published/strands_messages@latest", ("published/strands_messages", "latest")),
        ("@scope/thing@1.0.0", ("@scope/thing", "1.0.0")),
        ("@scope/thing", ("@scope/thing", "")),
        ("strands-agents", ("strands-agents", "")),
        ("strands-agents@", ("strands-agents", "")),
        ("", ("", "")),
    ],
)
def test_a_version_stands_behind_the_last_at(text: str, parts: tuple[str, str]) -> None:
    assert split_version(text) == parts


@pytest.mark.parametrize("name", ["strands-agents", "Strands_Agents", "published/strands_messages", "published"])
def test_a_package_has_several_names(name: str) -> None:
    target = load_target("published")
    check_name(name, target, named_variant(target, "strands_messages", "1.62.0"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("strands-agent", "did you mean 'strands-agents'?"),
        ("publishd", "did you mean 'published'?"),
        ("published/server_memory", "not of 'published/server_memory'"),
        ("x", "valid: published, published/strands_messages, strands-agents"),
    ],
)
def test_another_name_is_refused_with_the_right_one(name: str, hint: str) -> None:
    target = load_target("published")
    with pytest.raises(ManifestError, match="the token is of published/strands_messages") as caught:
        check_name(name, target, named_variant(target, "strands_messages", "1.62.0"))
    assert hint in str(caught.value)


def test_a_variant_at_another_version_expects_nothing() -> None:
    target = load_target("published")
    variant = named_variant(target, "strands_in_place", "0.0.7")
    assert variant.version == "1.14.0"
    other = at_version(target, variant, "1.15.0")
    assert (other.label, dict(other.expect), other.run) == ("strands_in_place@1.15.0", {}, variant.run)
    for wrong in ("", "1.0 --index-url x", "-e", "../x", "1;x", "x" * 65):
        with pytest.raises(ManifestError, match="is not a version"):
            at_version(target, variant, wrong)
    with pytest.raises(ManifestError, match="did you mean 'strands_in_place'"):
        named_variant(target, "strands_inplace", "")


def test_a_writer_that_is_no_package_has_one_version() -> None:
    target = load_target("reference")
    with pytest.raises(ManifestError, match="reference/buggy is no published package"):
        check_name("reference", target, named_variant(target, "buggy", ""))


@pytest.mark.real
def test_pip_tells_the_versions_of_the_user_s_own_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("1.10", "1.9", "2.0rc1", "2.0rc2", "0.1"):
        wheel(tmp_path / "wheels", version)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    assert published_versions(PACKAGE) == ("0.1", "1.9", "1.10")
    assert published_versions(PACKAGE, pre=True) == ("0.1", "1.9", "1.10", "2.0rc1", "2.0rc2")
    assert published_versions(PACKAGE, also=("2.0rc2", "1.9", "3")) == ("0.1", "1.9", "1.10", "2.0rc2")
    with pytest.raises(
        NotAvailableError, match=r"^sample-reader: its versions cannot be listed: .* does not have it"
    ):
        published_versions(Package(registry="pypi", name="sample-reader", version="1"))


class Answering:
    """Stands for npm and pip: answers the same to every command."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, result: CommandResult) -> None:
        self.commands: list[list[str]] = []
        self.result = result
        monkeypatch.setattr("harness.catalog.registry.run_command", self)
        monkeypatch.setattr("harness.catalog.registry.find_npm", lambda wanted: "npm")
        monkeypatch.setattr("harness.catalog.registry.find_pip", lambda: "python")

    def __call__(self, command: list[str], **options: object) -> CommandResult:
        self.commands.append(command)
        return self.result


@pytest.mark.parametrize(
    ("answer", "versions"),
    [
        (["0.1.0", "1.0.0-beta.1", "1.0.0"], ("0.1.0", "1.0.0")),
        ("1.0.0", ("1.0.0",)),
        (["1.0.0", "1.0.0", "--prefix=/etc", ""], ("1.0.0",)),
    ],
)
def test_npm_tells_its_versions(
    answer: object, versions: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = Answering(monkeypatch, CommandResult(exit_code=0, stdout=json.dumps(answer).encode()))
    assert published_versions(SCOPED) == versions
    assert npm.commands == [["npm", "view", "@scope/thing", "versions", "--json", "--loglevel=error"]]


def test_npm_s_pre_releases_are_told_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = b'["1.0.0-beta.1","1.0.0-beta.2","1.0.0"]'
    Answering(monkeypatch, CommandResult(exit_code=0, stdout=answer))
    assert published_versions(SCOPED, pre=True) == ("1.0.0-beta.1", "1.0.0-beta.2", "1.0.0")
    assert published_versions(SCOPED, also=("1.0.0-beta.2",)) == ("1.0.0-beta.2", "1.0.0")


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (CommandResult(exit_code=0, stdout=b"nothing"), "none was named"),
        (CommandResult(exit_code=0, stdout=b'{"error": 1}'), "none was named"),
        (
            CommandResult(exit_code=1, stderr=b"ENOTFOUND https://u:pw@host/"),
            "the package index cannot be reached",
        ),
        (CommandResult(exit_code=1, stderr=b"npm error code E404"), "the package index does not have it"),
        (CommandResult(signal=9, timed_out=True), "not done after 7 s"),
        (CommandResult(exit_code=2, stderr=b"ERROR: unknown command"), "ended with exit code 2"),
        (CommandResult(not_started="npm: no such file"), "npm: no such file"),
    ],
)
@pytest.mark.parametrize("package", [PACKAGE, SCOPED])
def test_a_registry_that_does_not_say_is_one_line(
    package: Package, result: CommandResult, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Answering(monkeypatch, result)
    with pytest.raises(NotAvailableError) as caught:
        published_versions(package, timeout_s=7)
    assert str(caught.value).startswith(f"{package.name}: its versions cannot be listed: ")
    assert reason in str(caught.value) and "host" not in str(caught.value)


def test_a_package_that_is_built_from_source_has_the_versions_that_have_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pip = Answering(
        monkeypatch, CommandResult(exit_code=0, stdout=b"x (2)\nAvailable versions: 2.0, 1.0\n  LATEST: 2\n")
    )
    source = Package(registry="pypi", name="sample-writer", version="1.0", sdist=True)
    assert published_versions(source) == ("1.0", "2.0")
    (command,) = pip.commands
    assert command[command.index("--no-binary") :] == ["--no-binary", "sample-writer", "sample-writer"]
