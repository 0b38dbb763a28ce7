//! A file on its way to the server, as a bar on a terminal.

use std::fs::metadata;
use std::io::Read;
use std::path::Path;

use indicatif::{ProgressBar, ProgressBarIter, ProgressStyle};

/// What is read of a file shows how much of it is sent; of a pipe, nobody knows how much there will be.
pub fn shown<R: Read>(file: &Path, content: R) -> ProgressBarIter<R> {
    let length = metadata(file).ok().filter(|it| it.is_file()).map(|it| it.len());
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let template = match length {
        Some(_) => "{bar:30} {bytes}/{total_bytes} uploading, {eta} left",
        None => "{bytes} uploaded",
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is sound"));
    bar.wrap_read(content)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_bar_is_full_when_a_file_is_sent_and_counts_what_a_pipe_brings() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.csv");
        fs::write(&file, "text,topic\n").unwrap();
        for (path, length) in [(file.as_path(), Some(11)), (Path::new("-"), None)] {
            let mut content = shown(path, &b"text,topic\n"[..]);
            let mut sent = String::new();
            content.read_to_string(&mut sent).unwrap();
            assert_eq!(sent, "text,topic\n");
            assert_eq!((content.progress.position(), content.progress.length()), (11, length));
        }
    }
}
