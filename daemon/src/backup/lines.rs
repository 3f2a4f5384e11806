//! Rows as lines of JSON: an object names a table and its columns, the arrays after it are its rows.
//!
//! Numbers, texts and booleans are JSON's own; bytes are base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::BackupError;
use crate::catalog::{Kind, Table, Value};
use crate::kernel::BlobId;

/// Where damage in a line is said to be.
const ROWS: &str = "a chunk of rows";
const INDEX: &str = "a chunk of the list of blobs";

/// A line that was read.
pub(super) enum Line {
    /// What follows are rows of this table.
    Table(Table),
    /// One of them.
    Row(Vec<Value>),
}

/// The line that begins a table.
pub(super) fn of_table(table: &Table) -> Vec<u8> {
    ended(serde_json::to_vec(table).expect("names are JSON"))
}

/// The line of a row.
pub(super) fn of_row(row: Vec<Value>) -> Vec<u8> {
    let values = row.into_iter().map(|value| match value {
        Value::Null => Json::Null,
        Value::Int(n) => n.into(),
        Value::Text(text) => text.into(),
        Value::Bytes(bytes) => STANDARD.encode(bytes).into(),
        Value::Bool(yes) => yes.into(),
        Value::Real(n) => n.into(),
    });
    ended(values.collect::<Json>().to_string().into_bytes())
}

fn ended(mut line: Vec<u8>) -> Vec<u8> {
    line.push(b'\n');
    line
}

/// Reads a line; a row is of `table`.
pub(super) fn read(line: &[u8], table: Option<&Table>) -> Result<Line, BackupError> {
    let broken = |_| BackupError::damaged(ROWS, "it cannot be read");
    if line.first() == Some(&b'{') {
        return Ok(Line::Table(serde_json::from_slice(line).map_err(broken)?));
    }
    let values: Vec<Json> = serde_json::from_slice(line).map_err(broken)?;
    let unlike = || BackupError::damaged(ROWS, "a row does not fit its table");
    let columns = &table.ok_or_else(unlike)?.columns;
    if values.len() != columns.len() {
        return Err(unlike());
    }
    let value = |(value, (_, kind)): (Json, &(String, Kind))| {
        let value = match (value, kind) {
            (Json::Null, _) => Some(Value::Null),
            (Json::Number(n), Kind::Int) => n.as_i64().map(Value::Int),
            (Json::Number(n), Kind::Real) => n.as_f64().map(Value::Real),
            (Json::String(text), Kind::Text) => Some(Value::Text(text)),
            (Json::String(text), Kind::Bytes) => STANDARD.decode(text).ok().map(Value::Bytes),
            (Json::Bool(yes), Kind::Bool) => Some(Value::Bool(yes)),
            _ => None,
        };
        value.ok_or_else(unlike)
    };
    let row = values.into_iter().zip(columns).map(value);
    row.collect::<Result<_, _>>().map(Line::Row)
}

/// What a backup needs to know of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BlobLine {
    pub(super) id: BlobId,
    /// Bytes; of an open one, those that were durable.
    pub(super) size: u64,
    /// BLAKE3 of these bytes.
    pub(super) blake3: [u8; 32],
}

impl BlobLine {
    pub(super) fn to_line(self) -> Vec<u8> {
        ended(format!("{} {} {}", self.id, self.size, hex::encode(self.blake3)).into_bytes())
    }

    pub(super) fn read(line: &[u8]) -> Result<Self, BackupError> {
        let read = || {
            let text = std::str::from_utf8(line).ok()?.trim_end();
            let mut words = text.split(' ');
            let (id, size) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let mut blake3 = [0; 32];
            hex::decode_to_slice(words.next()?, &mut blake3).ok()?;
            Some(Self { id, size, blake3 })
        };
        read().ok_or_else(|| BackupError::damaged(INDEX, "it cannot be read"))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let kinds = [Kind::Int, Kind::Text, Kind::Bytes, Kind::Bool, Kind::Real];
        let columns = kinds.into_iter().enumerate();
        let table = Table {
            table: "t".into(),
            columns: columns.map(|(at, kind)| (format!("c{at}"), kind)).collect(),
        };
        let rows = [
            vec![
                Value::Int(i64::MIN),
                Value::Text("a\n\"\u{0}ü".into()),
                Value::Bytes(vec![0, 255, 10]),
                Value::Bool(true),
                Value::Real(23.976_023_976),
            ],
            vec![Value::Null; 5],
        ];
        let Line::Table(read_table) = read(&of_table(&table), None).unwrap() else {
            panic!("a table");
        };
        assert_eq!(read_table, table);
        for row in rows {
            let line = of_row(row.clone());
            assert_eq!(line.split(|byte| *byte == b'\n').count(), 2);
            let Line::Row(again) = read(&line, Some(&table)).unwrap() else {
                panic!("a row");
            };
            assert_eq!(again, row);
        }
        assert!(read(b"[1,2]\n", Some(&table)).is_err());
        assert!(read(b"[1,2,3,4,5]\n", Some(&table)).is_err());
    }

    #[test]
    fn a_blob_reads_back_as_it_was_written() {
        let line = BlobLine {
            id: BlobId::random(),
            size: 7,
            blake3: [9; 32],
        };
        assert_eq!(BlobLine::read(&line.to_line()).unwrap(), line);
        assert!(BlobLine::read(b"nonsense\n").is_err());
    }
}
