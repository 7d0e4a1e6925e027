"""The list of use cases: each act and each read that a person or a program can ask for, once.

``api`` builds its routes from this list, and the command line its requests. A use case is one function of ``jobs`` (or
``content``) that takes a Context and its own request, and gives its own report. It is imported when it is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property, partial
from importlib import import_module
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from optimizer.core.base.answers import FIGURES_ONLY

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from optimizer.core.serving.access import Role
    from optimizer.jobs.request import Request

Method = Literal["GET", "POST", "PUT", "DELETE"]
Change = Literal["limited", "never-refused"]


@dataclass(frozen=True)
class UseCase:
    """One act or read; a read unless it is said otherwise.

    ``function``: "module:name", the module below ``room``. ``group``: the heading of the API's page that lists it.
    ``change``: whether it counts against the limit on an operator's changes; ``never-refused`` passes beyond the limit.
    ``narrows``: the function itself holds a key for named families to them; else such a key is held to the ``{family}``
    of the path, and refused where the path has none. ``keyed``: the answer is kept under an Idempotency-Key. ``brake``:
    it stops or takes back what is served, or says what there is to stop and how the home is; as a command it works on
    the store where the server does not carry it out. ``counted``: the member whose entries count towards what a sender
    may send in a minute. ``apart``: it takes processor time, so another process than the api does it. ``long_bodies``:
    these take processor time, so the process for feedback takes them. ``dry``: what 200 means for a report whose
    ``dry_run`` is true, where the usual status is another. ``again``: the same for a report whose ``new`` is false.
    ``location``, ``etag``: the headers, made of the report's members. ``is_private``: no cache may keep the answer.
    """

    name: str
    path: str
    function: str
    group: str
    _: KW_ONLY
    room: str = "optimizer.jobs"
    method: Method = "GET"
    role: Role = "read"
    change: Change | None = None
    narrows: bool = False
    keyed: bool = False
    brake: bool = False
    apart: bool = False
    counted: str | None = None
    long_bodies: bool = False
    status: int = 200
    dry: str | None = None
    again: str | None = None
    location: str | None = None
    is_private: bool = False
    etag: str | None = None

    @property
    def full_name(self) -> str:
        """Of its function: "module:name" with the room."""
        return f"{self.room}.{self.function}"

    @cached_property
    def call(self) -> Callable[..., Any]:
        module, _, name = self.full_name.partition(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function

    @cached_property
    def request(self) -> type[Request]:
        request: type[Request] = get_type_hints(self.call)["request"]
        return request

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """JSON Schema of the request."""
        return self.request.model_json_schema()

    @cached_property
    def report(self) -> Any:
        return get_type_hints(self.call)["return"]

    @cached_property
    def answer(self) -> TypeAdapter[Any]:
        """The type adapter that writes and reads reports as JSON."""
        from pydantic import TypeAdapter

        return TypeAdapter(self.report)

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing. A read whose request is too long for an address is a POST."""
        return self.method == "GET" or self.role in ("read", "read-texts")

    def written(self, report: Any, *, figures_only: bool = False) -> bytes:
        """The report as JSON, as its route answers; without texts where ``figures_only``."""
        return self.answer.dump_json(report, by_alias=True, context=FIGURES_ONLY if figures_only else None)

    @property
    def description(self) -> str:
        """The function's docstring, which is shown to those who ask."""
        return re.split(r"\n\s*(?:Args|Raises):|\n*Raises ", cleandoc(self.call.__doc__ or ""), maxsplit=1)[0].strip()

    @property
    def path_members(self) -> Mapping[str, str]:
        """The members of the path, by name, as the path has them: ``{family}``, ``{unit:path}``."""
        return {member[1]: member[0] for member in re.finditer(r"\{(\w+)(?::\w+)?\}", self.path)}


