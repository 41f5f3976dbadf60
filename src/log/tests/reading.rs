//! Reading by position: memory and segments give the same, at any page size, while the writer goes on.

use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::log::disk::{Disk, DiskFile};

#[test]
fn memory_and_segments_give_the_same() {
    let disk = MemoryDisk::default();
    let some = Options { recent_records: 5, segment_bytes: 2000, ..options() };
    let mut opened = open_memory(&disk, some);
    let mut events = Vec::new();
    for _ in 0..30 {
        events.extend(append(&mut opened.writer, &[1, 3]));
        for page in [1, 2, 7, 1000] {
            assert_eq!(read_everything(&opened.reader, page), events);
        }
    }
    let from_memory = opened.reader.read(Seq(119), 1, Seq(120)).unwrap();
    let cold = open_memory(&disk.copy(), options());
    let from_disk = cold.reader.read(Seq(119), 1, Seq(120)).unwrap();
    assert!(opened.reader.is_recent(Seq(119)) && !cold.reader.is_recent(Seq(119)));
    assert_eq!(from_memory[0].json, from_disk[0].json);
    let json: serde_json::Value = serde_json::from_str(&from_disk[0].json).unwrap();
    assert_eq!(json["seq"], 120);
    assert!(json.get("crc").is_none() && json.get("synced").is_none());
}

#[test]
fn limits_are_kept() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, Options { recent_records: 4, ..options() });
    append(&mut opened.writer, &[10]);
    let seqs = |after, limit, upto| -> Vec<u64> {
        let records = opened.reader.read(Seq(after), limit, Seq(upto)).unwrap();
        records.iter().map(|record| record.envelope.seq.0).collect()
    };
    assert_eq!(seqs(0, 3, 10), [1, 2, 3]);
    assert_eq!(seqs(7, 9, 9), [8, 9]);
    assert_eq!(seqs(2, 9, 4), [3, 4]);
    assert_eq!(seqs(10, 9, 99), [0; 0]);
    assert_eq!(seqs(50, 9, 99), [0; 0]);
    assert_eq!(seqs(3, 0, 99), [0; 0]);
    assert_eq!(seqs(3, 9, 2), [0; 0]);
}

#[test]
fn a_page_ends_where_it_is_large() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, Options { recent_records: 0, ..options() });
    let mut events = Vec::new();
    for _ in 0..8 {
        let long = long_event(opened.writer.head(), 300_000);
        opened.writer.append(std::slice::from_ref(&long)).unwrap();
        events.extend(long);
    }
    assert_eq!(opened.reader.read(Seq(0), 100, Seq(99)).unwrap().len(), 4);
    assert_eq!(read_everything(&opened.reader, 100), events);
}

#[test]
fn a_place_among_long_records_is_found() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, Options { recent_records: 0, ..options() });
    for _ in 0..40 {
        let long = long_event(opened.writer.head(), 5000);
        opened.writer.append(&[long]).unwrap();
    }
    for after in 0..40 {
        let records = opened.reader.read(Seq(after), 1, Seq(99)).unwrap();
        assert_eq!(records[0].envelope.seq, Seq(after + 1));
    }
}

#[test]
fn a_place_in_a_large_segment_is_found() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, Options { recent_records: 0, ..options() });
    let mut lens = vec![1; 3000];
    lens.extend([500; 3]);
    append(&mut opened.writer, &lens);
    for after in (0..4500).step_by(97) {
        let records = opened.reader.read(Seq(after), 2, Seq(u64::MAX)).unwrap();
        assert_eq!(records[0].envelope.seq, Seq(after + 1));
        assert_eq!(records.len(), 2);
    }
}

