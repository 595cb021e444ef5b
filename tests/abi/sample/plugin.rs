//! The sample's reader and writer. Options select the fault: `panic` names the method that panics,
//! `exit` the one that ends the process, `overflow` the one that runs out of stack;
//! `fault` names what is wrong with a batch (or makes reading `deaf`: it is slow and ignores the
//! stop signal, or makes writing return a `lost row`); `block` makes reading wait for the stop
//! signal; `evil` names a deed of `evil` and the method that does it (`abort in write`), `attempt` what
//! `check` tries to reach.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Condvar, Mutex},
};

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    DurationMicrosecondArray, FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, RecordBatch,
    RecordBatchOptions, StringArray, Time64MicrosecondArray, Time64NanosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array,
    types::{Int32Type, IntervalMonthDayNano},
};
use serde_json::Value;
use transload_plugin_api::{
    Addressing, ChunkOutcome, CodePage, Column, ConflictEffect, Count, CountSpec, Counters,
    Descriptor, DirtyRow, Error, Finding, Guarantee, Host, KeyNeed, LogicalType, OptionKind,
    OptionSpec, Options, Origin, Plugin, Position, ReadBatch, ReadTask, Reader, ReaderDescriptor,
    Receipt, Result, RowError, SourceSchema, Split, SplitAbility, SplitRequest, TableInfo,
    TargetInfo, TaskContext, TypeSupport, UrlForm, UrlPart, WriteDraft, WriteMode, WriteModeSpec,
    WritePlan, WriteTask, Writer, WriterDescriptor, Written, schema_of,
};

/// The plugin.
pub(crate) struct SamplePlugin;

impl Plugin for SamplePlugin {
    fn descriptor(&self) -> Descriptor {
        let types: Vec<_> =
            columns().iter().map(|column| column.logical.family()).collect::<Vec<_>>();
        let mut families = types;
        families.sort_unstable();
        families.dedup();
        let types: Vec<_> = families.iter().map(|family| TypeSupport::new(family, &[])).collect();
        Descriptor {
            name: "sample".into(),
            version: "0.1.0".into(),
            summary: "rows that test the boundary".into(),
            options: vec![
                OptionSpec::new("panic", OptionKind::Text, "the method that panics"),
                OptionSpec::new("exit", OptionKind::Text, "the method that ends the process"),
                OptionSpec::new("overflow", OptionKind::Text, "the method that runs out of stack"),
                OptionSpec::new("fault", OptionKind::Text, "what goes wrong"),
                OptionSpec::new("evil", OptionKind::Text, "a deed and the method that does it"),
                OptionSpec::new("attempt", OptionKind::List, "what a check tries to reach")
                    .connection(),
                OptionSpec::new("file", OptionKind::Path, "a file that the job names").connection(),
                OptionSpec::new("port", OptionKind::Integer { min: 1, max: 65_535 }, "its port")
                    .connection(),
                OptionSpec::new("block", OptionKind::Boolean, "wait for the stop signal"),
                OptionSpec::new("password", OptionKind::Text, "a secret").secret(),
            ],
            addressing: Addressing {
                urls: vec![UrlForm::new(&["sample"], "sample:file").part(UrlPart::Path, "file")],
                ..Addressing::default()
            },
            codes: vec![
                CodePage::new("SAMPLE-1234", "the sample is asleep", "**Cause.** It is late."),
                CodePage::new("SAMPLE-...", "any other", "**Cause.** Something else."),
            ],
            counts: vec![CountSpec::new("verbs_called", "verbs were called").in_summary()],
            reader: Some(ReaderDescriptor {
                types: types.clone(),
                ability: SplitAbility::Seekable,
                ..ReaderDescriptor::default()
            }),
            writer: Some(WriterDescriptor {
                types,
                modes: vec![WriteModeSpec::new(
                    WriteMode::Insert,
                    KeyNeed::Nothing,
                    ConflictEffect::None,
                    Guarantee::AtLeastOnce,
                    "adds rows",
                )],
                ..WriterDescriptor::default()
            }),
            ..Descriptor::default()
        }
    }

    fn reader(&self, options: Options, host: Host) -> Result<Box<dyn Reader>> {
        let sample = Sample { options, host };
        sample.enter("reader")?;
        Ok(Box::new(sample))
    }

    fn writer(&self, options: Options, host: Host) -> Result<Box<dyn Writer>> {
        let sample = Sample { options, host };
        sample.enter("writer")?;
        Ok(Box::new(sample))
    }
}

#[derive(Clone)]
struct Sample {
    options: Options,
    host: Host,
}

