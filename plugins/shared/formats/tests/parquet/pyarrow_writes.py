"""Writes with pyarrow what foreign.rs expects: every type, and every way that pages lie in a file."""
import datetime as d, decimal, sys, uuid
import pyarrow as pa, pyarrow.parquet as pq

folder = sys.argv[1]
D = decimal.Decimal
utc = d.timezone.utc
moment = d.datetime(2024, 2, 29, 23, 59, 59, 123456)
early = d.datetime(1, 1, 1)
late = d.datetime(9999, 12, 31, 23, 59, 59, 999999)
columns = {
    "i8": (pa.int8(), [-128, 127, 0]),
    "i16": (pa.int16(), [-32768, 32767, 0]),
    "i32": (pa.int32(), [-2147483648, 2147483647, 0]),
    "i64": (pa.int64(), [-9223372036854775808, 9223372036854775807, 0]),
    "u8": (pa.uint8(), [0, 255, 1]),
    "u16": (pa.uint16(), [0, 65535, 1]),
    "u32": (pa.uint32(), [0, 4294967295, 1]),
    "u64": (pa.uint64(), [0, 18446744073709551615, 1]),
    "f16": (pa.float16(), [0.5, -65504.0, 1.0]),
    "f32": (pa.float32(), [0.5, -3.4028234663852886e38, 1.0]),
    "f64": (pa.float64(), [0.1, -1.7976931348623157e308, 1.0]),
    "bool": (pa.bool_(), [True, False, True]),
    "d9": (pa.decimal128(9, 2), [D("-9999999.99"), D("9999999.99"), D("0.01")]),
    "d18": (pa.decimal128(18, 4), [D("-99999999999999.9999"), D("99999999999999.9999"), D("0.0001")]),
    "d38": (pa.decimal128(38, 10), [D("-" + "9" * 28 + "." + "9" * 10), D("9" * 28 + "." + "9" * 10), D("1.0000000000")]),
    "d76": (pa.decimal256(76, 20), [D("-" + "9" * 56 + "." + "9" * 20), D("9" * 56 + "." + "9" * 20), D("1." + "0" * 20)]),
    "s": (pa.string(), ["", "日本語 'x'", "plain"]),
    "ls": (pa.large_string(), ["", "日本語 'x'", "plain"]),
    "vs": (pa.string_view(), ["", "日本語 'x'", "plain"]),
    "dict": (pa.dictionary(pa.int32(), pa.string()), ["b", "a", "b"]),
    "b": (pa.binary(), [b"", b"\x00\xff", b"abc"]),
    "lb": (pa.large_binary(), [b"", b"\x00\xff", b"abc"]),
    "fb": (pa.binary(4), [b"\0\0\0\0", b"\xff\xff\xff\xff", b"abcd"]),
    "date": (pa.date32(), [early.date(), late.date(), moment.date()]),
    "date64": (pa.date64(), [early.date(), late.date(), moment.date()]),
    "t_s": (pa.time32("s"), [d.time(0, 0), d.time(23, 59, 59), d.time(1, 2, 3)]),
    "t_ms": (pa.time32("ms"), [d.time(0, 0), d.time(23, 59, 59, 999000), d.time(1, 2, 3, 4000)]),
    "t_us": (pa.time64("us"), [d.time(0, 0), d.time(23, 59, 59, 999999), d.time(1, 2, 3, 4)]),
    "t_ns": (pa.time64("ns"), [0, 86399999999999, 1]),
    "ts_s": (pa.timestamp("s"), [early, late.replace(microsecond=0), moment.replace(microsecond=0)]),
    "ts_ms": (pa.timestamp("ms"), [early, late.replace(microsecond=999000), moment.replace(microsecond=123000)]),
    "ts_us": (pa.timestamp("us"), [early, late, moment]),
    "ts_ns": (pa.timestamp("ns"), [-9223372036854775808, 9223372036854775807, 1]),
    "tz_us": (pa.timestamp("us", tz="Europe/Berlin"), [early.replace(tzinfo=utc), late.replace(tzinfo=utc), moment.replace(tzinfo=utc)]),
    "tz_ns": (pa.timestamp("ns", tz="UTC"), [-9223372036854775808, 9223372036854775807, 1]),
    "dur_s": (pa.duration("s"), [-1, 1, 86400]),
    "dur_ms": (pa.duration("ms"), [-1, 1, 86400]),
    "dur_us": (pa.duration("us"), [-1, 1, 86400]),
    "dur_ns": (pa.duration("ns"), [-1000, 1000, 86400000]),
    "l": (pa.list_(pa.int32()), [[], [1, None, 3], [4]]),
    "ll": (pa.list_(pa.list_(pa.string())), [[], [["a", None], None, []], [["b"]]]),
    "large_l": (pa.large_list(pa.decimal128(15, 2)), [[], [D("1.00"), None], [D("-0.01")]]),
    "fixed_l": (pa.list_(pa.float64(), 2), [[1.0, 2.0], [None, 0.5], [3.0, 4.0]]),
    "nothing": (pa.null(), [None, None, None]),
    "uuid": (pa.uuid(), [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID("30313233-3435-3637-3839-616263646566")]),
    "json": (pa.json_(), ["{}", '{"a": [1, "ü"]}', "null"]),
    "struct": (pa.struct([("x", pa.int32())]), [{"x": 1}, {"x": None}, {"x": 2}]),
    "map": (pa.map_(pa.string(), pa.int32()), [[("k", 1)], [], []]),
    "items": (pa.list_(pa.struct([("a", pa.int32()), ("b", pa.string())])),
              [[], [{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}], [{"a": 2, "b": None}]]),
}
table = pa.table({name: pa.array(values + [None], type=kind) for name, (kind, values) in columns.items()})
table = pa.concat_tables([table] * 600).combine_chunks()

