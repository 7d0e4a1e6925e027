"""Bodies and answers of OTLP over HTTP: protobuf or JSON, as the content type says, with gzip or without.

What a body costs is not its bytes but its messages (two bytes become an object of 170), so these are counted before any
is made (docs/adr/0017-request-bodies-are-bounded-before-parsing.md), and so is the JSON in its texts.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToJson, ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from api.http.bodies import MAX_DEPTH, count_values, read_json
from api.http.body_limits import BodyLimit
from api.http.problems import MalformedBody
from optimizer.core.base.canonical import json_of
from optimizer.core.feedback.telemetry import TelemetryEvent, TelemetryRecord, TelemetrySpan

Signal = Literal["spans", "log_records"]
JSON = "application/json"
MAX_MESSAGE_CHARS = 2000
MAX_GZIP_MEMBERS = 100  # each of them copies what is behind it
_REQUESTS: Mapping[Signal, type[Message]] = {
    "spans": ExportTraceServiceRequest,
    "log_records": ExportLogsServiceRequest,
}
_MESSAGE, _FIXED = 2, {1: 8, 5: 4}  # wire types: with a length, and of so many bytes


def decompress_body(body: bytes, limit: BodyLimit) -> bytes:
    """What a gzip body holds; raises TooLarge before more than the limit is made."""
    whole, rest = bytearray(), body
    for _ in range(MAX_GZIP_MEMBERS):
        reader = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            whole += reader.decompress(rest, limit.n_bytes + 1 - len(whole))
        except zlib.error as error:
            raise MalformedBody(
                f"The body is no gzip: {error}. Send it as Content-Encoding says, or without."
            ) from None
        if len(whole) > limit.n_bytes:
            raise limit.too_large()
        if not reader.eof:
            raise MalformedBody("The body is gzip that ends in the middle. Send all of it.")
        rest = reader.unused_data  # the next member: gzip may have several
        if not rest:
            return bytes(whole)
    raise MalformedBody(f"The body is gzip of more than {MAX_GZIP_MEMBERS} members. Send one.")


def read_request(body: bytes, signal: Signal, media_type: str, limit: BodyLimit) -> Message:
    """Raises MalformedBody, or TooLarge before it makes more than the limit's values."""
    kind = _REQUESTS[signal]
    if media_type == JSON:
        message = kind()
        value = read_json(body, limit)
        if not isinstance(value, dict):
            raise MalformedBody("The body is no JSON object. Send OTLP.")
        try:
            ParseDict(value, message, ignore_unknown_fields=True)
        except (ParseError, ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
            raise MalformedBody(
                f"The body is no {message.DESCRIPTOR.name} in JSON: {str(error)[:300]}. Send OTLP."
            ) from None
        # Ids are hexadecimal there, where protobuf's own JSON has base64: each of their digits is one of base64, too.
        for item in _items(message):
            item.trace_id, item.span_id = (_from_hex(b64encode(id)) for id in (item.trace_id, item.span_id))
        return message
    if 2 * limit.n_values < len(body) and _n_messages(body, kind.DESCRIPTOR, limit.n_values) > limit.n_values:
        raise limit.too_many_values()
    try:
        return kind.FromString(body)
    except DecodeError:
        raise MalformedBody(f"The body is no {kind.DESCRIPTOR.name} in protobuf. Send OTLP.") from None


@dataclass(slots=True)
class ValueBudget:
    """How much of the JSON in texts of a body is read: all together no more values than the limit says.

    ``n_unread``: texts that would have gone beyond it.
    """

    limit: BodyLimit
    n_values: int = 0
    n_unread: int = 0

    def value_of(self, value: Any) -> Any:
        """The value that a text of JSON says; any other text is itself, and so is one that is not read."""
        if not isinstance(value, str) or not value.startswith(("[", "{")):
            return value
        n_left = self.limit.n_values - self.n_values
        n = count_values(value.encode(), n_left)
        if n > n_left:
            self.n_unread += 1
            return value
        self.n_values += n
        return json_of(value)


def spans_of(request: Any) -> Iterator[TelemetrySpan]:
    for span in _items(request):
        yield TelemetrySpan(
            trace=span.trace_id.hex(),
            span=span.span_id.hex(),
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            attributes=_attributes(span.attributes),
            events=[
                TelemetryEvent(name=event.name, attributes=_attributes(event.attributes), at_ns=event.time_unix_nano)
                for event in span.events
            ],
            error=span.status.message if span.status.code == Status.STATUS_CODE_ERROR else None,
        )


def records_of(request: Any) -> Iterator[TelemetryRecord]:
    for record in _items(request):
        attributes = _attributes(record.attributes)
        name = record.event_name or attributes.get("event.name")  # where it stood before it was a field
        yield TelemetryRecord(
            name=name if isinstance(name, str) else "",
            attributes=attributes,
            at_ns=record.time_unix_nano or record.observed_time_unix_nano,
            body=_value(record.body),
            trace=record.trace_id.hex(),
            span=record.span_id.hex(),
        )


def success(signal: Signal, media_type: str, n_rejected: int, message: str) -> bytes:
    """The export response: number rejected and reason; a message alone is a warning."""
    answer: Any = ExportTraceServiceResponse() if signal == "spans" else ExportLogsServiceResponse()
    if n_rejected or message:
        setattr(answer.partial_success, f"rejected_{signal}", n_rejected)
        answer.partial_success.error_message = message[:MAX_MESSAGE_CHARS]
    if media_type == JSON:
        return str(MessageToJson(answer, indent=None)).encode()
    return bytes(answer.SerializeToString())


def failure(detail: str) -> bytes:
    """The protocol's ``google.rpc.Status`` in protobuf, which has its message where a span's status has it."""
    return bytes(Status(message=detail[:MAX_MESSAGE_CHARS]).SerializeToString())


def _items(request: Any) -> Sequence[Any]:
    if isinstance(request, ExportTraceServiceRequest):
        return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    return [record for part in request.resource_logs for scope in part.scope_logs for record in scope.log_records]


def _from_hex(text: bytes) -> bytes:
    try:
        return bytes.fromhex(text.decode())
    except ValueError:
        return b""


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind is None or kind == "bytes_value" or depth > MAX_DEPTH:
        return None
    if kind == "array_value":
        return [_value(item, depth + 1) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value, depth + 1) for pair in value.kvlist_value.values}
    return getattr(value, kind)