impl Sample {
    fn option(&self, key: &str) -> &str {
        self.options.values.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// Every method begins with this.
    fn enter(&self, verb: &str) -> Result<()> {
        tracing::trace!(verb, "entered");
        if self.option("panic") == verb {
            panic!("asked to panic in {verb}");
        }
        if self.option("exit") == verb {
            std::process::exit(0);
        }
        if self.option("exit") == format!("{verb} of a thread") {
            let _ = std::thread::spawn(|| std::process::exit(0)).join();
        }
        if self.option("overflow") == verb {
            descend(1);
        }
        if let Some(deed) = self.option("evil").strip_suffix(&format!(" in {verb}")) {
            crate::evil::act(deed);
        }
        if self.option("fault") == format!("retry {verb}") {
            return Err(Error::retry("asked to try again"));
        }
        if self.option("fault") == format!("shout {verb}") {
            let shout = "\x1b[2J\rnothing wrong\nerror: a forged line \u{202e}";
            return Err(Error::other(shout.repeat(20_000)).with_code("NO CODE\n").hint(shout));
        }
        if self.option("fault") == verb {
            return Err(Error::locked("asked to fail")
                .with_code("SAMPLE-1")
                .at("here")
                .hint("do not ask"));
        }
        Ok(())
    }

    /// Prints the password, as a faulty plugin might.
    fn leak(&self) -> Result<()> {
        let Some(way) = self.option("fault").strip_prefix("leak ") else { return Ok(()) };
        let secret = self.host.secret("password")?;
        let said = secret.map(|secret| format!("logged in with {}", secret.expose()));
        let said = said.unwrap_or_default();
        match way {
            "error" => Err(Error::denied(said)),
            "panic" => panic!("{said}"),
            _ => {
                tracing::warn!(said, "{said}");
                Ok(())
            }
        }
    }

    fn dirty_value(&self) -> Result<String> {
        let secret = self.host.secret("password")?;
        let leaked = secret.filter(|_| self.option("fault") == "leak dirty");
        Ok(leaked.map_or("ü\0".to_owned(), |secret| secret.expose().to_owned()))
    }

    fn finding(stage: &str, detail: String) -> Finding {
        Finding { stage: stage.to_owned(), ok: true, detail }
    }
}

/// Uses the stack up.
fn descend(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 512]);
    if here[0] == 0 { 0 } else { descend(depth + 1) + here[1] }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // The option distinguishes the clone inside a task.
        if self.option("panic") == "drop" {
            panic!("asked to panic in drop");
        }
    }
}

impl Reader for Sample {
    fn check(&self) -> Result<Vec<Finding>> {
        self.enter("check")?;
        tracing::error!(code = 17, ratio = 0.5, yes = true, what = "text", "an error with fields");
        tracing::info!("an {}", "info");
        tracing::debug!("a debug");
        if let Some(attempts) = self.options.values.get("attempt").and_then(Value::as_array) {
            let tried = attempts.iter().filter_map(Value::as_str);
            let finding = |what: &str| Self::finding(what, crate::evil::attempt(what));
            return Ok(tried.map(finding).collect());
        }
        let secret = self.host.secret("password")?;
        let shown = secret.map_or_else(|| "none".to_owned(), |s| s.expose().to_owned());
        Ok(vec![Self::finding("secret", shown)])
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.enter("discover")?;
        Ok(vec![TableInfo { rows: Some(3), ..TableInfo::new("t", "table") }])
    }

    fn schema(&self) -> Result<SourceSchema> {
        self.enter("schema")?;
        if self.option("fault") == "nothing left" {
            let warnings = vec!["column `shape` (geometry) is left out".to_owned()];
            return Ok(SourceSchema { warnings, ..SourceSchema::default() });
        }
        Ok(SourceSchema { columns: columns(), ..SourceSchema::default() })
    }

    fn produces(&self, wanted: &[Column]) -> Result<Vec<Column>> {
        self.enter("produces")?;
        let fewer = usize::from(self.option("fault") == "fewer produced");
        Ok(wanted[..wanted.len() - fewer].to_vec())
    }

    fn splits(&self, request: &SplitRequest) -> Result<Vec<Split>> {
        self.enter("splits")?;
        let split = |number: u32| Split {
            rows: Some(4),
            table: Some("samples".into()),
            ..Split::new(format!("part {number}"), number.to_string(), SplitAbility::Seekable)
        };
        let mut splits: Vec<_> = (0..request.max).map(split).collect();
        match self.option("fault") {
            "many splits" => splits.push(split(request.max)),
            "same splits" => splits.iter_mut().for_each(|split| split.label = "all".into()),
            _ => {}
        }
        Ok(splits)
    }

