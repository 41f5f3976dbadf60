//! A disk in memory that forgets what was not synced, for tests.
//!
//! It keeps what is written apart from what is durable, for bytes and for names. A crash keeps any part of the
//! rest: single 512-byte sectors, any length between, any name change. Every changing operation has a number,
//! so that a test can fail it or lose power at it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// A changing operation, for rules of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Create,
    Write,
    SetLen,
    Sync,
    Reserve,
    Rename,
    Remove,
    SyncDir,
}

#[derive(Clone, Default)]
struct Inode {
    written: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone)]
enum NameOp {
    Put(String, usize),
    Rename(String, String, usize),
    Remove(String),
}

type Rule = Box<dyn FnMut(Op, &str) -> Option<io::Error> + Send>;

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending: Vec<NameOp>,
    ops: usize,
    power_until: Option<usize>,
    rule: Option<Rule>,
    short_writes: bool,
    /// Operations in order, for tests that count.
    trace: Vec<Op>,
}

/// The disk; a clone is the same disk.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

struct MemoryFile {
    disk: Memory,
    inode: usize,
    name: String,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loses power before operation number `op`, from 0: it and all after it fail.
    pub(super) fn lose_power_at(&self, op: usize) {
        let mut state = self.state();
        state.power_until = Some(state.ops + op);
    }

    /// How many operations there were.
    pub(super) fn ops(&self) -> usize {
        self.state().ops
    }

    /// Operations since the last call.
    pub(super) fn take_trace(&self) -> Vec<Op> {
        std::mem::take(&mut self.state().trace)
    }

    /// Fails what the rule gives an error for.
    pub(super) fn fail(&self, rule: impl FnMut(Op, &str) -> Option<io::Error> + Send + 'static) {
        self.state().rule = Some(Box::new(rule));
    }

    /// Everything works again.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        (state.rule, state.power_until) = (None, None);
    }

    /// Every write takes at most 7 bytes.
    pub(super) fn write_short(&self) {
        self.state().short_writes = true;
    }

    /// The bytes of a file as a reader sees them.
    pub(super) fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.inodes[state.names[name]].written.clone()
    }

    /// Puts a durable file there.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.inodes.len();
        state.inodes.push(Inode { written: bytes.to_vec(), durable: bytes.to_vec() });
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    /// The same files, all durable, on another disk.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::default();
        let state = self.state();
        for (name, inode) in &state.names {
            copy.put(name, &state.inodes[*inode].written);
        }
        drop(state);
        copy
    }

    /// What a start after a power cut may find; `keep` says for each thing that was not synced whether it
    /// made it.
    pub(super) fn after_crash(&self, mut keep: impl FnMut() -> bool) -> Self {
        let state = self.state();
        let mut names = state.durable_names.clone();
        for op in &state.pending {
            if keep() {
                apply(&mut names, op);
            }
        }
        let after = Self::default();
        for (name, inode) in names {
            after.put(&name, &remains(&state.inodes[inode], &mut keep));
        }
        drop(state);
        after
    }

    fn begin(&self, op: Op, name: &str) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.power_until.is_some_and(|until| state.ops >= until) {
            return Err(io::Error::other("no power"));
        }
        state.ops += 1;
        state.trace.push(op);
        if let Some(error) = state.rule.as_mut().and_then(|rule| rule(op, name)) {
            return Err(error);
        }
        Ok(state)
    }
}

fn apply(names: &mut BTreeMap<String, usize>, op: &NameOp) {
    match op {
        NameOp::Put(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        NameOp::Rename(from, to, inode) => {
            if names.get(from) == Some(inode) {
                names.remove(from);
            }
            names.insert(to.clone(), *inode);
        }
        NameOp::Remove(name) => {
            names.remove(name);
        }
    }
}

fn remains(inode: &Inode, keep: &mut impl FnMut() -> bool) -> Vec<u8> {
    let Inode { written, durable } = inode;
    if written == durable {
        return durable.clone();
    }
    let (short, long) = (written.len().min(durable.len()), written.len().max(durable.len()));
    // The length is either one, or a sector's end between.
    let mut len = if keep() { written.len() } else { durable.len() };
    let between = (short / SECTOR + 1) * SECTOR;
    if between < long && keep() && !keep() {
        len = between;
    }
    let mut bytes = vec![0; len];
    for start in (0..len).step_by(SECTOR) {
        let end = (start + SECTOR).min(len);
        let part = |from: &Vec<u8>| from.get(start..end.min(from.len())).unwrap_or_default().to_vec();
        let (new, old) = (part(written), part(durable));
        let chosen = if new == old || keep() { new } else { old };
        bytes[start..start + chosen.len()].copy_from_slice(&chosen);
    }
    bytes
}

impl Disk for Memory {
    fn path(&self, name: &str) -> PathBuf {
        Path::new("/memory").join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let inode = *self.state().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(MemoryFile { disk: self.clone(), inode, name: name.to_owned() }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.begin(Op::Create, name)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(name.to_owned(), inode);
        state.pending.push(NameOp::Put(name.to_owned(), inode));
        Ok(Box::new(MemoryFile { disk: self.clone(), inode, name: name.to_owned() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.begin(Op::Rename, to)?;
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let op = NameOp::Rename(from.to_owned(), to.to_owned(), inode);
        apply(&mut state.names, &op);
        state.pending.push(op);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.begin(Op::Remove, name)?;
        let op = NameOp::Remove(name.to_owned());
        apply(&mut state.names, &op);
        state.pending.push(op);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.begin(Op::SyncDir, "")?;
        state.durable_names = state.names.clone();
        state.pending.clear();
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].written.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        let bytes = &state.inodes[self.inode].written;
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        let read = buffer.len().min(bytes.len() - from);
        buffer[..read].copy_from_slice(&bytes[from..from + read]);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.begin(Op::Write, &self.name)?;
        let bytes = if state.short_writes { &bytes[..bytes.len().min(7)] } else { bytes };
        let from = usize::try_from(offset).unwrap();
        let written = &mut state.inodes[self.inode].written;
        written.resize(written.len().max(from + bytes.len()), 0);
        written[from..from + bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.begin(Op::SetLen, &self.name)?;
        state.inodes[self.inode].written.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.begin(Op::Sync, &self.name)?;
        let inode = &mut state.inodes[self.inode];
        inode.durable = inode.written.clone();
        Ok(())
    }

    fn reserve(&self, _: u64) -> io::Result<()> {
        self.disk.begin(Op::Reserve, &self.name).map(drop)
    }
}
