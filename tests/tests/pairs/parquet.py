"""A Parquet file as pyarrow, not the plugins, writes and reads it: values as the texts of `kinds.rs`.

write FILE: a table on stdin, [[name, type], ...] and rows of texts; read FILE: rows of texts on stdout.
"""

import datetime as dt
import decimal
import json
import re
import sys
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

EPOCH = dt.datetime(1970, 1, 1)
MICROSECOND = dt.timedelta(microseconds=1)
SIMPLE = {
    "boolean": pa.bool_(), "float32": pa.float32(), "float64": pa.float64(), "text": pa.string(),
    "binary": pa.binary(), "date": pa.date32(), "time": pa.time64("us"), "duration": pa.duration("us"),
    "timestamp": pa.timestamp("us"), "timestamp(0)": pa.timestamp("s"),
    "timestamptz": pa.timestamp("us", tz="UTC"), "json": pa.json_(), "uuid": pa.uuid(),
    "list<int32>": pa.list_(pa.int32()),
}


def arrow_type(name):
    if name.startswith("decimal"):
        precision, scale = map(int, re.findall(r"\d+", name))
        return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    if re.fullmatch(r"u?int\d+", name):
        return getattr(pa, name)()
    return SIMPLE.get(name.split("(")[0] if name.startswith("text") else name)


def microseconds(text):
    sign, hours, minutes, seconds = re.fullmatch(r"(-?)(\d+):(\d+):([\d.]+)", text).groups()
    total = (int(hours) * 60 + int(minutes)) * 60_000_000 + int(decimal.Decimal(seconds) * 1_000_000)
    return -total if sign else total


def from_text(name, text):
    if name == "boolean":
        return text == "true"
    if "int" in name and not name.startswith("list"):
        return int(text)
    if name.startswith("float"):
        return float(text)
    if name.startswith("decimal"):
        return decimal.Decimal(text)
    if name == "binary":
        return bytes.fromhex(text)
    if name == "date":
        return dt.date.fromisoformat(text)
    if name == "time":
        return dt.time.fromisoformat(text)
    if name == "duration":
        return microseconds(text)
    if name.startswith("timestamp"):
        moment = dt.datetime.fromisoformat(text.removesuffix("Z"))
        units = (moment - EPOCH) // MICROSECOND
        return units // 1_000_000 if name == "timestamp(0)" else units
    if name == "uuid":
        return uuid.UUID(text).bytes
    return json.loads(text) if name.startswith("list") else text


def column(name, texts):
    kind = arrow_type(name)
    values = [None if text is None else from_text(name, text) for text in texts]
    if isinstance(kind, pa.BaseExtensionType):
        return kind.wrap_array(pa.array(values, kind.storage_type))
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)


def span(units):
    sign, units = ("-", -units) if units < 0 else ("", units)
    seconds, fraction = divmod(units, 1_000_000)
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"


def texts(array):
    kind = array.type
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        per_unit = {"s": 1_000_000, "ms": 1_000, "us": 1}[kind.unit]
        units = [None if unit is None else unit * per_unit for unit in array.cast(pa.int64()).to_pylist()]
        if pa.types.is_duration(kind):
            return [None if unit is None else span(unit) for unit in units]
        between, zone = ("T", "Z") if kind.tz else (" ", "")
        moment = lambda unit: (EPOCH + unit * MICROSECOND).isoformat(between) + zone
        return [None if unit is None else moment(unit) for unit in units]
    return [None if value is None else to_text(value) for value in array.to_pylist()]


def to_text(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, list):
        return json.dumps(value, separators=(",", ":"))
    return str(value)


verb, path = sys.argv[1:]
if verb == "write":
    columns, rows = json.load(sys.stdin)
    arrays = [column(kind, [row[at] for row in rows]) for at, (_, kind) in enumerate(columns)]
    pq.write_table(pa.table(arrays, names=[name for name, _ in columns]), path, row_group_size=7)
else:
    table = pq.read_table(path)
    rows = list(zip(*(texts(table.column(name)) for name in table.column_names)))
    json.dump([table.column_names, rows], sys.stdout)
