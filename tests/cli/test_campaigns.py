"""``headwater campaigns``: a file is checked whole, what it changes is shown before it is done, and done once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from typer.testing import CliRunner

from schemas.errors import ConfigurationError
from schemas.registry import MACROS, CampaignEntry, SiteEntry
from streams.cli import campaigns
from streams.cli.registry_diff import compare, describe, stated
from streams.cli.registry_file import read_registry_file

FILE = """
sites:
  - site: shop
    domains: [shop.example]
    currency: EUR
campaigns:
  - campaign: spring
    site: shop
    source: google
    medium: cpc
    destinations:
      - {url: "https://shop.example/a?click={click_id}", weight: 3}
      - {url: "https://shop.example/b", variant: b}
    variants: [x, y]
"""
LATER = "2099-01-01T00:00:00Z"


@pytest.fixture
def registry(monkeypatch):
    """A registry in memory, in Kafka's place: key -> entry."""
    there: dict[str, SiteEntry | CampaignEntry] = {}

    async def read(_settings):
        return dict(sorted(there.items()))

    async def write(_settings, entries):
        there.update({entry.key: entry for entry in entries})

    monkeypatch.setattr(campaigns, "read_registry", read)
    monkeypatch.setattr(campaigns, "write_registry", write)
    return there


@pytest.fixture
def file(tmp_path):
    """Writes a registry file."""

    def write(text: str):
        path = tmp_path / "registry.yaml"
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return write


def run(*arguments: object, **more: object):
    return CliRunner().invoke(campaigns.campaigns, [str(argument) for argument in arguments], **more)


def wrong(file, text: str) -> list[str]:
    """What is told of a registry file, a thing a line."""
    with pytest.raises(ConfigurationError) as caught:
        read_registry_file(file(text))
    return [line.strip() for line in str(caught.value).splitlines()]


def test_all_that_is_wrong_is_told_at_once_with_its_line(file):
    """Nobody has to mend a file five times."""
    told = wrong(
        file,
        """\
        sites:
          - site: shop
            domian: [shop.example]
            timezone: Europe/Atlantis
        campaigns:
          - campaign: spring
            site: shop
            destinations:
              - "javascript:alert(1)"
              - {url: "https://{campaign}.example/"}
              - {url: "https://shop.example/?x={nope}"}
              - {url: "https://shop.example/", weight: -1}
            site: shop
          - site: shop
        """,
    )
    assert told[0].endswith("8 things are wrong")
    lines = [int(line.split(":")[1]) for line in told[1:]]
    assert lines == [3, 4, 9, 10, 11, 12, 13, 14]
    words = ["no such field", "no time zone", "http or https", "no macro", "{nope}", "greater", "twice", "missing"]
    for line, word in zip(told[1:], words, strict=True):
        assert word in line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sites: [", "not YAML"),
        ("shops: []", "expected the lists `sites` and `campaigns`"),
        ("sites: {site: shop}", "sites: expected a list of mappings"),
        ("campaigns: [{campaign: a, site: s, channel: Paid}]", "no channel"),
        ("campaigns: [{campaign: a, site: s, lookbacks: {click: 91}}]", "lookbacks.click"),
        ("campaigns: [{campaign: a, site: s, valid_from: 2026-01-01T00:00:00}]", "has no time zone"),
        ("sites: [{site: a}, {site: a}]", "is there twice, see line 1"),
    ],
)
def test_one_thing_that_is_wrong_is_one_line(file, text, says):
    """With the file's name."""
    (line,) = wrong(file, text)
    assert "registry.yaml" in line
    assert says in line


def test_a_file_may_be_one_list_of_both(file):
    """Each entry with its kind."""
    (entry,) = read_registry_file(
        file("- {kind: campaign, campaign: a, site: s, destinations: ['https://s.example/']}")
    )
    assert entry.key == "campaign/a/s/0"
    assert entry.destinations[0].weight == 1


def test_applying_twice_changes_nothing_more(registry, file):
    """What is as the file says is not written again."""
    path = file(FILE)
    first = run("apply", path)
    assert first.exit_code == 0, first.output
    assert "+ site shop, from the beginning" in first.output
    assert first.output.endswith("2 changes written\n")
    assert set(registry) == {"site/shop/0", "campaign/spring/shop/0"}
    again = run("apply", path)
    assert again.output == "nothing changes: 2 as they are\n"
    assert json.loads(run("apply", path, "--json").output)["written"] is False


def test_a_dry_run_shows_and_does_nothing(registry, file):
    """The same lines, and what would be is not."""
    shown = run("apply", file(FILE), "--dry-run").output
    assert "+ campaign spring (site shop)" in shown
    assert shown.endswith("nothing written (--dry-run)\n")
    assert not registry
    (site, campaign) = json.loads(run("apply", file(FILE), "--dry-run", "--json").output)["changes"]
    assert (site["change"], campaign["fields"]["source"]) == ("new", {"before": None, "after": "google"})
    assert not registry


def test_nothing_is_written_where_one_entry_is_wrong(registry, file):
    """All or nothing."""
    result = run("apply", file(FILE + "  - campaign: autumn\n"))
    assert isinstance(result.exception, ConfigurationError)
    assert not registry


