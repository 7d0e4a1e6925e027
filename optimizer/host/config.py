"""Settings: environment (DETENT_*) beats the profile's YAML beats the defaults below. What each means stands in its
description, of which docs/reference/settings.md is made.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.base.phrasing import did_you_mean, without_passwords

Profile = Literal["demo", "dev", "staging", "prod"]
PROFILES: tuple[Profile, ...] = ("demo", "dev", "staging", "prod")
DEFAULT_PROFILE: Profile = "dev"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SQLITE = ("sqlite", "sqlite+pysqlite")
SECRET = ("token_keys", "api_key", "alert_slack_webhook", "alert_discord_webhook")  # never repeated in a message


SET_AT_START = ("home", "profile", "host", "port", "api.workers", "mlflow_port")  # by the supervisor, of its children
Source = Literal["start", "environment", "profile", "default"]


class Api(BaseModel):
    """How clients reach the API."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Processes of the API, which share its port: docs/how-to/serve-with-several-workers.md. `detent"
        " serve --workers` beats it. Limits hold for all of them together: those by the minute are one count of all, of"
        " connections, requests at once and held bytes each process holds to its part, rounded down.",
    )
    feedback_process: bool = Field(
        default=True,
        description="Whether bodies of feedback above 16 KiB are read and kept, and pages drawn, by a process of their"
        " own, so that those who fetch prompts do not wait for them. false saves the memory of a process, some 100"
        " MiB.",
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        default=(),
        description="Addresses or networks (`10.0.0.7`, `10.0.0.0/24`) of reverse proxies in front of the API, as a"
        " list. Of a request that comes from one of them the client is the last address of `X-Forwarded-For` that is"
        " not itself in the list. The header of any other sender is not read. In the environment:"
        " `DETENT_API__TRUSTED_PROXIES='[\"10.0.0.7\"]'`.",
    )

    mcp_allow: tuple[Literal["optimize", "promote", "rollback"], ...] = Field(
        default=(),
        description="What a model may change over `/mcp`, as a list; never past a gate, and a study only within a"
        " budget. What the key's role does not reach is refused.",
    )

    def trusts(self, address: str) -> bool:
        """Whether the X-Forwarded-For of this address is believed."""
        try:
            return any(ipaddress.ip_address(address) in network for network in self.trusted_proxies)
        except ValueError:
            return False