def write(name, **options):
    options.setdefault("row_group_size", 1000)
    pq.write_table(table, f"{folder}/{name}.parquet", **options)

for codec in ["none", "snappy", "gzip", "zstd", "lz4"]:
    write(f"codec-{codec}", compression=codec, data_page_version="1.0")
    write(f"codec-{codec}-v2", compression=codec, data_page_version="2.0")
write("checksums", write_page_checksum=True, data_page_size=500)
write("plain", use_dictionary=False, data_page_size=700, data_page_version="2.0")
write("names-of-old", use_compliant_nested_type=False)
write("decimals-as-integers", store_decimal_as_integer=True)
write("delta", use_dictionary=False, column_encoding={
    "i32": "DELTA_BINARY_PACKED", "i64": "DELTA_BINARY_PACKED", "s": "DELTA_BYTE_ARRAY",
    "ls": "DELTA_LENGTH_BYTE_ARRAY", "b": "DELTA_LENGTH_BYTE_ARRAY", "fb": "DELTA_BYTE_ARRAY",
    "bool": "RLE", "date": "DELTA_BINARY_PACKED", "ts_us": "DELTA_BINARY_PACKED"})
write("split", use_dictionary=False, column_encoding={
    name: "BYTE_STREAM_SPLIT" for name in ["i32", "i64", "f32", "f64", "f16", "fb", "d38", "date"]})

without = ["i8", "u64", "d9", "d76", "s", "ls", "dict", "b", "ts_us", "ts_ns", "tz_us", "dur_us", "l", "ll", "uuid", "json"]
pq.write_table(table.select(without), f"{folder}/no-arrow-schema.parquet", store_schema=False)
old = pa.table({"ts": pa.array([early, late, moment, None] * 600, type=pa.timestamp("us"))})
pq.write_table(old, f"{folder}/int96.parquet", use_deprecated_int96_timestamps=True)
old = pa.table({"ts": pa.array([1, 1709251199123456789, -1, None], type=pa.timestamp("ns"))})
pq.write_table(old, f"{folder}/int96-nanos.parquet", use_deprecated_int96_timestamps=True)
for codec in ["brotli"]:
    pq.write_table(old, f"{folder}/{codec}.parquet", compression=codec)
