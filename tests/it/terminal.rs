//! What a person sees at a terminal while something takes its time, and nobody sees who reads a pipe.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::operate::Served;

/// A terminal with a command in it.
struct Terminal {
    screen: File,
    shown: String,
    command: Child,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}

impl Terminal {
    fn of(mut command: Command) -> Self {
        let screen =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&screen).and_then(|()| unlockpt(&screen)).expect("its other side");
        let size = Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&screen, size).expect("its size");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let name = ptsname(&screen, Vec::new()).expect("its name");
        let other = || Stdio::from(rustix::fs::open(&name, flags, Mode::empty()).expect("its other side"));
        command.env("TERM", "xterm");
        let command = command.stdin(other()).stdout(other()).stderr(other()).spawn().expect("a process");
        Self { screen: File::from(screen), shown: String::new(), command }
    }

    /// Looks until it shows these words. What draws for ever has shown them long before the limit, or never will.
    #[track_caller]
    fn until(&mut self, words: &str) {
        const LIMIT: usize = 1 << 16;
        while !self.shown.contains(words) {
            assert!(self.shown.len() < LIMIT, "it does not show `{words}`: {:?}", self.shown.lines().last());
            assert!(self.look(), "it ended before it showed `{words}`: {:?}", self.shown);
        }
        self.shown.clear();
    }

    /// Takes in what comes next; false once the command has ended.
    fn look(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.screen.read(&mut buffer) {
            Ok(read) => {
                self.shown += &String::from_utf8_lossy(&buffer[..read]);
                read > 0
            }
            // So it is once nobody has the other side any more.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => false,
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => panic!("{error}"),
        }
    }

    /// What it shows from here to its end, and its exit code.
    fn end(mut self) -> (String, Option<i32>) {
        while self.look() {}
        let code = self.command.wait().expect("its end").code();
        (std::mem::take(&mut self.shown), code)
    }
}

#[test]
fn whoever_fills_a_pool_sees_how_far_it_is() {
    let served = Served::start();
    // Nothing gets further at PVE before it was seen.
    served.simulator.signal(Signal::STOP);
    let mut terminal = Terminal::of(served.command(&["warm", "9009", "--count", "3", "--wait"]));
    terminal.until("2 clones queued, from 1 to 3");
    terminal.until("1 of 3 ready, about ");
    served.simulator.signal(Signal::CONT);
    let (shown, code) = terminal.end();
    assert!(shown.contains("Template 9009: 3 ready of 1"), "{shown:?}");
    assert_eq!(code, Some(0));

    for _ in 0..3 {
        served.json(&["allocate", "9009", "--no-start", "--json"]);
    }
    served.simulator.signal(Signal::STOP);
    let mut terminal = Terminal::of(served.command(&["allocate", "9009", "--instance", "late"]));
    terminal.until("number 1 of 1 in line, 1 being cloned, about ");
    served.simulator.signal(Signal::CONT);
    let (shown, code) = terminal.end();
    assert!(shown.contains("late  on pve1 (made for it)"), "{shown:?}");
    assert_eq!(code, Some(0));

    // Whoever reads it as data reads nothing else.
    let piped =
        served.command(&["warm", "9009", "--count", "2", "--wait", "--json"]).output().expect("an end");
    assert_eq!(piped.status.code(), Some(0));
    assert!(piped.stderr.is_empty(), "{piped:?}");
    let answer: serde_json::Value = serde_json::from_slice(&piped.stdout).expect("JSON and nothing else");
    assert_eq!(answer["ready_count"], 2);
}

#[test]
fn a_pool_that_will_not_be_full_says_why_and_is_waited_for_no_longer() {
    let mut served = Served::start();
    served.simulator.end();
    let mut terminal = Terminal::of(served.command(&["warm", "9009", "--count", "3", "--wait"]));
    terminal.until("PVE cannot be reached since ");
    served.json(&["template", "drain", "9009", "--json"]);
    let (shown, code) = terminal.end();
    assert!(shown.contains("it is drained"), "{shown:?}");
    assert_eq!(code, Some(1));
}

#[test]
fn whoever_watches_the_pool_sees_it_again_and_again_over_an_end_of_the_service() {
    const CLEARED: &str = "\x1b[H\x1b[2Jsandbox-pool ";
    let mut served = Served::start();
    let mut terminal = Terminal::of(served.command(&["status", "--watch"]));
    terminal.until(CLEARED);
    served.json(&["allocate", "9009", "--no-start", "--json"]);
    terminal.until(CLEARED);
    served.service.end();
    terminal.until("does not answer: is it running?");
}
