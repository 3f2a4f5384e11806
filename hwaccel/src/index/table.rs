//! One track's samples as blocks of columns.

use super::column::{Cursor, put_column, put_signed, put_unsigned};
use super::{BLOCK_SAMPLES, IndexError, MAX_SAMPLES, Sample};

pub(super) fn encode(samples: &[Sample]) -> Result<Vec<u8>, IndexError> {
    let mut out = Vec::with_capacity(samples.len() * 4 + 16);
    put_unsigned(&mut out, samples.len() as u64);
    for block in samples.chunks(BLOCK_SAMPLES) {
        encode_block(&mut out, block)?;
    }
    Ok(out)
}

fn encode_block(out: &mut Vec<u8>, block: &[Sample]) -> Result<(), IndexError> {
    let first = &block[0];
    put_signed(out, first.dts);
    put_unsigned(out, first.offset);
    let far = IndexError::Damaged("a time or an offset is out of range");
    let mut columns: [Vec<i64>; 6] = Default::default();
    for (at, sample) in block.iter().enumerate() {
        let previous = at.checked_sub(1).map_or(sample, |at| &block[at]);
        // The first sample's place is in the head of the block.
        let expected = if at == 0 {
            sample.offset
        } else {
            previous.offset.saturating_add(u64::from(previous.size))
        };
        let gap = i128::from(sample.offset) - i128::from(expected);
        let step = match block.get(at + 1) {
            Some(next) => next.dts.checked_sub(sample.dts).ok_or(far.clone())?,
            None => i64::from(sample.duration),
        };
        let beyond = i64::from(sample.duration)
            .checked_sub(step)
            .ok_or(far.clone())?;
        let row = [
            i64::from(sample.size),
            i64::try_from(gap).map_err(|_| far.clone())?,
            step,
            beyond,
            i64::from(sample.composition),
            i64::from(sample.key),
        ];
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    for column in &columns {
        put_column(out, column);
    }
    Ok(())
}

/// How many samples there are, at most `budget`.
pub(super) fn count(bytes: &[u8], budget: usize) -> Result<usize, IndexError> {
    counted(&mut Cursor::new(bytes), budget)
}

fn counted(cursor: &mut Cursor<'_>, budget: usize) -> Result<usize, IndexError> {
    usize::try_from(cursor.unsigned()?)
        .ok()
        .filter(|count| *count <= budget)
        .ok_or(IndexError::TooLarge {
            what: "samples",
            limit: MAX_SAMPLES,
        })
}

/// The samples, at most `budget` of them.
pub(super) fn decode(bytes: &[u8], budget: usize) -> Result<Vec<Sample>, IndexError> {
    let mut cursor = Cursor::new(bytes);
    let count = counted(&mut cursor, budget)?;
    // Each block of samples costs at least its head and six short columns, so a small input cannot ask for much.
    if count.div_ceil(BLOCK_SAMPLES).saturating_mul(14) > bytes.len() {
        return Err(IndexError::Damaged("it ends too early"));
    }
    let mut samples = vec![Sample::default(); count];
    for block in samples.chunks_mut(BLOCK_SAMPLES) {
        decode_block(&mut cursor, block)?;
    }
    if !cursor.is_empty() {
        return Err(IndexError::Damaged("bytes are left over"));
    }
    Ok(samples)
}

fn decode_block(cursor: &mut Cursor<'_>, block: &mut [Sample]) -> Result<(), IndexError> {
    const RANGE: IndexError = IndexError::Damaged("a number is out of range");
    let count = block.len();
    let mut dts = cursor.signed()?;
    let mut end = cursor.unsigned()?;
    cursor.column(count, |at, size| {
        block[at].size = u32::try_from(size).map_err(|_| RANGE)?;
        Ok(())
    })?;
    cursor.column(count, |at, gap| {
        let offset = end.checked_add_signed(gap).ok_or(RANGE)?;
        end = offset.checked_add(u64::from(block[at].size)).ok_or(RANGE)?;
        block[at].offset = offset;
        Ok(())
    })?;
    let mut steps = [0i64; BLOCK_SAMPLES];
    cursor.column(count, |at, step| {
        block[at].dts = dts;
        steps[at] = step;
        // The step of the last sample leads out of the block and is only a part of its duration.
        if at + 1 < count {
            dts = dts.checked_add(step).ok_or(RANGE)?;
        }
        Ok(())
    })?;
    cursor.column(count, |at, beyond| {
        let duration = steps[at].checked_add(beyond).ok_or(RANGE)?;
        block[at].duration = u32::try_from(duration).map_err(|_| RANGE)?;
        Ok(())
    })?;
    cursor.column(count, |at, composition| {
        block[at].composition = i32::try_from(composition).map_err(|_| RANGE)?;
        Ok(())
    })?;
    cursor.column(count, |at, key| {
        block[at].key = key != 0;
        Ok(())
    })
}