    fn open(
        &self,
        _split: &Split,
        columns: &[Column],
        after: Option<&Position>,
    ) -> Result<Box<dyn ReadTask>> {
        self.enter("open")?;
        Ok(Box::new(SampleReadTask {
            sample: self.clone(),
            columns: columns.to_vec(),
            next: after.map_or(0, |position| u64::from(position.0[0]) + 1),
        }))
    }

    fn counts(&self) -> Result<Vec<Count>> {
        self.enter("counts")?;
        let plain = Count::trouble("no name", 1); // which the host skips
        Ok(vec![Count::new("verbs_called", 7), Count::trouble("verbs_asked_to_fail", 0), plain])
    }
}

struct SampleReadTask {
    sample: Sample,
    columns: Vec<Column>,
    next: u64,
}

impl Drop for SampleReadTask {
    fn drop(&mut self) {
        if self.sample.option("panic") == "drop of a task" {
            panic!("asked to panic in drop of a task");
        }
    }
}

impl SampleReadTask {
    /// Waits like a driver that blocks on a socket: only the waker ends the wait.
    fn wait_for_the_signal(&self) -> Result<()> {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let opener = gate.clone();
        self.sample.host.cancel().on_cancel(move || {
            *opener.0.lock().unwrap() = true;
            opener.1.notify_all();
        });
        let mut open = gate.0.lock().unwrap();
        while !*open {
            open = gate.1.wait(open).unwrap();
        }
        self.sample.host.cancel().check()
    }

    fn batch(&self) -> RecordBatch {
        let fault = self.sample.option("fault");
        if fault == "other type" {
            let columns = [Column::new("id", LogicalType::Int64, false)];
            let array: ArrayRef = Arc::new(Int64Array::from(vec![1]));
            return RecordBatch::try_new(schema_of(&columns), vec![array]).unwrap();
        }
        if self.columns.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(4));
            return RecordBatch::try_new_with_options(schema_of(&[]), vec![], &options).unwrap();
        }
        let whole = all_types();
        let wanted: Vec<usize> = self
            .columns
            .iter()
            .map(|column| whole.schema().index_of(&column.name).unwrap())
            .collect();
        let chosen = whole.project(&wanted).unwrap();
        // A slice has offsets in every buffer.
        if self.next == 1 { chosen.slice(1, 2) } else { chosen }
    }
}

impl ReadTask for SampleReadTask {
    fn next_batch(&mut self) -> Result<Option<ReadBatch>> {
        self.sample.enter("next_batch")?;
        self.sample.leak()?;
        if self.sample.option("fault") == "deaf" {
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
        if self.sample.options.values.get("block") == Some(&Value::Bool(true)) {
            self.wait_for_the_signal()?;
        }
        if self.next == 3 {
            return Ok(None);
        }
        let batch = self.batch();
        // Not UTF-8, and contains a zero.
        let mut position = Position(vec![self.next as u8, 0, 255, 128]);
        if self.sample.option("fault") == "long position" {
            position.0.resize(5_000, 0);
        }
        let dirty = DirtyRow::new("parse", "expected a number")
            .place("line 7")
            .number(7)
            .column("id")
            .value(self.sample.dirty_value()?)
            .error(RowError::new("null", "a value is missing").column("name"))
            .values(match self.sample.option("fault") {
                "no object" => "[1]",
                _ => "{\"id\":\"x\",\"name\":null}",
            })
            .text(*b"x,\xff");
        self.next += 1;
        Ok(Some(ReadBatch {
            batch,
            position,
            origin: (self.next != 2).then(|| Origin {
                file: Some("/in/some file".into()),
                ..Origin::new("some file", "line", self.next)
            }),
            dirty: if self.next == 2 { vec![dirty] } else { vec![] },
            bytes: 1000 + self.next,
        }))
    }
}

impl Writer for Sample {
    fn check(&self) -> Result<Vec<Finding>> {
        self.enter("check")?;
        Ok(vec![Self::finding("rights", "may write".into())])
    }

    fn discover(&self) -> Result<Vec<TableInfo>> {
        self.enter("discover")?;
        Ok(vec![])
    }

    fn inspect(&self) -> Result<TargetInfo> {
        self.enter("inspect")?;
        Ok(TargetInfo { name: "t".into(), exists: true, ..TargetInfo::default() })
    }

