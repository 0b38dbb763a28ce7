//! How a person sees a pull: a bar per file on a terminal, a line per file elsewhere.

use std::io::{self, IsTerminal, Write};

use indicatif::{HumanBytes, ProgressBar};

use super::Progress;

/// Progress on standard error: bars if it is a terminal, else a line for each file that is done.
pub fn on_stderr() -> Box<dyn Progress> {
    if io::stderr().is_terminal() {
        Box::new(Bars(ProgressBar::hidden()))
    } else {
        Box::new(Lines::to(io::stderr()))
    }
}

/// One bar after the other, as the `hf-hub` crate draws them.
struct Bars(ProgressBar);

impl Progress for Bars {
    fn init(&mut self, size: usize, filename: &str) {
        self.0 = ProgressBar::new(0);
        Progress::init(&mut self.0, size, filename);
    }

    fn update(&mut self, size: usize) {
        Progress::update(&mut self.0, size);
    }

    fn finish(&mut self) {
        Progress::finish(&mut self.0);
    }
}

struct Lines<W> {
    out: W,
    file: String,
    bytes: usize,
}

impl<W: Write> Lines<W> {
    fn to(out: W) -> Self {
        Self { out, file: String::new(), bytes: 0 }
    }
}

impl<W: Write> Progress for Lines<W> {
    fn init(&mut self, _size: usize, filename: &str) {
        filename.clone_into(&mut self.file);
        self.bytes = 0;
    }

    fn update(&mut self, size: usize) {
        self.bytes += size;
    }

    fn finish(&mut self) {
        // A closed standard error is no reason to stop a download.
        writeln!(self.out, "{} {}", self.file, HumanBytes(self.bytes as u64)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_each_file_that_is_done_has_its_line() {
        let mut lines = Lines::to(Vec::new());
        for (name, parts) in [("config.json", [500, 112]), ("model.safetensors", [1024, 1024])] {
            lines.init(0, name);
            parts.into_iter().for_each(|part| lines.update(part));
            lines.finish();
        }
        lines.init(9, "broken.bin");
        let text = String::from_utf8(lines.out).unwrap();
        assert_eq!(text, "config.json 612 B\nmodel.safetensors 2.00 KiB\n");
    }
}