# A change by an operator, which may be repeated under an Idempotency-Key; other use cases are reads.
_act = partial(UseCase, method="POST", role="operate", change="limited", keyed=True)
TEXTS: Mapping[str, Any] = {"role": "read-texts"}
FREEZE: Mapping[str, Any] = {"change": "never-refused", "narrows": True}
STUDIES, FRONT, REPORT = "studies.start_study", "studies.read_front", "studies.report_study"
QUEUED_STUDY: Mapping[str, Any] = {
    "status": 202,
    "location": "/v1/studies/{0.id}",
    "dry": "With dry_run: calls, dollars and minutes expected; nothing is spent.",
    "again": "The study that has confirmed it.",
}
ACT: Mapping[str, Any] = {"narrows": True, "etag": "version"}
BRAKE: Mapping[str, Any] = {"change": "never-refused", "brake": True}
START: Mapping[str, Any] = {
    "status": 201,
    "dry": "With dry_run: what would happen; nothing is made.",
    "location": "/v1/rollouts/{0.id}",
}
ROLLOUT, ID = "/v1/families/{family}/rollout", "/v1/rollouts/{id}"
APART: Mapping[str, Any] = {"narrows": True, "apart": True}
VARIANTS, READ_VARIANTS = "/v1/families/{family}/variants", "champions.read_variants"
COMPARISONS, EVALUATIONS = "runs.create_comparison", "runs.create_evaluation"
PLAYBOOK, GOLDEN = "/v1/families/{family}/playbook", "/v1/families/{family}/golden"
OVERRIDES, CHAMPION = "/v1/families/{family}/overrides/{unit:path}", "/v1/families/{family}/champion"
JUDGE, JUDGE_RUNS = "/v1/families/{family}/judge", "runs.create_judge_run"
SILENCES = "/v1/alert-silences/{name}"
SCHEDULE = "/v1/families/{family}/schedule"
DRY = "With dry_run: calls and dollars expected; nothing is spent."
QUEUED_RUN: Mapping[str, Any] = {"status": 202, "location": "/v1/judge-runs/{0.id}", "dry": DRY}
PERFORMANCE = "/api/performance"
PIPELINE: Mapping[str, Any] = {"group": "Content pipeline", "room": "optimizer.content.jobs"}
QUALITY = "champions.read_quality"
STUDENTS, STUDENT_ACTS = "/v1/families/{family}/student", "champions.resume_student"
NEVER: Mapping[str, Any] = {"change": "never-refused"}
FORGET = "upkeep.forget_person"
THRESHOLDS = "/v1/families/{family}/thresholds"
KEY: Mapping[str, Any] = {"role": "admin", "is_private": True}
USE_CASES = (
    UseCase("families", "/v1/families", "scheduling.read_families:read_families", "Families", narrows=True),
    UseCase("family", "/v1/families/{family}", "scheduling.read_families:read_family", "Families"),
    UseCase("worth", "/v1/families/{family}/worth", "studies.read_worth:read_worth", "Families", apart=True),
    UseCase("triggers", "/v1/families/{family}/triggers", "scheduling.read_families:read_triggers", "Studies"),
    _act(
        "exposures",
        "/v1/exposures",
        "feedback.record_exposures:record_exposures",
        "Events",
        role="feedback",
        change=None,
        narrows=True,
        counted="windows",
    ),
    UseCase("variants", VARIANTS, f"{READ_VARIANTS}:read_variants", "Variants"),
    _act(
        "create_variant",
        VARIANTS,
        "families.create_variant:create_variant",
        "Variants",
        status=201,
        again="The family has this variant already.",
        location="/v1/variants/{0.variant}",
    ),
    UseCase(
        "preview variant",
        f"{VARIANTS}/preview",
        "runs.preview_variant:preview_variant",
        "Variants",
        **TEXTS,
        method="POST",
    ),
    UseCase("variant", "/v1/variants/{variant}", f"{READ_VARIANTS}:read_variant", "Variants", narrows=True),
    UseCase("diff", "/v1/variants/{variant}/diff", f"{READ_VARIANTS}:read_diff", "Variants", **TEXTS, narrows=True),
    UseCase("named_variant", f"{VARIANTS}/{{name}}", f"{READ_VARIANTS}:read_named_variant", "Variants"),
    UseCase("export", f"{VARIANTS}/{{name}}/export", f"{READ_VARIANTS}:read_export", "Variants", **TEXTS),
    UseCase(
        "snapshot file",
        "/v1/snapshot/champions",
        "champions.export_snapshot:export_snapshot",
        "Variants",
        **TEXTS,
        narrows=True,
    ),
    _act(
        "compare variants",
        "/v1/families/{family}/comparisons",
        f"{COMPARISONS}:start_comparison",
        "Variants",
        status=202,
        location="/v1/comparisons/{0.id}",
        dry=DRY,
    ),
    UseCase("comparison", "/v1/comparisons/{id}", f"{COMPARISONS}:read_comparison", "Variants", narrows=True),
    UseCase("grid", "/v1/comparisons/{id}/grid", f"{COMPARISONS}:read_grid", "Variants", **APART),
    _act(
        "cancel comparison", "/v1/comparisons/{id}/cancel", f"{COMPARISONS}:stop_comparison", "Variants", narrows=True
    ),
    _act(
        "evaluate variant",
        "/v1/families/{family}/evaluations",
        f"{EVALUATIONS}:start_evaluation",
        "Variants",
        status=202,
        location="/v1/evaluations/{0.id}",
        dry=DRY,
    ),
    UseCase("evaluation", "/v1/evaluations/{id}", f"{EVALUATIONS}:read_evaluation", "Variants", narrows=True),
    _act(
        "cancel evaluation", "/v1/evaluations/{id}/cancel", f"{EVALUATIONS}:stop_evaluation", "Variants", narrows=True
    ),
    UseCase("history", "/v1/families/{family}/history", f"{READ_VARIANTS}:read_history", "Families"),
    UseCase("stats", "/v1/families/{family}/stats", "champions.read_stats:read_stats", "Families"),
    _act("retire", "/v1/families/{family}", "families.retire_family:retire_family", "Families", method="DELETE"),
    _act("restore", "/v1/families/{family}/restore", "families.retire_family:restore_family", "Families"),
    _act("rename", "/v1/families/{family}/rename", "families.rename_family:rename_family", "Families"),
    _act("adopt", "/v1/families/{family}/adopt", "rollouts.adopt_file_version:adopt_file_version", "Families"),
    _act(
        "import examples",
        "/v1/families/{family}/examples",
        "dataset.import_examples:import_examples",
        "Families",
        long_bodies=True,
    ),
    UseCase("examples", "/v1/families/{family}/examples", "dataset.read_examples:read_examples", "Families"),
    UseCase("golden", GOLDEN, "dataset.golden_scenarios:read_golden", "Families", **TEXTS),
    UseCase("all_golden", "/v1/golden", "dataset.golden_scenarios:read_all_golden", "Families", **TEXTS, narrows=True),
    _act("golden_add", GOLDEN, "dataset.golden_scenarios:add_golden", "Families"),
    _act(
        "golden_remove",
        f"{GOLDEN}/{{example:path}}",
        "dataset.golden_scenarios:remove_golden",
        "Families",
        method="DELETE",
    ),
    _act(
        "propose",
        "/v1/families/{family}/graphs",
        "feedback.repair_graphs:propose_repairs",
        "Graphs",
        role="feedback",
        change=None,
        status=201,
        again="They were proposed before; this is the graph.",
        location="/v1/graphs/{0.id}",
    ),
    UseCase("graphs", "/v1/graphs", "feedback.repair_graphs:read_graphs", "Graphs", **TEXTS, narrows=True),
    UseCase("graph", "/v1/graphs/{id}", "feedback.repair_graphs:read_graph", "Graphs", **TEXTS, narrows=True),
    _act("repair_approve", "/v1/repairs/{id}/approve", "feedback.repair_graphs:approve_repair", "Graphs", narrows=True),
    _act("repair_reject", "/v1/repairs/{id}/reject", "feedback.repair_graphs:reject_repair", "Graphs", narrows=True),
    UseCase("playbook", PLAYBOOK, "families.change_playbook:read_playbook", "Playbooks", **TEXTS),
    _act("entry_retire", f"{PLAYBOOK}/{{entry}}/retire", "families.change_playbook:retire_entry", "Playbooks"),
    _act("entry_restore", f"{PLAYBOOK}/{{entry}}/restore", "families.change_playbook:restore_entry", "Playbooks"),
    _act(
        "forget person",
        "/v1/units/{unit:path}",
        f"{FORGET}:forget_person",
        "Operations",
        method="DELETE",
        role="admin",
        status=202,
        location="/v1/forgettings/{0.id}",
    ),
    UseCase("forgetting", "/v1/forgettings/{id}", f"{FORGET}:read_forgetting", "Operations", role="admin"),
    _act("prune", "/v1/data/prune", "upkeep.prune_records:prune", "Operations", role="admin", keyed=False),
    _act("start", "/v1/families/{family}/rollouts", "rollouts.start_rollout:start_rollout", "Rollouts", **START),
    UseCase("current", f"{ROLLOUT}", "rollouts.read_rollout:read_current_rollout", "Rollouts", etag="version"),
    UseCase("rollout status", f"{ROLLOUT}/status", "rollouts.read_rollout:read_rollout_status", "Rollouts"),
    UseCase("rollout log", f"{ROLLOUT}/log", "rollouts.read_rollout:read_rollout_log", "Rollouts"),
    UseCase("arms", "/v1/families/{family}/arms", "rollouts.read_rollout:read_arms", "Families"),
    UseCase("selftest", f"{ROLLOUT}/selftest", "rollouts.selftest:read_selftest", "Rollouts", apart=True),
    UseCase("family forecast", f"{ROLLOUT}/forecast", "rollouts.read_rollout:read_family_forecast", "Rollouts"),
    UseCase("rollouts", "/v1/rollouts", "rollouts.read_rollout:read_rollouts", "Rollouts", narrows=True, brake=True),
    UseCase("rollout", "/v1/rollouts/{id}", "rollouts.read_rollout:read_rollout", "Rollouts", **ACT),
    UseCase(
        "decisions", "/v1/rollouts/{id}/decisions", "rollouts.read_rollout:read_decisions", "Rollouts", narrows=True
    ),
    UseCase("forecast", "/v1/rollouts/{id}/forecast", "rollouts.read_rollout:read_forecast", "Rollouts", narrows=True),
    UseCase("verification", f"{ID}/verification", "rollouts.verify_rollout:read_verification", "Rollouts", **APART),
    UseCase("report", f"{ID}/report", "rollouts.verify_rollout:read_report", "Rollouts", **APART),
    UseCase("next share", "/v1/rollouts/{id}/next", "rollouts.read_rollout:read_next_share", "Rollouts", narrows=True),
    _act("approve", "/v1/rollouts/{id}/approve", "rollouts.operate_rollout:approve", "Rollouts", **ACT),
    _act("reject", "/v1/rollouts/{id}/reject", "rollouts.operate_rollout:reject", "Rollouts", **ACT, **BRAKE),
    _act("advance", "/v1/rollouts/{id}/advance", "rollouts.operate_rollout:advance", "Rollouts", **ACT),
    _act("hold", "/v1/rollouts/{id}/hold", "rollouts.operate_rollout:hold", "Rollouts", **ACT, **BRAKE),
    _act("resume", "/v1/rollouts/{id}/resume", "rollouts.operate_rollout:resume", "Rollouts", **ACT),
    _act("promote", "/v1/rollouts/{id}/promote", "rollouts.operate_rollout:promote", "Rollouts", **ACT),
    _act("rollback", "/v1/rollouts/{id}/rollback", "rollouts.operate_rollout:rollback", "Rollouts", **ACT, **BRAKE),
    _act(
        "champion_rollback",
        f"{CHAMPION}/rollback",
        "rollouts.change_champion:roll_back_champion",
        "Families",
        **BRAKE,
    ),
    _act("champion_set", f"{CHAMPION}/set", "rollouts.change_champion:set_champion", "Families", **BRAKE),
    _act("override", OVERRIDES, "rollouts.put_override:put_override", "Families", method="PUT", etag="etag"),
    _act("freeze", "/v1/freeze", "rollouts.freeze:freeze", "Rollouts", **FREEZE, brake=True),
    _act("unfreeze", "/v1/unfreeze", "rollouts.freeze:unfreeze", "Rollouts", **FREEZE),
    UseCase("studies", "/v1/studies", "studies.read_studies:read_studies", "Studies", narrows=True),
    UseCase("study", "/v1/studies/{id}", "studies.read_studies:read_study", "Studies", narrows=True),
    UseCase("trials", "/v1/studies/{id}/trials", "studies.read_studies:read_trials", "Studies", narrows=True),
    UseCase("study front", "/v1/studies/{id}/front", f"{FRONT}:read_front", "Studies", narrows=True),
    UseCase("mlflow", "/v1/studies/{id}/mlflow", "studies.read_studies:read_mlflow_link", "Studies", narrows=True),
    UseCase("study report", "/v1/studies/{id}/report", f"{REPORT}:read_study_report", "Studies", **TEXTS, **APART),
    UseCase("audit cost", "/v1/studies/{id}/audit-cost", f"{FRONT}:read_audit_cost", "Studies", **APART),
    _act("start study", "/v1/families/{family}/studies", f"{STUDIES}:start_study", "Studies", **QUEUED_STUDY),
    _act("cancel study", "/v1/studies/{id}/cancel", f"{STUDIES}:cancel_study", "Studies", narrows=True),
    _act("resume study", "/v1/studies/{id}/resume", f"{STUDIES}:take_up_study", "Studies", narrows=True),
    _act(
        "nominate variant",
        "/v1/studies/{id}/nominate",
        f"{STUDIES}:nominate_variant",
        "Studies",
        narrows=True,
        **QUEUED_STUDY,
    ),
    UseCase("schedule", SCHEDULE, "scheduling.set_schedule:read_family_schedule", "Studies", etag="version"),
    _act("set schedule", SCHEDULE, "scheduling.set_schedule:put_schedule", "Studies", method="PUT", etag="version"),
    _act(
        "unset schedule",
        SCHEDULE,
        "scheduling.set_schedule:delete_schedule",
        "Studies",
        method="DELETE",
        etag="version",
    ),
    UseCase("judge", JUDGE, "feedback.calibrate_judge:read_judge", "Judges"),
    _act(
        "calibrate judge",
        f"{JUDGE}/calibrations",
        "feedback.calibrate_judge:calibrate_judge",
        "Judges",
        status=201,
        dry="A dry run: nothing was kept.",
    ),
    _act(
        "draw ratings",
        "/v1/families/{family}/rating-draws",
        "feedback.calibrate_judge:draw_ratings",
        "Judges",
        status=201,
        dry="A dry run: nothing was drawn.",
    ),
    _act("score answers", f"{JUDGE}/scores", f"{JUDGE_RUNS}:score_answers", "Judges", **QUEUED_RUN),
    _act("check biases", f"{JUDGE}/checks", f"{JUDGE_RUNS}:check_biases", "Judges", **QUEUED_RUN),
    UseCase("judge runs", f"{JUDGE}/runs", f"{JUDGE_RUNS}:read_judge_runs", "Judges"),
    UseCase("judge run", "/v1/judge-runs/{id}", f"{JUDGE_RUNS}:read_judge_run", "Judges", narrows=True),
    _act("cancel run", "/v1/judge-runs/{id}/cancel", f"{JUDGE_RUNS}:stop_judge_run", "Judges", narrows=True),
    UseCase("list feedback", "/v1/feedback", "feedback.read_events:read_feedback", "Events", **TEXTS, narrows=True),
    UseCase("list interactions", "/v1/interactions", "feedback.read_events:read_interactions", "Events", narrows=True),
    UseCase(
        "find interactions", "/v1/found-interactions", "feedback.read_events:find_interactions", "Events", narrows=True
    ),
    UseCase(
        "interaction", "/v1/interactions/{id:path}", "feedback.read_events:read_interaction", "Events", narrows=True
    ),
    UseCase("status", "/v1/status", "upkeep.read_status:read_status", "Operations", narrows=True, brake=True),
    UseCase("runs", "/v1/runs", "runs.queue_run:read_runs", "Operations", narrows=True),
    UseCase(
        "settings",
        "/v1/settings",
        "read_settings:read_settings",
        "Operations",
        room="optimizer.content.jobs",
        role="operate",
    ),
    UseCase(
        "stats of families", "/v1/stats", "champions.read_stats:read_stats_of_families", "Operations", narrows=True
    ),
    UseCase("spending", "/v1/spending", "studies.read_spending:read_spending", "Operations", narrows=True),
    UseCase("jobs", "/v1/jobs", "upkeep.read_operations:read_jobs", "Operations", narrows=True),
    UseCase("alerts", "/v1/alerts", "upkeep.read_operations:read_alerts", "Operations", narrows=True),
    UseCase("alert rules", "/v1/alert-rules", "champions.read_rules:read_rules", "Operations", narrows=True),
    _act("silence alerts", SILENCES, "outbox.silence_alerts:silence_alerts", "Operations", method="PUT", narrows=True),
    _act("end silence", SILENCES, "outbox.silence_alerts:end_silence", "Operations", method="DELETE", narrows=True),
    UseCase("audit", "/v1/audit", "upkeep.read_operations:read_audit", "Operations", narrows=True),
    UseCase("reviews", "/v1/reviews", "feedback.answer_review:read_reviews", "Operations", **TEXTS, narrows=True),
    _act(
        "answer review", "/v1/reviews/{id}/answer", "feedback.answer_review:answer_review", "Operations", narrows=True
    ),
    _act(
        "withdraw answer",
        "/v1/reviews/{id}/withdraw",
        "feedback.answer_review:withdraw_answer",
        "Operations",
        narrows=True,
    ),
    _act(
        "collect reviews",
        "/v1/families/{family}/reviews",
        "feedback.collect_reviews:collect_family_reviews",
        "Operations",
    ),
    UseCase("students", STUDENTS, f"{STUDENT_ACTS}:read_students", "Operations"),
    _act("bypass student", f"{STUDENTS}/bypass", f"{STUDENT_ACTS}:bypass_student", "Operations", **NEVER),
    _act("resume student", f"{STUDENTS}/resume", f"{STUDENT_ACTS}:resume_student", "Operations"),
    UseCase("quality analytics", "/v1/quality/analytics", f"{QUALITY}:read_analytics", "Operations", narrows=True),
    UseCase("quality monitor", "/v1/quality/monitor", f"{QUALITY}:read_conversation", "Operations", narrows=True),
    UseCase("lowest answers", "/v1/families/{family}/lowest", f"{QUALITY}:read_lowest", "Operations", **TEXTS),
    UseCase(
        "dialogs", "/v1/dialogs/analysis", "champions.read_dialogs:read_dialogs", "Operations", narrows=True, apart=True
    ),
    _act(
        "offer scenarios",
        "/v1/families/{family}/scenario-offers",
        "feedback.collect_reviews:offer_scenarios",
        "Operations",
    ),
    UseCase("performance", f"{PERFORMANCE}/", "report_performance:read_performance", **PIPELINE),
    UseCase("summary", f"{PERFORMANCE}/metrics/summary", "report_performance:read_performance_summary", **PIPELINE),
    UseCase("content_types", f"{PERFORMANCE}/content-types", "report_performance:read_content_types", **PIPELINE),
    UseCase("checkpoints", f"{PERFORMANCE}/checkpoints", "report_performance:read_checkpoints", **PIPELINE),
    UseCase("quality_trends", f"{PERFORMANCE}/quality-trends", "report_performance:read_quality_trends", **PIPELINE),
    UseCase(
        "cascade thresholds",
        f"{THRESHOLDS}/cascade",
        "studies.recommend_cascade:recommend_cascade",
        "Families",
        **TEXTS,
        apart=True,
    ),
    UseCase(
        "pipeline thresholds",
        f"{THRESHOLDS}/pipeline",
        "recommend_thresholds:recommend_thresholds",
        **PIPELINE,
        **TEXTS,
        apart=True,
    ),
    UseCase(
        "compare thresholds",
        f"{THRESHOLDS}/comparison",
        "compare_thresholds:compare_thresholds",
        **PIPELINE,
        **TEXTS,
        apart=True,
        method="POST",
    ),
    UseCase(
        "live comparison",
        f"{PERFORMANCE}/comparison",
        "compare_live_records:compare_live_records",
        **PIPELINE,
        **TEXTS,
        apart=True,
    ),
    _act("reset clock", "/v1/clock/reset", "upkeep.reset_clock:reset_clock", "Operations", role="admin"),
    UseCase("keys", "/v1/keys", "upkeep.manage_keys:read_keys", "Keys", role="admin"),
    _act("create key", "/v1/keys", "upkeep.manage_keys:create_key", "Keys", **KEY, status=201),
    _act("rotate key", "/v1/keys/{name}/rotate", "upkeep.manage_keys:rotate_key", "Keys", **KEY),
    _act(
        "rotate installation key",
        "/v1/installation-keys/{kind}/rotate",
        "upkeep.rotate_installation_key:rotate_installation_key",
        "Keys",
        **KEY,
        dry="With dry_run: what would happen; nothing is changed.",
    ),
    _act("revoke key", "/v1/keys/{name}/revoke", "upkeep.manage_keys:revoke_key", "Keys", **{**KEY, **BRAKE}),
)
_BY_FUNCTION = {use_case.full_name: use_case for use_case in USE_CASES}


def use_case_named(function: str) -> UseCase:
    """Args:
    function: "module:name".
    """
    return _BY_FUNCTION[function]


def use_case_of(function: Callable[..., Any]) -> UseCase:
    return use_case_named(f"{function.__module__}:{function.__qualname__}")


def as_json_of(function: Callable[..., Any], report: object) -> Any:
    """The report as its route answers."""
    return json.loads(use_case_of(function).written(report))