    fn draft(&self, plan: &WritePlan) -> Result<WriteDraft> {
        self.enter("draft")?;
        let mut draft = WriteDraft { columns: plan.columns.clone(), ..WriteDraft::default() };
        match self.option("fault") {
            "fewer drafted" => drop(draft.columns.pop()),
            "renamed" => draft.columns[0].name = "other".into(),
            "strong draft" => draft.guarantee = Guarantee::AtomicJob,
            _ => {}
        }
        Ok(draft)
    }

    fn prepare(&self, _plan: &WritePlan) -> Result<()> {
        self.enter("prepare")
    }

    fn open(&self, plan: &WritePlan, task: &TaskContext) -> Result<Box<dyn WriteTask>> {
        self.enter("open")?;
        let story = format!("task {} of run {}", task.task, plan.run);
        Ok(Box::new(SampleWriteTask { sample: self.clone(), task: task.task, story: vec![story] }))
    }

    fn commit(&self, _plan: &WritePlan, receipts: &[Receipt]) -> Result<ChunkOutcome> {
        self.enter("commit")?;
        Ok(ChunkOutcome::Unknown { evidence: format!("{} receipts", receipts.len()) })
    }

    fn abort(&self, _plan: &WritePlan, _receipts: &[Receipt]) -> Result<()> {
        self.enter("abort")
    }

    fn finalise(&self, _plan: &WritePlan) -> Result<()> {
        self.enter("finalise")
    }

