"""Reads exports of a ledger with other people's parsers. Usage: exports.py FORMAT PATH; prints one JSON object.

Nothing of Remit is used: OCSF's published schema (as ocsf-json-schema packages it), protobuf's reading of OTLP, an RFC 5424
and a CEF parser, and a COSE library.
"""

import base64
import csv
import io
import json
import pathlib
import sys


def ocsf(path):
    from jsonschema import Draft202012Validator
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))
    validators, classes, problems, undeclared = {}, {}, [], set()
    for number, line in enumerate(path.read_text().splitlines()):
        event = json.loads(line)
        profiles = event["metadata"]["profiles"]
        key = (event["class_uid"], tuple(profiles))
        if key not in validators:
            name = schema.lookup_class_name_from_uid(event["class_uid"])
            validators[key] = Draft202012Validator(schema.get_class_schema(name, profiles=list(profiles)))
        for error in validators[key].iter_errors(event):
            problems.append(f"line {number}: {'/'.join(map(str, error.path))}: {error.message[:200]}")
        known = validators[key].schema["properties"]
        undeclared |= {member for member in event if member not in known}
        classes[str(event["class_uid"])] = classes.get(str(event["class_uid"]), 0) + 1
    return {"events": sum(classes.values()), "classes": classes, "problems": problems, "undeclared": sorted(undeclared)}


def otlp(path):
    from google.protobuf import json_format
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    records, traces, keys = 0, [], set()
    for line in path.read_text().splitlines():
        value = json.loads(line)
        # OTLP/JSON writes trace and span ids in hexadecimal where protobuf's JSON has base64.
        for resource in value["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                for record in scope["logRecords"]:
                    for name in ("traceId", "spanId"):
                        if name in record:
                            record[name] = base64.b64encode(bytes.fromhex(record[name])).decode()
        request = json_format.ParseDict(value, ExportLogsServiceRequest())
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    assert record.time_unix_nano > 0 and record.severity_number > 0
                    records += 1
                    keys |= {attribute.key for attribute in record.attributes}
                    if record.trace_id:
                        assert len(record.trace_id) == 16 and len(record.span_id) == 8
                        traces.append({"trace": record.trace_id.hex(), "span": record.span_id.hex(), "event": record.event_name})
    return {"records": records, "traces": traces, "keys": sorted(keys)}


def cef(path):
    import pycef
    from syslog_rfc5424_parser import SyslogMessage

    events = []
    for line in path.read_text().split("\n")[:-1]:
        message = SyslogMessage.parse(line).as_dict()
        event = pycef.parse(message["msg"])
        assert event is not None, line
        events.append({"host": message["hostname"], "kind": message["msgid"], "facility": message["facility"], "event": event})
    return {"events": events}


def table(path):
    text = path.read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    formulas = [cell for row in rows for cell in row.values() if cell[:1] in "=+-@\t\r" and cell]
    return {"rows": rows, "formulas": formulas}


def scitt(path):
    import hashlib

    import cbor2
    from pycose.keys import OKPKey
    from pycose.messages import Sign1Message

    jwk = json.loads((path / "key.jwk").read_text())
    x = base64.urlsafe_b64decode(jwk["x"] + "=" * (-len(jwk["x"]) % 4))
    key, statements, forged = OKPKey(crv="ED25519", x=x), [], 0
    for file in sorted(path.glob("*.cose"), key=lambda file: int(file.stem)):
        encoded = file.read_bytes()
        message = Sign1Message.decode(encoded)
        message.key = key
        assert message.verify_signature(), file
        protected = cbor2.loads(cbor2.loads(encoded).value[0])
        record = json.loads(message.payload)
        statements.append({
            "iss": protected[15][1], "sub": protected[15][2], "kid": protected[4].decode(), "alg": protected[1],
            "record_id": record["record_id"], "sha256": hashlib.sha256(message.payload).hexdigest(),
        })
        spoilt = Sign1Message.decode(encoded)
        spoilt.payload = message.payload.replace(b'"success"', b'"failure"', 1) + b" "
        spoilt.key = key
        forged += 0 if spoilt.verify_signature() else 1
    return {"statements": statements, "forged_refused": forged}


print(json.dumps({"ocsf": ocsf, "otlp": otlp, "cef": cef, "csv": table, "scitt": scitt}[sys.argv[1]](pathlib.Path(sys.argv[2]))))
