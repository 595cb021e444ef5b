use std::time::Instant;
use transload_formats::*;
use transload_plugin_api::*;
fn main() {
    let col = |n: &str, t: &str| Column::new(n, t.parse().unwrap(), true);
    let columns = vec![
        col("l_orderkey", "int64"),
        col("l_partkey", "int64"),
        col("l_suppkey", "int64"),
        col("l_linenumber", "int64"),
        col("l_quantity", "decimal(15,2)"),
        col("l_extendedprice", "decimal(15,2)"),
        col("l_discount", "decimal(15,2)"),
        col("l_tax", "decimal(15,2)"),
        col("l_returnflag", "text"),
        col("l_linestatus", "text"),
        col("l_shipdate", "date"),
        col("l_commitdate", "date"),
        col("l_receiptdate", "date"),
        col("l_shipinstruct", "text"),
        col("l_shipmode", "text"),
        col("l_comment", "text"),
    ];
    let mut text = String::new();
    for i in 0..200_000u64 {
        text.push_str(&format!("{{\"l_orderkey\":{},\"l_partkey\":{},\"l_suppkey\":{},\"l_linenumber\":{},\"l_quantity\":{}.00,\"l_extendedprice\":{}.{:02},\"l_discount\":0.0{},\"l_tax\":0.0{},\"l_returnflag\":\"N\",\"l_linestatus\":\"O\",\"l_shipdate\":\"1996-03-13\",\"l_commitdate\":\"1996-02-12\",\"l_receiptdate\":\"1996-03-22\",\"l_shipinstruct\":\"DELIVER IN PERSON\",\"l_shipmode\":\"TRUCK\",\"l_comment\":\"egular courts above the {}\"}}\n",
            i, i*7%200000, i*3%10000, i%7, i%50, i*37%100000, i%100, i%10, i%8, i));
    }
    let bytes = text.as_bytes();
    let mut batches = vec![];
    for _ in 0..3 {
        batches.clear();
        let t = Instant::now();
        let mut d = JsonDecoder::new(
            JsonShape::Lines,
            &columns,
            &CellWords::default(),
            [],
            UnknownKeys::Ignore,
        )
        .unwrap();
        let mut at = 0;
        while at < bytes.len() {
            at += d.decode(&bytes[at..], true).unwrap();
            let x = d.flush().unwrap().unwrap();
            assert!(x.dirty.is_empty(), "{:?}", x.dirty[0]);
            batches.push(x.batch);
        }
        let e = t.elapsed();
        println!("decode {:.0} MB/s", bytes.len() as f64 / 1e6 / e.as_secs_f64());
    }
    for _ in 0..3 {
        let mut out = Vec::with_capacity(8 << 20);
        let mut total = 0;
        let t = Instant::now();
        let mut e = JsonEncoder::new(JsonShape::Lines, &columns, BinaryText::Hex);
        for b in &batches {
            out.clear();
            e.encode(b, &mut out).unwrap();
            total += out.len();
        }
        let el = t.elapsed();
        println!(
            "encode {:.0} MB/s {} {}",
            total as f64 / 1e6 / el.as_secs_f64(),
            total,
            bytes.len()
        );
    }
}