def _n_messages(body: bytes, descriptor: Descriptor, enough: int) -> int:
    """How many messages the body holds, one in another; of more than ``enough`` one more than that.

    Raises MalformedBody at a group, and at what is no wire type: behind it, messages would go uncounted.
    """
    n, open_ = 0, [(0, len(body), descriptor)]
    while open_:
        at, end, of = open_.pop()
        inside = _messages_in(of)
        while at < end:
            tag, at = _varint(body, at)
            kind = tag & 7
            if kind == 0:
                _, at = _varint(body, at)
            elif kind in _FIXED:
                at += _FIXED[kind]
            elif kind == _MESSAGE:
                length, at = _varint(body, at)
                child = inside.get(tag >> 3)
                if child is not None:
                    n += 1
                    if n > enough:
                        return n
                    open_.append((at, min(end, at + length), child))
                at += length
            else:
                raise MalformedBody(f"The body has a group, or wire type {kind}, which OTLP has none of. Send OTLP.")
    return n


@cache
def _messages_in(descriptor: Descriptor) -> Mapping[int, Descriptor]:
    """The fields that hold messages, by number."""
    return {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """A number, and where the next thing begins; past the end that is one past it."""
    number = shift = 0
    while at < len(body) and shift < 70:
        byte = body[at]
        number |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return number, at
        shift += 7
    return number, len(body) + 1