@pytest.mark.parametrize(("answer", "written"), [("y\n", 2), ("\n", 2), ("n\n", 0)])
def test_who_sits_at_a_terminal_is_asked(registry, file, monkeypatch, answer, written):
    """After the changes were shown; --yes asks nothing."""
    monkeypatch.setattr(campaigns, "_is_asked", lambda: True)
    result = run("apply", file(FILE), input=answer)
    assert "Write 2 changes? [Y/n]" in result.output
    assert len(registry) == written
    assert (result.exit_code, isinstance(result.exception, SystemExit)) == ((0, False) if written else (1, True))
    registry.clear()
    assert "Write" not in run("apply", file(FILE), "--yes").output
    assert len(registry) == 2


def test_what_the_file_does_not_name_stays(registry, file):
    """And is counted; sites that nobody registered are named."""
    run("apply", file(FILE))
    told = run("apply", file("campaigns: [{campaign: autumn, site: elsewhere}]")).output
    assert "besides: 2 not in the file, which stay" in told
    assert "site elsewhere" in told.splitlines()[-2]
    assert len(registry) == 3


def test_changes_are_told_field_by_field():
    """What was and what is; destinations each by itself."""
    old = CampaignEntry(campaign="c", site="s", source="google", destinations=["https://s.example/a"])
    new = CampaignEntry(
        campaign="c", site="s", source="bing", destinations=["https://s.example/a", {"url": "https://s.example/b"}]
    )
    (change,) = compare([new], {old.key: old})
    assert describe(change) == [
        "~ campaign c (site s), from the beginning",
        '    source: "google" -> "bing"',
        "    destinations:",
        '      = {"url": "https://s.example/a", "weight": 1}',
        '      + {"url": "https://s.example/b", "weight": 1}',
    ]


def test_a_new_period_is_compared_with_the_one_before_it():
    """Of the file or of the registry, whichever is the later."""
    first = SiteEntry(site="s", currency="EUR", timezone="Europe/Berlin")
    second = SiteEntry(site="s", currency="CHF", timezone="Europe/Berlin", valid_from=LATER)
    (same, change) = compare([second, first], {first.key: first})
    assert (same.what, change.what, change.fields) == ("same", "new", {"currency": ("EUR", "CHF")})
    assert describe(change)[0] == f"+ site s, from {LATER}"


def test_the_list_tells_what_is_in_force_and_what_is_to_come(registry, file):
    """Of each name the period that holds now, and until when; of those to come the first."""
    run("apply", file(FILE))
    later = f"site: shop, valid_from: {LATER}"
    run("apply", file(f"campaigns: [{{campaign: spring, {later}}}, {{campaign: z, {later}}}]"))
    lines = run("list").output.splitlines()
    (spring,) = [line for line in lines if "spring" in line]
    assert spring.split() == ["spring", "shop", "google", "/", "cpc", "2", "the", "beginning", "2099-01-01"]
    assert lines[-1] == "not in force yet: z"
    found = json.loads(run("list", "--json").output)
    assert [(entry.get("campaign"), entry["in_force"]) for entry in found] == [
        (None, True),
        ("spring", True),
        ("z", False),
    ]
    assert json.loads(run("list", "--site", "other", "--json").output) == []


def test_an_empty_registry_says_how_to_fill_it(registry):
    """Nobody is left before an empty screen."""
    assert run("list").output == "nothing is registered; `headwater campaigns apply FILE` does\n"


def test_what_is_shown_can_be_applied(registry, file):
    """All periods of a name, as a file that says the same."""
    run("apply", file(FILE))
    run("apply", file(f"campaigns: [{{campaign: spring, site: shop, valid_from: {LATER}, variants: [z]}}]"))
    before = dict(registry)
    shown = run("show", "spring").output
    assert "# in force now" in shown
    assert "# to come" in shown
    assert [entry.key for entry in read_registry_file(file(shown))] == ["campaign/spring/shop/0", *_later(before)]
    assert run("apply", file(shown)).output == "nothing changes: 2 as they are, 1 not in the file, which stay\n"
    assert registry == before
    with pytest.raises(ConfigurationError, match="no site or campaign 'nobody'"):
        run("show", "nobody", catch_exceptions=False)


def _later(registry) -> list[str]:
    return [key for key in registry if key.startswith("campaign") and not key.endswith("/0")]


def test_stated_leaves_out_what_is_default():
    """A file as a person would write it."""
    entry = SiteEntry(site="s", currency="EUR", valid_from=LATER)
    assert yaml.safe_dump(stated(entry), sort_keys=False) == f"site: s\nvalid_from: '{LATER}'\ncurrency: EUR\n"


def test_the_page_about_the_registry_is_right(file):
    """Its example can be applied, and it names every field and every macro."""
    page = (Path(__file__).parents[2] / "docs" / "registry.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (site, spring, later) = read_registry_file(file(example))
    assert (site.timezone, [one.weight for one in spring.destinations]) == ("Europe/Berlin", [3, 1])
    assert later.valid_from > spring.valid_from
    for model in (SiteEntry, CampaignEntry):
        assert [name for name in model.model_fields if name != "kind" and f"`{name}`" not in page] == []
    assert [name for name in MACROS if f"`{{{name}}}`" not in page and not name.startswith("sub")] == []
