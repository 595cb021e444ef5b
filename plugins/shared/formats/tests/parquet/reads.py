"""Reads a file of ours and prints each column's type and cells, in the words of our own tests."""
import json, sys

reader, path = sys.argv[1:]
if reader == "pyarrow":
    import pyarrow.parquet as pq
    table = pq.read_table(path, page_checksum_verification=True)
elif reader == "duckdb":
    import uuid
    import duckdb
    import pyarrow as pa
    duckdb.execute("set timezone = 'UTC'")
    relation = duckdb.sql(f"select * from '{path}'")
    table = relation.to_arrow_table()
    for number, kind in enumerate(relation.types):
        if str(kind) == "UUID":  # which it hands out as text
            values = [text and uuid.UUID(text).bytes for text in table.column(number).to_pylist()]
            table = table.set_column(number, table.schema.names[number], pa.array(values, pa.binary()))
else:
    import polars
    table = polars.read_parquet(path).to_arrow()

import pyarrow as pa


def nanos(value, scale):
    seconds, part = divmod(value * scale, 10**9)
    import datetime
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return moment, part


def digits(part):
    """Fractions as our cells have them: 3, 6 or 9 digits."""
    if part == 0:
        return ""
    for width in (3, 6, 9):
        if part % 10 ** (9 - width) == 0:
            return f".{part // 10 ** (9 - width):0{width}d}"


SCALE = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def quoted(text):
    named = {"\u0301": "\\u{301}", "\ufeff": "\\u{feff}", "\t": "\\t", "\r": "\\r", "\n": "\\n", '"': '\\"', "\\": "\\\\", "\0": "\\0"}
    return '"' + "".join(named.get(c, c) for c in text) + '"'


def floating(value, single):
    import math, struct
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{struct.pack('>f' if single else '>d', value).hex()}"


def cell(scalar):
    if scalar is None or not scalar.is_valid:
        return "NULL"
    kind = scalar.type
    if isinstance(kind, pa.BaseExtensionType):
        return cell(scalar.value)
    if pa.types.is_boolean(kind):
        return str(scalar.as_py()).lower()
    if pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return floating(scalar.as_py(), pa.types.is_float32(kind))
    if pa.types.is_decimal(kind):
        return f"{scalar.as_py():f}"
    if pa.types.is_integer(kind):
        return str(scalar.as_py())
    if pa.types.is_timestamp(kind):
        moment, part = nanos(scalar.value, SCALE[kind.unit])
        return f"{moment.isoformat(' ')}{digits(part)}" + ("Z" if kind.tz else "")
    if pa.types.is_time(kind):
        moment, part = nanos(scalar.value, SCALE[kind.unit])
        return f"{moment.time().isoformat()}{digits(part)}"
    if pa.types.is_duration(kind):
        return f"{scalar.value * SCALE[kind.unit] // 1000} us"
    if pa.types.is_date(kind):
        return scalar.as_py().isoformat()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return "[" + ", ".join(cell(item) for item in scalar.values) + "]"
    value = scalar.as_py()
    return quoted(value) if isinstance(value, str) else "0x" + value.hex().upper()


print(json.dumps([(str(column.type), [cell(scalar) for scalar in column]) for column in table.columns]))