class Alarms(BaseModel):
    """What a champion may do before an alert is raised, whatever it usually does. Latency and cost are limited by each
    family's `constraints`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    error_share: float | None = Field(
        default=0.10, gt=0, lt=1, description="The share of requests that may fail. null: not watched."
    )
    silence_minutes: int | None = Field(
        default=2,
        ge=1,
        description="For how many full minutes no request, or no outcome of requests that come, may come where they"
        " came steadily. null: not watched.",
    )


class ServerLimits(BaseModel):
    """How much one client may ask for, and how long it may take. What goes beyond is answered with 408, 413, 429, 431
    or 503 and the reason. A sender is a key, or an address where a request has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    body_bytes: int = Field(
        default=8 * 1024 * 1024,
        ge=1024,
        description="Bytes of any body. Of one that was answered before it had come, so much more is thrown away "
        "before the connection ends.",
    )
    events_bytes: int = Field(
        default=4 * 1024 * 1024,
        ge=1024,
        description="Bytes of a body of events or of an import. What a route takes is never more than "
        "`limits.body_bytes`.",
    )
    event_text_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        description="Bytes of one text of an event that a client sends, since masking takes processor time by "
        "length. An event with a longer text is refused alone (`text_too_long`).",
    )
    chat_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, description="Bytes of a chat completion.")
    text_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        description="Bytes of what holds texts and is no event: render, variants, exposures, OFREP.",
    )
    other_bytes: int = Field(default=256 * 1024, ge=1024, description="Bytes of every other body.")
    values: int = Field(
        default=20_000,
        ge=100,
        description="Values that a body may hold, counting each text, number, list and object at any depth. They are "
        "counted before any is made.",
    )
    events_values: int = Field(
        default=50_000,
        ge=100,
        description="The same of a body of events. An import of lines is read in parts of so many.",
    )
    batch: int = Field(default=1000, ge=1, description="Events in one request.")
    operator_per_minute: int = Field(
        default=100, ge=1, description="Changes by operators a minute, per key, or per address without one."
    )
    keyless_chat_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Chat completions a minute without a key, per address. What a family's chats may cost is "
        "`limits.usd_per_hour` of its file.",
    )
    user_chats_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Chat completions a minute of one end user: the unit of a chat, under one key. Off by default, in"
        " every profile: 100 is a sound start. The gateway counts for all workers. Chats without a unit are not"
        " counted.",
    )
    address_chats_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Chat completions a minute of one address (of IPv6: one /64), whatever its keys. Off by default, in"
        " every profile: 100 is a sound start where users' own machines ask; one server that asks for all its users is"
        " one address. Behind a proxy it needs `api.trusted_proxies`.",
    )
    reserve_measured_lengths: bool = Field(
        default=False,
        description="Limits of money of keys and hours reserve for a call under way what 19 of 20 of its model's last"
        " 200 answers stayed below, and not the longest possible answer, once there are 20. More calls fit, and a limit"
        " may be passed: at most by the price of what all calls under way may be longer. A study's cap stays hard.",
    )
    models_usd_per_hour: float | None = Field(
        default=None,
        ge=0,
        description="Dollars that chats which name a model and no family may cost together in an hour (UTC); 0 "
        "allows none. Without it: the least `limits.usd_per_hour` of a family.",
    )
    events_per_minute: int = Field(
        default=60_000,
        ge=1,
        description="Feedback, interactions and windows of exposures a minute per key, by their number.",
    )
    connections: int = Field(
        default=2000,
        ge=1,
        description="Open connections of all clients together. The process raises its limit of open files to what"
        " that needs.",
    )
    connections_per_address: int = Field(
        default=500,
        ge=1,
        description="Open connections of one address (of IPv6: one /64), those of `api.trusted_proxies` not counted.",
    )
    requests_at_once: int = Field(
        default=500, ge=1, description="Requests of one sender that are in work at the same time, streams included."
    )
    held_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024,
        description="Bytes of bodies that have arrived and whose requests are not answered yet, of all senders. "
        "One body always fits.",
    )
    held_bytes_per_sender: int = Field(
        default=32 * 1024 * 1024, ge=1024, description="The same of one sender, so that no sender can hold it all."
    )
    header_seconds: float = Field(
        default=10.0,
        gt=0,
        description="How long the headers of a request may take to arrive. They may be 64 KiB together.",
    )
    body_seconds: float = Field(
        default=60.0, gt=0, description="How long a body may take to arrive once the headers are there."
    )
    idle_seconds: float = Field(
        default=20.0, gt=0, description="How long a connection stays open between two requests."
    )
    stalled_seconds: float = Field(
        default=30.0,
        gt=0,
        description="How long a client may leave unread what is sent to it. A model that streams waits meanwhile;"
        " then the connection is closed, and what had come stays on record.",
    )

    def share(self, workers: int) -> ServerLimits:
        """What one of several processes may hold of connections, requests in work and bytes: in sum never more."""
        shared = ("connections", "connections_per_address", "requests_at_once", "held_bytes", "held_bytes_per_sender")
        return self.model_copy(update={name: getattr(self, name) // workers for name in shared})


class TracingSettings(BaseModel):
    """Spans of OpenTelemetry: requests, model calls, ticks and studies. They need the package
    `opentelemetry-exporter-otlp-proto-http`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    otlp_endpoint: str | None = Field(
        default=None,
        description="Where spans are sent over HTTP, such as `http://127.0.0.1:4318/v1/traces`. Without it there are"
        " none, and the SDK is not loaded. Headers, such as a key of the collector, are those of"
        " `OTEL_EXPORTER_OTLP_HEADERS`.",
    )
    include_prompts: bool = Field(
        default=False, description="Whether spans of model calls hold what is asked and answered, as it is."
    )


class Settings(BaseSettings):
    """Everything an installation may choose. Frozen: a changed setting needs a restart."""

    model_config = SettingsConfigDict(
        env_prefix="DETENT_", env_nested_delimiter="__", frozen=True, extra="forbid", env_ignore_empty=True
    )

    home: Path = Field(
        description="`DETENT_HOME` only. The folder that holds `families/`, `config/`, `var/` (database, keys, "
        "locks, logs) and `mlflow/`. Without it: the nearest folder upwards from the current one that"
        " holds `families/`, else the current one."
    )
    profile: Profile = Field(
        default=DEFAULT_PROFILE,
        description="`DETENT_PROFILE` only. Commands in a home follow the profile that `detent serve` last had there,"
        " whether it still runs or not (demo: while it runs), unless it says otherwise.",
    )
    database_url: str | None = Field(
        default=None,
        description="The file of the store, as an SQLAlchemy address of SQLite: "
        "`sqlite:////srv/detent/var/detent.db`. Without it: `var/detent.db`. An address of any other "
        "database is refused.",
    )
    families_dir: Path = Field(default=Path("families"), description="Families, below the home.")
    more_families_dirs: tuple[Path, ...] = Field(
        default=(),
        description="Further folders of families, served like those of `families_dir`, into which new ones are "
        "written. A name that stands in two folders is a fault of that family.",
    )
    models_file: Path = Field(
        default=Path("config/models.yaml"), description="Models, below the home: docs/reference/models.md."
    )
    monitoring_file: Path = Field(
        default=Path("config/monitoring.yaml"),
        description="The levels of the content pipeline's figures, below the home: docs/reference/content-"
        "pipeline.md. Without the file those of docs/reference/rest.md hold. A faulty file is refused"
        " at the start with its lines.",
    )
    alert_rules_file: Path = Field(
        default=Path("config/alert_rules.yaml"),
        description="The rules of alerts, below the home: docs/how-to/alert-on-rules.md. Without the file those that"
        " come along hold. An edit holds within a minute. A faulty one opens an alert, and the last good rules go on.",
    )
    mlflow_tracking_uri: str | None = Field(
        default=None,
        description="Another MLflow to mirror studies to. Then `detent serve` starts none. Without it: the home's"
        " own store under `mlflow/`.",
    )
    host: str = Field(
        default="127.0.0.1", description="Address of the API. Any other than loopback is refused until a key exists."
    )
    port: int = Field(
        default=8321,
        ge=0,
        le=65535,
        description="Port of the API. A taken one is named with its owner, where the system tells, and the next "
        "free one is used.",
    )
    api: Api = Api()
    gateway_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port of the gateway, on loopback only; clients never need it. 0: any free one.",
    )
    mlflow_port: int = Field(
        default=8322,
        ge=0,
        le=65535,
        description="Port of the MLflow UI, on loopback only, whatever `host` says; the next free one where it is"
        " taken. How to reach it: docs/how-to/serve.md.",
    )
    token_keys: str | None = Field(
        default=None,
        repr=False,
        description="Keys of assignment tokens as `id:hex,id:hex`; the first signs, all verify. Without "
        "it: made once under `var/keys`.",
    )
    api_key: str | None = Field(
        default=None, repr=False, description="The key that the command line sends to a server that asks for one."
    )
    alert_slack_webhook: str | None = Field(
        default=None,
        repr=False,
        description="Address of a Slack incoming webhook, which is told each alert: docs/how-to/send-alerts.md. "
        "https, or http to this machine. Who has it can write to the channel: keep it in the "
        "environment. No log, error or answer shows it.",
    )
    alert_discord_webhook: str | None = Field(default=None, repr=False, description="The same for Discord.")
    public_url: str | None = Field(
        default=None,
        description="Address at which people open this server, with the prefix of a proxy where there is one, such as "
        "`https://detent.example/prompts`. Messages and log lines of alerts then lead to the page that shows more.",
    )
    alert_level: Literal["info", "warning", "critical"] = Field(
        default="info", description="Alerts below it go into the log alone."
    )
    alarms: Alarms = Alarms()
    clock_scale: float = Field(
        default=1.0,
        ge=1.0,
        le=100_000.0,
        description="How many times faster than real time rollout durations pass; leases, ticks, timeouts and "
        "tokens stay on real time. Refused in profile prod. What was made under another scale than 1 "
        "carries `simulated_clock: true`.",
    )
    tick_seconds: float = Field(default=10.0, gt=0, description="How often the worker renews leases.")
    lease_seconds: float = Field(
        default=60.0,
        gt=0,
        description="How long a candidate is served after the last tick. At least twice `tick_seconds`.",
    )
    family_overrides: dict[str, Any] = Field(
        default_factory=dict,
        description="Values laid over every `family.yaml`, in its own structure. Profile demo asks for less "
        "evidence by it.",
    )
    serve_file_edits: bool = Field(
        default=False,
        description="true: an edited `prompt.current` of a family file is served at once and recorded as forced. "
        'false: it is shown as "edited, not served", with the commands that go on.',
    )
    max_studies: int = Field(
        default=3,
        ge=1,
        description="How many studies the worker runs at once. While so many are under way none starts by itself.",
    )
    usd_per_month: float | None = Field(
        default=None,
        ge=0,
        description="Dollars that the studies, judge runs and comparisons of all families together may spend in a "
        "calendar month (UTC). One that goes on counts with its whole cap, so none that starts under the limit"
        " passes it; one that begins without a cap gets what is left. Models without a known price "
        "are then not asked. Calls of clients do not count. A family's own limit is "
        "`budget.usd_per_month` of its file.",
    )
    pipeline_retain_days: int = Field(
        default=90,
        ge=0,
        description="Days for which single records of the content pipeline are kept, 0 for ever. The worker "
        "deletes older ones once a day, `detent data prune` now. Sums by hour stay.",
    )
    restart_wait_max_seconds: float = Field(
        default=30.0,
        ge=0.5,
        description="A process that keeps dying starts again after a wait that doubles from half a second up to this.",
    )
    limits: ServerLimits = ServerLimits()
    tracing: TracingSettings = TracingSettings()
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="From which level on lines are written."
    )
    log_json: bool = Field(default=False, description="true: the same JSON lines on stderr too, for a collector.")
    log_file_mb: float = Field(
        default=100.0,
        ge=0.1,
        description="MB of a file under `var/logs/`, behind which a new one begins. Each process has files of its own.",
    )
    log_files: int = Field(
        default=10, ge=2, le=1000, description="Files of a process that are kept, the one that is written included."
    )

    @model_validator(mode="before")
    @classmethod
    def _paths_stand_under_home(cls, data: Any) -> Any:
        home = Path(data["home"]).expanduser().absolute()
        data["home"] = home
        for name in ("families_dir", "models_file", "monitoring_file", "alert_rules_file"):
            data[name] = home / Path(data.get(name) or cls.model_fields[name].default).expanduser()
        more = data.get("more_families_dirs")
        if isinstance(more, list | tuple) and all(isinstance(folder, str | Path) for folder in more):
            data["more_families_dirs"] = tuple(home / Path(folder).expanduser() for folder in more)
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

    @field_validator("public_url")
    @classmethod
    def _is_a_page(cls, value: str | None) -> str | None:
        """Without the slash at its end."""
        address = (value or "").strip().rstrip("/")
        parts = urlsplit(address) if address.isprintable() and " " not in address else None
        if not address:
            return None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("must be an address such as https://detent.example, without a name or password in it")
        if parts.query or parts.fragment:
            raise ValueError("must end before any ? or #: pages are put behind it")
        return address

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
        values = init_settings.init_kwargs
        return (
            init_settings,
            env_settings,
            InitSettingsSource(settings_cls, init_kwargs=read_profile(values["home"], values["profile"])),
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
        """Where studies are mirrored: the configured MLflow, else the local store's database file."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.mlflow_dir() / 'mlflow.db'}"

    @property
    def simulated_clock(self) -> bool:
        """Whether rollout durations run on scaled time; everything made so carries ``simulated_clock: true``."""
        return self.clock_scale != 1.0


def load_settings(
    profile: str | None = None, home: Path | None = None, *, as_served: bool = False, **explicit: Any
) -> Settings:
    """Settings of a home folder.

    Args:
        profile: demo, dev, staging or prod; default DETENT_PROFILE, else dev.
        home: default DETENT_HOME, else the nearest folder upwards that holds ``families/``, else the current one.
        as_served: before dev comes the profile that the home was served with last, so that the same store and the
            same clock are meant.
        explicit: fields that beat everything else (options of the command line); None counts as not given.
    Raises:
        InvalidInput: unknown profile, unreadable profile file, or a value outside its range; names all of them.
    """
    folder = (home or project_home() or Path.cwd()).expanduser().absolute()
    name = profile or os.environ.get("DETENT_PROFILE") or (as_served and _served(folder)) or DEFAULT_PROFILE
    if name not in PROFILES:
        raise InvalidInput(f"There is no profile {name!r}. Known: {', '.join(PROFILES)}.")
    options = {key: value for key, value in explicit.items() if value is not None}
    try:
        return Settings(home=folder, profile=name, **options)
    except ValidationError as error:
        faults: list[Fault] = []
        for e in error.errors():
            detail = e["msg"].removeprefix("Value error, ")
            if e["type"] == "extra_forbidden":
                detail = "there is no such setting; docs/reference/settings.md lists them"
            elif e["loc"] and e["loc"][0] in SECRET:
                pass
            elif "input" in e and e["type"] != "value_error":
                detail = f"{detail} (got {e['input']!r})"
            faults.append(Fault(pointer=pointer_of(e["loc"]), detail=detail))
        raise InvalidInput(
            f"The settings of profile {name} cannot be used: "
            + "; ".join(f"{f.pointer[1:].replace('/', '.') or 'settings'}: {f.detail}" for f in faults)
            + f". They come from {'options of the command, from ' if options else ''}the environment (DETENT_*) and"
            f" from {_profile_file(folder, name)}.",
            faults,
        ) from None


OTHERS = ("DETENT_SERVER",)  # read by the command line alone


def unread_variables(environment: Iterable[str]) -> dict[str, str]:
    """The names that begin with ``DETENT_`` and that no setting reads, each with what it may have been meant for."""
    known = [*(f"DETENT_{name.upper()}" for name in Settings.model_fields), *OTHERS]
    names = sorted(name for name in environment if name.startswith("DETENT_"))
    return {name: did_you_mean(name, known) for name in names if name.partition("__")[0] not in known}


def _served(home: Path) -> str | None:
    try:
        name = profile_file(home).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return name if name in PROFILES else None


def profile_file(home: Path) -> Path:
    """Holds the profile that the home was served with last."""
    return home / "var" / "run" / "profile"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingInEffect:
    """``name``: with dots, as settings.md has it. ``value`` as the environment would have it; None where it is a secret
    or there is none, which ``is_set`` says. ``source``: ``start`` is what `detent serve` chose for its processes.
    """

    name: str
    value: str | None
    is_secret: bool
    is_set: bool
    source: Source


def settings_in_effect(settings: Settings) -> list[SettingInEffect]:
    """Each setting with where it comes from: the environment of this process and the profile's file, as they are now.

    Raises InvalidInput where that file cannot be read any more.
    """
    of_file = read_profile(settings.home, settings.profile)
    of_environment = {name.upper() for name, text in os.environ.items() if text}
    rows = []
    for name, value in settings.model_dump(mode="json").items():
        section = isinstance(getattr(settings, name), BaseModel)
        for path, one in [((name, inner), value[inner]) for inner in value] if section else [((name,), value)]:
            is_secret = name in SECRET
            rows.append(
                SettingInEffect(
                    name=".".join(path),
                    value=None
                    if is_secret or one is None
                    else without_passwords(one if isinstance(one, str) else canonical_json(one).decode()),
                    is_secret=is_secret,
                    is_set=one is not None,
                    source=_source(path, of_file, of_environment),
                )
            )
    return rows


def _source(path: tuple[str, ...], of_file: Mapping[str, Any], of_environment: Collection[str]) -> Source:
    if ".".join(path) in SET_AT_START:
        return "start"
    variables = (f"DETENT_{'__'.join(path[:depth])}".upper() for depth in range(1, len(path) + 1))
    if any(name in of_environment for name in variables):
        return "environment"
    inside: Any = of_file
    for part in path:
        inside = inside.get(part) if isinstance(inside, Mapping) else None
    return "profile" if inside is not None else "default"


def project_home() -> Path | None:
    """DETENT_HOME, else the nearest folder upwards that holds ``families/``; None outside of every project."""
    configured = os.environ.get("DETENT_HOME")
    if configured:
        return Path(configured)
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "families").is_dir()), None)
