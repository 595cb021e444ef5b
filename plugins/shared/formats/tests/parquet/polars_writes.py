"""Writes with Polars what foreign.rs expects."""
import datetime as d, decimal, sys
import polars as pl

D = decimal.Decimal
moment = d.datetime(2024, 2, 29, 23, 59, 59, 123456)
frame = pl.DataFrame({
    "i8": pl.Series([-128, None] * 3000, dtype=pl.Int8),
    "u64": pl.Series([18446744073709551615, None] * 3000, dtype=pl.UInt64),
    "f64": pl.Series([0.1, None] * 3000, dtype=pl.Float64),
    "bool": pl.Series([True, None] * 3000, dtype=pl.Boolean),
    "d": pl.Series([D("-99999999999999.9999"), None] * 3000, dtype=pl.Decimal(18, 4)),
    "d38": pl.Series([D("9999999999999999999999999999.9999999999"), None] * 3000, dtype=pl.Decimal(38, 10)),
    "s": pl.Series(["ü'", None] * 3000, dtype=pl.String),
    "cat": pl.Series(["b", None] * 3000, dtype=pl.Categorical),
    "enum": pl.Series(["b", None] * 3000, dtype=pl.Enum(["a", "b"])),
    "b": pl.Series([b"\x00\xff", None] * 3000, dtype=pl.Binary),
    "date": pl.Series([d.date(1, 1, 1), None] * 3000, dtype=pl.Date),
    "t_ns": pl.Series([d.time(23, 59, 59, 999999), None] * 3000, dtype=pl.Time),
    "ts_ms": pl.Series([moment, None] * 3000, dtype=pl.Datetime("ms")),
    "ts_us": pl.Series([moment, None] * 3000, dtype=pl.Datetime("us")),
    "ts_ns": pl.Series([moment, None] * 3000, dtype=pl.Datetime("ns")),
    "tz": pl.Series([moment, None] * 3000, dtype=pl.Datetime("us")).dt.replace_time_zone("Europe/Berlin"),
    "dur": pl.Series([d.timedelta(seconds=-1), None] * 3000, dtype=pl.Duration("ms")),
    "l": pl.Series([[1, None, 3], None] * 3000, dtype=pl.List(pl.Int32)),
    "ll": pl.Series([[["a", None], None, []], None] * 3000, dtype=pl.List(pl.List(pl.String))),
    "arr": pl.Series([[0.5, None], None] * 3000, dtype=pl.Array(pl.Float64, 2)),
    "struct": pl.Series([{"x": 1}, None] * 3000, dtype=pl.Struct({"x": pl.Int32})),
})
for codec in ["zstd", "snappy", "gzip", "lz4", "uncompressed"]:
    frame.write_parquet(f"{sys.argv[1]}/polars-{codec}.parquet", compression=codec, row_group_size=1000, data_page_size=4000)
