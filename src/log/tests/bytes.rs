//! Every byte of a small log cut or damaged, with the exact outcome.

use super::*;

/// A log's one file, and where each line is: (begin, end, event, append, batch's first event).
struct Sample {
    file: Vec<u8>,
    lines: Vec<Line>,
    events: Vec<Envelope>,
    disk: MemoryDisk,
}

struct Line {
    end: usize,
    seq: u64,
    append: usize,
    batch: u64,
}

/// Appends of batches with these lengths; the last of all is a clean stop if asked for.
fn sample(appends: &[&[u64]], clean: bool, snapshot: bool) -> Sample {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    let (mut events, mut lines) = (Vec::new(), Vec::new());
    let note = |lines: &mut Vec<Line>, append: usize, written: &[Envelope]| {
        let mut begin = None;
        for envelope in written {
            let batch = *begin.get_or_insert(envelope.seq.0);
            lines.push(Line { end: 0, seq: envelope.seq.0, append, batch });
            if !envelope.more {
                begin = None;
            }
        }
    };
    for (at, lens) in appends.iter().enumerate() {
        let written = append(&mut opened.writer, lens);
        note(&mut lines, at, &written);
        events.extend(written);
    }
    if clean {
        let written = stop(opened.writer.head());
        opened.writer.append(std::slice::from_ref(&written)).unwrap();
        note(&mut lines, appends.len(), &written);
        events.extend(written);
    }
    if snapshot {
        opened.writer.snapshot(&fold(&events)).unwrap();
    }
    let file = disk.bytes(&first_segment());
    let ends = file.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).skip(1);
    lines.iter_mut().zip(ends).for_each(|(line, end)| line.end = end);
    Sample { file, lines, events, disk }
}

impl Sample {
    fn with(&self, bytes: &[u8]) -> MemoryDisk {
        let disk = self.disk.copy();
        disk.put(&first_segment(), bytes);
        disk
    }

    fn header_end(&self) -> usize {
        self.file.iter().position(|byte| *byte == b'\n').unwrap() + 1
    }

    /// The line that has this byte.
    fn line_at(&self, offset: usize) -> &Line {
        self.lines.iter().find(|line| offset < line.end).unwrap()
    }

    fn begin_of(&self, line: &Line) -> usize {
        let before = self.lines.iter().take_while(|other| other.seq < line.seq).last();
        before.map_or(self.header_end(), |before| before.end)
    }

    fn expect_head(&self, disk: &MemoryDisk, head: u64, place: &str) {
        let opened = open_memory(disk, options());
        let kept = &self.events[..usize::try_from(head).unwrap()];
        assert_eq!(opened.projection.facts(), fold(kept).facts(), "{place}");
        assert_eq!(read_everything(&opened.reader, 3), kept, "{place}");
        drop(opened);
        let again = open_memory(disk, options());
        assert_eq!((again.report.head, again.report.torn), (Seq(head), None), "{place}: twice");
    }

    fn expect_damage(&self, disk: &MemoryDisk, offset: usize, place: &str) {
        let before = disk.bytes(&first_segment());
        match try_open(disk, options()) {
            Err(OpenError::Damaged(damage)) => {
                let (at, line, seq) = if offset < self.header_end() {
                    (0, 1, 1)
                } else {
                    let line = self.line_at(offset);
                    (self.begin_of(line), line.seq + 1, line.seq)
                };
                let found = (damage.offset, damage.line, damage.seq);
                assert_eq!(found, (at as u64, line, Seq(seq)), "{place}: {damage}");
            }
            other => panic!("{place}: expected damage, got {:?}", other.map(|opened| opened.report)),
        }
        assert_eq!(disk.bytes(&first_segment()), before, "{place}: a refused log is not touched");
    }
}

const APPENDS: [&[u64]; 3] = [&[1], &[2], &[1, 2]];

#[test]
fn a_log_cut_at_any_byte_keeps_the_whole_batches_before() {
    let sample = sample(&APPENDS, false, false);
    for cut in 0..sample.file.len() {
        let disk = sample.with(&sample.file[..cut]);
        let head = match cut {
            _ if cut < sample.header_end() => 0,
            _ => sample.line_at(cut).batch - 1,
        };
        sample.expect_head(&disk, head, &format!("cut at {cut}"));
    }
}

#[test]
fn a_flipped_bit_is_damage_unless_it_is_in_the_last_append_of_an_open_log() {
    let sample = sample(&APPENDS, false, false);
    flip_everywhere(
        &sample,
        |_| 0..8,
        |offset, disk, place| {
            if offset < sample.header_end() || sample.line_at(offset).append + 1 < APPENDS.len() {
                sample.expect_damage(disk, offset, place);
            } else {
                sample.expect_head(disk, sample.line_at(offset).batch - 1, place);
            }
        },
    );
}

