"""Replaying a token on the published versions of its target's package, until the one is found where the answer turns.

:mod:`harness.explore.bisection` decides which version is next. A version that cannot be installed, that cannot be run
(too old for the target's driver, too new for this machine) or whose replay is CHANGED has no answer, and one beside it
is tried. At most ⌈log2 n⌉ + 2 installations are attempted, whatever happens: where that is not enough the answer is a
range. Versions that are in the cache already cost none.

Non-goals: turns beside the one that is found; other versions of what the package depends on (each version gets the
newest that the installer of today chooses).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from harness.campaign.executor import Executor
from harness.campaign.replay import Replay, chance_of, finding_of, replay, subject_of
from harness.campaign.token import ReplayRecord
from harness.campaign.work import SetupError
from harness.catalog import (
    ManifestError,
    NotAvailableError,
    Package,
    Target,
    Variant,
    install_package,
    is_installed,
    load_target,
)
from harness.catalog.manifest import LATEST
from harness.catalog.published import at_version, check_name, named_variant, package_of, split_version
from harness.catalog.registry import published_versions
from harness.catalog.schema import suggestion
from harness.core.bisected import Bisected, Standing, Tried, Turn
from harness.core.profile import Profile
from harness.engines.base import TargetNotStartedError
from harness.explore.bisection import most_tries, next_try, turn_of
from harness.sandbox.workspace import Workspace

_STANDINGS: dict[str, Standing] = {"REPRODUCED": "shows", "FIXED": "lacks", "CHANGED": "unknown"}
_NEWEST_SHOWN = 5

Attempt = Callable[[str, bool], Tried]
"""Tries one version; whether it has to be installed first."""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """The package that a token is of."""

    target: Target
    variant: Variant
    package: Package
    made_with: str
    """The version that the token was made with; "latest" says not which."""

    def at(self, version: str) -> Package:
        """Return the package at another version."""
        return msgspec.structs.replace(self.package, version=version)


def published(record: ReplayRecord, name: str) -> Published:
    """Return the package of a token, which people call ``name``. Raises :class:`ManifestError` for another name."""
    target = load_target(record.target)
    variant = named_variant(target, record.variant, record.version)
    check_name(name, target, variant)
    package = package_of(target, variant)
    return Published(target=target, variant=variant, package=package, made_with=record.version)


def installed_version(record: ReplayRecord, text: str, begin: Callable[[Package], None]) -> tuple[Published, str]:
    """Put the version that ``NAME@VERSION`` names into the cache; return the package and the version that it is.

    ``begin`` is called before anything is installed.

    Raises :class:`ManifestError` for a wrong name or a version that is not published, :class:`NotAvailableError` for
    one that cannot be had.
    """
    name, version = split_version(text)
    found = published(record, name)
    if not version:
        raise ManifestError(f"{text!r} names no version: give {name}@VERSION")
    at_version(found.target, found.variant, version)  # what is no version must not become a word of a command
    package = found.at(version)
    if version == LATEST or not is_installed(package):
        begin(package)
    try:
        return found, install_package(package, refresh=version == LATEST).version
    except NotAvailableError:
        versions = _versions_or_none(found.package)
        if versions and version not in (*versions, LATEST):
            raise ManifestError(
                f"{found.package.name} has no version {version!r}{_near(version, versions)}"
            ) from None
        raise


def _versions_or_none(package: Package) -> tuple[str, ...]:
    try:
        return published_versions(package, pre=True)
    except NotAvailableError:
        return ()


def _near(version: str, versions: Sequence[str]) -> str:
    """Return the version that was probably meant, else the newest ones: a list of all may fill a screen."""
    near = suggestion(version, versions)
    return near if "did you mean" in near else f"; the newest are {', '.join(versions[: -_NEWEST_SHOWN - 1 : -1])}"


def versions_between(found: Published, oldest: str, newest: str, *, pre: bool) -> tuple[str, ...]:
    """Return the published versions from ``oldest`` to ``newest``, both included; an empty one is no bound.

    Raises :class:`ManifestError` where a bound is not published, or nothing lies between them.
    """
    named = [version for version in (oldest, newest, found.made_with) if version and version != LATEST]
    versions = published_versions(found.package, pre=pre, also=named)
    for option, version in (("--from", oldest), ("--to", newest)):
        if version and version not in versions:
            raise ManifestError(
                f"{option}: {found.package.name} has no version {version!r}{_near(version, versions)}"
            )
    first = versions.index(oldest) if oldest else 0
    last = versions.index(newest) if newest else len(versions) - 1
    if first > last:
        raise ManifestError(f"--from {oldest} is newer than --to {newest}")
    if first == last:
        raise ManifestError(f"{found.package.name}: {versions[first]} alone is no range; replay --target runs one")
    return versions[first : last + 1]


def check_decidable(record: ReplayRecord) -> None:
    """Raise :class:`ManifestError` for a token that no version can be FIXED by: chance decides what it shows."""
    if chance := chance_of(finding_of(record)):
        raise ManifestError(
            f"this token cannot be bisected: {chance} cannot show that a version is fixed; take the token of a "
            "finding with a crash point or a schedule"
        )


def attempt_with(
    workspace: Workspace,
    found: Published,
    record: ReplayRecord,
    *,
    times: int,
    jobs: int,
    engine: str,
    profile: Profile | None = None,
    begin: Callable[[str], None] = lambda version: None,
) -> Attempt:
    """Return what tries a version for real: installs it, and replays the token on it. ``begin``: before it installs."""

    def attempt(version: str, install: bool) -> Tried:
        begun = time.monotonic()
        standing: Standing = "unknown"
        text, result = "", None
        try:
            if install:
                begin(version)
                install_package(found.at(version))
            # The workers begin anew: an installer must not find them among its own processes when it clears up.
            with Executor(jobs, workspace.base) as executor:
                subject = subject_of(record, workspace, version)
                result = replay(executor, subject, record, times, engine, profile)
            standing, text = _STANDINGS[result.answer], _without_answer(result)
        except NotAvailableError as error:
            text = str(error)
        except (SetupError, TargetNotStartedError) as error:
            text = f"cannot be run: {error}"
        return Tried(
            version=version,
            standing=standing,
            text=text,
            times=result.times if result else 0,
            reproduced=result.reproduced if result else 0,
            installed=install,
            seconds=time.monotonic() - begun,
        )

    return attempt


def _without_answer(result: Replay) -> str:
    """Return what a replay says beside its answer and its count."""
    rest = result.text.removeprefix(result.answer).strip()
    return rest.removeprefix(f"{result.reproduced}/{result.times}").lstrip(":, ")


def bisect(found: Published, versions: Sequence[str], attempt: Attempt, tell: Callable[[Tried], None]) -> Bisected:
    """Try versions until the answer is known or the installations are used up; ``tell`` hears of each at once."""
    own = versions.index(found.made_with) if found.made_with in versions else None
    limit = most_tries(len(versions))
    tried: dict[int, Tried] = {}
    answers: dict[int, Standing] = {}
    while (index := next_try(len(versions), answers, own)) is not None:
        install = not is_installed(found.at(versions[index]))
        if install and sum(item.installed for item in tried.values()) >= limit:
            break
        tried[index] = attempt(versions[index], install)
        answers[index] = tried[index].standing
        tell(tried[index])
    return _concluded(found, versions, tuple(tried.values()), answers, own, limit, stopped=index is not None)


def _concluded(
    found: Published,
    versions: Sequence[str],
    tried: tuple[Tried, ...],
    answers: dict[int, Standing],
    own: int | None,
    limit: int,
    *,
    stopped: bool,
) -> Bisected:
    pair = turn_of(answers, own)
    known = [answer for answer in answers.values() if answer != "unknown"]
    turn: Turn = "undecided" if stopped or len(known) < 2 else "same"
    between: tuple[int, ...] = ()
    if pair is not None:
        turn = "fixed" if answers[pair[0]] == "shows" else "broken"
        between = tuple(range(pair[0] + 1, pair[1]))
    return Bisected(
        package=found.package.name,
        made_with=found.made_with,
        versions=tuple(versions),
        tried=tried,
        limit=limit,
        turn=turn,
        before=versions[pair[0]] if pair else "",
        after=versions[pair[1]] if pair else "",
        between=tuple(versions[index] for index in between),
        untried=tuple(versions[index] for index in between if index not in answers),
    )
