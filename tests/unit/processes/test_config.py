"""Settings: which source wins, what is refused, and that the documentation names each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.core.base.errors import InvalidInput
from optimizer.host.config import PROFILES, Alarms, Api, ServerLimits, Settings, TracingSettings, load_settings
from optimizer.jobs.families.shipped_files import init_project

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [n for n in os.environ if n.startswith("DETENT_")]:
        monkeypatch.delenv(name)


def home_with(folder: Path, **profiles: str) -> Path:
    (folder / "config").mkdir()
    for name, text in profiles.items():
        (folder / "config" / f"{name}.yaml").write_text(text)
    return folder


def test_the_environment_beats_the_profile_which_beats_the_default(tmp_path, monkeypatch):
    home = home_with(tmp_path, dev="port: 9000\nmlflow_port: 9001\n")
    monkeypatch.setenv("DETENT_PORT", "9100")
    settings = load_settings(home=home)
    assert (settings.port, settings.mlflow_port, settings.host) == (9100, 9001, "127.0.0.1")


def test_an_option_of_the_command_line_beats_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENT_PORT", "9100")
    monkeypatch.setenv("DETENT_HOME", "/nowhere")
    settings = load_settings("prod", home=tmp_path, port=9200, host=None)
    assert (settings.port, settings.home, settings.profile, settings.host) == (9200, tmp_path, "prod", "127.0.0.1")


def test_one_limit_can_be_set_without_repeating_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = home_with(tmp_path, dev="limits: {batch: 10}\n")
    monkeypatch.setenv("DETENT_LIMITS__BODY_BYTES", "2048")
    assert load_settings(home=home).limits == ServerLimits(batch=10, body_bytes=2048)


def test_no_profile_limits_chats_until_the_lines_of_the_how_to_stand_in_its_file(tmp_path: Path) -> None:
    for profile in PROFILES:
        limits = load_settings(profile, home=ROOT).limits
        assert (limits.user_chats_per_minute, limits.address_chats_per_minute) == (None, None)
    page = (ROOT / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
    lines = page.partition("## Limits of chats")[2].partition("```yaml\n")[2].partition("```")[0]
    limits = load_settings("prod", home=home_with(tmp_path, prod=lines)).limits
    assert (limits.user_chats_per_minute, limits.address_chats_per_minute) == (100, 100)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("prot: 9000\n", "there is no such setting", id="misspelt"),
        pytest.param("port: many\n", "port", id="not a number"),
        pytest.param("port: [\n", "cannot be read", id="broken YAML"),
        pytest.param("- 1\n", "name: value", id="a list"),
        pytest.param("home: /tmp\n", "only the environment", id="home in a profile"),
        pytest.param("tick_seconds: 40\n", "at least twice", id="a lease that would run out between ticks"),
    ],
)
def test_a_faulty_profile_is_refused_with_its_file_and_reason(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        load_settings(home=home_with(tmp_path, dev=text))
    assert "dev.yaml" in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql+psycopg://detent:hidden-word@db/detent", "mysql://detent:hidden-word@db/detent"),
        *("sqlite://", "sqlite:///:memory:", "sqlite://hidden-word/detent.db", "detent.db"),
    ],
)
def test_another_store_than_a_file_of_sqlite_is_refused_and_its_password_not_repeated(tmp_path, monkeypatch, url):
    monkeypatch.setenv("DETENT_DATABASE_URL", url)
    with pytest.raises(InvalidInput, match="the store is a file of SQLite") as refused:
        load_settings(home=tmp_path)
    assert "hidden-word" not in str(refused.value)


@pytest.mark.parametrize("url", ["sqlite:////srv/detent.db", "sqlite+pysqlite:///detent.db"])
def test_the_store_may_stand_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DETENT_DATABASE_URL", url)
    assert load_settings(home=tmp_path).db_url() == url


def test_an_unknown_profile_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="demo, dev, staging, prod"):
        load_settings("production", home=tmp_path)


def test_a_scaled_clock_is_refused_in_prod_and_taken_in_staging(tmp_path, monkeypatch):
    monkeypatch.setenv("DETENT_CLOCK_SCALE", "60")
    assert load_settings("staging", home=tmp_path).simulated_clock
    with pytest.raises(InvalidInput, match="DETENT_CLOCK_SCALE"):
        load_settings("prod", home=tmp_path)


def test_the_home_is_the_nearest_folder_upwards_with_families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "families" / "triage").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "families" / "triage")
    assert load_settings().home == tmp_path


def test_secrets_do_not_show_when_settings_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETENT_TOKEN_KEYS", "k1:0011")
    monkeypatch.setenv("DETENT_API_KEY", "dk_secret")
    shown = repr(load_settings(home=tmp_path))
    assert "0011" not in shown
    assert "dk_secret" not in shown


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_of_this_project_loads(profile: str) -> None:
    settings = load_settings(profile, home=ROOT)
    assert settings.simulated_clock == (profile == "demo")


@pytest.mark.parametrize("profile", PROFILES)
def test_a_new_project_gets_the_same_profiles_as_this_one(profile: str, tmp_path: Path) -> None:
    init_project(tmp_path)
    own = (ROOT / f"config/{profile}.yaml").read_text(encoding="utf-8")
    of_demo = [line for line in own.splitlines() if line.startswith("more_families_dirs:")]  # a new project has no demo
    assert len(of_demo) == (profile == "demo")
    expected = own.removesuffix("\n" + "\n".join(of_demo) + "\n") if of_demo else own
    assert (tmp_path / f"config/{profile}.yaml").read_text(encoding="utf-8") == expected


def test_a_proxy_is_trusted_by_its_address_or_network_and_nothing_else_is(tmp_path, monkeypatch):
    monkeypatch.setenv("DETENT_API__TRUSTED_PROXIES", '["10.0.0.7", "192.0.2.0/24"]')
    api = load_settings(home=tmp_path).api
    addresses = ("10.0.0.7", "192.0.2.200", "10.0.0.8", "", "a name")
    assert [api.trusts(address) for address in addresses] == [True, True, False, False, False]
    monkeypatch.setenv("DETENT_API__TRUSTED_PROXIES", '["proxy.example"]')
    with pytest.raises(InvalidInput, match="trusted_proxies"):
        load_settings(home=tmp_path)


def test_every_setting_says_what_it_means() -> None:
    models = (Settings, ServerLimits, Api, Alarms, TracingSettings)
    unsaid = [name for model in models for name, field in model.model_fields.items() if not field.description]
    assert unsaid == ["api", "alarms", "limits", "tracing"], "groups, whose docstrings say it"
