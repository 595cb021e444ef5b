"""Writes with DuckDB what foreign.rs expects."""
import sys
import duckdb

duckdb.execute("set timezone = 'UTC'")
select = """
select t.* from (values
  (true, (-128)::tinyint, (-32768)::smallint, (-2147483648)::integer, (-9223372036854775808)::bigint,
   0::utinyint, 65535::usmallint, 4294967295::uinteger, 18446744073709551615::ubigint,
   0.5::float, 0.1::double, (-99.99)::decimal(4,2), 9999999.99::decimal(9,2), 99999999999999.9999::decimal(18,4),
   (-9999999999999999999999999999.9999999999)::decimal(38,10), 'ü''', '\\x00\\xFF'::blob, date '0001-01-01',
   time '23:59:59.999999', timestamp '9999-12-31 23:59:59.999999', timestamp_ms '2024-02-29 23:59:59.123',
   timestamp_ns '2024-02-29 23:59:59.123456789', timestamptz '2024-02-29 23:59:59.123456+00',
   interval '14 months 3 days 4 seconds', uuid '30313233-3435-3637-3839-616263646566', [1, null, 3],
   [['a', null], null, []], '{"a": 1}'::json, 'b'::enum('a', 'b'), {'x': 1}, map {'k': 1}),
  (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
   null, null, null, null, null, null, null, null, null, null, null, null, null)
) as t(bool, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, d4, d9, d18, d38, s, b, date, t_us, ts_us, ts_ms, ts_ns,
       tz, span, uuid, l, ll, json, enum, struct, map), range(3000) order by range, bool nulls last
"""
for number, options in enumerate(["compression zstd", "compression snappy, parquet_version v2", "compression gzip",
                                  "compression lz4_raw", "compression uncompressed, row_group_size 2048"]):
    duckdb.execute(f"copy ({select}) to '{sys.argv[1]}/duckdb-{number}.parquet' (format parquet, {options})")
