//! Reads a `.env` file as systemd reads an `EnvironmentFile=`. PURE: it is handed the text.
//!
//! Comments begin with `#` or `;`, values may be quoted, a backslash at the end of a line continues it, and
//! nothing is expanded. So one file serves the service manager and a start by hand alike.

use std::collections::BTreeMap;
use std::mem::take;

/// What a file assigns, and what in it was no assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvFile {
    /// Names and their values; the last assignment of a name wins.
    pub values: BTreeMap<String, String>,
    /// What was passed over, each with its line and the reason. Never a value.
    pub complaints: Vec<String>,
}

/// Where in a line the parser is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before a name.
    Start,
    Comment,
    Name,
    /// Behind `=` or behind a closing quote.
    BeforeValue,
    Value,
    /// Behind a backslash in an unquoted value.
    Escape,
    SingleQuotes,
    DoubleQuotes,
    /// Behind a backslash in double quotes.
    DoubleQuotesEscape,
}

/// The file's assignments.
pub fn parse(text: &str) -> EnvFile {
    let mut parser = Parser::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    for c in text.chars() {
        parser.at = parser.step(c);
        if c == '\n' {
            parser.line += 1;
        }
    }
    parser.finish()
}

struct Parser {
    at: At,
    line: usize,
    /// Line on which the assignment under way began.
    began: usize,
    name: String,
    value: String,
    /// Length of `value` without the white space that may turn out to be at its end.
    kept: usize,
    file: EnvFile,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            at: At::Start,
            line: 1,
            began: 1,
            name: String::new(),
            value: String::new(),
            kept: 0,
            file: EnvFile::default(),
        }
    }
}

impl Parser {
    fn step(&mut self, c: char) -> At {
        match (self.at, c) {
            (At::Start, '#' | ';') => At::Comment,
            (At::Start, c) if c.is_whitespace() => At::Start,
            (At::Start, '=') => self.begin_nameless(),
            (At::Start, c) => {
                self.began = self.line;
                self.name.push(c);
                At::Name
            }
            (At::Comment, '\n') => At::Start,
            (At::Comment, _) => At::Comment,
            (At::Name, '\n') => self.drop_line(),
            (At::Name, '=') | (At::SingleQuotes, '\'') | (At::DoubleQuotes, '"') => At::BeforeValue,
            (At::Name, c) => {
                self.name.push(c);
                At::Name
            }
            (At::BeforeValue | At::Value, '\n') => self.assign(),
            (At::BeforeValue, '\'') => At::SingleQuotes,
            (At::BeforeValue, '"') | (At::DoubleQuotesEscape, '\n') => At::DoubleQuotes,
            (At::BeforeValue | At::Value, '\\') => At::Escape,
            (At::BeforeValue, c) if c.is_whitespace() => At::BeforeValue,
            (At::BeforeValue | At::Value, c) => self.push(c, !c.is_whitespace(), At::Value),
            (At::Escape, '\n') => At::Value,
            (At::Escape, c) => self.push(c, true, At::Value),
            (At::DoubleQuotes, '\\') => At::DoubleQuotesEscape,
            (At::SingleQuotes, c) => self.push(c, true, At::SingleQuotes),
            (At::DoubleQuotes, c) => self.push(c, true, At::DoubleQuotes),
            (At::DoubleQuotesEscape, c) => {
                if !matches!(c, '"' | '\\' | '`' | '$') {
                    self.value.push('\\');
                }
                self.push(c, true, At::DoubleQuotes)
            }
        }
    }

    fn push(&mut self, c: char, keep: bool, next: At) -> At {
        self.value.push(c);
        if keep {
            self.kept = self.value.len();
        }
        next
    }

    fn begin_nameless(&mut self) -> At {
        self.began = self.line;
        At::BeforeValue
    }

    fn drop_line(&mut self) -> At {
        self.name.clear();
        self.complain("not an assignment");
        At::Start
    }

    fn assign(&mut self) -> At {
        self.value.truncate(self.kept);
        self.kept = 0;
        let (name, value) = (take(&mut self.name), take(&mut self.value));
        let name = name.trim_end();
        if is_name(name) {
            self.file.values.insert(name.to_owned(), value);
        } else if name.starts_with("export ") {
            self.complain("leave out `export`: this is not read by a shell");
        } else {
            self.complain("not a name that a variable can have");
        }
        At::Start
    }

    fn complain(&mut self, why: &str) {
        self.file.complaints.push(format!("line {}: {why}", self.began));
    }

    fn finish(mut self) -> EnvFile {
        match self.at {
            At::Start | At::Comment => {}
            At::Name => drop(self.drop_line()),
            At::BeforeValue | At::Value | At::Escape => drop(self.assign()),
            At::SingleQuotes | At::DoubleQuotes | At::DoubleQuotesEscape => {
                self.complain("the quotes that open here are never closed");
                self.assign();
            }
        }
        self.file
    }
}

fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(word) && !text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_as_systemd_reads_them() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("A=1\nB=2", &[("A", "1"), ("B", "2")]),
            ("  A  =  1  \n", &[("A", "1")]),
            ("A=\nB=''", &[("A", ""), ("B", "")]),
            ("# A=1\n; B=2\n   # C=3\nD=4 # kept", &[("D", "4 # kept")]),
            ("# a comment does not go on \\\nA=1", &[("A", "1")]),
            ("A=one two", &[("A", "one two")]),
            ("A='x y' \nB=\" x \"", &[("A", "x y"), ("B", " x ")]),
            ("A=\"a\"'b'c", &[("A", "abc")]),
            ("A=it's", &[("A", "it's")]),
            ("A='$HOME' \nB=$HOME\nC=\"${HOME}\"", &[("A", "$HOME"), ("B", "$HOME"), ("C", "${HOME}")]),
            ("A=one\\\ntwo", &[("A", "onetwo")]),
            ("A=\"one\\\ntwo\"", &[("A", "onetwo")]),
            ("A='one\ntwo'", &[("A", "one\ntwo")]),
            ("A=a\\ b\\\\c", &[("A", "a b\\c")]),
            ("A=x\\ ", &[("A", "x ")]),
            (r#"A="\"\\\$\`\n""#, &[("A", r#""\$`\n"#)]),
            (r"A='\n'", &[("A", r"\n")]),
            ("A=root@pam!cmux=1234", &[("A", "root@pam!cmux=1234")]),
            ("A=1\r\nB=2\r\n", &[("A", "1"), ("B", "2")]),
            ("A=1\nA=2", &[("A", "2")]),
            ("\u{feff}A=1", &[("A", "1")]),
        ];
        for (text, expected) in cases {
            let file = parse(text);
            let expected: BTreeMap<String, String> =
                expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(file.values, expected, "{text:?}");
            assert_eq!(file.complaints, Vec::<String>::new(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_assignment_is_passed_over_with_its_line() {
        let cases = [
            ("A=1\n\nhello\nB=2", "line 3: not an assignment"),
            ("A=1\nB=2\nexport C=3", "line 3: leave out `export`: this is not read by a shell"),
            ("A=1\n1B=2\nB=2", "line 2: not a name that a variable can have"),
            ("A=1\n=2\nB=2", "line 2: not a name that a variable can have"),
            ("A=1\nB=2\nC=\"x\n", "line 3: the quotes that open here are never closed"),
        ];
        for (text, expected) in cases {
            let file = parse(text);
            assert_eq!(file.complaints, [expected], "{text:?}");
            assert!(file.values.contains_key("A") && file.values.contains_key("B"), "{text:?}");
        }
    }
}