#[test]
fn a_reader_beside_the_writer_sees_whole_records_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let some = Options { recent_records: 10, segment_bytes: 20_000, ..options() };
    let mut opened = open::<Toy>(dir.path(), some).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for page in [1, 16, 400] {
            let (reader, done) = (opened.reader.clone(), &done);
            scope.spawn(move || {
                let mut cursor = Seq(0);
                loop {
                    let finished = done.load(std::sync::atomic::Ordering::Acquire);
                    let records = reader.read(cursor, page, Seq(u64::MAX)).unwrap();
                    for record in &records {
                        assert_eq!(record.envelope.seq, cursor.next());
                        cursor = cursor.next();
                    }
                    if finished && records.is_empty() {
                        return assert_eq!(cursor, Seq(600));
                    }
                }
            });
        }
        for _ in 0..100 {
            append(&mut opened.writer, &[1, 2, 3]);
        }
        done.store(true, std::sync::atomic::Ordering::Release);
    });
}

#[test]
fn damage_that_came_later_is_an_error_and_no_event() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, Options { recent_records: 0, ..options() });
    append(&mut opened.writer, &[6]);
    let mut file = disk.bytes(&first_segment());
    let middle = file.len() / 2;
    file[middle] ^= 4;
    disk.put(&first_segment(), &file);
    let read = opened.reader.read(Seq(0), 9, Seq(9));
    assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
}

#[test]
fn pruning_moves_the_oldest_but_never_past_the_snapshots() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, small_segments());
    let mut events = Vec::new();
    for _ in 0..6 {
        events.extend(append(&mut opened.writer, &[2, 1]));
    }
    assert_eq!(opened.writer.prune(Seq(99)).unwrap(), Seq(1), "there is no snapshot");
    opened.writer.snapshot(&fold(&events[..])).unwrap();
    for _ in 0..6 {
        events.extend(append(&mut opened.writer, &[2, 1]));
    }
    let before = opened.writer.sizes();
    assert_eq!(opened.writer.prune(Seq(5)).unwrap(), Seq(4));
    let oldest = opened.writer.prune(Seq(99)).unwrap();
    assert!(oldest > Seq(4) && oldest <= Seq(19), "{oldest}");
    assert!(opened.writer.sizes().bytes < before.bytes);
    assert_eq!(opened.reader.oldest(), oldest);
    let read = opened.reader.read(Seq(0), 9, Seq(99));
    assert!(matches!(read, Err(ReadError::Pruned { oldest: first }) if first == oldest));
    let nothing = [opened.reader.read(Seq(0), 0, Seq(99)), opened.reader.read(Seq(0), 9, Seq(0))];
    assert!(nothing.iter().all(|read| read.as_ref().is_ok_and(Vec::is_empty)), "nothing is never missing");
    drop(opened);
    let opened = open_memory(&disk, Options { build: "2.0.0".to_owned(), ..small_segments() });
    assert_eq!(opened.projection.facts(), fold(&events).facts(), "another build must take the snapshot");
    assert_eq!(read_everything(&opened.reader, 5), events[usize::try_from(oldest.0).unwrap() - 1..]);
}

#[test]
fn the_newest_records_are_in_memory_as_far_as_their_number_and_bytes_may_be() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, options());
    append(&mut opened.writer, &[1; 10]);
    let all = opened.reader.read(Seq(0), 10, Seq(10)).unwrap();
    let last_three: usize = all[7..].iter().map(|record| record.json.len()).sum();
    for (records, bytes) in [(3, usize::MAX), (100, last_three)] {
        let few = Options { recent_records: records, recent_bytes: bytes, ..options() };
        let disk = MemoryDisk::default();
        let mut opened = open_memory(&disk, few);
        append(&mut opened.writer, &[1; 10]);
        let recent = |after| opened.reader.is_recent(Seq(after));
        assert_eq!([5, 6, 7, 9, 10].map(recent), [false, false, true, true, true], "{records} {bytes}");
        disk.put(&first_segment(), b"");
        let from_memory = opened.reader.read(Seq(7), 9, Seq(10)).unwrap();
        assert_eq!(from_memory.len(), 3, "it needs no disk");
    }
}

#[test]
fn behind_the_head_nothing_is_waited_for() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, Options { recent_records: 0, ..options() });
    assert_eq!(opened.reader.log_id(), 0x0bad_cafe);
    append(&mut opened.writer, &[3]);
    assert_eq!([0, 2, 3, 4].map(|after| opened.reader.is_recent(Seq(after))), [false, false, true, true]);
}