    fn counts(&self) -> Result<Vec<Count>> {
        self.enter("counts")?;
        Ok(vec![Count::trouble("answers_lost", u64::MAX)])
    }
}

/// Returns its input in its receipt.
struct SampleWriteTask {
    sample: Sample,
    task: u32,
    story: Vec<String>,
}

impl SampleWriteTask {
    fn enter(&mut self, verb: &str, detail: String) -> Result<()> {
        self.story.push(format!("{verb} {detail}"));
        self.sample.enter(verb)
    }
}

impl WriteTask for SampleWriteTask {
    fn begin_chunk(&mut self, sequence: u64) -> Result<()> {
        self.enter("begin_chunk", sequence.to_string())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Written> {
        let mut hasher = DefaultHasher::new();
        format!("{batch:?}").hash(&mut hasher); // the whole would be too long for a receipt
        self.enter("write", format!("{} rows, {:x}", batch.num_rows(), hasher.finish()))?;
        let rows = batch.num_rows() as u64;
        let fault = self.sample.option("fault");
        let row = if fault == "strange row" { rows } else { 1.min(rows - 1) };
        let dirty = DirtyRow::new("unique", "there already").row(row);
        let written = |inserted, dirty| Written { inserted, dirty, ..Written::default() };
        Ok(match fault {
            "lost row" => written(rows - 2, vec![dirty]),
            "same row" => written(rows - 2, vec![dirty.clone(), dirty]),
            "underflow" => Written { updated: 1, ..written((rows - 2).wrapping_sub(rows), vec![]) },
            _ => written(rows - 1, vec![dirty]),
        })
    }

    fn commit_chunk(&mut self, position: &Position, counters: &Counters) -> Result<ChunkOutcome> {
        self.enter("commit_chunk", format!("{position:?} {counters:?}"))?;
        Ok(ChunkOutcome::Committed)
    }

    fn rollback_chunk(&mut self) -> Result<()> {
        self.enter("rollback_chunk", String::new())
    }

    fn finish(mut self: Box<Self>) -> Result<Receipt> {
        self.enter("finish", String::new())?;
        Ok(match self.sample.option("fault") {
            "long receipt" => Receipt { task: self.task, data: "x".repeat(5_000) },
            "strange receipt" => Receipt { task: self.task + 1, data: String::new() },
            _ => Receipt { task: self.task, data: self.story.join("\n") },
        })
    }

    fn abort(mut self: Box<Self>) -> Result<()> {
        self.enter("abort task", String::new())
    }
}

/// One column of every type, nullable, and one that is not.
pub(crate) fn columns() -> Vec<Column> {
    let types = [
        "boolean",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float32",
        "float64",
        "decimal(38,9)",
        "decimal(76,3)",
        "numeric",
        "text",
        "text(5)",
        "binary",
        "date",
        "time",
        "time(9)",
        "duration",
        "timestamp",
        "timestamp(9)",
        "timestamptz",
        "interval",
        "json",
        "uuid",
        "list<int32>",
    ];
    let column = |name: &&str| Column::new(*name, name.parse().unwrap(), true);
    let mut columns: Vec<_> = types.iter().map(column).collect();
    let mut id = Column::new("id", LogicalType::Int64, false);
    id.native = "BIGINT".into();
    columns.push(id);
    columns
}

/// Four rows of [`columns`]: minimum, NULL, maximum, a common value.
pub(crate) fn all_types() -> RecordBatch {
    let columns = columns();
    let arrays: Vec<ArrayRef> = columns.iter().map(array).collect();
    RecordBatch::try_new(schema_of(&columns), arrays).unwrap()
}

fn array(column: &Column) -> ArrayRef {
    macro_rules! ends {
        ($array:ident, $number:ty) => {
            Arc::new($array::from(vec![Some(<$number>::MIN), None, Some(<$number>::MAX), Some(1)]))
        };
    }
    let texts = |values: [&'static str; 3]| -> ArrayRef {
        Arc::new(StringArray::from(vec![Some(values[0]), None, Some(values[1]), Some(values[2])]))
    };
    match column.name.as_str() {
        "id" => Arc::new(Int64Array::from(vec![1, 2, 3, 4])),
        "boolean" => Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
        "int8" => ends!(Int8Array, i8),
        "int16" => ends!(Int16Array, i16),
        "int32" => ends!(Int32Array, i32),
        "int64" => ends!(Int64Array, i64),
        "uint8" => ends!(UInt8Array, u8),
        "uint16" => ends!(UInt16Array, u16),
        "uint32" => ends!(UInt32Array, u32),
        "uint64" => ends!(UInt64Array, u64),
        "float32" => {
            Arc::new(Float32Array::from(vec![Some(-0.0), None, Some(f32::MAX), Some(f32::NAN)]))
        }
        "float64" => Arc::new(Float64Array::from(vec![
            Some(f64::MIN_POSITIVE),
            None,
            Some(f64::INFINITY),
            Some(f64::NAN),
        ])),
        "decimal(38,9)" => Arc::new(
            Decimal128Array::from(vec![
                Some(-(10_i128.pow(38) - 1)),
                None,
                Some(10_i128.pow(38) - 1),
                Some(1),
            ])
            .with_precision_and_scale(38, 9)
            .unwrap(),
        ),
        "decimal(76,3)" => Arc::new(
            Decimal256Array::from_iter([
                Some((-7).into()),
                None,
                Some(i128::MAX.into()),
                Some(1.into()),
            ] as [Option<arrow_buffer::i256>; 4])
            .with_precision_and_scale(76, 3)
            .unwrap(),
        ),
        "numeric" => texts(["NaN", "-1e400", "12.50"]),
        "text" => texts(["", "ü\u{1F600}\0\n", "plain"]),
        "text(5)" => texts(["", "12345", "x"]),
        "json" => texts(["{\"a\": [1,  2]}", "null", "\"x\""]),
        "binary" => Arc::new(BinaryArray::from(vec![
            Some(&b""[..]),
            None,
            Some(&[0, 255, 128][..]),
            Some(&b"x"[..]),
        ])),
        "date" => ends!(Date32Array, i32),
        "time" => Arc::new(Time64MicrosecondArray::from(vec![
            Some(0),
            None,
            Some(86_399_999_999),
            Some(1),
        ])),
        "time(9)" => Arc::new(Time64NanosecondArray::from(vec![
            Some(0),
            None,
            Some(86_399_999_999_999),
            Some(1),
        ])),
        "duration" => ends!(DurationMicrosecondArray, i64),
        "timestamp" => ends!(TimestampMicrosecondArray, i64),
        "timestamp(9)" => ends!(TimestampNanosecondArray, i64),
        "timestamptz" => Arc::new(
            TimestampMicrosecondArray::from(vec![Some(i64::MIN), None, Some(i64::MAX), Some(1)])
                .with_timezone("UTC"),
        ),
        "interval" => Arc::new(IntervalMonthDayNanoArray::from(vec![
            Some(IntervalMonthDayNano::new(-1, i32::MIN, i64::MAX)),
            None,
            Some(IntervalMonthDayNano::new(i32::MAX, 0, 0)),
            Some(IntervalMonthDayNano::new(1, 2, 3)),
        ])),
        "uuid" => Arc::new(
            FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                [Some([0_u8; 16]), None, Some([255; 16]), Some([7; 16])].into_iter(),
                16,
            )
            .unwrap(),
        ),
        _ => {
            let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([
                Some(vec![]),
                None,
                Some(vec![Some(1), None, Some(i32::MIN)]),
                Some(vec![Some(2)]),
            ]);
            let (_, offsets, values, nulls) = lists.into_parts();
            let arrow_schema::DataType::List(item) = column.field().data_type().clone() else {
                panic!("no array for {}", column.name)
            };
            Arc::new(ListArray::new(item, offsets, values, nulls))
        }
    }
}