#[test]
fn nothing_is_cut_from_a_cleanly_closed_log() {
    let sample = sample(&APPENDS, true, true);
    let stop = sample.events.len() as u64;
    flip_everywhere(&sample, ONE_BIT, |offset, disk, place| {
        if offset < sample.header_end() || sample.line_at(offset).seq < stop {
            sample.expect_damage(disk, offset, place);
        } else {
            expect_lost_end(disk, place);
        }
    });
    for cut in 0..sample.file.len() {
        expect_lost_end(&sample.with(&sample.file[..cut]), &format!("cut at {cut}"));
    }
    for more in [&b"\0"[..], b"{\"seq\":", &[0; 600]] {
        let disk = sample.with(&[&sample.file[..], more].concat());
        let error = try_open(&disk, options()).err().unwrap();
        let OpenError::Damaged(damage) = error else { panic!("{error}") };
        assert_eq!(damage.certain, Certain::BehindCleanStop);
    }
}

fn expect_lost_end(disk: &MemoryDisk, place: &str) {
    let result = try_open(disk, options());
    assert!(matches!(result, Err(OpenError::BehindSnapshot { .. })), "{place}: {:?}", result.err());
}

/// Without the snapshot that a stop makes, only the stop's own line cannot be told from a torn one.
#[test]
fn a_clean_stop_guards_all_before_it_also_without_a_snapshot() {
    let sample = sample(&APPENDS, true, false);
    let stop = sample.events.len() as u64;
    flip_everywhere(&sample, ONE_BIT, |offset, disk, place| {
        if offset < sample.header_end() || sample.line_at(offset).seq < stop {
            sample.expect_damage(disk, offset, place);
        } else {
            sample.expect_head(disk, stop - 1, place);
        }
    });
}

/// What a process found when it opened the log was durable, also in the eyes of the next.
#[test]
fn what_was_there_at_a_start_is_never_cut_later() {
    let sample = sample(&APPENDS, true, false);
    let mut opened = open_memory(&sample.disk, options());
    append(&mut opened.writer, &[2]);
    let file = sample.disk.bytes(&first_segment());
    let whole = open_memory(&sample.disk.copy(), options()).report.head;
    assert_eq!(whole, Seq(sample.events.len() as u64 + 2));
    let header = file.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let grown = header - sample.header_end();
    let kept = sample.file.len() + grown;
    for cut in header..file.len() {
        let result = try_open(&sample.with(&file[..cut]), options());
        match result {
            Err(OpenError::Damaged(damage)) if cut < kept => {
                assert_eq!(damage.certain, Certain::Rewritten(Seq(sample.events.len() as u64)));
            }
            Ok(opened) if cut >= kept => assert_eq!(opened.report.head, Seq(sample.events.len() as u64)),
            other => panic!("cut at {cut}: {:?}", other.map(|opened| opened.report)),
        }
    }
}

/// A whole batch behind a missing sector of the same append is no proof of damage.
#[test]
fn any_sector_of_the_last_append_may_be_missing() {
    let sample = sample(&[&[2], &[1, 2, 1, 1]], false, false);
    let begin = sample.begin_of(sample.lines.iter().find(|line| line.append == 1).unwrap());
    for offset in begin..sample.file.len() {
        let mut file = sample.file.clone();
        let end = (offset + 100).min(file.len());
        file[offset..end].fill(0);
        sample.expect_head(
            &sample.with(&file),
            sample.line_at(offset).batch - 1,
            &format!("hole at {offset}"),
        );
    }
}

#[test]
fn lines_cannot_be_swapped_dropped_doubled_or_taken_from_another_log() {
    let sample = sample(&[&[1], &[1], &[1], &[1], &[1]], false, false);
    let lines: Vec<&[u8]> = sample.file.split_inclusive(|byte| *byte == b'\n').collect();
    let check = |name: &str, order: &[usize]| {
        let file: Vec<u8> = order.iter().flat_map(|line| lines[*line].to_vec()).collect();
        let result = try_open(&sample.with(&file), options());
        assert!(matches!(result, Err(OpenError::Damaged(_))), "{name}");
    };
    check("swapped", &[0, 1, 3, 2, 4, 5]);
    check("dropped", &[0, 1, 3, 4, 5]);
    check("doubled", &[0, 1, 2, 2, 3, 4, 5]);
    let other = MemoryDisk::default();
    let mut opened = open_memory(&other, Options { log_id_for_new: 7, ..options() });
    append(&mut opened.writer, &[1]);
    append(&mut opened.writer, &[1]);
    let foreign = other.bytes(&first_segment());
    let records = foreign.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let file = [lines[0], &foreign[records..]].concat();
    assert!(matches!(try_open(&sample.with(&file), options()), Err(OpenError::Damaged(_))));
}

/// Which bits of the byte at an offset are flipped, one at a time.
type Bits = fn(usize) -> std::ops::Range<usize>;

/// One bit of each byte, every bit of any eight.
const ONE_BIT: Bits = |offset| offset % 8..offset % 8 + 1;

fn flip_everywhere(sample: &Sample, bits: Bits, check: impl Fn(usize, &MemoryDisk, &str)) {
    for offset in 0..sample.file.len() {
        let mut file = sample.file.clone();
        for bit in bits(offset) {
            file[offset] = sample.file[offset] ^ (1 << bit);
            check(offset, &sample.with(&file), &format!("bit {bit} of byte {offset}"));
        }
    }
}