#[test]
fn a_segment_that_is_missing_is_an_error_of_the_disk() {
    let disk = MemoryDisk::default();
    let mut opened = open_memory(&disk, Options { recent_records: 0, ..options() });
    append(&mut opened.writer, &[3]);
    Disk::remove(&disk, &first_segment()).unwrap();
    let read = opened.reader.read(Seq(0), 9, Seq(9));
    assert!(matches!(read, Err(ReadError::Io { .. })), "{read:?}");
}

#[test]
fn a_sealed_segment_may_end_in_a_very_long_line() {
    let disk = MemoryDisk::default();
    let long = Options { segment_bytes: 1000, ..options() };
    let mut opened = open_memory(&disk, long.clone());
    let mut events = vec![batch(Seq(0), 1).remove(0)];
    events[0].event = PveUnreachable { reason: "x".repeat(200_000) }.into();
    opened.writer.append(&[events.clone()]).unwrap();
    for _ in 0..3 {
        events.extend(append(&mut opened.writer, &[1]));
        opened.writer.snapshot(&fold(&events)).unwrap();
    }
    drop(opened);
    let again = open_memory(&disk, long);
    assert_eq!((again.report.head, again.report.replayed), (Seq(4), 0));
}

/// A disk that counts the bytes that are read from it, and on which something happens when a file is opened.
struct Counting {
    disk: MemoryDisk,
    read: Arc<AtomicUsize>,
    once: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

struct CountingFile {
    file: Box<dyn DiskFile>,
    read: Arc<AtomicUsize>,
}

impl Counting {
    fn counted(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(CountingFile { file, read: self.read.clone() })
    }
}

impl Disk for Counting {
    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let once = self.once.lock().unwrap().take();
        if let Some(happens) = once {
            happens();
        }
        Ok(self.counted(self.disk.open(name)?))
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.counted(self.disk.create(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

impl DiskFile for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.file.read_at(buffer, offset)?;
        self.read.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn reserve(&self, len: u64) -> io::Result<()> {
        self.file.reserve(len)
    }
}

#[test]
fn a_place_in_a_large_segment_is_found_without_reading_all_of_it() {
    let (disk, read) = (MemoryDisk::default(), Arc::new(AtomicUsize::new(0)));
    let counting = Arc::new(Counting { disk: disk.clone(), read: read.clone(), once: Mutex::default() });
    let mut opened: Opened<Toy> =
        open_on(counting, Options { recent_records: 0, ..options() }, None).unwrap();
    append(&mut opened.writer, &vec![1; 10_000]);
    assert!(disk.bytes(&first_segment()).len() > 1_500_000);
    for after in (0..10_000).step_by(499) {
        read.store(0, Ordering::Relaxed);
        let records = opened.reader.read(Seq(after), 1, Seq(u64::MAX)).unwrap();
        assert_eq!(records[0].envelope.seq, Seq(after + 1));
        let read = read.load(Ordering::Relaxed);
        assert!(read < 250_000, "{read} bytes were read for the event behind {after}");
    }
}

#[test]
fn who_reads_a_segment_while_it_is_pruned_is_told_so() {
    let disk =
        Arc::new(Counting { disk: MemoryDisk::default(), read: Arc::default(), once: Mutex::default() });
    let options = Options { recent_records: 0, ..small_segments() };
    let Opened::<Toy> { mut writer, reader, .. } = open_on(disk.clone(), options, None).unwrap();
    let events: Vec<_> = (0..6).flat_map(|_| append(&mut writer, &[2, 1])).collect();
    writer.snapshot(&fold(&events)).unwrap();
    let prune = move || assert!(writer.prune(Seq(99)).unwrap() > Seq(1));
    *disk.once.lock().unwrap() = Some(Box::new(prune));
    let read = reader.read(Seq(0), 9, Seq(99));
    assert!(matches!(read, Err(ReadError::Pruned { oldest }) if oldest == reader.oldest()), "{read:?}");
}
