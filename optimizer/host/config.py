"""Settings: environment (DETENT_*) beats the profile's YAML beats the defaults below. docs/reference/settings.md
explains each.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from optimizer.core.base.errors import Fault, InvalidInput, pointer_of

Profile = Literal["demo", "dev", "staging", "prod"]
PROFILES: tuple[Profile, ...] = ("demo", "dev", "staging", "prod")
DEFAULT_PROFILE: Profile = "dev"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SQLITE = ("sqlite", "sqlite+pysqlite")
SECRET = ("token_keys", "api_key", "alert_slack_webhook", "alert_discord_webhook")  # never repeated in a message


class Api(BaseModel):
    """How clients reach the API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    workers: int = Field(default=1, ge=1, le=64)  # processes that share the port
    feedback_process: bool = True  # one more, which reads long bodies of feedback for them

    def trusts(self, address: str) -> bool:
        """Whether the X-Forwarded-For of this address is believed."""
        try:
            return any(ipaddress.ip_address(address) in network for network in self.trusted_proxies)
        except ValueError:
            return False


class Alarms(BaseModel):
    """What a champion may do before an alert is raised; latency and cost are of each family's ``constraints``.

    None: not watched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    error_share: float | None = Field(default=0.10, gt=0, lt=1)
    silence_minutes: int | None = Field(default=2, ge=1)


class ServerLimits(BaseModel):
    """How much one client may ask for, and how long it may take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    body_bytes: int = Field(default=8 * 1024 * 1024, ge=1024)
    events_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    chat_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    event_text_bytes: int = Field(default=1024 * 1024, ge=1024)
    text_bytes: int = Field(default=1024 * 1024, ge=1024)
    other_bytes: int = Field(default=256 * 1024, ge=1024)
    events_values: int = Field(default=50_000, ge=100)
    values: int = Field(default=20_000, ge=100)
    batch: int = Field(default=1000, ge=1)
    operator_per_minute: int = Field(default=100, ge=1)
    keyless_chat_per_minute: int | None = Field(default=None, ge=1)
    models_usd_per_hour: float | None = Field(default=None, ge=0)
    events_per_minute: int = Field(default=60_000, ge=1)
    connections: int = Field(default=2000, ge=1)
    connections_per_address: int = Field(default=500, ge=1)
    requests_at_once: int = Field(default=500, ge=1)
    held_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    held_bytes_per_sender: int = Field(default=32 * 1024 * 1024, ge=1024)
    header_seconds: float = Field(default=10.0, gt=0)
    body_seconds: float = Field(default=60.0, gt=0)
    idle_seconds: float = Field(default=20.0, gt=0)
    stalled_seconds: float = Field(default=30.0, gt=0)

    def share(self, workers: int) -> ServerLimits:
        """What one of several processes may hold of connections, requests in work and bytes: in sum never more."""
        held = ("connections", "connections_per_address", "requests_at_once", "held_bytes", "held_bytes_per_sender")
        return self.model_copy(update={name: getattr(self, name) // workers for name in held})


class Settings(BaseSettings):
    """Everything an installation may choose. Frozen: a changed setting needs a restart."""

    model_config = SettingsConfigDict(
        env_prefix="DETENT_", env_nested_delimiter="__", frozen=True, extra="forbid", env_ignore_empty=True
    )

    home: Path
    profile: Profile = DEFAULT_PROFILE
    database_url: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8321, ge=0, le=65535)
    gateway_port: int = Field(default=0, ge=0, le=65535)
    mlflow_port: int = Field(default=8322, ge=0, le=65535)
    mlflow_tracking_uri: str | None = None
    families_dir: Path = Path("families")
    more_families_dirs: tuple[Path, ...] = ()
    models_file: Path = Path("config/models.yaml")
    token_keys: str | None = Field(default=None, repr=False)
    api_key: str | None = Field(default=None, repr=False)
    alert_slack_webhook: str | None = Field(default=None, repr=False)
    alert_discord_webhook: str | None = Field(default=None, repr=False)
    alert_level: Literal["info", "warning", "critical"] = "info"
    pipeline_retain_days: int = Field(default=90, ge=0)
    monitoring_file: Path = Path("config/monitoring.yaml")
    clock_scale: float = Field(default=1.0, ge=1.0, le=100_000.0)
    family_overrides: dict[str, Any] = Field(default_factory=dict)
    serve_file_edits: bool = False
    api: Api = Api()
    limits: ServerLimits = ServerLimits()
    alarms: Alarms = Alarms()
    tick_seconds: float = Field(default=10.0, gt=0)
    lease_seconds: float = Field(default=60.0, gt=0)
    max_studies: int = Field(default=3, ge=1)
    usd_per_month: float | None = Field(default=None, ge=0)
    restart_wait_max_seconds: float = Field(default=30.0, ge=0.5)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False

    @model_validator(mode="before")
    @classmethod
    def _paths_stand_under_home(cls, data: Any) -> Any:
        home = Path(data["home"]).expanduser().absolute()
        data["home"] = home
        for name in ("families_dir", "models_file", "monitoring_file"):
            data[name] = home / Path(data.get(name) or cls.model_fields[name].default).expanduser()
        more = data.get("more_families_dirs")
        if isinstance(more, list | tuple) and all(isinstance(one, str | Path) for one in more):
            data["more_families_dirs"] = tuple(home / Path(one).expanduser() for one in more)
        return data

    @field_validator(
        "token_keys", "api_key", "database_url", "mlflow_tracking_uri", "alert_slack_webhook", "alert_discord_webhook"
    )
    @classmethod
    def _blank_is_absent(cls, value: str | None) -> str | None:
        return value.strip() or None if value else None

    @field_validator("database_url")
    @classmethod
    def _names_a_file_of_sqlite(cls, value: str | None) -> str | None:
        """The message never repeats the address, which may hold a password."""
        scheme, _, place = (value or "").partition("://")
        file = place.partition("?")[0].removeprefix("/")
        if value is not None and (scheme not in SQLITE or not place.startswith("/") or file in ("", ":memory:")):
            raise ValueError(
                "the store is a file of SQLite, such as sqlite:////srv/detent/var/detent.db; other databases are not"
                " supported yet. Name such a file, or leave it out: then it is var/detent.db"
            )
        return value

    @field_validator("alert_slack_webhook", "alert_discord_webhook")
    @classmethod
    def _is_a_safe_address(cls, value: str | None) -> str | None:
        """https, or http to this machine.

        The message never repeats the address: with it anyone can write to the channel.
        """
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            is_fine = bool(parts.hostname) and (
                parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
            )
            is_fine = is_fine and (parts.port is None or parts.port > 0)
        except ValueError:
            is_fine = False
        if not is_fine:
            raise ValueError(
                "must be the whole address of an incoming webhook, beginning with https:// (it is a secret and not"
                " repeated here)"
            )
        return value

    @model_validator(mode="after")
    def _rules_between_settings(self) -> Settings:
        if self.profile == "prod" and self.clock_scale != 1.0:
            raise ValueError(
                "clock_scale must stay 1 under profile prod: rollouts there run on real time. Unset DETENT_CLOCK_SCALE"
            )
        if self.lease_seconds < 2 * self.tick_seconds:
            raise ValueError(
                f"lease_seconds ({self.lease_seconds:g}) must be at least twice tick_seconds ({self.tick_seconds:g}), "
                "or a candidate would lose its lease between two ticks"
            )
        for name in ("connections", "connections_per_address", "requests_at_once"):
            most = getattr(self.limits, name)
            if most < self.api.workers:
                raise ValueError(
                    f"api.workers ({self.api.workers}) must not be more than limits.{name} ({most}), of which each"
                    " process of the API gets its share"
                )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(init_settings, InitSettingsSource)
        given = init_settings.init_kwargs
        return (
            init_settings,
            env_settings,
            InitSettingsSource(settings_cls, init_kwargs=read_profile(given["home"], given["profile"])),
        )

    def var(self) -> Path:
        """State of this installation: database, keys, run files, logs."""
        return self.home / "var"

    def run_dir(self) -> Path:
        """Locks and the address of each running process."""
        return self.var() / "run"

    def log_dir(self) -> Path:
        return self.var() / "logs"

    def mlflow_dir(self) -> Path:
        return self.home / "mlflow"

    def db_url(self) -> str:
        return self.database_url or f"sqlite:///{self.var() / 'detent.db'}"

    def tracking_uri(self) -> str:
        """Where studies are mirrored to: the configured MLflow, else the local store's database file."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.mlflow_dir() / 'mlflow.db'}"

    @property
    def simulated_clock(self) -> bool:
        """Whether rollout durations run on scaled time; everything made so carries ``simulated_clock: true``."""
        return self.clock_scale != 1.0


def load_settings(profile: str | None = None, home: Path | None = None, **explicit: Any) -> Settings:
    """Settings of a home folder.

    Args:
        profile: demo, dev, staging or prod; default DETENT_PROFILE, else dev.
        home: default DETENT_HOME, else the nearest folder upwards that holds ``families/``, else the current one.
        explicit: fields that beat everything else (options of the command line); None counts as not given.
    Raises:
        InvalidInput: unknown profile, unreadable profile file, or a value outside its range; names all of them.
    """
    folder = (home or project_home() or Path.cwd()).expanduser().absolute()
    name = profile or os.environ.get("DETENT_PROFILE") or DEFAULT_PROFILE
    if name not in PROFILES:
        raise InvalidInput(f"There is no profile {name!r}. Known: {', '.join(PROFILES)}.")
    given = {key: value for key, value in explicit.items() if value is not None}
    try:
        return Settings(home=folder, profile=name, **given)
    except ValidationError as error:
        faults = [_fault(e) for e in error.errors()]
        raise InvalidInput(
            f"The settings of profile {name} cannot be used: "
            + "; ".join(f"{f.pointer[1:].replace('/', '.') or 'settings'}: {f.detail}" for f in faults)
            + f". They come from {'options of the command, from ' if given else ''}the environment (DETENT_*) and from"
            f" {_profile_file(folder, name)}.",
            faults,
        ) from None


def read_profile(home: Path, profile: str) -> dict[str, Any]:
    """The values of config/<profile>.yaml; empty when a home has no such file and the defaults hold."""
    path = _profile_file(home, profile)
    if not path.exists():
        return {}
    from optimizer.host.yaml_files import load_file

    values = load_file(path, "Correct the file.")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InvalidInput(f"{path} must hold settings as `name: value` lines, not a {type(values).__name__}.")
    fixed = sorted({"home", "profile"} & values.keys())
    if fixed:
        raise InvalidInput(
            f"{path} sets {' and '.join(fixed)}, which only the environment or an option may choose. Delete the line."
        )
    return values


def _profile_file(home: Path, profile: str) -> Path:
    return home / "config" / f"{profile}.yaml"


def project_home() -> Path | None:
    """DETENT_HOME, else the nearest folder upwards that holds ``families/``; None outside of every project."""
    named = os.environ.get("DETENT_HOME")
    if named:
        return Path(named)
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "families").is_dir()), None)


def _fault(error: Any) -> Fault:
    detail = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        detail = "there is no such setting; docs/reference/settings.md lists them"
    elif error["loc"] and error["loc"][0] in SECRET:
        pass
    elif "input" in error and error["type"] != "value_error":
        detail = f"{detail} (got {error['input']!r})"
    return Fault(pointer=pointer_of(error["loc"]), detail=detail)
